//! The Git server in the cluster, and checkouts on this machine that are pushed to it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Api, ResourceExt,
    api::{ListParams, LogParams},
};
use serde_json::json;

use crate::{
    Failure, Outcome,
    cluster::{Cluster, call},
    images::push,
    paths,
    process::Program as Process,
    program::Program,
    server::Server,
};

const NAME: &str = "git";
const REPOSITORIES: [&str; 3] = ["site.git", "small.git", "private/small.git"];
/// Secret with the login for SSH.
pub const LOGIN: &str = "git-ssh";
/// The same, with another key of the server.
pub const STRANGER: &str = "git-strange-host";
/// The same, with a key of a user that the server does not know.
pub const OUTSIDER: &str = "git-outsider";
/// Secret with what the server needs for SSH.
const KEYS: &str = "git-keys";

/// Longest build of both images, with a Maven repository in one.
const BUILD: Duration = Duration::from_secs(1800);

/// What this process has provided: the parts of a scenario follow one another.
static PROVIDED: OnceLock<Images> = OnceLock::new();

/// Images that only builds from Git need.
#[derive(Clone)]
pub struct Images {
    /// JDK, Maven and Git, with the libraries of the demo's site: pods reach no network here.
    pub builder: String,
    /// A Git server.
    pub git: String,
}

impl Images {
    /// Builds what is not in the cache, and pushes what is not in the registry. Building the site once fills the Maven
    /// repository that the builder brings along: one of its own, in which nothing else is.
    ///
    /// # Errors
    /// When Maven, the scripts or the registry fail.
    pub async fn provide(cluster: &Cluster) -> Outcome<Self> {
        if let Some(provided) = PROVIDED.get() {
            return Ok(provided.clone());
        }
        let repository = paths::cache_folder("maven")?;
        let site = tempfile::tempdir().map_err(|error| error.to_string())?;
        copy_site(site.path())?;
        Process::new("mvn")
            .args(["--batch-mode", "--quiet", "-Drelease=1", "package", "--file"])
            .args([site.path().join("pom.xml")])
            .args([format!("-Dmaven.repo.local={}", repository.display())])
            .limit(BUILD)
            .remedy("Maven says above what it misses; it must reach Maven Central")
            .run()
            .await?;
        Process::script("e2e/images/build.sh")
            .args(["builder", "git"])
            .env("BUILDER_MAVEN", repository)
            .limit(BUILD)
            .shown()
            .run()
            .await?;
        let images = Self { builder: push(cluster, "builder-offline").await?, git: push(cluster, "git").await? };
        Ok(PROVIDED.get_or_init(|| images).clone())
    }
}

fn copy_site(folder: &Path) -> Outcome {
    let site = paths::of_repository("e2e/site");
    let copied = Command::new("cp").arg("-a").arg(site.join(".")).arg(folder).status();
    if copied.is_ok_and(|status| status.success()) {
        Ok(())
    } else {
        Err(Failure::new("the site's sources cannot be copied"))
    }
}

/// The server.
pub struct GitServer {
    address: String,
    namespace: String,
}

