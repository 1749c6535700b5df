//! The Build Images Job: an artifact and two bases in, a release out, by the code of [`crate::build`].

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use launchway_crds::digest::{ImageRef, Sha256Digest};
use launchway_crds::pipeline::{LayerEncoding, SIGNING_KEY};
use serde::{Deserialize, Serialize};

use super::verdict::{Reason, Verdict};
use crate::attest::key::SigningKey;
use crate::build::publish::Target;
use crate::build::{self, BaseRef, BuildError, Made, Recipe, Source, Watch, attach};
use crate::registry::{Authorities, Client, ClientOptions, Credentials, Progress, Repository};
use crate::text::human;

pub use crate::build::publish::Built;

/// Environment variable with the request.
pub const REQUEST: &str = "LAUNCHWAY_BUILD";
/// Environment variable with the spool folder.
pub const SPOOL: &str = "LAUNCHWAY_SPOOL";
/// Environment variable with the path of the termination message.
pub const TERMINATION_LOG: &str = "LAUNCHWAY_TERMINATION_LOG";
/// Environment variable with the folder of the credentials; for tests.
pub const CREDENTIALS: &str = "LAUNCHWAY_CREDENTIALS";
/// The folder of the credentials, one folder each for `source` and `target`.
pub const CREDENTIALS_FOLDER: &str = "/var/run/launchway/credentials";

/// The two base images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bases {
    /// Base of author and publish.
    pub aem: ImageRef,
    /// Base of the web server.
    pub dispatcher: ImageRef,
}

/// What to build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuildRequest {
    /// The artifact: `REGISTRY/REPOSITORY@sha256:…`.
    pub artifact: ImageRef,
    /// Where images go: `REGISTRY/REPOSITORY`.
    pub target: String,
    /// Base images.
    pub base: Bases,
    /// Whether the dispatcher image alone is built; `base.aem` is then the image beside it.
    #[serde(default)]
    pub web_tier: bool,
    /// `namespace/name` of the execution, for log lines alone.
    #[serde(default)]
    pub execution: String,
    /// Registries (`HOST[:PORT]`) that are spoken to in plain HTTP.
    #[serde(default)]
    pub plain_http: Vec<String>,
    /// Prefixes of `group:name` that the runtime brings along, besides the default ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provided: Vec<String>,
    /// How layers are stored.
    #[serde(default)]
    pub layer_encoding: LayerEncoding,
    /// `os/architecture` to choose from bases that are an index. Default `linux/amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// File with the private key that signs the provenance. Default: unsigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_key: Option<PathBuf>,
}

impl BuildRequest {
    fn recipe(&self) -> Recipe {
        Recipe {
            source: Source::Artifact(self.artifact.clone()),
            aem: BaseRef::Image(self.base.aem.clone()),
            dispatcher: BaseRef::Image(self.base.dispatcher.clone()),
            web_tier: self.web_tier,
            provided: self.provided.clone(),
            layer_encoding: self.layer_encoding,
            platform: self.platform.clone().unwrap_or_else(|| build::PLATFORM.to_owned()),
        }
    }
}

/// Prints what a build does.
pub(super) struct Lines;

impl Watch for Lines {
    fn line(&self, line: &str) {
        println!("{line}");
    }
}

impl Progress for Lines {
    fn start(&self, name: &str, total: u64) {
        println!("file {name}: downloading {}", human(total));
    }

    fn finish(&self, name: &str, how: &str) {
        println!("file {name}: {how}");
    }
}

/// What a build found out before it ended, whichever way it ended.
#[derive(Debug, Default)]
struct Trail {
    /// The report's digest, when it was pushed.
    report: Option<Sha256Digest>,
}

