//! The cluster that a person's command speaks to, and the few reads that all commands share.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use launchway_crds::{Environment, Pipeline, PipelineExecution, pipeline::Debt};

use super::{CliError, tree::Around};
use crate::{
    client::{self, CALL, within},
    text::{one_line, shell},
};

/// Which cluster and namespace.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cluster")]
pub struct Connection {
    /// Namespace; default: the kubeconfig's
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig; default: the current one
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Kubeconfig file; default: $KUBECONFIG, then ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// A cluster, a namespace, and clients.
pub struct Session {
    /// For single requests.
    pub client: Client,
    /// For watches and logs.
    pub watch_client: Client,
    /// The namespace.
    pub namespace: String,
    connection: Connection,
}

impl Session {
    /// Reads the kubeconfig; nothing is sent yet.
    ///
    /// # Errors
    /// When there is no usable kubeconfig.
    pub async fn open(connection: Connection) -> Result<Self, CliError> {
        let options = KubeConfigOptions { context: connection.context.clone(), ..KubeConfigOptions::default() };
        let config = match (&connection.kubeconfig, &connection.context) {
            (Some(file), _) => {
                let read = Kubeconfig::read_from(file).map_err(|error| unusable(&error))?;
                Config::from_custom_kubeconfig(read, &options).await.map_err(|error| unusable(&error))?
            }
            (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|error| unusable(&error))?,
            (None, None) => Config::infer().await.map_err(|error| unusable(&error))?,
        };
        let namespace = connection.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let failed = |error: kube::Error| unusable(&client::explain(&error));
        Ok(Self {
            client: client::bounded(config.clone()).await.map_err(failed)?,
            watch_client: client::watching(config).await.map_err(failed)?,
            namespace,
            connection,
        })
    }

    /// Executions of the namespace.
    #[must_use]
    pub fn executions(&self) -> Api<PipelineExecution> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Pipelines of the namespace.
    #[must_use]
    pub fn pipelines(&self) -> Api<Pipeline> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The execution of a name.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn execution(&self, name: &str) -> Result<PipelineExecution, CliError> {
        match within(CALL, self.executions().get_opt(name)).await? {
            Some(execution) => Ok(execution),
            None => Err(self.no_execution(name)),
        }
    }

    /// What to say when an execution is not there.
    #[must_use]
    pub fn no_execution(&self, name: &str) -> CliError {
        let list = self.plugin(&["status"]);
        CliError::said(format!("no PipelineExecution {name} in namespace {}: list them with `{list}`", self.namespace))
    }

    /// Environments of the namespace.
    #[must_use]
    pub fn environments(&self) -> Api<Environment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The Environments of an execution and what its pipeline owes, as far as they can be read: what is shown of them is
    /// extra.
    pub async fn around(&self, execution: &PipelineExecution) -> Around {
        let names = execution.status.as_ref().and_then(|status| status.environments.clone()).unwrap_or_default();
        let tested_on = self.tested_on(execution).await;
        let mut environments = BTreeMap::new();
        for name in names.all().chain(tested_on.as_deref()) {
            if let Ok(Some(environment)) = within(CALL, self.environments().get_opt(name)).await {
                environments.insert(name.to_string(), environment);
            }
        }
        let production = names.production.as_ref().and_then(|name| environments.get(name));
        let there = match production.and_then(|environment| environment.status.as_ref()?.deployed.clone()) {
            Some(deployed) => within(CALL, self.executions().get_opt(&deployed.execution)).await.ok().flatten(),
            None => None,
        };
        Around { environments, debt: self.debt(execution).await, there: there.map(Box::new), tested_on }
    }

    /// Where a release that an execution took from another pipeline was tested.
    async fn tested_on(&self, execution: &PipelineExecution) -> Option<String> {
        let source = execution.status.as_ref()?.source.as_ref()?;
        let found = within(CALL, self.executions().get_opt(&source.execution)).await.ok().flatten()?;
        let same = found.metadata.uid.as_deref() == Some(source.uid.as_str());
        found.status.filter(|_| same)?.environments?.stage
    }

    /// Tests that the pipeline of an execution owes; none when it cannot be read.
    pub async fn debt(&self, execution: &PipelineExecution) -> Vec<Debt> {
        let pipeline = within(CALL, self.pipelines().get_opt(&execution.spec.pipeline_ref.name)).await;
        pipeline.ok().flatten().and_then(|pipeline| pipeline.status).map(|status| status.debt).unwrap_or_default()
    }

    /// The caller's name, as the apiserver and its policies see it.
    ///
    /// # Errors
    /// When the apiserver does not say.
    pub async fn me(&self) -> Result<String, CliError> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = within(CALL, reviews.create(&PostParams::default(), &SelfSubjectReview::default())).await?;
        let name = review.status.and_then(|status| status.user_info).and_then(|info| info.username);
        name.filter(|name| !name.is_empty()).ok_or_else(|| {
            CliError::said("the apiserver does not say who you are: try `kubectl auth whoami` and check the kubeconfig")
        })
    }

    /// The kubectl line that does the same, for this cluster and namespace.
    #[must_use]
    pub fn kubectl(&self, words: &[&str]) -> String {
        self.line("kubectl", words)
    }

    /// The line of this plugin for this cluster and namespace.
    #[must_use]
    pub fn plugin(&self, words: &[&str]) -> String {
        self.line("kubectl launchway", words)
    }

    fn line(&self, program: &str, words: &[&str]) -> String {
        let mut line = program.to_string();
        let mut option = |name: &str, value: &str| {
            line.push(' ');
            line.push_str(name);
            line.push(' ');
            line.push_str(&shell(value));
        };
        // kubectl wants a plugin's options after its name: they go last.
        let mut options = vec![];
        if let Some(file) = &self.connection.kubeconfig {
            options.push(("--kubeconfig", file.display().to_string()));
        }
        if let Some(context) = &self.connection.context {
            options.push(("--context", context.clone()));
        }
        options.push(("-n", self.namespace.clone()));
        let (first, last) = if program == "kubectl" { (options, vec![]) } else { (vec![], options) };
        first.iter().for_each(|(name, value)| option(name, value));
        for word in words {
            line.push(' ');
            line.push_str(&shell(word));
        }
        for (name, value) in last {
            line.push_str(&format!(" {name} {}", shell(&value)));
        }
        line
    }
}

/// Tells on stderr how kubectl does the same: stdout is for results.
pub fn same_as(line: &str) {
    eprintln!("the same with kubectl:\n  {line}");
}

fn unusable(error: &impl ToString) -> CliError {
    let why = one_line(&error.to_string());
    CliError::said(format!("no usable kubeconfig: {why}; name one with --kubeconfig or $KUBECONFIG"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        crate::tests_support::tls();
        let client = Client::try_from(Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        Session {
            client: client.clone(),
            watch_client: client,
            namespace: "wknd".into(),
            connection: Connection { context: Some("my cluster".into()), ..Connection::default() },
        }
    }

    #[tokio::test]
    async fn lines_can_be_pasted() {
        let session = session();
        assert_eq!(session.kubectl(&["get", "pe"]), "kubectl --context 'my cluster' -n wknd get pe");
        assert_eq!(session.plugin(&["status", "x"]), "kubectl launchway status x --context 'my cluster' -n wknd");
    }

    #[tokio::test]
    async fn a_missing_kubeconfig_is_named() {
        let connection = Connection { kubeconfig: Some("/nowhere/config".into()), ..Connection::default() };
        let error = Session::open(connection).await.err().unwrap().to_string();
        assert!(error.contains("/nowhere/config") && error.contains("--kubeconfig"), "{error}");
    }
}
