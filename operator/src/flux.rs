//! What objects of Flux's source controller say of a source: pure, whoever read them.
//!
//! Only spec and status of `GitRepository` and `OCIRepository` are used, never the archive that Flux serves: it leaves out
//! what a build needs (by default every `.png`, `.jpg` and `.zip`, and what `spec.ignore` names), so the commit is checked
//! out from the repository, and packages are read from the registry.
//! Fields: <https://fluxcd.io/flux/components/source/gitrepositories/> and `…/ocirepositories/`.

use jiff::SignedDuration;
use launchway_crds::{
    conditions::{reasons, truncate, types},
    digest::Sha256Digest,
    git::RemoteRef,
};
use serde::Deserialize;
use serde_json::Value;

use self::address::{is_registry_path, is_repository, without_logins};
use crate::text::one_line;

mod address;

/// The API group of the source controller.
pub const GROUP: &str = "source.toolkit.fluxcd.io";
/// Most of what Flux says that is repeated.
const WORDS_MAX: usize = 300;
/// Longest name of a ref, as status takes it.
const REF_MAX: usize = 256;
/// What is to be there may still be applied: GitOps tools apply in any order.
const APPLIED: SignedDuration = SignedDuration::from_secs(60);
/// What Flux has to fetch takes as long as a Git server or a registry may be away.
const FETCHED: SignedDuration = SignedDuration::from_mins(5);

/// A kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Git repository.
    GitRepository,
    /// A repository of OCI artifacts.
    OciRepository,
}

impl Kind {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GitRepository => "GitRepository",
            Self::OciRepository => "OCIRepository",
        }
    }

    /// The field of a Pipeline that names one.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::GitRepository => "spec.source.git.fluxRef",
            Self::OciRepository => "spec.source.artifact.fluxRef",
        }
    }
}

/// What is wrong with an object of Flux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The cluster knows no such kind.
    NotInstalled,
    /// There is no such object, or it is being deleted.
    NotFound,
    /// The operator may not read it.
    Forbidden,
    /// The apiserver answers with an error, or not at all.
    Unreadable,
    /// Its status is about an older spec.
    NotObserved,
    /// Flux cannot fetch what it says, or fetches it just now.
    NotReady,
    /// The same, and Flux does not try again before somebody changes it.
    Stalled,
    /// Nothing was ever fetched.
    NoArtifact,
    /// What it says cannot be used.
    Invalid,
}

/// Why an object of Flux does not say what the source is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FluxFault {
    /// What is wrong.
    pub kind: FaultKind,
    /// For people: which object, what it says, what to do.
    pub message: String,
}

impl FluxFault {
    /// The reason in status.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.kind {
            FaultKind::NotInstalled => reasons::FLUX_NOT_INSTALLED,
            FaultKind::NotFound => reasons::NOT_FOUND,
            FaultKind::Forbidden => reasons::FLUX_FORBIDDEN,
            FaultKind::Unreadable => reasons::FLUX_UNREADABLE,
            FaultKind::NotObserved => reasons::FLUX_NOT_OBSERVED,
            FaultKind::NotReady => reasons::FLUX_NOT_READY,
            FaultKind::Stalled => reasons::FLUX_STALLED,
            FaultKind::NoArtifact => reasons::FLUX_NO_ARTIFACT,
            FaultKind::Invalid => reasons::FLUX_INVALID,
        }
    }

    /// How long it is worth waiting for another answer; none where only a person's change makes one.
    #[must_use]
    pub const fn patience(&self) -> Option<SignedDuration> {
        match self.kind {
            FaultKind::NotInstalled | FaultKind::NotFound => Some(APPLIED),
            FaultKind::Unreadable | FaultKind::NotObserved | FaultKind::NotReady | FaultKind::NoArtifact => {
                Some(FETCHED)
            }
            FaultKind::Forbidden | FaultKind::Stalled | FaultKind::Invalid => None,
        }
    }
}

/// A reference to an object of Flux, for the sentences about it.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace: always that of the pipeline.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

