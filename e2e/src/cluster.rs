//! The cluster: the one that `KUBECONFIG` names, used as it is, or the local one, started when it is not up.

use std::{
    future::Future,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig};

use crate::{Failure, Outcome, process::Program};

/// A single request.
const CALL: Duration = Duration::from_secs(20);
/// Between two questions of one wait: short, because the moments that scenarios wait for may be.
const PAUSE: Duration = Duration::from_millis(200);
/// A cold build of the local cluster's programs, and then some.
const START: Duration = Duration::from_secs(3600);

/// A cluster that answers.
#[derive(Clone)]
pub struct Cluster {
    /// Its administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// `HOST:PORT` of the registry that images are pushed to, under the name that host, nodes and pods share.
    pub registry: String,
    /// Whether it is the local one.
    pub local: bool,
    /// PATH with `kubectl` and `helm`.
    pub path: String,
    /// For the administrator.
    pub client: Client,
}

impl Cluster {
    /// Starts the local cluster, or takes what `KUBECONFIG` and `LAUNCHWAY_REGISTRY` name.
    ///
    /// # Errors
    /// When no cluster can be had, with the reason.
    pub async fn start() -> Outcome<Self> {
        // Whoever links this brings two libraries with TLS; neither chooses a provider by itself.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let own = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
        let registry = std::env::var("LAUNCHWAY_REGISTRY").ok().filter(|value| !value.is_empty());
        let (kubeconfig, registry, local, tools) = match (own, registry) {
            (Some(kubeconfig), Some(registry)) => (PathBuf::from(kubeconfig), registry, false, String::new()),
            (Some(kubeconfig), None) if is_local(Path::new(&kubeconfig)) => {
                (PathBuf::from(kubeconfig), local_registry(), true, tools().await?)
            }
            (Some(_), None) => {
                return Err(Failure::new("KUBECONFIG is set, but LAUNCHWAY_REGISTRY is not").remedy(
                    "set LAUNCHWAY_REGISTRY to the HOST:PORT of a registry that speaks plain HTTP to this machine, \
                     to the nodes and to pods, or unset KUBECONFIG to use the local cluster",
                ));
            }
            (None, _) => {
                let tools = tools().await?;
                let up = Program::script("e2e/cluster/up.sh")
                    .limit(START)
                    .shown()
                    .remedy("look at the log that is named above; `make cluster-down` stops what runs, then try again")
                    .run()
                    .await?;
                (PathBuf::from(up.last_line()), local_registry(), true, tools)
            }
        };
        let client = client(&kubeconfig, None).await?;
        let path = std::env::var("PATH").unwrap_or_default();
        let path = if tools.is_empty() { path } else { format!("{tools}:{path}") };
        let cluster = Self { kubeconfig, registry, local, path, client };
        call(cluster.client.apiserver_version()).await.map_err(|failure| {
            failure.during("the cluster does not answer").remedy(if cluster.local {
                "run e2e/cluster/status.sh to see what is up".to_string()
            } else {
                format!("check {}: kubectl --kubeconfig {0} get nodes", cluster.kubeconfig.display())
            })
        })?;
        Ok(cluster)
    }

    /// A program with this cluster's tools and kubeconfig.
    #[must_use]
    pub fn program(&self, name: &str) -> Program {
        // A name is looked up in the PATH of the caller, so it is resolved here.
        let found = self.path.split(':').map(|folder| PathBuf::from(folder).join(name)).find(|file| file.is_file());
        Program::new(found.unwrap_or_else(|| PathBuf::from(name)))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("PATH", &self.path)
            .remedy(format!("{name} is needed: install it, or unset KUBECONFIG so that the local cluster brings it"))
    }
}

/// Where the local cluster's programs are; builds them if they are missing.
async fn tools() -> Outcome<String> {
    let built = Program::script("e2e/cluster/build.sh")
        .limit(START)
        .shown()
        .remedy(
            "the output above says which part did not build; building needs the Go module proxy and Debian's packages",
        )
        .run()
        .await?;
    Ok(built.last_line().to_string())
}

/// Whether this is the kubeconfig of the local cluster.
fn is_local(kubeconfig: &Path) -> bool {
    let local = crate::paths::cache().join("cluster").join(suffixed("state")).join("admin.kubeconfig");
    let same = |file: &Path| std::fs::canonicalize(file).ok();
    same(&local).is_some_and(|local| Some(local) == same(kubeconfig))
}

fn suffixed(folder: &str) -> String {
    match std::env::var("LAUNCHWAY_CLUSTER_NAME").ok().filter(|name| name != "lw" && !name.is_empty()) {
        Some(name) => format!("{folder}-{name}"),
        None => folder.to_string(),
    }
}

/// The local cluster's registry, as `e2e/cluster/README.md` states its address.
fn local_registry() -> String {
    let named = std::env::var("LAUNCHWAY_CLUSTER_NAME").is_ok_and(|name| name != "lw" && !name.is_empty());
    let number = std::env::var("LAUNCHWAY_CLUSTER_NUMBER").unwrap_or_else(|_| "1".into());
    format!("10.111.{}.2:5000", if named { number.as_str() } else { "0" })
}

/// A client for a kubeconfig file, optionally as somebody else.
///
/// # Errors
/// When the file cannot be used.
pub async fn client(kubeconfig: &PathBuf, user: Option<&str>) -> Outcome<Client> {
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::new(format!("the kubeconfig {} cannot be used: {error}", kubeconfig.display()))
    };
    let read = Kubeconfig::read_from(kubeconfig).map_err(|error| unusable(&error))?;
    let mut config =
        Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.map_err(|error| unusable(&error))?;
    config.auth_info.impersonate = user.map(str::to_string).or(config.auth_info.impersonate);
    config.proxy_url = None;
    Client::try_from(config).map_err(|error| unusable(&error))
}

/// A call with an end: kube's client has no read time-out of its own.
///
/// # Errors
/// The apiserver's words, or that it did not answer.
pub async fn call<T>(request: impl Future<Output = kube::Result<T>>) -> Outcome<T> {
    match tokio::time::timeout(CALL, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(Failure::new(format!("{} {}", status.code, status.message))),
        Ok(Err(error)) => Err(Failure::new(error.to_string())),
        Err(_) => Err(Failure::new(format!("the apiserver did not answer within {} s", CALL.as_secs()))),
    }
}

/// Asks again and again until there is an answer; the question returns what it saw when there is none yet.
///
/// # Errors
/// After `limit`, with what was seen last.
pub async fn until<T, F>(what: &str, limit: Duration, mut question: impl FnMut() -> F) -> Outcome<T>
where
    F: Future<Output = Outcome<Result<T, String>>>,
{
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        // A single call that fails is a restart of the apiserver or a moment without network: asked again.
        let seen = match question().await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(seen)) => seen,
            Err(failure) => failure.to_string(),
        };
        if tokio::time::Instant::now() >= deadline {
            return Err(Failure::new(format!("{what}: not within {} s", limit.as_secs())).seen(&seen));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