impl GitServer {
    /// Starts it in the program's namespace and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(program: &Program, image: &str) -> Outcome<Self> {
        keys(program).await?;
        let server = Server {
            name: NAME,
            container: json!({
                "image": image, "args": REPOSITORIES,
                "readinessProbe": { "tcpSocket": { "port": 8080 }, "periodSeconds": 1 },
                "volumeMounts": [
                    { "name": "srv", "mountPath": "/srv/git" }, { "name": "tmp", "mountPath": "/tmp" },
                    { "name": "keys", "mountPath": "/keys", "readOnly": true },
                ],
            }),
            volumes: json!([
                { "name": "srv", "emptyDir": {} }, { "name": "tmp", "emptyDir": {} },
                { "name": "keys", "secret": { "secretName": KEYS } },
            ]),
            // 443 is a port that the operator may call; nothing here speaks TLS.
            ports: json!([
                { "name": "http", "port": 443, "targetPort": 8080 }, { "name": "ssh", "port": 22, "targetPort": 2222 },
            ]),
        };
        server.start(program).await?;
        let services: Api<Service> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
        let address = call(services.get(NAME)).await?.spec.and_then(|spec| spec.cluster_ip);
        let address = address.ok_or("the Git server's Service has no address")?;
        Ok(Self { address, namespace: program.namespace.clone() })
    }

    /// The URL of a repository as pods know it.
    #[must_use]
    pub fn url(&self, repository: &str) -> String {
        format!("http://{NAME}.{}.svc:443/{repository}", self.namespace)
    }

    /// The same by the address of its Service, which this machine reaches, too.
    pub fn by_address(&self, repository: &str) -> String {
        format!("http://{}:443/{repository}", self.address)
    }

    /// Its URL by SSH.
    #[must_use]
    pub fn ssh_url(&self, repository: &str) -> String {
        format!("ssh://launchway@{}/srv/git/{repository}", host(&self.namespace))
    }

    /// How many requests it has answered, by its access log.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub async fn requests(&self, program: &Program) -> Outcome<usize> {
        let pods: Api<Pod> = Api::namespaced(program.cluster.client.clone(), &self.namespace);
        let list = call(pods.list(&ListParams::default().labels(&format!("app={NAME}")))).await?;
        let pod = list.items.first().ok_or("the Git server has no pod")?.name_any();
        let log = call(pods.logs(&pod, &LogParams::default())).await?;
        Ok(log.lines().filter(|line| line.contains("\"HTTP/1.1\"")).count())
    }
}

fn host(namespace: &str) -> String {
    format!("{NAME}.{namespace}.svc")
}

/// Makes the keys for SSH, and the Secrets with them.
async fn keys(program: &Program) -> Outcome {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let pair = async |name: &str| -> Outcome<(String, String)> {
        let path = folder.path().join(name);
        Process::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .args([&path])
            .run()
            .await?;
        let read = |path: PathBuf| std::fs::read_to_string(path).map_err(|error| Failure::new(error.to_string()));
        Ok((read(path.clone())?, read(path.with_extension("pub"))?))
    };
    let ((own, own_public), (user, user_public), (other, other_public)) =
        (pair("server").await?, pair("user").await?, pair("other").await?);
    let known = |public: &str| format!("{} {public}", host(&program.namespace));
    for (name, data) in [
        (KEYS, json!({ "host": own, "authorized_keys": user_public })),
        (LOGIN, json!({ "ssh-privatekey": user, "known_hosts": known(&own_public) })),
        (OUTSIDER, json!({ "ssh-privatekey": other, "known_hosts": known(&own_public) })),
        (STRANGER, json!({ "ssh-privatekey": user, "known_hosts": known(&other_public) })),
    ] {
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": data });
        program.apply(&secret).await?;
    }
    Ok(())
}

/// A checkout on this machine.
pub struct Checkout {
    folder: tempfile::TempDir,
    /// The repository as this machine knows it.
    remote: String,
}

impl Checkout {
    /// With nothing in it.
    ///
    /// # Errors
    /// When Git fails.
    pub fn empty(server: &GitServer, repository: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let made = Self { folder, remote: server.by_address(repository) };
        made.git(&["init", "--quiet", "--initial-branch=main"])?;
        Ok(made)
    }

    /// With the sources of the demo's site.
    ///
    /// # Errors
    /// When Git fails, or the sources cannot be copied.
    pub fn of_site(server: &GitServer, repository: &str, release: u32) -> Outcome<Self> {
        let made = Self::empty(server, repository)?;
        copy_site(made.folder.path())?;
        made.write(".gitignore", "target/\n")?;
        made.write("RELEASE", &release.to_string())?;
        Ok(made)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Outcome {
        std::fs::write(self.folder.path().join(name), text).map_err(|error| Failure::new(format!("{name}: {error}")))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, name: &str) -> Outcome<String> {
        std::fs::read_to_string(self.folder.path().join(name)).map_err(|error| Failure::new(format!("{name}: {error}")))
    }

    /// Commits everything, pushes it to main, and gives the commit.
    ///
    /// # Errors
    /// When Git fails.
    pub fn push(&self) -> Outcome<String> {
        self.push_as("refs/heads/main")
    }

    /// The same under another name.
    ///
    /// # Errors
    /// When Git fails.
    pub fn push_as(&self, reference: &str) -> Outcome<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message=pushed"])?;
        self.git(&["push", "--quiet", "--force", &self.remote, &format!("HEAD:{reference}")])?;
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
