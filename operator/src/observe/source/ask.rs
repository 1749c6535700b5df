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
    match (&source.artifact, &source.git) {
        (Some(_), _) => "artifact",
        (None, Some(_)) => "git",
        (None, None) => "none",
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
        (None, Some(git)) => commit(client, namespace, git).await.map(Some),
        (None, None) => Err(Fault::Absent("this source does not change by itself".into())),
    }
}

/// The commit that a branch or a tag names. A branch that is not there is told like a repository that is not there: the
/// pipeline names it.
async fn commit(client: &Client, namespace: &str, source: &GitSource) -> Result<String, Fault> {
    if Transport::of(&source.url) == Transport::Ssh {
        return Err(Fault::Absent(format!(
            "{} is spoken to by SSH, which is not asked for changes: use its https address, or start executions yourself",
            source.url
        )));
    }
    git::commit(client, namespace, source).await.map_err(|fault| match fault.kind {
        FaultKind::RepositoryNotFound | FaultKind::RefNotFound | FaultKind::Invalid => Fault::Absent(fault.message),
        FaultKind::Refused => Fault::Refused(fault.message),
        FaultKind::Unreachable => Fault::Unreachable(fault.message),
    })
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