impl Object<'_> {
    /// What is wrong with it. `why` goes on after kind and name.
    #[must_use]
    pub fn fault(&self, kind: FaultKind, why: &str) -> FluxFault {
        FluxFault { kind, message: format!("{}: {} {} {why}", self.kind.field(), self.kind.as_str(), self.name) }
    }

    /// The cluster has no such kind.
    #[must_use]
    pub fn not_installed(&self) -> FluxFault {
        let message = format!(
            "{}: this cluster knows no {} of {GROUP}: install Flux's source controller, or name the source itself",
            self.kind.field(),
            self.kind.as_str()
        );
        FluxFault { kind: FaultKind::NotInstalled, message }
    }

    /// There is no such object.
    #[must_use]
    pub fn not_found(&self) -> FluxFault {
        let why = format!(
            "does not exist in namespace {}: create it there (an object of another namespace cannot be named), or correct the \
             name",
            self.namespace
        );
        self.fault(FaultKind::NotFound, &why)
    }

    /// The apiserver does not let the operator read it.
    #[must_use]
    pub fn forbidden(&self, said: &str) -> FluxFault {
        let why = format!("cannot be read: {}: set rbac.flux of the operator's chart to true", words(said));
        self.fault(FaultKind::Forbidden, &why)
    }

    /// The apiserver does not say what it is, which may be for its version of the kind is served by a webhook.
    #[must_use]
    pub fn unreadable(&self, said: &str) -> FluxFault {
        let why = format!("cannot be read: {}: kubectl get it, and look at the kind's conversion webhook", words(said));
        self.fault(FaultKind::Unreadable, &why)
    }
}

/// What a `GitRepository` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FluxCommit {
    /// The repository and the ref that Flux follows.
    pub remote: RemoteRef,
    /// The commit that Flux fetched last.
    pub id: String,
    /// Whether Flux accepts only commits whose signature it has verified.
    pub verified: bool,
}

/// What an `OCIRepository` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FluxArtifact {
    /// Registry and repository.
    pub repository: String,
    /// The artifact that Flux fetched last.
    pub digest: Sha256Digest,
    /// Whether Flux accepts only artifacts whose signature it has verified.
    pub verified: bool,
}

/// The parts of an object that mean something here. What Flux adds later is nobody's error.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Said {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    generation: Option<i64>,
    deletion_timestamp: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    url: String,
    #[serde(rename = "ref")]
    reference: Option<Reference>,
    verify: Option<Value>,
}

/// What a `GitRepository` follows; later fields win over earlier ones.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reference {
    tag: Option<String>,
    semver: Option<String>,
    name: Option<String>,
    commit: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    observed_generation: Option<i64>,
    conditions: Vec<Condition>,
    artifact: Option<Artifact>,
}

/// A condition of the object.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: String,
    message: String,
    observed_generation: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Artifact {
    revision: String,
}

/// What a `GitRepository` says.
///
/// # Errors
/// Why that is no commit.
pub fn commit(object: Object<'_>, data: &Value) -> Result<FluxCommit, FluxFault> {
    let said = read(object, data)?;
    let invalid = |why: String| object.fault(FaultKind::Invalid, &why);
    let revision = ready(object, &said)?;
    let url = said.spec.url.clone();
    if !is_repository(&url) {
        return Err(invalid(format!(
            "has spec.url `{}`, which is none of a repository: https://HOST/PATH, http://HOST/PATH or ssh://[USER@]HOST/PATH",
            words(&url)
        )));
    }
    // `main@sha1:…`, `refs/pull/7/head@sha1:…`, `sha1:…`
    let (name, hash) = revision.rsplit_once('@').map_or((None, revision), |(name, hash)| (Some(name), hash));
    let id = hash.split_once(':').map(|(_, id)| id).filter(|id| is_commit(id));
    let id = id
        .ok_or_else(|| invalid(format!("has status.artifact.revision `{}`, which names no commit", words(revision))))?;
    let reference = reference(name, said.spec.reference.as_ref());
    if !is_ref(&reference) {
        return Err(invalid(format!("follows `{}`, which is no name of a ref", words(&reference))));
    }
    Ok(FluxCommit { remote: RemoteRef { url, reference }, id: id.to_string(), verified: said.spec.verify.is_some() })
}

