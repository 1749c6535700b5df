//! Base images: from a registry, or from an OCI layout folder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use launchway_crds::digest::{ImageRef, Sha256Digest};
use serde_json::Value;

use super::BuildError;
use super::layout::{self, Place};
use super::source::spooled;
use crate::attest::provenance::{Resource, purl};
use crate::image::contract::{ImageTier, RuntimeContract};
use crate::image::failure::{Reason, Refusal};
use crate::image::manifest::{Base, DOCKER_MANIFEST, Descriptor, Document, MANIFEST};
use crate::registry::{Client, Location, Pushed, Repository, Silent};
use crate::release::CONFIG_CAP;

const REMEDY: &str = "Use a base image that Launchway's documentation describes, named by its digest";
/// Label with the name of what an image holds.
const TITLE_LABEL: &str = "org.opencontainers.image.title";

/// Names a base image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseRef {
    /// In a registry, by digest.
    Image(ImageRef),
    /// In a folder of this machine.
    Layout(Place),
}

impl fmt::Display for BaseRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(image) => image.fmt(f),
            Self::Layout(place) => place.fmt(f),
        }
    }
}

impl BaseRef {
    /// Reads what a person typed: `REGISTRY/REPOSITORY@sha256:…`, `REGISTRY/REPOSITORY:TAG` (asked for its digest now), or
    /// `oci:FOLDER[:NAME|@sha256:…]`.
    ///
    /// # Errors
    /// When it is of no such form, or the tag does not exist.
    pub async fn resolve(client: &Client, text: &str) -> Result<Self, BuildError> {
        if let Some(place) = text.strip_prefix("oci:") {
            let place = Place::parse(place).map_err(|why| BuildError::Platform(format!("{text}: {why}")))?;
            return Ok(Self::Layout(place));
        }
        let location = Location::parse(text)?;
        let digest = match (location.digest, &location.tag) {
            (Some(digest), _) => digest,
            (None, Some(tag)) => client.need_manifest(&location.repository, tag).await?.digest,
            (None, None) => {
                return Err(BuildError::Platform(format!(
                    "{text}: name a tag or a digest: REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:…"
                )));
            }
        };
        let image = ImageRef::new(&location.repository.to_string(), digest);
        Ok(Self::Image(image.map_err(|error| BuildError::Platform(error.to_string()))?))
    }
}

/// Where the blobs of a base image are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a registry.
    Repository(Repository),
    /// In a layout folder.
    Folder(PathBuf),
}

/// A base image with its contract.
#[derive(Debug, Clone)]
pub struct LoadedBase {
    /// As it was named, for messages.
    pub name: String,
    /// What the provenance names: the reference of a registry, or the digest alone for a folder.
    pub stated: String,
    /// Where its blobs are.
    pub origin: Origin,
    /// Manifest and configuration.
    pub base: Base,
    /// The manifest's bytes, to use the base as it is.
    pub raw: Vec<u8>,
    /// The manifest's media type.
    pub media_type: &'static str,
    /// What it promises.
    pub contract: RuntimeContract,
}

fn refused(reason: Reason, name: &str, rule: impl Into<String>, remedy: &str) -> BuildError {
    BuildError::Refused(Box::new(Refusal::new(reason, &format!("base image {name}"), rule, remedy)))
}

impl Origin {
    async fn manifest(&self, client: &Client, digest: Sha256Digest) -> Result<Vec<u8>, BuildError> {
        match self {
            Self::Repository(repository) => Ok(client.need_manifest(repository, &digest.to_string()).await?.bytes),
            Self::Folder(folder) => layout::manifest(folder, &digest).map_err(BuildError::Platform),
        }
    }

    async fn config(&self, client: &Client, digest: &Sha256Digest) -> Result<Vec<u8>, BuildError> {
        match self {
            Self::Repository(repository) => Ok(client.get_blob(repository, digest, CONFIG_CAP).await?),
            Self::Folder(folder) => layout::read(folder, digest, CONFIG_CAP as u64).map_err(BuildError::Platform),
        }
    }
}

