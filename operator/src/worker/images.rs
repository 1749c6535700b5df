//! Bases in, images out: reading base images and pushing what was built on them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use launchway_crds::digest::ImageRef;

use crate::image::contract::{ImageTier, RuntimeContract};
use crate::image::failure::{Reason, Refusal};
use crate::image::manifest::{self, AddedLayer, Base, BuiltImage, DOCKER_MANIFEST, Descriptor, Document, MANIFEST};
use crate::image::plan::NamedLayer;
use crate::image::{Blob, ImageError};
use crate::registry::{Client, ErrorKind, Pushed, RegistryError, Repository, Silent};
use crate::release::CONFIG_CAP;

/// Why a build stops.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The customer's input, or a base image that the customer chose.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// A registry.
    #[error("{0}")]
    Registry(#[from] RegistryError),
    /// This machine, or the request itself.
    #[error("{0}")]
    Platform(String),
}

impl From<ImageError> for BuildError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Refused(refusal) => Self::Refused(refusal),
            ImageError::Io(error) => Self::Platform(format!("reading or writing the spool failed: {error}")),
        }
    }
}

impl From<std::io::Error> for BuildError {
    fn from(error: std::io::Error) -> Self {
        Self::Platform(format!("reading or writing the spool failed: {error}"))
    }
}

/// A base image with its contract.
#[derive(Debug, Clone)]
pub struct LoadedBase {
    /// Where it is.
    pub repository: Repository,
    /// Manifest and configuration.
    pub base: Base,
    /// The manifest's bytes, to use the base as it is.
    pub raw: Vec<u8>,
    /// The manifest's media type.
    pub media_type: &'static str,
    /// What it promises.
    pub contract: RuntimeContract,
}

fn refused(reason: Reason, image: &ImageRef, rule: impl Into<String>, remedy: &str) -> BuildError {
    BuildError::Refused(Box::new(Refusal::new(reason, &format!("base image {image}"), rule, remedy)))
}

/// Reads a base image; of an index, the image for this platform.
///
/// # Errors
/// When it does not exist, cannot be built upon, or states no contract for this tier.
pub async fn load_base(
    client: &Client,
    image: &ImageRef,
    tier: ImageTier,
    platform: (&str, &str),
) -> Result<LoadedBase, BuildError> {
    const REMEDY: &str = "Use a base image that Launchway's documentation describes, named by its digest";
    let unusable = |rule: String| refused(Reason::BaseImage, image, rule, REMEDY);
    let repository = Repository::of(image);
    let mut fetched = client.need_manifest(&repository, &image.digest().to_string()).await?;
    let mut document = Document::parse(&fetched.bytes).map_err(unusable)?;
    if let Document::Index { manifests, .. } = &document {
        let wanted = (platform.0.to_owned(), platform.1.to_owned());
        let found: Vec<&Descriptor> =
            manifests.iter().filter(|entry| entry.platform.as_ref() == Some(&wanted)).collect();
        let [entry] = found.as_slice() else {
            return Err(unusable(format!("its index has {} images for {}/{}", found.len(), wanted.0, wanted.1)));
        };
        fetched = client.need_manifest(&repository, &entry.digest.to_string()).await?;
        document = Document::parse(&fetched.bytes).map_err(unusable)?;
    }
    let Document::Manifest(manifest) = document else {
        return Err(unusable("its index names another index".to_owned()));
    };
    let bytes = client.get_blob(&repository, &manifest.config.digest, CONFIG_CAP).await?;
    let config =
        serde_json::from_slice(&bytes).map_err(|error| unusable(format!("its configuration is not JSON ({error})")))?;
    let contract = RuntimeContract::from_config(&config).map_err(|error| {
        refused(Reason::BaseContract, image, error.to_string(), "Add the dev.launchway.* labels to the base image")
    })?;
    if contract.tier != tier {
        let rule = format!("it is a {} image, and it is used as the {} base", contract.tier.as_str(), tier.as_str());
        return Err(refused(Reason::BaseContract, image, rule, "Swap the base images"));
    }
    let media_type = if fetched.media_type == DOCKER_MANIFEST { DOCKER_MANIFEST } else { MANIFEST };
    Ok(LoadedBase {
        repository,
        base: Base { digest: fetched.digest, manifest, config },
        raw: fetched.bytes,
        media_type,
        contract,
    })
}

/// Sizes for people.
#[must_use]
pub fn human(bytes: u64) -> String {
    let scaled = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", scaled(1_024)),
        1_048_576..1_073_741_824 => format!("{} MiB", scaled(1_048_576)),
        _ => format!("{} GiB", scaled(1_073_741_824)),
    }
}

/// Describes layers, off the async threads.
///
/// # Errors
/// When content cannot be read.
pub async fn describe(layers: Vec<NamedLayer>) -> Result<Vec<(NamedLayer, AddedLayer)>, BuildError> {
    tokio::task::spawn_blocking(move || {
        layers
            .into_iter()
            .map(|named| {
                let described = named.layer.describe()?;
                let added = AddedLayer { described, what: named.what.clone(), annotations: named.annotations.clone() };
                Ok((named, added))
            })
            .collect::<std::io::Result<Vec<_>>>()
    })
    .await
    .map_err(|error| BuildError::Platform(format!("hashing layers failed: {error}")))?
    .map_err(BuildError::from)
}

