//! Small documents beside images: how they are written, and how those of a release are found again.

use std::collections::BTreeMap;

use launchway_crds::digest::Sha256Digest;

use super::BuildError;
use super::report::{MEDIA_TYPE as REPORT_TYPE, Report};
use crate::attest::bundle::{self, MAX_BUNDLE};
use crate::attest::key::{PublicKey, SigningKey};
use crate::attest::{BUNDLE_TYPE, SLSA_PROVENANCE};
use crate::image::Hasher;
use crate::image::manifest::{self, Descriptor, Document as Parsed, EMPTY_JSON, Encoded, REPORT, TITLE};
use crate::registry::{Client, ErrorKind, RegistryError, Repository};

/// Documents of one kind that are looked at; a release has one or two.
const MOST: usize = 20;

/// One document as a registry keeps it: a blob, and the manifest that names it.
#[derive(Debug, Clone)]
pub struct Document {
    /// The content.
    pub content: Vec<u8>,
    /// The manifest.
    pub manifest: Encoded,
}

impl Document {
    /// A document about a manifest, found from it.
    #[must_use]
    pub fn about(
        subject: &Descriptor,
        media_type: &str,
        title: &str,
        content: Vec<u8>,
        annotations: &BTreeMap<String, String>,
    ) -> Self {
        let layer = layer(media_type, title, &content);
        Self { manifest: manifest::referrer(subject, media_type, &[layer], annotations), content }
    }

    /// A build's report. It is no referrer: a build that makes no release has one too.
    #[must_use]
    pub fn report(report: &Report) -> Self {
        let content = report.to_json();
        let layer = layer(REPORT_TYPE, "report.json", &content);
        Self { manifest: manifest::artifact(REPORT, &[layer], &BTreeMap::new()), content }
    }

    /// A signed statement.
    ///
    /// # Errors
    /// When this machine gives no random numbers.
    fn signed(subject: &Descriptor, statement: &[u8], key: &SigningKey) -> Result<Self, BuildError> {
        let content = bundle::sign(statement, key).map_err(BuildError::Platform)?;
        let annotations =
            [("dev.sigstore.bundle.content", "dsse-envelope"), ("dev.sigstore.bundle.predicateType", SLSA_PROVENANCE)];
        let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Ok(Self::about(subject, BUNDLE_TYPE, "provenance.sigstore.json", content, &annotations))
    }

    async fn push_content(&self, client: &Client, target: &Repository) -> Result<(), RegistryError> {
        let (content, empty) = (Hasher::of(&self.content), Hasher::of(EMPTY_JSON));
        tokio::try_join!(
            client.push_bytes(target, &content, &self.content),
            client.push_bytes(target, &empty, EMPTY_JSON),
        )?;
        Ok(())
    }
}

fn layer(media_type: &str, title: &str, content: &[u8]) -> Descriptor {
    let mut layer = Descriptor::new(media_type, Hasher::of(content), content.len() as u64);
    layer.annotations.insert(TITLE.to_owned(), title.to_owned());
    layer
}

/// Writes a manifest by digest, reads it back, and gives it a tag that follows from the digest, so that clean-ups of
/// untagged content leave it alone. Sends nothing when the tag is there.
pub(crate) async fn put(client: &Client, target: &Repository, document: &Encoded, tag: &str) -> Result<(), BuildError> {
    if client.head_manifest(target, tag).await? == Some(document.digest) {
        return Ok(());
    }
    client.put_manifest(target, &document.digest.to_string(), document.media_type, &document.bytes).await?;
    verify(client, target, document.digest, &document.bytes).await?;
    client.put_manifest(target, tag, document.media_type, &document.bytes).await?;
    Ok(())
}

/// Reads a manifest back after writing it.
pub(super) async fn verify(
    client: &Client,
    target: &Repository,
    digest: Sha256Digest,
    bytes: &[u8],
) -> Result<(), RegistryError> {
    let found = client.get_manifest(target, &digest.to_string()).await?;
    if found.is_none_or(|found| found.bytes != bytes) {
        return Err(lost(target, &digest.to_string()));
    }
    Ok(())
}

