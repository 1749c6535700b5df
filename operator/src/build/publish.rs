//! Writes a release into a registry: blobs first, then images by digest, then the index, its documents, and tags last.
//!
//! An image whose manifest is there is complete, because a registry takes a manifest only when it has what that names,
//! and cleans up nothing that a manifest names. So of an unchanged release nothing is sent.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use launchway_crds::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

use super::attach::{self, lost, push_report, put, verify};
use super::stream::OwnLayer;
use super::{Assembled, Assembly, BuildError, Report, Watch};
use crate::attest::key::SigningKey;
use crate::image::manifest::Descriptor;
use crate::registry::{Client, Pushed, Repository};
use crate::text::human;

/// Blobs that are written at once.
pub(super) const AT_ONCE: usize = 4;

/// Digests of a finished build, all in the target repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Built {
    /// The index over both images: what is tested, approved and deployed.
    pub release: Sha256Digest,
    /// Author and publish.
    pub aem: Sha256Digest,
    /// The web server.
    pub dispatcher: Sha256Digest,
    /// The artifact with the report.
    pub report: Sha256Digest,
}

/// Where a release goes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The repository.
    pub repository: &'a Repository,
    /// A further tag for the release, besides the one that follows from its digest.
    pub tag: Option<&'a str>,
    /// The key that signs the provenance.
    pub key: Option<&'a SigningKey>,
}

/// Writes what the registry does not have yet. Doing it again changes nothing.
///
/// # Errors
/// When a registry fails or does not hold what was sent.
pub async fn publish(
    client: &Client,
    target: Target<'_>,
    assembled: &Assembled,
    report: &Report,
    spool: &Path,
    watch: &dyn Watch,
) -> Result<Built, BuildError> {
    let repository = target.repository;
    push_images(client, repository, assembled, spool, watch).await?;
    let release = &assembled.release;
    put(client, repository, release, &format!("release-{}", release.digest.short())).await?;
    if let Some(tag) = target.tag {
        put(client, repository, release, tag).await?;
    }
    watch.line(&format!("release {}", repository.at(release.digest)));
    attach::attach(client, repository, release, [&assembled.provenance, &assembled.sbom], target.key).await?;
    watch.line(&format!("provenance {}", repository.at(assembled.provenance.manifest.digest)));
    watch.line(&format!("sbom {}", repository.at(assembled.sbom.manifest.digest)));
    // Not beside the other documents: all name the same empty blob, and docker-registry 2.8 answers 400 to a manifest while
    // a blob that it names is written once more.
    let report = push_report(client, repository, report).await?;
    watch.line(&format!("report {}", repository.at(report)));
    if let Some(newest) = &assembled.newest
        && let Some(why) = newest.remember(client, repository, release).await
    {
        watch.line(&why);
    }
    let subjects = assembled.subjects();
    Ok(Built { release: subjects.release, aem: subjects.aem, dispatcher: subjects.dispatcher, report })
}

/// One blob that an image needs.
struct Need<'a> {
    image: &'a Assembly,
    /// Of ours: what it holds. `None` for the base's.
    what: Option<&'a str>,
    blob: Descriptor,
    content: Content<'a>,
}

enum Content<'a> {
    OfBase,
    /// Sent while it was hashed.
    Sent,
    Layer(&'a crate::image::layer::Layer),
    Bytes(&'a [u8]),
}

async fn push_images(
    client: &Client,
    repository: &Repository,
    assembled: &Assembled,
    spool: &Path,
    watch: &dyn Watch,
) -> Result<(), BuildError> {
    let heads = assembled.images().map(|image| {
        let digest = image.descriptor.digest.to_string();
        async move { client.head_manifest(repository, &digest).await }
    });
    let there = futures::future::try_join_all(heads).await?;
    let missing: Vec<&Assembly> = assembled
        .images()
        .into_iter()
        .zip(there)
        .filter(|(_, there)| there.is_none())
        .map(|(image, _)| image)
        .collect();
    let mut seen = BTreeSet::new();
    let needs = missing.iter().flat_map(|image| needs(image)).filter(|need| seen.insert(need.blob.digest));
    let done: Vec<(Need<'_>, Pushed)> = stream::iter(needs.collect::<Vec<_>>())
        .map(|need| async move {
            let how = bring(client, repository, &need, spool).await?;
            Ok::<_, BuildError>((need, how))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    say(&done, watch);
    let manifests = missing.iter().map(|image| async move {
        let (digest, bytes) = (image.descriptor.digest, &image.manifest);
        client.put_manifest(repository, &digest.to_string(), &image.descriptor.media_type, bytes).await?;
        verify(client, repository, digest, bytes).await
    });
    futures::future::try_join_all(manifests).await?;
    check_layers(client, repository, &missing).await?;
    for image in assembled.images() {
        let tier = image.tier().as_str();
        let note = match (missing.iter().any(|other| other.tier() == image.tier()), image.config.is_none()) {
            (false, _) => " (exists already)",
            (true, true) => " (the base as it is)",
            (true, false) => "",
        };
        watch.line(&format!("{tier} image: {}{note}", image.descriptor.digest));
    }
    Ok(())
}

fn needs(image: &Assembly) -> Vec<Need<'_>> {
    let of_base = |blob: &Descriptor| Need { image, what: None, blob: blob.clone(), content: Content::OfBase };
    let mut out: Vec<Need<'_>> = image.base.base.manifest.layers.iter().map(of_base).collect();
    for OwnLayer { named, added, sent } in &image.layers {
        let described = &added.described;
        out.push(Need {
            image,
            what: Some(&named.what),
            blob: Descriptor::new("", described.digest, described.size),
            content: if *sent { Content::Sent } else { Content::Layer(&named.layer) },
        });
    }
    out.push(match &image.config {
        Some(config) => Need {
            image,
            what: Some("configuration"),
            blob: config.descriptor(),
            content: Content::Bytes(&config.bytes),
        },
        None => of_base(&image.base.base.manifest.config),
    });
    out
}

async fn bring(client: &Client, repository: &Repository, need: &Need<'_>, spool: &Path) -> Result<Pushed, BuildError> {
    let digest = &need.blob.digest;
    match need.content {
        Content::OfBase => need.image.base.copy_blob(client, &need.blob, repository, spool).await,
        Content::Sent => Ok(Pushed::Uploaded),
        Content::Layer(layer) => {
            let source = Arc::new(layer.clone());
            Ok(client.push_blob(repository, digest, source, None, (&crate::registry::Silent, "")).await?)
        }
        Content::Bytes(bytes) => Ok(client.push_bytes(repository, digest, bytes).await?),
    }
}

fn say(done: &[(Need<'_>, Pushed)], watch: &dyn Watch) {
    for (need, how) in done {
        let tier = need.image.tier().as_str();
        let what = need.what.unwrap_or("part of the base");
        watch.line(&format!("{tier}: {what} ({}): {}", human(need.blob.size), how.as_str()));
    }
}

/// A registry that took a manifest should have its layers; some have lost them to a clean-up that ran meanwhile.
async fn check_layers(client: &Client, repository: &Repository, images: &[&Assembly]) -> Result<(), BuildError> {
    let layers = images.iter().flat_map(|image| &image.layers).map(|layer| layer.added.described);
    stream::iter(layers.map(Ok::<_, BuildError>))
        .try_for_each_concurrent(AT_ONCE, |layer| async move {
            if client.head_blob(repository, &layer.digest).await? == Some(layer.size) {
                Ok(())
            } else {
                Err(lost(repository, &layer.digest.to_string()).into())
            }
        })
        .await
}
