//! Writing blobs: ask, mount, or stream them in one piece from a source that can be read again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use launchway_crds::digest::Sha256Digest;
use reqwest::header::{CONTENT_RANGE, HeaderMap};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::answer::location;
use super::auth::same_host;
use super::client::{Ask, Client};
use super::error::{ErrorKind, RegistryError};
use super::repository::Repository;
use super::send::Failure;
use super::source::BlobSource;
use super::{Progress, Silent};
use crate::image::layer::{Described, Layer};

const TRIES: u32 = 3;

/// How a blob came into a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// The registry took it from another repository.
    Mounted,
    /// Its bytes were sent.
    Uploaded,
}

impl Pushed {
    /// For progress lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Existed => "exists already",
            Self::Mounted => "mounted",
            Self::Uploaded => "uploaded",
        }
    }
}

enum Session {
    Mounted,
    Upload(Url),
}

impl Client {
    /// Brings a blob into a repository: asks first, mounts from `from` when given, else sends the bytes in one piece.
    ///
    /// # Errors
    /// When the registry refuses, is not reachable, or the source fails.
    pub async fn push_blob(
        &self,
        repository: &Repository,
        digest: &Sha256Digest,
        source: Arc<dyn BlobSource>,
        from: Option<&Repository>,
        progress: (&dyn Progress, &str),
    ) -> Result<Pushed, RegistryError> {
        if self.head_blob(repository, digest).await? == Some(source.size()) {
            return Ok(Pushed::Existed);
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            let session = match self.session(repository, digest, from).await? {
                Session::Mounted => return Ok(Pushed::Mounted),
                Session::Upload(url) => url,
            };
            match self.put(repository, session, digest, &source, progress).await {
                Ok(()) => return Ok(Pushed::Uploaded),
                Err(failure) => wait(failure, attempt, progress).await?,
            }
            // The connection may have broken after the registry had everything.
            if self.head_blob(repository, digest).await? == Some(source.size()) {
                return Ok(Pushed::Uploaded);
            }
        }
    }

    /// Small content.
    ///
    /// # Errors
    /// As [`Self::push_blob`].
    pub async fn push_bytes(
        &self,
        repository: &Repository,
        digest: &Sha256Digest,
        bytes: &[u8],
    ) -> Result<Pushed, RegistryError> {
        self.push_blob(repository, digest, Arc::new(Bytes::copy_from_slice(bytes)), None, (&Silent, "")).await
    }

