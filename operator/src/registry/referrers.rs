//! Manifests that refer to another one (`subject`): provenance, lists of materials, signatures.
//!
//! A registry with the referrers API keeps the list itself and says so in the answer to the write. For all others the
//! distribution specification makes the client keep an index under the tag `sha256-HEX` of the subject.

use launchway_crds::digest::Sha256Digest;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::answer::{capped, next_page};
use super::auth::same_host;
use super::client::{Client, MANIFEST_CAP};
use super::error::{ErrorKind, RegistryError};
use super::repository::Repository;
use crate::image::manifest::{Descriptor, Encoded, INDEX, canonical};

/// Most referrers of one manifest that are read or kept.
const MAX_REFERRERS: usize = 500;
/// Most pages of a list that are asked for.
const MAX_PAGES: usize = 20;
/// Rounds of read, merge and write until our entry stays in the index.
const MERGES: u32 = 5;

/// One manifest that refers to a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// Where it is, with its annotations.
    pub descriptor: Descriptor,
    /// What it is.
    pub artifact_type: Option<String>,
}

/// Who keeps the list in which a referrer is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// The registry, by its referrers API.
    ByRegistry,
    /// The index under the subject's fallback tag.
    UnderTag,
}

/// The tag that holds the index of a subject's referrers where the registry has no API for them.
#[must_use]
pub fn fallback_tag(subject: &Sha256Digest) -> String {
    format!("sha256-{}", subject.hex())
}

impl Client {
    /// Writes a manifest that has a `subject`, by its digest, and makes it findable from that subject. Doing it again
    /// changes nothing.
    ///
    /// # Hazards
    /// The fallback index is read, merged and written: registries offer no lock. Writes through one client wait for
    /// each other; of two processes that add to the same subject within milliseconds, one may lose its entry.
    ///
    /// # Errors
    /// When the manifest has no subject, the registry refuses or is not reachable, or the fallback tag holds something
    /// that is no index.
    pub async fn push_referrer(&self, repository: &Repository, document: &Encoded) -> Result<Listed, RegistryError> {
        let place = repository.to_string();
        let (subject, entry) = entry_of(document).map_err(|why| {
            RegistryError::new(ErrorKind::Local, &place, format!("manifest {}: {why}", document.digest), "Add it")
        })?;
        let headers =
            self.write_manifest(repository, &document.digest.to_string(), document.media_type, &document.bytes).await?;
        if let Some(taken) = headers.get("oci-subject").and_then(|value| value.to_str().ok()) {
            if taken != subject.to_string() {
                return Err(RegistryError::invalid(
                    &place,
                    format!("manifest {} refers to {subject}, it took {taken}", document.digest),
                ));
            }
            return Ok(Listed::ByRegistry);
        }
        let _turn = self.referrers.lock().await;
        self.add_to_index(repository, &subject, &entry).await?;
        Ok(Listed::UnderTag)
    }

