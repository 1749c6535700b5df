//! Writing blobs: ask, mount, or stream them in one piece from a source that can be read again.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream;
use launchway_crds::digest::Sha256Digest;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method, StatusCode};
use tokio::sync::mpsc;
use url::Url;

use super::auth::same_host;
use super::client::{Ask, Client, location, unreachable};
use super::error::{ErrorKind, RegistryError};
use super::repository::Repository;
use super::{Progress, Silent};
use crate::image::blob::Blob;
use crate::image::layer::Layer;

const PIECE: usize = 256 << 10;
const TRIES: u32 = 3;
/// A registry hashes and moves what it got before it answers; large blobs on slow disks take their time.
const SILENCE: Duration = Duration::from_secs(120);

/// Content that can be read from its start any number of times.
pub trait BlobSource: Send + Sync {
    /// Number of bytes.
    fn size(&self) -> u64;

    /// A reader from the start.
    ///
    /// # Errors
    /// When the content is no longer there.
    fn open(&self) -> std::io::Result<Box<dyn Read + Send>>;
}

impl BlobSource for Blob {
    fn size(&self) -> u64 {
        self.len()
    }

    fn open(&self) -> std::io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.reader()))
    }
}

impl BlobSource for Layer {
    fn size(&self) -> u64 {
        Self::size(self)
    }

    fn open(&self) -> std::io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.reader()))
    }
}

impl BlobSource for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn open(&self) -> std::io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(std::io::Cursor::new(self.clone())))
    }
}

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
                Err(error) if error.kind == ErrorKind::Unreachable && attempt < TRIES => {
                    progress.0.rewind(progress.1, 0);
                    tokio::time::sleep(Duration::from_millis(500) * attempt).await;
                    // The connection may have broken after the registry had everything.
                    if self.head_blob(repository, digest).await? == Some(source.size()) {
                        return Ok(Pushed::Uploaded);
                    }
                }
                Err(error) => return Err(error),
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
        let place = repository.to_string();
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
        match response.status() {
            StatusCode::CREATED if from.is_some() => Ok(Session::Mounted),
            StatusCode::ACCEPTED => {
                let url = location(&response, &ask.url)
                    .ok_or_else(|| RegistryError::invalid(&place, "an upload without an address"))?;
                if !same_host(&url, repository.registry(), self.is_plain(repository.registry())) {
                    let host = url.host_str().unwrap_or_default().to_owned();
                    return Err(RegistryError::invalid(
                        &place,
                        format!("it sends uploads to another host ({host}), which is not followed"),
                    ));
                }
                Ok(Session::Upload(url))
            }
            other => Err(RegistryError::invalid(&place, format!("an upload starts with status {other}"))),
        }
    }

    async fn put(
        &self,
        repository: &Repository,
        mut session: Url,
        digest: &Sha256Digest,
        source: &Arc<dyn BlobSource>,
        progress: (&dyn Progress, &str),
    ) -> Result<(), RegistryError> {
        let place = repository.to_string();
        session.query_pairs_mut().append_pair("digest", &digest.to_string());
        let ask = Ask { url: session, ..self.ask(Method::PUT, repository, "")? };
        let size = source.size();
        let (sender, receiver) = mpsc::channel::<std::io::Result<Bytes>>(2);
        let reader_source = Arc::clone(source);
        let reader = tokio::task::spawn_blocking(move || feed(reader_source.as_ref(), &sender));
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let body = stream::unfold(receiver, move |mut receiver| {
            let counter = Arc::clone(&counter);
            async move {
                let piece = receiver.recv().await?;
                if let Ok(bytes) = &piece {
                    counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                }
                Some((piece, receiver))
            }
        });
        let mut request = self
            .http(&ask.url)?
            .request(Method::PUT, ask.url.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, size)
            .body(Body::wrap_stream(body));
        if let Some(value) = self.authorization(&ask) {
            request = request.header(AUTHORIZATION, value);
        }
        let response = watch(request.send(), &sent, progress, &place).await;
        let fed = reader.await.map_err(|error| RegistryError::local(format!("reading the content failed: {error}")))?;
        let response = match (response, fed) {
            (_, Err(error)) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                return Err(RegistryError::local(format!("reading the content failed: {error}")));
            }
            (Err(error), _) => return Err(error),
            (Ok(response), _) => response,
        };
        if response.status() == StatusCode::UNAUTHORIZED {
            // A token that ran out during the upload: get another one and let the caller start again.
            self.authenticate(&ask, response.headers()).await?;
            return Err(RegistryError::new(
                ErrorKind::Unreachable,
                &place,
                "the token ran out during an upload",
                "Try again",
            ));
        }
        if matches!(response.status().as_u16(), 408 | 429 | 500 | 502 | 503 | 504) {
            return Err(RegistryError::new(
                ErrorKind::Unreachable,
                &place,
                format!("an upload ended with {}", response.status()),
                "Try again later",
            ));
        }
        let response = self.judge(&ask, response).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT => {}
            StatusCode::NOT_FOUND => {
                return Err(RegistryError::new(
                    ErrorKind::Unreachable,
                    &place,
                    "the upload was lost by the registry",
                    "Try again",
                ));
            }
            other => {
                return Err(RegistryError::invalid(&place, format!("an upload ended with status {other}")));
            }
        }
        let stated = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        if stated.is_some_and(|stated| stated != digest.to_string()) {
            return Err(RegistryError::invalid(
                &place,
                format!("sent blob {digest}, it stored {}", stated.unwrap_or_default()),
            ));
        }
        Ok(())
    }
}

fn feed(source: &dyn BlobSource, sender: &mpsc::Sender<std::io::Result<Bytes>>) -> std::io::Result<()> {
    let mut reader = source.open()?;
    let mut left = source.size();
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; wanted];
        if let Err(error) = reader.read_exact(&mut piece) {
            let _ = sender.blocking_send(Err(std::io::Error::new(error.kind(), error.to_string())));
            return Err(error);
        }
        left -= wanted as u64;
        if sender.blocking_send(Ok(Bytes::from(piece))).is_err() {
            return Err(std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the registry stopped reading"));
        }
    }
    Ok(())
}

/// Waits for the answer of an upload as long as bytes move, and for a bounded time after the last one.
async fn watch(
    request: impl Future<Output = Result<reqwest::Response, reqwest::Error>>,
    sent: &AtomicU64,
    (progress, name): (&dyn Progress, &str),
    place: &str,
) -> Result<reqwest::Response, RegistryError> {
    let mut request = std::pin::pin!(request);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let mut seen = 0;
    let mut since = Instant::now();
    loop {
        tokio::select! {
            response = &mut request => {
                progress.advance(name, sent.load(Ordering::Relaxed) - seen);
                return response.map_err(|error| unreachable(place, &error));
            }
            _ = tick.tick() => {
                let now = sent.load(Ordering::Relaxed);
                if now != seen {
                    progress.advance(name, now - seen);
                    seen = now;
                    since = Instant::now();
                } else if since.elapsed() > SILENCE {
                    let what = format!("an upload made no progress for {} seconds", SILENCE.as_secs());
                    return Err(RegistryError::new(ErrorKind::Unreachable, place, what, "Try again later"));
                }
            }
        }
    }
}