/// Reads a base image; of an index, the image for this platform.
///
/// # Errors
/// When it does not exist, cannot be built upon, or states no contract for this tier.
pub async fn load(
    client: &Client,
    reference: &BaseRef,
    tier: ImageTier,
    platform: (&str, &str),
) -> Result<LoadedBase, BuildError> {
    let name = reference.to_string();
    let unusable = |rule: String| refused(Reason::BaseImage, &name, rule, REMEDY);
    let (origin, mut digest) = match reference {
        BaseRef::Image(image) => (Origin::Repository(Repository::of(image)), image.digest()),
        BaseRef::Layout(place) => {
            (Origin::Folder(place.folder.clone()), place.find().map_err(BuildError::Platform)?.digest)
        }
    };
    let mut raw = origin.manifest(client, digest).await?;
    let mut document = Document::parse(&raw).map_err(unusable)?;
    if let Document::Index { manifests, .. } = &document {
        digest = for_platform(manifests, platform).map_err(unusable)?;
        raw = origin.manifest(client, digest).await?;
        document = Document::parse(&raw).map_err(unusable)?;
    }
    let Document::Manifest(manifest) = document else {
        return Err(unusable("its index names another index".to_owned()));
    };
    let config = origin.config(client, &manifest.config.digest).await?;
    let config: Value = serde_json::from_slice(&config)
        .map_err(|error| unusable(format!("its configuration is not JSON ({error})")))?;
    let contract = RuntimeContract::from_config(&config).map_err(|error| {
        refused(Reason::BaseContract, &name, error.to_string(), "Add the dev.launchway.* labels to the base image")
    })?;
    if contract.tier != tier {
        let rule = format!("it is a {} image, and it is used as the {} base", contract.tier.as_str(), tier.as_str());
        return Err(refused(Reason::BaseContract, &name, rule, "Swap the base images"));
    }
    let stated = match reference {
        BaseRef::Image(image) => image.to_string(),
        BaseRef::Layout(_) => digest.to_string(),
    };
    let media_type = media_type(&raw);
    Ok(LoadedBase { name, stated, origin, base: Base { digest, manifest, config }, raw, media_type, contract })
}

fn for_platform(manifests: &[Descriptor], (os, architecture): (&str, &str)) -> Result<Sha256Digest, String> {
    let wanted = (os.to_owned(), architecture.to_owned());
    let found: Vec<&Descriptor> = manifests.iter().filter(|entry| entry.platform.as_ref() == Some(&wanted)).collect();
    match found.as_slice() {
        [entry] => Ok(entry.digest),
        several => Err(format!("its index has {} images for {os}/{architecture}", several.len())),
    }
}

/// What a manifest says of itself; OCI allows it to say nothing.
fn media_type(manifest: &[u8]) -> &'static str {
    let value: Value = serde_json::from_slice(manifest).unwrap_or_default();
    if value["mediaType"] == DOCKER_MANIFEST { DOCKER_MANIFEST } else { MANIFEST }
}

impl LoadedBase {
    /// A refusal of this base.
    #[must_use]
    pub fn refusal(&self, rule: String) -> BuildError {
        let reason = if rule.contains("layers (") { Reason::TooManyLayers } else { Reason::BaseImage };
        refused(reason, &self.name, rule, "Use another base image")
    }

    /// What it calls itself: the title among its labels, else what it is the base of.
    #[must_use]
    pub fn title(&self) -> String {
        let labels = self.base.config.pointer("/config/Labels");
        let title = labels.and_then(|labels| labels.get(TITLE_LABEL)).and_then(Value::as_str).unwrap_or_default();
        if title.is_empty() {
            format!("base of {}", self.contract.tier.as_str())
        } else {
            title.chars().take(200).collect()
        }
    }

    /// As an input of a build.
    #[must_use]
    pub fn material(&self) -> Resource {
        let uri = match &self.origin {
            Origin::Repository(repository) => ImageRef::new(&repository.to_string(), self.base.digest).ok(),
            Origin::Folder(_) => None,
        };
        Resource {
            name: format!("base-{}", self.contract.tier.as_str()),
            digest: self.base.digest,
            media_type: self.media_type.to_owned(),
            uri: uri.as_ref().map(purl),
            annotations: std::collections::BTreeMap::new(),
        }
    }

    /// Brings one of its blobs into another repository: asks, mounts, or sends the bytes.
    ///
    /// # Errors
    /// When a registry fails, or the folder does not have it.
    pub async fn copy_blob(
        &self,
        client: &Client,
        blob: &Descriptor,
        to: &Repository,
        spool: &Path,
    ) -> Result<Pushed, BuildError> {
        if client.head_blob(to, &blob.digest).await? == Some(blob.size) {
            return Ok(Pushed::Existed);
        }
        let source = match &self.origin {
            Origin::Repository(from) => {
                if client.mount_blob(to, &blob.digest, from).await? {
                    return Ok(Pushed::Mounted);
                }
                spooled(client, from, &blob.digest, blob.size, spool).await?
            }
            Origin::Folder(folder) => layout::open(folder, blob).map_err(BuildError::Platform)?,
        };
        Ok(client.push_blob(to, &blob.digest, Arc::new(source), None, (&Silent, "")).await?)
    }
}
