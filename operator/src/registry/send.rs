//! One request with a large body: read on a thread of its own, watched for progress, and judged by its answer.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Response, StatusCode};
use tokio::sync::{mpsc, oneshot};

use super::Progress;
use super::answer::{pause, retryable, too_long, unreachable};
use super::client::{Ask, Client};
use super::error::{ErrorKind, RegistryError};
use super::patience::Patience;

/// Bytes that are read at once. Two of them wait while a third is sent: with the connection's own buffer about 1 MiB an
/// upload.
const PIECE: usize = 256 << 10;

/// Why an upload ended, and whether it may be tried again.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: RegistryError,
    /// How long to wait before the next try; `None` when it makes no sense.
    pub again: Option<Duration>,
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self { error, again: None }
    }
}

impl Failure {
    /// What may well succeed the next time.
    pub(super) fn passing(place: &str, what: &str) -> Self {
        let error = RegistryError::new(ErrorKind::Unreachable, place, what, "Try again later");
        Self { error, again: Some(Duration::from_millis(500)) }
    }
}

impl Client {
    /// Sends the `size` bytes of a reader as the body of a request. The answer is one of success or 404; the reader
    /// comes back, read to its end.
    pub(super) async fn send_content<R: Read + Send + 'static>(
        &self,
        ask: &Ask<'_>,
        open: impl FnOnce() -> io::Result<R> + Send + 'static,
        size: u64,
        progress: (&dyn Progress, &str),
    ) -> Result<(Response, R), Failure> {
        let place = ask.repository.to_string();
        let patience = &self.options.patience;
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(2);
        // Closing it ends the reading, whatever the connection does with what it has.
        let (until, stopped) = oneshot::channel::<()>();
        let reader = tokio::task::spawn_blocking(move || feed(open()?, size, &sender, stopped));
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
            .request(ask.method.clone(), ask.url.clone())
            .headers(ask.headers.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, size)
            .body(Body::wrap_stream(body));
        if let Some(value) = self.authorization(ask) {
            request = request.header(AUTHORIZATION, value);
        }
        let response = watch(request.send(), &sent, size, progress, (&place, patience)).await;
        drop(until);
        let unread =
            |error: &dyn std::fmt::Display| RegistryError::local(format!("reading the content failed: {error}"));
        let fed = reader.await.map_err(|error| unread(&error))?;
        match (response, fed) {
            (_, Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(unread(&error).into()),
            (Err(error), _) => Err(Failure { error, again: Some(Duration::from_millis(500)) }),
            (Ok(response), fed) => {
                let response = self.judge_upload(ask, response).await?;
                match fed {
                    Ok(reader) => Ok((response, reader)),
                    Err(_) => Err(RegistryError::invalid(&place, "it ended an upload before it had all of it").into()),
                }
            }
        }
    }

    async fn judge_upload(&self, ask: &Ask<'_>, response: Response) -> Result<Response, Failure> {
        let place = ask.repository.to_string();
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            // A token that ran out meanwhile: get another one and let the caller start again.
            self.authenticate(ask, response.headers()).await?;
            return Err(Failure::passing(&place, "the token ran out during an upload"));
        }
        if retryable(status) {
            let patience = &self.options.patience;
            let wait =
                pause(1, response.headers(), patience).map_err(|asked| too_long(&place, status, asked, patience))?;
            return Err(Failure {
                again: Some(wait),
                ..Failure::passing(&place, &format!("an upload ended with {status}"))
            });
        }
        if status == StatusCode::NOT_FOUND {
            return Err(Failure::passing(&place, "the upload was lost by the registry"));
        }
        Ok(self.judge(ask, response).await?)
    }
}

/// A buffer that returns to the reading thread once it is sent: no upload needs more than a few of them.
struct Piece {
    data: Vec<u8>,
    home: Sender<Vec<u8>>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // Nobody is there any more when everything was read.
        let _ = self.home.send(std::mem::take(&mut self.data));
    }
}

/// Reads on a thread of its own, as fast as pieces are taken.
///
/// # Hazards
/// A registry may answer before it has read everything and then leave the connection open. The connection goes on
/// holding its end of the channel, so waiting for room alone might never end.
fn feed<R: Read>(
    mut reader: R,
    size: u64,
    sender: &mpsc::Sender<io::Result<Bytes>>,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<R> {
    let runtime = tokio::runtime::Handle::current();
    let (home, returned) = channel();
    let mut left = size;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let mut data: Vec<u8> = returned.try_recv().unwrap_or_default();
        data.resize(wanted, 0);
        if let Err(error) = reader.read_exact(&mut data) {
            let _ = sender.try_send(Err(io::Error::new(error.kind(), error.to_string())));
            return Err(error);
        }
        left -= wanted as u64;
        let piece = Bytes::from_owner(Piece { data, home: home.clone() });
        let taken = runtime.block_on(async {
            tokio::select! {
                biased;
                sent = sender.send(Ok(piece)) => sent.is_ok(),
                _ = &mut stopped => false,
            }
        });
        if !taken {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the registry stopped reading"));
        }
    }
    Ok(reader)
}

/// Waits for the answer of an upload as long as bytes move fast enough, and for a bounded time after the last one.
async fn watch(
    request: impl Future<Output = Result<Response, reqwest::Error>>,
    sent: &AtomicU64,
    size: u64,
    (progress, name): (&dyn Progress, &str),
    (place, patience): (&str, &Patience),
) -> Result<Response, RegistryError> {
    let slow = |what: String| RegistryError::new(ErrorKind::Unreachable, place, what, "Try again later");
    let mut request = std::pin::pin!(request);
    let mut tick = tokio::time::interval(Duration::from_millis(200).min(patience.silence));
    let started = Instant::now();
    let mut seen = 0;
    let mut since = started;
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
                } else if since.elapsed() > patience.silence {
                    return Err(slow(format!("an upload made no progress for {} seconds", patience.silence.as_secs())));
                }
                if started.elapsed() > patience.transfer(size) {
                    return Err(slow(format!("after {} seconds it had {now} of {size} bytes of an upload", started.elapsed().as_secs())));
                }
            }
        }
    }
}
