//! Reading blobs.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use launchway_crds::digest::Sha256Digest;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use reqwest::{Method, StatusCode};

use super::Progress;
use super::answer::{capped, next};
use super::client::Client;
use super::error::{ErrorKind, RegistryError};
use super::repository::Repository;
use crate::image::blob::Hasher;

const RESUMES: u32 = 5;

impl Client {
    /// Size of a blob, or `None` when the repository does not have it.
    ///
    /// # Errors
    /// When the registry refuses, is not reachable, or answers nonsense.
    pub async fn head_blob(
        &self,
        repository: &Repository,
        digest: &Sha256Digest,
    ) -> Result<Option<u64>, RegistryError> {
        let ask = self.ask(Method::HEAD, repository, &format!("blobs/{digest}"))?;
        let response = self.follow(&ask).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let length = response
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok());
        length
            .map(Some)
            .ok_or_else(|| RegistryError::invalid(&repository.to_string(), format!("blob {digest} has no length")))
    }

    fn blob_missing(repository: &Repository, digest: &Sha256Digest) -> RegistryError {
        RegistryError::new(
            ErrorKind::NotFound,
            &repository.to_string(),
            format!("blob {digest} does not exist"),
            "Check whether the registry's garbage collection removed it, and push it again",
        )
    }

    /// A small blob, verified.
    ///
    /// # Errors
    /// When it does not exist, is larger than `cap`, or is other content.
    pub async fn get_blob(
        &self,
        repository: &Repository,
        digest: &Sha256Digest,
        cap: usize,
    ) -> Result<Vec<u8>, RegistryError> {
        let ask = self.ask(Method::GET, repository, &format!("blobs/{digest}"))?;
        let response = self.follow(&ask).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Self::blob_missing(repository, digest)),
            other => {
                return Err(RegistryError::invalid(
                    &repository.to_string(),
                    format!("blob {digest} with status {other}"),
                ));
            }
        }
        let bytes = capped(response, cap, &repository.to_string(), &self.options.patience).await?;
        let found = Hasher::of(&bytes);
        if found != *digest {
            return Err(RegistryError::invalid(
                &repository.to_string(),
                format!("asked for blob {digest}, it sent {found}"),
            ));
        }
        Ok(bytes)
    }

    /// Downloads a blob of known size into a file, resuming where a connection broke, and verifies it.
    ///
    /// # Errors
    /// When it does not exist, has another size, or is other content.
    pub async fn download(
        &self,
        repository: &Repository,
        digest: &Sha256Digest,
        size: u64,
        file: &mut File,
        progress: (&dyn Progress, &str),
    ) -> Result<(), RegistryError> {
        let most = self.options.patience.transfer(size);
        tokio::time::timeout(most, self.receive(repository, digest, size, file, progress)).await.map_err(|_| {
            let what = format!("blob {digest} of {size} bytes did not arrive within {} seconds", most.as_secs());
            RegistryError::new(ErrorKind::Unreachable, &repository.to_string(), what, "Try again later")
        })?
    }

    async fn receive(
        &self,
        repository: &Repository,
        digest: &Sha256Digest,
        size: u64,
        file: &mut File,
        progress: (&dyn Progress, &str),
    ) -> Result<(), RegistryError> {
        let place = repository.to_string();
        let local = |error: std::io::Error| RegistryError::local(format!("writing a downloaded file failed: {error}"));
        let (progress, name) = progress;
        let mut hasher = Hasher::new();
        let mut at = 0_u64;
        let mut resumes = 0;
        progress.start(name, size);
        'requests: loop {
            let mut ask = self.ask(Method::GET, repository, &format!("blobs/{digest}"))?;
            if at > 0 {
                let value = format!("bytes={at}-")
                    .parse()
                    .map_err(|_| RegistryError::invalid(&place, "a range that is no header value"))?;
                ask.headers.insert(RANGE, value);
            }
            let mut response = self.follow(&ask).await?;
            match response.status() {
                StatusCode::PARTIAL_CONTENT if at > 0 => {
                    let stated =
                        response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
                    if !stated.starts_with(&format!("bytes {at}-")) {
                        return Err(RegistryError::invalid(
                            &place,
                            format!("asked for bytes from {at}, it sent `{stated}`"),
                        ));
                    }
                }
                StatusCode::OK => {
                    if at > 0 {
                        at = 0;
                        hasher = Hasher::new();
                        progress.rewind(name, 0);
                    }
                    file.set_len(0).map_err(local)?;
                    file.seek(SeekFrom::Start(0)).map_err(local)?;
                }
                StatusCode::NOT_FOUND => return Err(Self::blob_missing(repository, digest)),
                other => {
                    return Err(RegistryError::invalid(&place, format!("blob {digest} with status {other}")));
                }
            }
            loop {
                match next(&mut response, &place, &self.options.patience).await {
                    Ok(Some(chunk)) => {
                        at += chunk.len() as u64;
                        if at > size {
                            return Err(RegistryError::invalid(
                                &place,
                                format!("blob {digest} is longer than the declared {size} bytes"),
                            ));
                        }
                        hasher.update(&chunk);
                        file.write_all(&chunk).map_err(local)?;
                        progress.advance(name, chunk.len() as u64);
                    }
                    Ok(None) if at == size => break 'requests,
                    Ok(None) | Err(_) if resumes < RESUMES => {
                        resumes += 1;
                        tokio::time::sleep(Duration::from_millis(300) * resumes).await;
                        continue 'requests;
                    }
                    Ok(None) => {
                        return Err(RegistryError::invalid(
                            &place,
                            format!("blob {digest} ends after {at} of {size} bytes"),
                        ));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let found = hasher.finish();
        if found != *digest {
            return Err(RegistryError::invalid(&place, format!("asked for blob {digest}, it sent {found}")));
        }
        file.flush().map_err(local)?;
        progress.finish(name, "downloaded");
        Ok(())
    }
}
