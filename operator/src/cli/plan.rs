//! `launchway plan`: the objects that a release would be on an Environment, and how they differ from what is there. Made by
//! the operator's own builders; nothing is written.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, Secret, Service},
        networking::v1::{Ingress, NetworkPolicy},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{Api, Resource, ResourceExt, api::ListParams};
use launchway_crds::{
    Environment,
    deploy::Scope,
    digest::ImageRef,
    environment::{Deployed, ReleaseImages, Runtime, Target, Tier},
    names::labels,
    pipeline::PipelineType,
    web_tier,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    CliError, End,
    plan_diff::{Changes, draw},
    registry::RegistryArgs,
    say,
    session::{Connection, Session},
};
use crate::{
    build::BaseRef,
    client::{CALL, within},
    image::contract::RuntimeContract,
    plan::{bases, environment::world::Content},
    registry::{Client, RegistryError},
    release::{image_config, runtime_contract},
    render::{
        Contracts, Release,
        configuration::{Configuration, secrets},
        whole,
    },
};

/// Arguments of `plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// Name of the Environment
    pub environment: String,
    /// A release: REGISTRY/REPOSITORY@sha256:… or :TAG; default: what the Environment is to run now
    #[arg(long, value_name = "REF", conflicts_with = "execution")]
    pub release: Option<String>,
    /// The release that an execution made or took
    #[arg(long, value_name = "NAME")]
    pub execution: Option<String>,
    /// What is shown
    #[arg(short, long, value_name = "FORM", value_enum, default_value = "diff")]
    pub output: Form,
    /// Registry access.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// A form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// What would change, field by field
    Diff,
    /// The objects that would be applied
    Yaml,
}

/// What would run, and by whose word.
struct Wanted {
    content: Content,
    contracts: Contracts,
}

/// Who deploys a release that no execution has deployed yet.
const SOMEBODY: (&str, &str) = ("NAME", "UID");

/// Shows. `Failed` when anything would change.
///
/// # Errors
/// When the Environment, the release or what is in the cluster cannot be read.
pub async fn run(args: PlanArgs) -> Result<End, CliError> {
    let session = Session::open(args.connection.clone()).await?;
    let name = &args.environment;
    let environment = within(CALL, session.environments().get_opt(name)).await?.ok_or_else(|| {
        CliError::said(format!("no Environment {name} in namespace {}: kubectl get environments", session.namespace))
    })?;
    let mut found = found(&session, name).await?;
    let wanted = wanted(&args, &session, &environment, &found).await?;
    let configuration = variables(&session, &environment).await?;
    let release = Release {
        environment: &environment,
        content: &wanted.content,
        contracts: &wanted.contracts,
        configuration: configuration.hashes(),
    };
    let mut objects = plain(&configuration, &environment)?;
    found.extend(there(&session, &objects).await?);
    objects.extend(whole::objects(&release));
    let changes = Changes::between(&objects, &found);
    match args.output {
        Form::Diff => draw(&changes).iter().try_for_each(say)?,
        Form::Yaml => objects.iter().try_for_each(yaml)?,
    }
    Ok(if changes.is_empty() { End::Done } else { End::Failed })
}

fn yaml(object: &Value) -> Result<(), CliError> {
    let text = serde_yaml::to_string(object).map_err(|error| CliError::said(error.to_string()))?;
    say(format!("---\n{}", text.trim_end()))
}

