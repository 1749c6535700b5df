//! One question to one source: which revision is it now?

use kube::Client;
use launchway_crds::{
    digest::Sha256Digest,
    git::GitSource,
    pipeline::{ArtifactSource, Source},
};

use crate::{
    git::{FaultKind, Transport},
    observe::{
        git,
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

/// The commit that a branch or a tag names.
async fn commit(client: &Client, namespace: &str, source: &GitSource) -> Result<Option<String>, Fault> {
    match Transport::of(&source.url) {
        Transport::Http => {}
        // The operator speaks no SSH: executions of such a pipeline ask by a Job, and a Job every few minutes is no poll.
        Transport::Ssh => {
            return Err(Fault::Absent(
                "spec.source.git.url: changes of a repository behind SSH cannot be noticed; name its https URL, or have each push create an execution"
                    .into(),
            ));
        }
    }
    match git::commit(client, namespace, source).await {
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

/// The digest that an artifact's tag names.
async fn tag(
    client: &Client,
    registry: &RegistryReader,
    namespace: &str,
    artifact: &ArtifactSource,
    known: Option<&str>,
) -> Result<Option<String>, Fault> {
    let plain = artifact.plain_http.then_some(&artifact.repository);
    let registry = registry.client(client, namespace, artifact.secret_ref.as_slice(), plain).await?;
    let repository = Repository::parse(&artifact.repository).map_err(fault)?;
    let known: Option<Sha256Digest> = known.and_then(|known| known.parse().ok());
    let found = limited(registry.follow_tag(&repository, &artifact.tag, known.as_ref())).await?;
    Ok(found.map(|digest| digest.to_string()))
}
