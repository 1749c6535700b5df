//! One question to one source: which revision is it now?

use kube::Client;
use launchway_crds::{
    digest::Sha256Digest,
    pipeline::{ArtifactSource, Source},
};

use crate::{
    observe::registry::{RegistryReader, fault, limited},
    plan::execution::world::Fault,
    registry::Repository,
};

/// A word for the kind of a source, for metrics.
pub(super) const fn kind(source: &Source) -> &'static str {
    if source.artifact.is_some() { "artifact" } else { "none" }
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
    match &source.artifact {
        Some(artifact) => tag(client, registry, namespace, artifact, known).await,
        None => Err(Fault::Absent("this source does not change by itself".into())),
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
