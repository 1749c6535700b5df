//! Digests of layers: computed, or computed while the layer is sent.
//!
//! Hashing what is being sent spares a pass over the content and hides behind the registry, which is slower. But such a
//! layer is sent whether the registry has it or not. So a tag of the target repository remembers the newest release of
//! each project: layers of packages that its image has are hashed first and asked for, as everything small is. The tag
//! is a hint: what it says decides which of the two ways is taken, never what a digest is.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt, TryStreamExt};
use launchway_crds::digest::Sha256Digest;

use super::BuildError;
use super::publish::AT_ONCE;
use crate::image::Hasher;
use crate::image::layer::Described;
use crate::image::manifest::{AddedLayer, Document, Encoded};
use crate::image::plan::{BuildPlan, NamedLayer, PACKAGE_DIGEST};
use crate::registry::{Client, RegistryError, Repository, Silent};

/// Smaller layers cost more in requests than in hashing.
const STREAMED: u64 = 1 << 20;

/// Where layers go while they are hashed.
#[derive(Debug)]
pub(super) struct Outlet<'a> {
    client: &'a Client,
    repository: &'a Repository,
    /// Packages that the newest release of this project has.
    known: BTreeSet<String>,
}

/// The tag that remembers the newest release of a project in a repository.
#[derive(Debug, Clone)]
pub struct Newest {
    tag: String,
    is: Option<Sha256Digest>,
}

impl Newest {
    /// Moves the tag to a release. It is not worth a failure: a repository whose tags cannot be moved gets layers again.
    pub(super) async fn remember(&self, client: &Client, repository: &Repository, release: &Encoded) -> Option<String> {
        if self.is == Some(release.digest) {
            return None;
        }
        let put = client.put_manifest(repository, &self.tag, release.media_type, &release.bytes).await;
        let error = put.err()?;
        Some(format!("tag {} stays as it is, so the next build may send layers again: {error}", self.tag))
    }
}

/// The project that a plan is of: its packages, whatever their versions.
fn tag_of(plan: &BuildPlan) -> String {
    let own = plan.packages.iter().filter(|package| package.embedded_in.is_none());
    let names: BTreeSet<String> =
        own.map(|package| format!("{}:{}\n", package.id.group(), package.id.name())).collect();
    format!("newest-{}", Hasher::of(names.into_iter().collect::<String>().as_bytes()).short())
}

impl<'a> Outlet<'a> {
    /// Looks at the newest release of a plan's project. `None` when no package of the plan is large enough to matter.
    pub(super) async fn open(
        client: &'a Client,
        repository: &'a Repository,
        plan: &BuildPlan,
    ) -> Result<Option<(Self, Newest)>, RegistryError> {
        if plan.content.values().all(|blob| blob.len() < STREAMED) {
            return Ok(None);
        }
        let tag = tag_of(plan);
        let found = client.get_manifest(repository, &tag).await?;
        let mut known = BTreeSet::new();
        if let Some(found) = &found
            && let Ok(Document::Index { manifests, .. }) = Document::parse(&found.bytes)
        {
            // A release names two images; more are none of ours.
            for image in manifests.iter().take(2) {
                let image = client.get_manifest(repository, &image.digest.to_string()).await?;
                if let Some(Document::Manifest(image)) = image.and_then(|image| Document::parse(&image.bytes).ok()) {
                    known.extend(
                        image.layers.into_iter().filter_map(|mut layer| layer.annotations.remove(PACKAGE_DIGEST)),
                    );
                }
            }
        }
        let newest = Newest { tag, is: found.map(|found| found.digest) };
        Ok(Some((Self { client, repository, known }, newest)))
    }

    /// Whether a layer is worth sending before its digest is known.
    fn takes(&self, named: &NamedLayer) -> bool {
        let package = named.annotations.get(PACKAGE_DIGEST);
        named.layer.size() >= STREAMED && package.is_some_and(|package| !self.known.contains(package))
    }

    async fn send(&self, named: &NamedLayer) -> Result<Described, BuildError> {
        Ok(self.client.push_layer(self.repository, &named.layer, (&Silent, "")).await?)
    }
}

/// A layer of ours with its digests.
#[derive(Debug)]
pub struct OwnLayer {
    /// What it holds.
    pub named: NamedLayer,
    /// What it is.
    pub added: AddedLayer,
    /// Whether it was sent while it was hashed.
    pub sent: bool,
}

/// Describes layers, in their order: those that the outlet takes by sending them, the others off the async threads.
pub(super) async fn describe(
    layers: Vec<NamedLayer>,
    outlet: Option<&Outlet<'_>>,
) -> Result<Vec<OwnLayer>, BuildError> {
    stream::iter(layers)
        .map(|named| async move {
            let (described, sent) = match outlet.filter(|outlet| outlet.takes(&named)) {
                Some(outlet) => (outlet.send(&named).await?, true),
                None => (hash(&named).await?, false),
            };
            let added = AddedLayer {
                described,
                encoding: named.layer.encoding(),
                what: named.what.clone(),
                annotations: named.annotations.clone(),
            };
            Ok(OwnLayer { named, added, sent })
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

async fn hash(named: &NamedLayer) -> Result<Described, BuildError> {
    let layer = named.layer.clone();
    let described = tokio::task::spawn_blocking(move || layer.describe()).await;
    Ok(described.map_err(|error| BuildError::Platform(format!("hashing layers failed: {error}")))??)
}