async fn copy_blob(
    client: &Client,
    from: &Repository,
    to: &Repository,
    blob: &Descriptor,
    spool: &Path,
) -> Result<Pushed, BuildError> {
    if client.head_blob(to, &blob.digest).await? == Some(blob.size) {
        return Ok(Pushed::Existed);
    }
    if client.mount_blob(to, &blob.digest, from).await? {
        return Ok(Pushed::Mounted);
    }
    let path = spool.join(format!("{}.blob", blob.digest.hex()));
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    client.download(from, &blob.digest, blob.size, &mut file, (&Silent, "")).await?;
    std::fs::remove_file(&path)?;
    Ok(client.push_blob(to, &blob.digest, Arc::new(Blob::from_file(file)?), None, (&Silent, "")).await?)
}

fn say_copied(tier: ImageTier, counts: (usize, usize, usize), bytes: u64) {
    let (existed, mounted, copied) = counts;
    println!(
        "{} base: {} layers ({}): {existed} exist already, {mounted} mounted, {copied} copied",
        tier.as_str(),
        existed + mounted + copied,
        human(bytes)
    );
}

async fn push_base_layers(
    client: &Client,
    base: &LoadedBase,
    target: &Repository,
    tier: ImageTier,
    spool: &Path,
) -> Result<(), BuildError> {
    let mut counts = (0, 0, 0);
    let mut bytes = 0;
    for layer in &base.base.manifest.layers {
        bytes += layer.size;
        match copy_blob(client, &base.repository, target, layer, spool).await? {
            Pushed::Existed => counts.0 += 1,
            Pushed::Mounted => counts.1 += 1,
            Pushed::Uploaded => counts.2 += 1,
        }
    }
    say_copied(tier, counts, bytes);
    Ok(())
}

/// Pushes an image by digest, everything it needs first, and reads it back.
///
/// # Errors
/// When a registry fails or does not hold what was sent.
pub async fn push_image(
    client: &Client,
    base: &LoadedBase,
    target: &Repository,
    image: &BuiltImage,
    layers: &[(NamedLayer, AddedLayer)],
    spool: &Path,
) -> Result<Descriptor, BuildError> {
    let tier = base.contract.tier;
    push_base_layers(client, base, target, tier, spool).await?;
    for (named, added) in layers {
        let how = client
            .push_blob(target, &added.described.digest, Arc::new(named.layer.clone()), None, (&Silent, ""))
            .await?;
        println!("{} layer: {} ({}): {}", tier.as_str(), named.what, human(added.described.size), how.as_str());
    }
    client.push_bytes(target, &image.config.digest, &image.config.bytes).await?;
    let digest = image.manifest.digest;
    if client.head_manifest(target, &digest.to_string()).await?.is_none() {
        client.put_manifest(target, &digest.to_string(), image.manifest.media_type, &image.manifest.bytes).await?;
    }
    verify(client, target, &image.manifest).await?;
    for layer in &image.layers[image.base_layers..] {
        if client.head_blob(target, &layer.digest).await? != Some(layer.size) {
            return Err(lost(target, &layer.digest.to_string()).into());
        }
    }
    println!("{} image: {digest}", tier.as_str());
    let mut descriptor = image.manifest.descriptor();
    descriptor.platform = Some(image.platform.clone());
    Ok(descriptor)
}

/// Brings a base image as it is into the target repository.
///
/// # Errors
/// When a registry fails.
pub async fn push_bare(
    client: &Client,
    base: &LoadedBase,
    target: &Repository,
    spool: &Path,
) -> Result<Descriptor, BuildError> {
    let tier = base.contract.tier;
    push_base_layers(client, base, target, tier, spool).await?;
    copy_blob(client, &base.repository, target, &base.base.manifest.config, spool).await?;
    let digest = base.base.digest;
    if client.head_manifest(target, &digest.to_string()).await?.is_none() {
        client.put_manifest(target, &digest.to_string(), base.media_type, &base.raw).await?;
    }
    client.need_manifest(target, &digest.to_string()).await?;
    println!("{} image: {digest} (the base as it is)", tier.as_str());
    let mut descriptor = Descriptor::new(base.media_type, digest, base.raw.len() as u64);
    let text = |key: &str| base.base.config.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    descriptor.platform = text("os").zip(text("architecture"));
    Ok(descriptor)
}

fn lost(target: &Repository, what: &str) -> RegistryError {
    RegistryError {
        kind: ErrorKind::Invalid,
        message: format!(
            "registry {target}: {what} was accepted and cannot be read back. Check the registry's storage and clean-up"
        ),
    }
}

/// Reads a manifest back after writing it.
///
/// # Errors
/// When it is not there or differs.
pub async fn verify(client: &Client, target: &Repository, document: &manifest::Encoded) -> Result<(), BuildError> {
    let found = client.get_manifest(target, &document.digest.to_string()).await?;
    if found.is_none_or(|found| found.bytes != document.bytes) {
        return Err(lost(target, &document.digest.to_string()).into());
    }
    Ok(())
}