async fn build(client: &Client, request: &BuildRequest, spool: &Path, trail: &mut Trail) -> Result<Built, BuildError> {
    let repository = Repository::parse(&request.target)?;
    let key = request.sign_key.as_deref().map(read_key).transpose().map_err(|error| match error {
        BuildError::Platform(why) => BuildError::Platform(format!(
            "{why}. It is the key `{SIGNING_KEY}` of the Secret that spec.images.signing.secretRef of the Pipeline names"
        )),
        other => other,
    })?;
    let Made { report, outcome } = build::make(client, &request.recipe(), Some(&repository), spool, &Lines).await?;
    let assembled = match outcome {
        Ok(assembled) => assembled,
        Err(refusal) => {
            // The report helps people, but its loss must not hide the refusal.
            trail.report = attach::push_report(client, &repository, &report).await.ok();
            return Err(BuildError::Refused(refusal));
        }
    };
    let target = Target { repository: &repository, tag: None, key: key.as_ref() };
    let built = build::publish(client, target, &assembled, &report, spool, &Lines).await?;
    trail.report = Some(built.report);
    Ok(built)
}

/// Reads a private key.
///
/// # Errors
/// When the file cannot be read or is no such key.
pub fn read_key(path: &Path) -> Result<SigningKey, BuildError> {
    let bad = |why: String| BuildError::Platform(format!("signing key {}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| bad(format!("it cannot be read: {error}")))?;
    SigningKey::from_pem(&pem).map_err(bad)
}

/// A client with the credentials and authorities that are mounted.
///
/// # Errors
/// When one of the files cannot be read.
pub(super) fn client(plain_http: &[String], credentials: &Path) -> Result<Client, BuildError> {
    let source = Credentials::from_file(&credentials.join("source/.dockerconfigjson"))?;
    let target = Credentials::from_file(&credentials.join("target/.dockerconfigjson"))?;
    let client = Client::new(ClientOptions {
        plain_http: plain_http.iter().cloned().collect(),
        credentials: source.and(target),
        authorities: Authorities::from_file(&credentials.join("source/ca.crt"))?
            .and(Authorities::from_file(&credentials.join("target/ca.crt"))?),
        ..ClientOptions::default()
    })?;
    Ok(client)
}

/// The folder with mounted credentials.
pub(super) fn credentials() -> PathBuf {
    from_env(CREDENTIALS, CREDENTIALS_FOLDER)
}

/// Runs a request to its end and says how it ended.
pub async fn run(request: &BuildRequest, spool: &Path, credentials: &Path) -> Verdict<Built> {
    let mut trail = Trail::default();
    let result = async {
        std::fs::create_dir_all(spool)?;
        let client = client(&request.plain_http, credentials)?;
        build(&client, request, spool, &mut trail).await
    }
    .await;
    let problem = |reason: &str, message: &str| Reason { report: trail.report, ..Reason::new(reason, message) };
    match result {
        Ok(built) => Verdict::Ok(built),
        Err(BuildError::Refused(refusal)) => Verdict::Failed(problem(refusal.reason.as_str(), &refusal.message())),
        Err(BuildError::Registry(error)) => Verdict::Error(problem(error.code(), &error.message)),
        Err(BuildError::Platform(message)) => Verdict::Error(problem("Platform", &message)),
    }
}

/// The first process of a container gets no default handling of signals: without this a Job that is deleted would keep
/// its pod for the whole grace period.
async fn until_stopped(work: impl Future<Output = Verdict<Built>>) -> Verdict<Built> {
    let stopped = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        outcome = work => outcome,
        () = stopped => Verdict::Error(Reason::new("Stopped", "the build was asked to stop; nothing of a release exists until its index is pushed")),
    }
}

pub(super) fn from_env(name: &str, default: &str) -> PathBuf {
    std::env::var_os(name).map_or_else(|| PathBuf::from(default), PathBuf::from)
}

/// The Job's main: reads the environment, builds, writes the termination message.
#[must_use]
pub async fn main() -> ExitCode {
    let outcome = match request_from_env() {
        Ok(request) => {
            println!(
                "build images for {}",
                if request.execution.is_empty() { "no execution" } else { &request.execution }
            );
            let spool = from_env(SPOOL, "/spool");
            until_stopped(run(&request, &spool, &credentials())).await
        }
        Err(message) => Verdict::Error(Reason::new("InvalidRequest", &message)),
    };
    outcome.conclude()
}

fn request_from_env() -> Result<BuildRequest, String> {
    let text = std::env::var(REQUEST).map_err(|_| format!("the environment variable {REQUEST} is missing"))?;
    serde_json::from_str(&text).map_err(|error| format!("{REQUEST} cannot be read: {error}"))
}