    async fn add_to_index(
        &self,
        repository: &Repository,
        subject: &Sha256Digest,
        entry: &Value,
    ) -> Result<(), RegistryError> {
        let place = repository.to_string();
        let tag = fallback_tag(subject);
        for _ in 0..MERGES {
            let mut entries = self.tagged_entries(repository, &tag).await?;
            if entries.iter().any(|other| other["digest"] == entry["digest"]) {
                return Ok(());
            }
            entries.push(entry.clone());
            let bytes = canonical(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}));
            if entries.len() > MAX_REFERRERS || bytes.len() > MANIFEST_CAP {
                return Err(RegistryError::new(
                    ErrorKind::Invalid,
                    &place,
                    format!("tag {tag} would list {} referrers, {MAX_REFERRERS} allowed", entries.len()),
                    "Remove referrers that nobody needs",
                ));
            }
            self.put_manifest(repository, &tag, INDEX, &bytes).await?;
            // The next round reads it back: another writer may have replaced it meanwhile.
        }
        let entries = self.tagged_entries(repository, &tag).await?;
        if entries.iter().any(|other| other["digest"] == entry["digest"]) {
            return Ok(());
        }
        Err(RegistryError::new(
            ErrorKind::Unreachable,
            &place,
            format!("tag {tag} lost its new entry {MERGES} times"),
            "Look for other writers of this tag, and try again",
        ))
    }

    async fn tagged_entries(&self, repository: &Repository, tag: &str) -> Result<Vec<Value>, RegistryError> {
        match self.get_manifest(repository, tag).await? {
            Some(found) => entries(&found.bytes).map_err(|why| {
                RegistryError::new(
                    ErrorKind::Invalid,
                    &repository.to_string(),
                    format!("tag {tag} does not list referrers: {why}"),
                    "Remove the tag, which the specification reserves for this",
                )
            }),
            None => Ok(Vec::new()),
        }
    }

    /// The manifests that refer to a subject, those of one type if one is named. The subject need not exist.
    /// Entries that are not named by a SHA-256 digest are left out.
    ///
    /// # Errors
    /// When the registry refuses, is not reachable, or answers nonsense.
    pub async fn list_referrers(
        &self,
        repository: &Repository,
        subject: &Sha256Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Referrer>, RegistryError> {
        let found = match self.ask_referrers(repository, subject, artifact_type).await? {
            Some(found) => found,
            None => self.tagged_entries(repository, &fallback_tag(subject)).await?,
        };
        Ok(found
            .iter()
            .filter_map(referrer)
            .filter(|found| artifact_type.is_none() || found.artifact_type.as_deref() == artifact_type)
            .collect())
    }

    /// Asks the referrers API, page by page. `None` when the registry has none.
    async fn ask_referrers(
        &self,
        repository: &Repository,
        subject: &Sha256Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Value>>, RegistryError> {
        let place = repository.to_string();
        let mut ask = self.ask(Method::GET, repository, &format!("referrers/{subject}"))?;
        ask.headers.insert(ACCEPT, HeaderValue::from_static(INDEX));
        if let Some(kind) = artifact_type {
            ask.url.query_pairs_mut().append_pair("artifactType", kind);
        }
        let mut out = Vec::new();
        for page in 0..MAX_PAGES {
            let response = self.follow(&ask).await?;
            let is_index = response
                .headers()
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .is_some_and(|text| text.split(';').next().unwrap_or_default().trim() == INDEX);
            // A proxy may answer an unknown address with a page of its own.
            if page == 0 && (response.status() == StatusCode::NOT_FOUND || !is_index) {
                return Ok(None);
            }
            if response.status() != StatusCode::OK {
                return Err(RegistryError::invalid(
                    &place,
                    format!("a list of referrers with status {}", response.status()),
                ));
            }
            let next = next_page(response.headers(), &ask.url);
            let body = capped(response, MANIFEST_CAP, &place, &self.options.patience).await?;
            out.extend(
                entries(&body)
                    .map_err(|why| RegistryError::invalid(&place, format!("its list of referrers: {why}")))?,
            );
            if out.len() > MAX_REFERRERS {
                break;
            }
            let Some(next) = next else {
                return Ok(Some(out));
            };
            if !same_host(&next, repository.registry(), self.is_plain(repository.registry())) {
                let host = next.host_str().unwrap_or_default().to_owned();
                return Err(RegistryError::invalid(
                    &place,
                    format!("its list of referrers goes on at another host ({host}), which is not followed"),
                ));
            }
            ask.url = next;
        }
        Err(RegistryError::invalid(
            &place,
            format!("more than {MAX_REFERRERS} referrers or {MAX_PAGES} pages of them for {subject}"),
        ))
    }
}

/// The subject of a manifest, and the entry that a list of its referrers has for it.
fn entry_of(document: &Encoded) -> Result<(Sha256Digest, Value), &'static str> {
    let value: Value = serde_json::from_slice(&document.bytes).map_err(|_| "it is not JSON")?;
    let subject = value["subject"]["digest"].as_str().and_then(|text| text.parse().ok());
    let subject = subject.ok_or("it has no subject with a sha256 digest")?;
    let mut entry = document.descriptor().to_value();
    // An image manifest without a type of its own goes by that of its configuration (distribution-spec).
    let kind = value["artifactType"].as_str().or_else(|| value["config"]["mediaType"].as_str());
    if let Some(kind) = kind.filter(|kind| !kind.is_empty()) {
        entry["artifactType"] = json!(kind);
    }
    if let Some(annotations) = value["annotations"].as_object().filter(|map| !map.is_empty()) {
        entry["annotations"] = json!(annotations);
    }
    Ok((subject, entry))
}

