//! Flux's source controller beside the cluster: the real one, as a process of this machine, with its own kinds.

use std::{fs::File, net::TcpListener, path::PathBuf, process::Stdio, time::Duration};

use launchway_e2e::{Failure, Outcome, cluster::Cluster, process::Program as Process};
use tokio::process::{Child, Command};

/// The build of the controller from nothing.
const BUILD: Duration = Duration::from_secs(1800);
/// Kinds come and go: the controller has to take its finalizers away.
const KINDS: Duration = Duration::from_secs(90);

/// A controller that runs until it is removed.
pub struct Controller {
    cluster: Cluster,
    process: Child,
    storage: tempfile::TempDir,
    kinds: PathBuf,
}

impl Controller {
    /// Builds what is not in the cache, makes its kinds known to the cluster, and starts it.
    pub async fn start(cluster: &Cluster) -> Outcome<Self> {
        let built = Process::script("e2e/flux/build.sh").limit(BUILD).shown().run().await?;
        let folder = PathBuf::from(built.last_line());
        let kinds = folder.join("crds");
        kubectl(cluster, &["apply", "--server-side", "--filename"], &kinds).await?;
        kubectl(cluster, &["wait", "--for=condition=Established", "--timeout=30s", "--filename"], &kinds).await?;
        let storage = tempfile::tempdir().map_err(|error| error.to_string())?;
        let process = run(cluster, &folder.join("source-controller"), &storage)?;
        Ok(Self { cluster: cluster.clone(), process, storage, kinds })
    }

    /// The files of the archive that it made of a commit of a `GitRepository`.
    pub async fn archived(&self, namespace: &str, name: &str, commit: &str) -> Outcome<Vec<String>> {
        let folder = self.storage.path().join("gitrepository").join(namespace).join(name);
        let archive = folder.join(format!("{commit}.tar.gz"));
        let left = Process::new("tar").args(["--list", "--gzip", "--file"]).args([&archive]).run().await?;
        Ok(left.stdout.lines().map(str::to_string).collect())
    }

    /// The end of what it says.
    pub fn told(&self, failure: &Failure) -> Failure {
        Failure::new(failure.to_string()).log(&self.storage.path().join("log"))
    }

    /// Takes its kinds and all objects of them away, while it is there to let them go, and ends it.
    pub async fn remove(mut self) -> Outcome {
        kubectl(&self.cluster, &["delete", "--timeout=80s", "--filename"], &self.kinds).await?;
        self.process.kill().await.map_err(|error| Failure::new(format!("the source controller: {error}")))
    }
}

async fn kubectl(cluster: &Cluster, arguments: &[&str], kinds: &PathBuf) -> Outcome {
    cluster.program("kubectl").args(arguments).args([kinds]).limit(KINDS).run().await.map(drop)
}

fn run(cluster: &Cluster, program: &PathBuf, storage: &tempfile::TempDir) -> Outcome<Child> {
    let failed = |error: std::io::Error| Failure::new(format!("the source controller cannot be started: {error}"));
    let log = File::create(storage.path().join("log")).map_err(failed)?;
    let archives = free_address().map_err(failed)?;
    Command::new(program)
        .arg(format!("--storage-path={}", storage.path().display()))
        .args([format!("--storage-addr={archives}"), format!("--storage-adv-addr={archives}")])
        .arg(format!("--health-addr={}", free_address().map_err(failed)?))
        .args(["--metrics-addr=0", "--log-encoding=console"])
        .env("KUBECONFIG", &cluster.kubeconfig)
        .env("RUNTIME_NAMESPACE", "default")
        .env("no_proxy", "*")
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)
}

/// An address of this machine that nobody listens on.
fn free_address() -> std::io::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
