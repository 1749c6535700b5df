//! Reading blobs.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use bytes::Bytes;
use launchway_crds::digest::Sha256Digest;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use reqwest::{Method, StatusCode};
use tokio::sync::mpsc;

use super::Progress;
use super::answer::{capped, next};
use super::client::Client;
use super::error::{ErrorKind, RegistryError};
use super::repository::Repository;
use crate::image::blob::Hasher;

const RESUMES: u32 = 5;
/// Pieces of at most 400 KiB that wait to be written.
const AHEAD: usize = 4;

/// What the writing thread of a download is told.
enum Piece {
    /// The content begins (again).
    FromStart,
    /// It goes on.
    Next(Bytes),
}

/// Writes and hashes what arrives, so that receiving waits for neither.
fn write(mut file: File, mut pieces: mpsc::Receiver<Piece>) -> std::io::Result<Sha256Digest> {
    let mut hasher = Hasher::new();
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::FromStart => {
                hasher = Hasher::new();
                file.set_len(0)?;
                file.seek(SeekFrom::Start(0))?;
            }
            Piece::Next(bytes) => {
                hasher.update(&bytes);
                file.write_all(&bytes)?;
            }
        }
    }
    file.flush()?;
    Ok(hasher.finish())
}

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
        let (sender, receiver) = mpsc::channel(AHEAD);
        let target = file.try_clone().map_err(local)?;
        let written = tokio::task::spawn_blocking(move || write(target, receiver));
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
                        progress.rewind(name, 0);
                    }
                    if sender.send(Piece::FromStart).await.is_err() {
                        break 'requests;
                    }
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
                        progress.advance(name, chunk.len() as u64);
                        if sender.send(Piece::Next(chunk)).await.is_err() {
                            break 'requests;
                        }
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
        // The thread ends with the channel, or has ended before because it could not write.
        drop(sender);
        let found = written.await.map_err(RegistryError::local)?.map_err(local)?;
        if found != *digest {
            return Err(RegistryError::invalid(&place, format!("asked for blob {digest}, it sent {found}")));
        }
        progress.finish(name, "downloaded");
        Ok(())
    }
}