pub(super) fn lost(target: &Repository, what: &str) -> RegistryError {
    RegistryError {
        kind: ErrorKind::Invalid,
        message: format!(
            "registry {target}: {what} was accepted and cannot be read back. Check the registry's storage and clean-up"
        ),
    }
}

/// Writes a build's report, under a tag that follows from its digest.
///
/// # Errors
/// When the registry fails.
pub async fn push_report(client: &Client, target: &Repository, report: &Report) -> Result<Sha256Digest, BuildError> {
    let document = Document::report(report);
    let tag = format!("report-{}", document.manifest.digest.short());
    if client.head_manifest(target, &tag).await? != Some(document.manifest.digest) {
        document.push_content(client, target).await?;
        put(client, target, &document.manifest, &tag).await?;
    }
    Ok(document.manifest.digest)
}

/// Makes documents findable from the release that they are about, and signs the first one if there is a key. What is
/// there already is not written again; a signature that this key made is not made again.
///
/// # Errors
/// When the registry fails.
pub(super) async fn attach(
    client: &Client,
    target: &Repository,
    release: &Encoded,
    [statement, other]: [&Document; 2],
    key: Option<&SigningKey>,
) -> Result<(), BuildError> {
    let known = client.list_referrers(target, &release.digest, None).await?;
    for document in [statement, other] {
        if !known.iter().any(|entry| entry.descriptor.digest == document.manifest.digest) {
            document.push_content(client, target).await?;
            client.push_referrer(target, &document.manifest).await?;
        }
    }
    let Some(key) = key else {
        return Ok(());
    };
    let bundles = known.iter().filter(|entry| entry.artifact_type.as_deref() == Some(BUNDLE_TYPE));
    for entry in bundles.take(MOST) {
        // A bundle of somebody else that cannot be read is no reason not to write ours.
        let content = content(client, target, &entry.descriptor.digest, MAX_BUNDLE).await;
        if content.is_ok_and(|bytes| bundle::open(&bytes, key.public()).is_ok_and(|found| found == statement.content)) {
            return Ok(());
        }
    }
    let signed = Document::signed(&release.descriptor(), &statement.content, key)?;
    signed.push_content(client, target).await?;
    client.push_referrer(target, &signed.manifest).await?;
    Ok(())
}

/// The only layer of an artifact.
async fn content(
    client: &Client,
    repository: &Repository,
    digest: &Sha256Digest,
    cap: usize,
) -> Result<Vec<u8>, RegistryError> {
    let fetched = client.need_manifest(repository, &digest.to_string()).await?;
    let parsed = Parsed::parse(&fetched.bytes);
    let Ok(Parsed::Manifest(found)) = parsed else {
        return Err(RegistryError::invalid(&repository.to_string(), format!("{digest} is no artifact")));
    };
    let [layer] = found.layers.as_slice() else {
        return Err(RegistryError::invalid(&repository.to_string(), format!("{digest} has not one layer")));
    };
    client.get_blob(repository, &layer.digest, cap).await
}

/// The documents of one type about a release, at most twenty. One that cannot be read is an error in its place.
///
/// # Errors
/// When the registry gives no list.
pub async fn documents(
    client: &Client,
    repository: &Repository,
    release: &Sha256Digest,
    artifact_type: &str,
    cap: usize,
) -> Result<Vec<Result<Vec<u8>, RegistryError>>, RegistryError> {
    let found = client.list_referrers(repository, release, Some(artifact_type)).await?;
    let mut out = Vec::new();
    for entry in found.iter().take(MOST) {
        out.push(content(client, repository, &entry.descriptor.digest, cap).await);
    }
    Ok(out)
}

/// The statements about a release that this key signed.
///
/// # Errors
/// When the registry gives no list of bundles.
pub async fn signed_by(
    client: &Client,
    repository: &Repository,
    release: &Sha256Digest,
    key: &PublicKey,
) -> Result<Vec<Vec<u8>>, RegistryError> {
    let bundles = documents(client, repository, release, BUNDLE_TYPE, MAX_BUNDLE).await?;
    Ok(bundles.iter().flatten().filter_map(|bytes| bundle::open(bytes, key).ok()).collect())
}
