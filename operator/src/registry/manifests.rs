//! Reading and writing manifests.

use bytes::Bytes;
use launchway_crds::digest::Sha256Digest;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};

use super::answer::{capped, error_detail};
use super::client::{Client, ERROR_CAP, FetchedManifest, MANIFEST_CAP};
use super::error::{ErrorKind, RegistryError};
use super::repository::Repository;
use crate::image::blob::Hasher;
use crate::image::manifest::{DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST};

impl Client {
    /// Digest and size of a manifest, without its content. `None` when it does not exist.
    ///
    /// # Errors
    /// When the registry refuses, is not reachable, or answers nonsense.
    pub async fn head_manifest(
        &self,
        repository: &Repository,
        reference: &str,
    ) -> Result<Option<Sha256Digest>, RegistryError> {
        let mut ask = self.ask(Method::HEAD, repository, &format!("manifests/{reference}"))?;
        ask.headers.insert(ACCEPT, accept());
        let response = self.send(&ask).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let stated = response
            .headers()
            .get("docker-content-digest")
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok());
        match (stated, reference.parse::<Sha256Digest>().ok()) {
            (Some(stated), Some(wanted)) if stated != wanted => {
                Err(RegistryError::invalid(&repository.to_string(), format!("asked for {wanted}, it names {stated}")))
            }
            (_, Some(wanted)) => Ok(Some(wanted)),
            (Some(stated), None) => Ok(Some(stated)),
            (None, None) => Ok(self.get_manifest(repository, reference).await?.map(|manifest| manifest.digest)),
        }
    }

    /// What a tag names now, asked for in one small request: a registry that knows conditional requests answers that
    /// nothing has changed since `known`. `None` when there is no such tag.
    ///
    /// # Errors
    /// When the registry refuses, is not reachable, or answers nonsense.
    pub async fn follow_tag(
        &self,
        repository: &Repository,
        tag: &str,
        known: Option<&Sha256Digest>,
    ) -> Result<Option<Sha256Digest>, RegistryError> {
        let mut ask = self.ask(Method::HEAD, repository, &format!("manifests/{tag}"))?;
        ask.headers.insert(ACCEPT, accept());
        if let Some(value) = known.and_then(|known| format!("\"{known}\"").parse().ok()) {
            ask.headers.insert(IF_NONE_MATCH, value);
        }
        let response = self.send(&ask).await?;
        match (response.status(), known) {
            (StatusCode::NOT_FOUND, _) => return Ok(None),
            (StatusCode::NOT_MODIFIED, Some(known)) => return Ok(Some(*known)),
            (StatusCode::OK, _) => {}
            (other, _) => {
                return Err(RegistryError::invalid(&repository.to_string(), format!("tag {tag} with status {other}")));
            }
        }
        match response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok()) {
            Some(stated) => stated.parse().map(Some).map_err(|_| {
                RegistryError::invalid(&repository.to_string(), format!("tag {tag} names no digest: `{stated}`"))
            }),
            // A registry that does not say it is asked for the content.
            None => Ok(self.get_manifest(repository, tag).await?.map(|manifest| manifest.digest)),
        }
    }

    /// A manifest by tag or digest; verified when by digest. `None` when it does not exist.
    ///
    /// # Errors
    /// When the registry refuses, is not reachable, or sends other content.
    pub async fn get_manifest(
        &self,
        repository: &Repository,
        reference: &str,
    ) -> Result<Option<FetchedManifest>, RegistryError> {
        let place = repository.to_string();
        let mut ask = self.ask(Method::GET, repository, &format!("manifests/{reference}"))?;
        ask.headers.insert(ACCEPT, accept());
        let response = self.follow(&ask).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if response.status() != StatusCode::OK {
            return Err(RegistryError::invalid(&place, format!("a manifest with status {}", response.status())));
        }
        let media_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(|value| value.split(';').next().unwrap_or_default().trim().to_owned())
            .unwrap_or_default();
        let bytes = capped(response, MANIFEST_CAP, &place, &self.options.patience).await?;
        let digest = Hasher::of(&bytes);
        if let Ok(wanted) = reference.parse::<Sha256Digest>()
            && wanted != digest
        {
            return Err(RegistryError::invalid(&place, format!("asked for manifest {wanted}, it sent {digest}")));
        }
        Ok(Some(FetchedManifest { bytes, digest, media_type }))
    }

    /// A manifest that must exist.
    ///
    /// # Errors
    /// As [`Self::get_manifest`], and when it does not exist.
    pub async fn need_manifest(
        &self,
        repository: &Repository,
        reference: &str,
    ) -> Result<FetchedManifest, RegistryError> {
        self.get_manifest(repository, reference).await?.ok_or_else(|| {
            RegistryError::new(
                ErrorKind::NotFound,
                &repository.to_string(),
                format!("{reference} does not exist"),
                "Check the name, and whether the registry's garbage collection removed it",
            )
        })
    }

    /// Writes a manifest under its digest or under a tag.
    ///
    /// # Errors
    /// When the registry refuses, is not reachable, or stores something else.
    pub async fn put_manifest(
        &self,
        repository: &Repository,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        self.write_manifest(repository, reference, media_type, bytes).await.map(|_| ())
    }

    /// Writes a manifest; the headers of the answer say what the registry made of it.
    pub(super) async fn write_manifest(
        &self,
        repository: &Repository,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<HeaderMap, RegistryError> {
        let place = repository.to_string();
        let digest = Hasher::of(bytes);
        let mut ask = self.ask(Method::PUT, repository, &format!("manifests/{reference}"))?;
        let value =
            media_type.parse().map_err(|_| RegistryError::invalid(&place, "a media type that is no header value"))?;
        ask.headers.insert(CONTENT_TYPE, value);
        ask.body = Some(Bytes::copy_from_slice(bytes));
        let response = self.send(&ask).await?;
        match response.status() {
            // 202 is what some registries say instead (Quay).
            StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED => {}
            StatusCode::NOT_FOUND => {
                let body = capped(response, ERROR_CAP, &place, &self.options.patience).await.unwrap_or_default();
                return Err(RegistryError::new(
                    ErrorKind::NotFound,
                    &place,
                    format!("manifest {digest} was not taken: {}", error_detail(&body)),
                    "A clean-up of the registry may have removed what it names: push again, and let clean-ups spare what is new",
                ));
            }
            other => {
                return Err(RegistryError::invalid(&place, format!("manifest {digest} was not taken: {other}")));
            }
        }
        let stated = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        if stated.is_some_and(|stated| stated != digest.to_string()) {
            return Err(RegistryError::invalid(
                &place,
                format!("sent manifest {digest}, it stored {}", stated.unwrap_or_default()),
            ));
        }
        Ok(response.headers().clone())
    }
}

pub(super) fn accept() -> reqwest::header::HeaderValue {
    let text = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX].join(", ");
    reqwest::header::HeaderValue::from_str(&text).unwrap_or(reqwest::header::HeaderValue::from_static("*/*"))
}
