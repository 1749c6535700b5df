//! Releases in a registry: one index that names the AEM and the dispatcher image.

use launchway_crds::digest::{ImageRef, Sha256Digest};
use serde_json::Value;

use crate::image::contract::{ImageTier, RuntimeContract};
use crate::image::manifest::{Descriptor, Document, Manifest, RELEASE, TIER_KEY};
use crate::registry::{Client, ErrorKind, RegistryError, Repository};

/// Largest image configuration.
pub const CONFIG_CAP: usize = 4 << 20;

/// One image of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseImage {
    /// The image.
    pub image: ImageRef,
    /// What it promises.
    pub contract: RuntimeContract,
}

/// Both images of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Author and publish.
    pub aem: ReleaseImage,
    /// The web server.
    pub dispatcher: ReleaseImage,
}

fn invalid(image: &ImageRef, what: impl std::fmt::Display) -> RegistryError {
    RegistryError {
        kind: ErrorKind::Invalid,
        message: format!("release {image}: {what}. Build it again with Launchway"),
    }
}

/// Reads the digests that a release index names: AEM, then dispatcher.
///
/// # Errors
/// When it does not exist or is no release.
pub async fn release_images(
    client: &Client,
    release: &ImageRef,
) -> Result<(Sha256Digest, Sha256Digest), RegistryError> {
    let fetched = client.need_manifest(&Repository::of(release), &release.digest().to_string()).await?;
    let Document::Index { artifact_type, manifests } =
        Document::parse(&fetched.bytes).map_err(|why| invalid(release, why))?
    else {
        return Err(invalid(release, "it is one image, not an index of two"));
    };
    if artifact_type.as_deref() != Some(RELEASE) || manifests.len() != 2 {
        return Err(invalid(release, "it is an index, but not a release"));
    }
    let of = |tier: &str| {
        let mut found =
            manifests.iter().filter(|entry| entry.annotations.get(TIER_KEY).is_some_and(|value| value == tier));
        match (found.next(), found.next()) {
            (Some(Descriptor { digest, .. }), None) => Ok(*digest),
            _ => Err(invalid(release, format!("it does not name exactly one {tier} image"))),
        }
    };
    Ok((of("aem")?, of("dispatcher")?))
}

/// Checks that a release exists, names exactly these two images, and that both exist.
///
/// # Errors
/// What is missing or different.
pub async fn verify_release(
    client: &Client,
    release: &ImageRef,
    aem: Sha256Digest,
    dispatcher: Sha256Digest,
) -> Result<(), RegistryError> {
    let found = release_images(client, release).await?;
    if found != (aem, dispatcher) {
        return Err(invalid(
            release,
            format!("it names aem {} and dispatcher {}, expected were {aem} and {dispatcher}", found.0, found.1),
        ));
    }
    let repository = Repository::of(release);
    for digest in [aem, dispatcher] {
        if client.head_manifest(&repository, &digest.to_string()).await?.is_none() {
            return Err(RegistryError {
                kind: ErrorKind::NotFound,
                message: format!(
                    "release {release}: its image {digest} does not exist any more. Build it again, and keep releases from the registry's clean-up"
                ),
            });
        }
    }
    Ok(())
}

/// Reads the contracts of both images of a release.
///
/// # Errors
/// When something is missing or an image states no usable contract.
pub async fn runtime_contract(client: &Client, release: &ImageRef) -> Result<Release, RegistryError> {
    let (aem, dispatcher) = release_images(client, release).await?;
    Ok(Release {
        aem: image_contract(client, release, aem, ImageTier::Aem).await?,
        dispatcher: image_contract(client, release, dispatcher, ImageTier::Dispatcher).await?,
    })
}

async fn image_contract(
    client: &Client,
    release: &ImageRef,
    digest: Sha256Digest,
    tier: ImageTier,
) -> Result<ReleaseImage, RegistryError> {
    let image = ImageRef::new(release.repository(), digest).map_err(|error| invalid(release, error))?;
    let (_, config) = image_config(client, &image).await?;
    let contract = RuntimeContract::from_config(&config).map_err(|error| invalid(&image, error))?;
    if contract.tier != tier {
        return Err(invalid(
            &image,
            format!("it is a {} image where {} is meant", contract.tier.as_str(), tier.as_str()),
        ));
    }
    Ok(ReleaseImage { image, contract })
}

/// Manifest and configuration of an image that is not an index.
///
/// # Errors
/// When it does not exist or is something else.
pub async fn image_config(client: &Client, image: &ImageRef) -> Result<(Manifest, Value), RegistryError> {
    let repository = Repository::of(image);
    let fetched = client.need_manifest(&repository, &image.digest().to_string()).await?;
    let Document::Manifest(manifest) = Document::parse(&fetched.bytes).map_err(|why| invalid(image, why))? else {
        return Err(invalid(image, "it is an index where one image is meant"));
    };
    let bytes = client.get_blob(&repository, &manifest.config.digest, CONFIG_CAP).await?;
    let config = serde_json::from_slice(&bytes)
        .map_err(|error| invalid(image, format!("its configuration is not JSON ({error})")))?;
    Ok((manifest, config))
}