/// The entries of an index as they are, so that fields of other tools survive a merge.
fn entries(bytes: &[u8]) -> Result<Vec<Value>, String> {
    let mut value: Value = serde_json::from_slice(bytes).map_err(|error| format!("it is not JSON ({error})"))?;
    if value["mediaType"].as_str().is_some_and(|kind| kind != INDEX) {
        return Err("it is not an OCI index".to_owned());
    }
    match value.get_mut("manifests").map(Value::take) {
        Some(Value::Array(entries)) if entries.len() <= MAX_REFERRERS => Ok(entries),
        Some(Value::Array(entries)) => Err(format!("it has {} entries, {MAX_REFERRERS} allowed", entries.len())),
        _ => Err("it has no list of manifests".to_owned()),
    }
}

fn referrer(entry: &Value) -> Option<Referrer> {
    let text = |key: &str| entry.get(key)?.as_str();
    let mut descriptor = Descriptor::new(text("mediaType")?, text("digest")?.parse().ok()?, entry["size"].as_u64()?);
    let none = Map::new();
    let annotations = entry["annotations"].as_object().unwrap_or(&none);
    descriptor.annotations =
        annotations.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    Some(Referrer { descriptor, artifact_type: text("artifactType").map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::image::blob::Hasher;

    fn document(value: &Value) -> Encoded {
        let bytes = canonical(value);
        Encoded { digest: Hasher::of(&bytes), bytes, media_type: crate::image::manifest::MANIFEST }
    }

    #[test]
    fn an_entry_names_type_and_annotations_of_its_manifest() {
        let subject = Hasher::of(b"subject");
        let with = document(&json!({
            "subject": {"digest": subject.to_string()}, "artifactType": "a/b", "config": {"mediaType": "c/d"},
            "annotations": {"k": "v"},
        }));
        let (found, entry) = entry_of(&with).unwrap();
        assert_eq!(
            (found, entry["artifactType"].as_str(), entry["annotations"]["k"].as_str()),
            (subject, Some("a/b"), Some("v"))
        );
        assert_eq!(entry["digest"], with.digest.to_string());
        assert_eq!(entry["size"], with.bytes.len());
        let untyped = document(&json!({"subject": {"digest": subject.to_string()}, "config": {"mediaType": "c/d"}}));
        assert_eq!(entry_of(&untyped).unwrap().1["artifactType"], "c/d");
        assert!(entry_of(&document(&json!({"config": {}}))).is_err());
        assert!(entry_of(&document(&json!({"subject": {"digest": "sha512:00"}}))).is_err());
    }

    #[test]
    fn entries_that_cannot_be_addressed_are_left_out() {
        let digest = Hasher::of(b"x").to_string();
        for (entry, usable) in [
            (json!({"mediaType": "a/b", "digest": digest, "size": 1}), true),
            (json!({"mediaType": "a/b", "digest": "sha512:00", "size": 1}), false),
            (json!({"mediaType": "a/b", "digest": digest, "size": -1}), false),
            (json!({"digest": digest, "size": 1}), false),
            (json!("text"), false),
        ] {
            assert_eq!(referrer(&entry).is_some(), usable, "{entry}");
        }
    }
}
