//! One question to one source: which revision is it now?

use kube::Client;
use launchway_crds::{
    common::LocalName,
    digest::Sha256Digest,
    git::{GitSource, RemoteRef},
    pipeline::{ArtifactSource, Source},
};

use crate::{
    flux::{self, FluxFault},
    git::{FaultKind, Transport},
    observe::{
        self, git,
        registry::{RegistryReader, fault, limited},
    },
    plan::execution::world::Fault,
    registry::Repository,
};

/// A word for the kind of a source, for metrics.
pub(super) const fn kind(source: &Source) -> &'static str {
    if source.artifact.is_some() {
        "artifact"
    } else if source.git.is_some() {
        "git"
    } else {
        "none"
    }
}

/// The revision of a source; none when there is nothing. `known` is what was seen last: a source that can say "not
/// changed" is spared the rest.
pub(super) async fn ask(
    client: &Client,
    registry: &RegistryReader,
    namespace: &str,
    source: &Source,
    known: Option<&str>,
) -> Result<Option<String>, Fault> {
    match (&source.artifact, &source.git) {
        (Some(artifact), _) => tag(client, registry, namespace, artifact, known).await,
        (None, Some(git)) => commit(client, namespace, git).await,
        (None, None) => Err(Fault::Absent("this source does not change by itself".into())),
    }
}

/// The commit that a branch or a tag names, or that Flux has fetched.
async fn commit(client: &Client, namespace: &str, source: &GitSource) -> Result<Option<String>, Fault> {
    match (source.remote(), &source.flux_ref) {
        (Some(remote), _) => of_server(client, namespace, &remote, source.secret_ref.as_ref()).await,
        (None, Some(object)) => {
            told(observe::flux::commit(client, namespace, object).await).map(|found| Some(found.id))
        }
        (None, None) => Err(Fault::Absent("spec.source.git names no repository".into())),
    }
}

/// What an object of Flux says, in the words of a source that is asked.
fn told<T>(answer: Result<T, FluxFault>) -> Result<T, Fault> {
    use flux::FaultKind;
    answer.map_err(|FluxFault { kind, message }| match kind {
        FaultKind::Forbidden => Fault::Refused(message),
        FaultKind::NotInstalled | FaultKind::NotFound | FaultKind::Stalled | FaultKind::Invalid => {
            Fault::Absent(message)
        }
        FaultKind::Unreadable | FaultKind::NotObserved | FaultKind::NotReady | FaultKind::NoArtifact => {
            Fault::Unreachable(message)
        }
    })
}

/// The commit that a ref names, as its server says.
async fn of_server(
    client: &Client,
    namespace: &str,
    remote: &RemoteRef,
    secret: Option<&LocalName>,
) -> Result<Option<String>, Fault> {
    match Transport::of(&remote.url) {
        Transport::Http => {}
        // The operator speaks no SSH: executions of such a pipeline ask by a Job, and a Job every few minutes is no poll.
        Transport::Ssh => {
            return Err(Fault::Absent(
                "spec.source.git.url: changes of a repository behind SSH cannot be noticed; name its https URL, a GitRepository of Flux in spec.source.git.fluxRef, or have each push create an execution"
                    .into(),
            ));
        }
    }
    match git::commit(client, namespace, remote, secret).await {
        Ok(commit) => Ok(Some(commit)),
        Err(fault) => match fault.kind {
            // The first push to a branch is a change.
            FaultKind::RefNotFound => Ok(None),
            FaultKind::RepositoryNotFound | FaultKind::Invalid => Err(Fault::Absent(fault.message)),
            FaultKind::Refused => Err(Fault::Refused(fault.message)),
            FaultKind::Unreachable => Err(Fault::Unreachable(fault.message)),
        },
    }
}

/// The digest that an artifact's tag names, or that Flux has fetched.
async fn tag(
    client: &Client,
    registry: &RegistryReader,
    namespace: &str,
    artifact: &ArtifactSource,
    known: Option<&str>,
) -> Result<Option<String>, Fault> {
    let repository = match (&artifact.repository, &artifact.flux_ref) {
        (Some(repository), _) => repository,
        (None, Some(object)) => {
            let found = told(observe::flux::artifact(client, namespace, object).await)?;
            return Ok(Some(found.digest.to_string()));
        }
        (None, None) => return Err(Fault::Absent("spec.source.artifact names no repository".into())),
    };
    let plain = artifact.plain_http.then_some(repository);
    let registry = registry.client(client, namespace, artifact.secret_ref.as_slice(), plain).await?;
    let repository = Repository::parse(repository).map_err(fault)?;
    let known: Option<Sha256Digest> = known.and_then(|known| known.parse().ok());
    let found = limited(registry.follow_tag(&repository, artifact.tag(), known.as_ref())).await?;
    Ok(found.map(|digest| digest.to_string()))
}