/// What an `OCIRepository` says.
///
/// # Errors
/// Why that is no artifact.
pub fn artifact(object: Object<'_>, data: &Value) -> Result<FluxArtifact, FluxFault> {
    let said = read(object, data)?;
    let invalid = |why: String| object.fault(FaultKind::Invalid, &why);
    let revision = ready(object, &said)?;
    let url = &said.spec.url;
    let repository = url.strip_prefix("oci://").filter(|rest| is_registry_path(rest));
    let repository = repository.ok_or_else(|| {
        invalid(format!("has spec.url `{}`, which is none of a repository: oci://REGISTRY/REPOSITORY", words(url)))
    })?;
    // `latest@sha256:…`, `sha256:…`
    let digest = revision.rsplit('@').next().and_then(|digest| digest.parse().ok()).ok_or_else(|| {
        invalid(format!("has status.artifact.revision `{}`, which names no digest sha256:…", words(revision)))
    })?;
    Ok(FluxArtifact { repository: repository.to_string(), digest, verified: said.spec.verify.is_some() })
}

fn read(object: Object<'_>, data: &Value) -> Result<Said, FluxFault> {
    Said::deserialize(data)
        .map_err(|error| object.fault(FaultKind::Invalid, &format!("cannot be read: {}", words(&error.to_string()))))
}

/// The revision of the artifact, if Flux vouches for it.
fn ready<'a>(object: Object<'_>, said: &'a Said) -> Result<&'a str, FluxFault> {
    if said.metadata.deletion_timestamp.is_some() {
        return Err(object.fault(FaultKind::NotFound, "is being deleted: create it again, or name another one"));
    }
    let generation = said.metadata.generation;
    let current = |seen: Option<i64>| generation.is_none() || seen == generation;
    let condition = |type_: &str| said.status.conditions.iter().find(|condition| condition.type_ == type_);
    let is_true = |condition: &&Condition| condition.status == "True";
    let because = |condition: &Condition| format!("{}: {}", words(&condition.reason), words(&condition.message));
    if let Some(stalled) = condition(types::STALLED).filter(is_true).filter(|found| current(found.observed_generation))
    {
        return Err(object.fault(FaultKind::Stalled, &format!("is stalled: {}: correct it", because(stalled))));
    }
    let ready = condition(types::READY);
    if let Some(ready) = ready.filter(|ready| !is_true(ready)) {
        return Err(object.fault(FaultKind::NotReady, &format!("is not ready: {}", because(ready))));
    }
    // Flux counts a generation as observed when it came to an end with it.
    if !current(said.status.observed_generation) {
        let why =
            "has no status about what its spec says now: Flux's source controller has not come to it, or does not run";
        return Err(object.fault(FaultKind::NotObserved, why));
    }
    if ready.is_none() {
        let why = "has no condition Ready: Flux's source controller has not come to it, or does not run";
        return Err(object.fault(FaultKind::NotReady, why));
    }
    let artifact = said.status.artifact.as_ref();
    artifact
        .map(|artifact| artifact.revision.as_str())
        .ok_or_else(|| object.fault(FaultKind::NoArtifact, "has no status.artifact: Flux has fetched nothing yet"))
}

/// The whole name of the ref that a `GitRepository` follows, of the name that its revision begins with.
fn reference(name: Option<&str>, follows: Option<&Reference>) -> String {
    let Some(name) = name else { return "HEAD".into() };
    if name.starts_with("refs/") {
        return name.to_string();
    }
    let is_tag = follows
        .is_some_and(|all| all.commit.is_none() && all.name.is_none() && (all.semver.is_some() || all.tag.is_some()));
    format!("refs/{}/{name}", if is_tag { "tags" } else { "heads" })
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A name that Git takes for one ref and nothing else (`git help check-ref-format`).
fn is_ref(name: &str) -> bool {
    let odd = |letter: char| letter <= ' ' || matches!(letter, '~' | '^' | ':' | '?' | '*' | '[' | '\\' | '\u{7f}');
    name == "HEAD"
        || name.len() <= REF_MAX
            && name.starts_with("refs/")
            && !name.contains(odd)
            && !["..", "@{", "//"].iter().any(|part| name.contains(part))
            && !["/", ".", ".lock"].iter().any(|end| name.ends_with(end))
}

/// What is repeated of an object: bounded, in one line, and without logins. Flux takes URLs with a password in them, and
/// names them in its own messages; whoever may read an execution may not know it for that.
fn words(text: &str) -> String {
    truncate(&without_logins(&one_line(text)), WORDS_MAX)
}

#[cfg(test)]
mod tests;
