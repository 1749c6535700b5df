//! The Git server in the cluster, and checkouts on this machine that are pushed to it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::Api;
use launchway_e2e::{
    Failure, Outcome, artifacts,
    cluster::{Cluster, call, until},
    images::push,
    process::Program as Process,
    program::Program,
};
use serde_json::json;

const NAME: &str = "git";
const REPOSITORIES: [&str; 3] = ["site.git", "small.git", "private/small.git"];
const READY: Duration = Duration::from_secs(120);

/// Longest build of both images, with a Maven repository in one.
const BUILD: Duration = Duration::from_secs(1800);

/// Images that only this scenario needs.
pub struct Images {
    /// JDK, Maven and Git, with the libraries of the demo's site: pods reach no network here.
    pub builder: String,
    /// A Git server.
    pub git: String,
}

impl Images {
    /// Builds what is not in the cache, and pushes what is not in the registry. Building the site once fills the Maven
    /// repository that the builder brings along.
    pub async fn provide(cluster: &Cluster) -> Outcome<Self> {
        drop(artifacts::site(1, None).await?);
        let home = std::env::var("HOME").unwrap_or_default();
        Process::script("e2e/images/build.sh")
            .args(["builder", "git"])
            .env("BUILDER_MAVEN", format!("{home}/.m2/repository"))
            .limit(BUILD)
            .shown()
            .run()
            .await?;
        Ok(Self { builder: push(cluster, "builder-offline").await?, git: push(cluster, "git").await? })
    }
}

/// The server.
pub struct GitServer {
    address: String,
    namespace: String,
}

impl GitServer {
    /// Starts it in the program's namespace and waits until it is ready.
    pub async fn start(program: &Program, image: &str) -> Outcome<Self> {
        let labels = json!({ "app": NAME });
        program
            .apply(&json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": NAME },
                "spec": { "selector": { "matchLabels": labels }, "template": {
                    "metadata": { "labels": labels },
                    "spec": {
                        "automountServiceAccountToken": false,
                        "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
                        "containers": [{
                            "name": NAME, "image": image, "args": REPOSITORIES,
                            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                            "readinessProbe": { "tcpSocket": { "port": 8080 }, "periodSeconds": 1 },
                            "volumeMounts": [{ "name": "srv", "mountPath": "/srv/git" }, { "name": "tmp", "mountPath": "/tmp" }],
                        }],
                        "volumes": [{ "name": "srv", "emptyDir": {} }, { "name": "tmp", "emptyDir": {} }],
                    },
                } },
            }))
            .await?;
        // 443 is a port that the operator may call; nothing here speaks TLS.
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": NAME },
            "spec": { "selector": labels, "ports": [{ "name": "http", "port": 443, "targetPort": 8080 }] },
        });
        program.apply(&service).await?;
        let deployments: Api<Deployment> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
        until("the Git server is ready", READY, || async {
            let ready = call(deployments.get(NAME)).await?.status.and_then(|status| status.ready_replicas);
            Ok(if ready == Some(1) { Ok(()) } else { Err(format!("{ready:?} pods are ready")) })
        })
        .await?;
        let services: Api<Service> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
        let address = call(services.get(NAME)).await?.spec.and_then(|spec| spec.cluster_ip);
        let address = address.ok_or("the Git server's Service has no address")?;
        Ok(Self { address, namespace: program.namespace.clone() })
    }

    /// The URL of a repository as pods know it.
    pub fn url(&self, repository: &str) -> String {
        format!("http://{NAME}.{}.svc:443/{repository}", self.namespace)
    }
}

/// A checkout on this machine.
pub struct Checkout {
    folder: tempfile::TempDir,
    /// The repository as this machine knows it.
    remote: String,
}

impl Checkout {
    /// With nothing in it.
    pub fn empty(server: &GitServer, repository: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let made = Self { folder, remote: format!("http://{}:443/{repository}", server.address) };
        made.git(&["init", "--quiet", "--initial-branch=main"])?;
        Ok(made)
    }

    /// With the sources of the demo's site.
    pub fn of_site(server: &GitServer, repository: &str, release: u32) -> Outcome<Self> {
        let made = Self::empty(server, repository)?;
        let site = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("site");
        let copied = Command::new("cp").arg("-a").arg(site.join(".")).arg(made.folder.path()).status();
        if !copied.is_ok_and(|status| status.success()) {
            return Err(Failure::new("the site's sources cannot be copied"));
        }
        made.write(".gitignore", "target/\n")?;
        made.write("RELEASE", &release.to_string())?;
        Ok(made)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) -> Outcome {
        std::fs::write(self.folder.path().join(name), text).map_err(|error| Failure::new(format!("{name}: {error}")))
    }

    /// Commits everything, pushes it to main, and gives the commit.
    pub fn push(&self) -> Outcome<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message=pushed"])?;
        self.git(&["push", "--quiet", "--force", &self.remote, "HEAD:refs/heads/main"])?;
        self.git(&["rev-parse", "HEAD"])
    }

    fn git(&self, arguments: &[&str]) -> Outcome<String> {
        git(self.folder.path(), arguments)
    }
}

fn git(folder: &Path, arguments: &[&str]) -> Outcome<String> {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=dana", "-c", "user.email=dana@example.com", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .env("no_proxy", "*")
        .output()
        .map_err(|error| Failure::new(format!("git cannot be run: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_string());
    }
    Err(Failure::new(format!("git {}", arguments.join(" "))).seen(&String::from_utf8_lossy(&output.stderr)))
}