/// The release that is asked for, with what its images promise.
async fn wanted(
    args: &PlanArgs,
    session: &Session,
    environment: &Environment,
    found: &[Value],
) -> Result<Wanted, CliError> {
    let client = args.registry.client().map_err(unreadable)?;
    let status = environment.status.clone().unwrap_or_default();
    let deployed = status.deployed.as_ref();
    let asked = asked(args, session, &client).await?;
    let content = match (asked, &status.target) {
        (Some(asked), target) => {
            let same = deployed.filter(|deployed| asked.is_of(deployed));
            match (same, target.as_ref().filter(|target| asked.uid.as_ref() == Some(&target.uid))) {
                (Some(deployed), _) => deployed.clone(),
                (None, Some(target)) => target.reached(deployed, target.since.clone()),
                (None, None) => asked.reached(session, &client, environment).await?,
            }
        }
        (None, Some(target)) => target.reached(deployed, target.since.clone()),
        (None, None) => match deployed {
            Some(deployed) => deployed.clone(),
            None => return bare(&client, environment, found).await,
        },
    };
    let contracts = contracts(&client, &content.images).await?;
    Ok(Wanted { content: Content::Release(Box::new(content)), contracts })
}

/// A release that was named on the command line.
struct Asked {
    release: ImageRef,
    execution: String,
    /// UID of the execution, where one was named.
    uid: Option<String>,
    /// Its pipeline, where one was named.
    pipeline: Option<String>,
}

async fn asked(args: &PlanArgs, session: &Session, client: &Client) -> Result<Option<Asked>, CliError> {
    if let Some(text) = &args.release {
        return match BaseRef::resolve(client, text).await? {
            BaseRef::Image(release) => {
                Ok(Some(Asked { release, execution: SOMEBODY.0.into(), uid: None, pipeline: None }))
            }
            BaseRef::Layout(_) => {
                Err(CliError::said(format!("{text}: name a release in a registry, which pods can pull")))
            }
        };
    }
    let Some(name) = &args.execution else { return Ok(None) };
    let execution = session.execution(name).await?;
    let release = execution.status.as_ref().and_then(|status| status.release.clone());
    let release = release.ok_or_else(|| {
        CliError::said(format!("execution {name} has no release yet: `{}`", session.plugin(&["status", name])))
    })?;
    let pipeline = Some(execution.spec.pipeline_ref.name.to_string());
    Ok(Some(Asked { release, execution: name.clone(), uid: execution.uid(), pipeline }))
}

impl Asked {
    /// Whether it is what was deployed last.
    fn is_of(&self, deployed: &Deployed) -> bool {
        match &self.uid {
            Some(uid) => deployed.is_of(uid, &self.release),
            None => deployed.release == self.release,
        }
    }

    /// What the Environment would run. The dispatcher of an Environment with a web-tier pipeline is that pipeline's.
    async fn reached(
        &self,
        session: &Session,
        client: &Client,
        environment: &Environment,
    ) -> Result<Deployed, CliError> {
        let pipelines = within(CALL, session.pipelines().list(&ListParams::default())).await?.items;
        let own = pipelines.iter().find(|pipeline| Some(pipeline.name_any()) == self.pipeline);
        let scope = match own.map(|pipeline| pipeline.spec.type_) {
            Some(PipelineType::WebTier) => Scope::Dispatcher,
            _ if web_tier::owners(&pipelines).contains_key(&environment.name_any()) => Scope::Aem,
            _ => Scope::Release,
        };
        let both = runtime_contract(client, &self.release).await.map_err(unreadable)?;
        let since = Time(Timestamp::now());
        let target = Target {
            execution: self.execution.clone(),
            uid: self.uid.clone().unwrap_or_else(|| SOMEBODY.1.into()),
            release: self.release.clone(),
            images: ReleaseImages { aem: both.aem.image, dispatcher: both.dispatcher.image },
            scope,
            detach: true,
            cache: None,
            made_at: None,
            since: since.clone(),
            pause_after: None,
        };
        Ok(target.reached(environment.status.as_ref().and_then(|status| status.deployed.as_ref()), since))
    }
}