    /// Sends a layer whose digests are not known yet: they are computed from the very bytes that are sent, which
    /// spares a pass over the content. It is sent even if the registry has it: where that is likely, use
    /// [`Layer::describe`] and [`Self::push_blob`].
    ///
    /// # Errors
    /// When the registry refuses, is not reachable, or the content cannot be read.
    pub async fn push_layer(
        &self,
        repository: &Repository,
        layer: &Layer,
        progress: (&dyn Progress, &str),
    ) -> Result<Described, RegistryError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.patch_layer(repository, layer, progress).await {
                Ok(described) => return Ok(described),
                // Not every registry takes an upload before it knows the digest.
                Err(Failure { error, again: None }) if error.kind == ErrorKind::Invalid => {
                    return self.describe_and_push(repository, layer, progress).await;
                }
                Err(failure) => wait(failure, attempt, progress).await?,
            }
        }
    }

    async fn describe_and_push(
        &self,
        repository: &Repository,
        layer: &Layer,
        progress: (&dyn Progress, &str),
    ) -> Result<Described, RegistryError> {
        let again = layer.clone();
        let described = tokio::task::spawn_blocking(move || again.describe())
            .await
            .map_err(RegistryError::local)?
            .map_err(|error| RegistryError::local(format!("reading the content failed: {error}")))?;
        progress.0.rewind(progress.1, 0);
        self.push_blob(repository, &described.digest, Arc::new(layer.clone()), None, progress).await?;
        Ok(described)
    }

    async fn patch_layer(
        &self,
        repository: &Repository,
        layer: &Layer,
        progress: (&dyn Progress, &str),
    ) -> Result<Described, Failure> {
        let place = repository.to_string();
        let response = self.send(&self.ask(Method::POST, repository, "blobs/uploads/")?).await?;
        let url = self.upload_address(repository, &response, StatusCode::ACCEPTED, "starts")?;
        let mut headers = HeaderMap::new();
        let size = layer.size();
        let range = format!("0-{}", size.saturating_sub(1));
        headers.insert(CONTENT_RANGE, range.parse().map_err(|_| RegistryError::invalid(&place, "no range"))?);
        let ask = Ask { url, headers, ..self.ask(Method::PATCH, repository, "")? };
        let source = layer.clone();
        let (response, reader) =
            self.send_content(&ask, move || Ok(source.describing_reader()), size, progress).await?;
        let described = reader.finish();
        let mut url = self.upload_address(repository, &response, StatusCode::ACCEPTED, "goes on")?;
        url.query_pairs_mut().append_pair("digest", &described.digest.to_string());
        let response = self.send(&Ask { url, ..self.ask(Method::PUT, repository, "")? }).await?;
        if response.status() == StatusCode::NOT_FOUND {
            // A lost answer makes the request come twice: the second finds no upload any more, but the blob.
            return match self.head_blob(repository, &described.digest).await? {
                Some(found) if found == size => Ok(described),
                _ => Err(Failure::passing(&place, "the upload was lost by the registry")),
            };
        }
        taken(&place, &response, &described.digest)?;
        Ok(described)
    }

    /// Asks the registry to take a blob from another of its repositories. `false` when it would not.
    ///
    /// # Errors
    /// When the registry refuses or is not reachable.
    pub async fn mount_blob(
        &self,
        repository: &Repository,
        digest: &Sha256Digest,
        from: &Repository,
    ) -> Result<bool, RegistryError> {
        if repository.registry() != from.registry() {
            return Ok(false);
        }
        match self.session(repository, digest, Some(from)).await? {
            Session::Mounted => Ok(true),
            Session::Upload(url) => {
                // An upload that nobody continues only costs the registry a clean-up; tell it, and ignore the answer.
                let cancel = Ask { method: Method::DELETE, url, ..self.ask(Method::DELETE, repository, "")? };
                let _ = self.send(&cancel).await;
                Ok(false)
            }
        }
    }

    async fn session(
        &self,
        repository: &Repository,
        digest: &Sha256Digest,
        from: Option<&Repository>,
    ) -> Result<Session, RegistryError> {
        let mut ask = self.ask(Method::POST, repository, "blobs/uploads/")?;
        let from = from.filter(|from| from.registry() == repository.registry() && *from != repository);
        if let Some(from) = from {
            ask.url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from.path());
            ask.reads = Some(from);
        }
        let response = match self.send(&ask).await {
            // The other repository may not be ours to read: then the bytes are sent.
            Err(error) if error.kind == ErrorKind::Refused && from.is_some() => {
                self.send(&self.ask(Method::POST, repository, "blobs/uploads/")?).await?
            }
            other => other?,
        };
        if response.status() == StatusCode::CREATED && from.is_some() {
            return Ok(Session::Mounted);
        }
        self.upload_address(repository, &response, StatusCode::ACCEPTED, "starts").map(Session::Upload)
    }

    /// Where an upload goes on: at the registry itself, or nowhere.
    fn upload_address(
        &self,
        repository: &Repository,
        response: &Response,
        wanted: StatusCode,
        verb: &str,
    ) -> Result<Url, RegistryError> {
        let place = repository.to_string();
        if response.status() != wanted {
            let what = format!("an upload {verb} with status {}", response.status());
            return Err(RegistryError::invalid(&place, what));
        }
        let url = location(response, response.url())
            .ok_or_else(|| RegistryError::invalid(&place, format!("an upload {verb} without an address")))?;
        if !same_host(&url, repository.registry(), self.is_plain(repository.registry())) {
            let host = url.host_str().unwrap_or_default();
            let what = format!("it sends uploads to another host ({}://{host}), which is not followed", url.scheme());
            return Err(RegistryError::invalid(&place, what));
        }
        Ok(url)
    }

    async fn put(
        &self,
        repository: &Repository,
        mut session: Url,
        digest: &Sha256Digest,
        source: &Arc<dyn BlobSource>,
        progress: (&dyn Progress, &str),
    ) -> Result<(), Failure> {
        session.query_pairs_mut().append_pair("digest", &digest.to_string());
        let ask = Ask { url: session, ..self.ask(Method::PUT, repository, "")? };
        let reader = Arc::clone(source);
        let (response, _) = self.send_content(&ask, move || reader.open(), source.size(), progress).await?;
        Ok(taken(&repository.to_string(), &response, digest)?)
    }
}

/// Whether the registry took a whole blob, and which.
fn taken(place: &str, response: &Response, digest: &Sha256Digest) -> Result<(), RegistryError> {
    if !matches!(response.status(), StatusCode::CREATED | StatusCode::NO_CONTENT) {
        return Err(RegistryError::invalid(place, format!("an upload ended with status {}", response.status())));
    }
    let stated = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
    match stated {
        Some(stated) if stated != digest.to_string() => {
            Err(RegistryError::invalid(place, format!("sent blob {digest}, it stored {stated}")))
        }
        _ => Ok(()),
    }
}

/// Waits before the next try, or ends with what went wrong.
async fn wait(failure: Failure, attempt: u32, progress: (&dyn Progress, &str)) -> Result<(), RegistryError> {
    match failure.again {
        Some(pause) if attempt < TRIES => {
            progress.0.rewind(progress.1, 0);
            tokio::time::sleep(pause.max(Duration::from_millis(100)) * attempt).await;
            Ok(())
        }
        _ => Err(failure.error),
    }
}