/// The bare base images: those of the Environment, or those that run already because the operator was installed with them.
async fn bare(client: &Client, environment: &Environment, found: &[Value]) -> Result<Wanted, CliError> {
    let running = |tier: &str| -> Option<ImageRef> {
        let name = format!("{}-{tier}", environment.name_any());
        let set = found.iter().find(|object| whole::identity(object) == ("StatefulSet", name.as_str()))?;
        set["spec"]["template"]["spec"]["containers"][0]["image"].as_str()?.parse().ok()
    };
    let default = Runtime { aem: running("publish"), dispatcher: running("dispatcher"), ..Runtime::default() };
    let images = bases::images(&environment.spec, &default).ok_or_else(|| {
        CliError::said(format!(
            "nothing was deployed to {} yet, and its base images are not to run, or are the installation's, which this command \
             cannot know: name a release with --release or --execution",
            environment.name_any()
        ))
    })?;
    let contracts = contracts(client, &images).await?;
    Ok(Wanted { content: Content::Bare(images), contracts })
}

/// What two images promise, which need not be of one release.
async fn contracts(client: &Client, images: &ReleaseImages) -> Result<Contracts, CliError> {
    Ok(Contracts { aem: contract(client, &images.aem).await?, dispatcher: contract(client, &images.dispatcher).await? })
}

async fn contract(client: &Client, image: &ImageRef) -> Result<RuntimeContract, CliError> {
    let (_, config) = image_config(client, image).await.map_err(unreadable)?;
    RuntimeContract::from_config(&config).map_err(|error| CliError::said(format!("image {image}: {error}")))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err passes")]
fn unreadable(error: RegistryError) -> CliError {
    CliError::said(error.to_string())
}

/// The variables, as the operator would have them.
async fn variables(session: &Session, environment: &Environment) -> Result<Configuration, CliError> {
    let api: Api<Secret> = Api::namespaced(session.client.clone(), &session.namespace);
    let mut found = BTreeMap::new();
    for name in secrets(environment) {
        match within(CALL, api.get_opt(&name)).await {
            Ok(secret) => found.extend(secret.map(|secret| (name, secret))),
            Err(error) => {
                return Err(CliError::said(format!(
                    "Secret {name}, which spec.variables of the Environment refers to: {error}; pods get another template \
                     with another value, so it has to be read with your own rights"
                )));
            }
        }
    }
    Configuration::resolve(environment, &found).map_err(CliError::said)
}

/// ConfigMaps with the variables that everybody may see.
fn plain(configuration: &Configuration, environment: &Environment) -> Result<Vec<Value>, CliError> {
    let maps = Tier::ALL.into_iter().filter_map(|tier| configuration.config_map(environment, tier));
    maps.map(|map| serde_json::to_value(map).map_err(|error| CliError::said(error.to_string()))).collect()
}

/// Those of these ConfigMaps that are there. Others belong to what ran before, and stay as long as it may come back.
async fn there(session: &Session, maps: &[Value]) -> Result<Vec<Value>, CliError> {
    let api: Api<ConfigMap> = Api::namespaced(session.client.clone(), &session.namespace);
    let mut all = vec![];
    for (_, name) in maps.iter().map(whole::identity) {
        let map = within(CALL, api.get_opt(name)).await?;
        all.extend(map.map(|map| serde_json::to_value(map).map_err(|error| CliError::said(error.to_string()))));
    }
    all.into_iter().collect()
}

/// Everything that is labelled as a part of the Environment.
async fn found(session: &Session, environment: &str) -> Result<Vec<Value>, CliError> {
    let mut all = list::<StatefulSet>(session, environment).await?;
    all.extend(list::<Service>(session, environment).await?);
    all.extend(list::<PodDisruptionBudget>(session, environment).await?);
    all.extend(list::<NetworkPolicy>(session, environment).await?);
    all.extend(list::<Ingress>(session, environment).await?);
    Ok(all)
}

async fn list<K>(session: &Session, environment: &str) -> Result<Vec<Value>, CliError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Serialize,
{
    let own = ListParams::default().labels(&format!("{}={environment}", labels::ENVIRONMENT));
    let api: Api<K> = Api::namespaced(session.client.clone(), &session.namespace);
    let items = within(CALL, api.list(&own)).await?.items;
    items.iter().map(|item| serde_json::to_value(item).map_err(|error| CliError::said(error.to_string()))).collect()
}
