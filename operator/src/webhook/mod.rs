//! The webhook receiver: `POST /hooks/NAMESPACE/PIPELINE` has the source of that pipeline asked at once.
//!
//! A request says *when* to look, never what to build: its payload is checked against a secret that both sides share and
//! then thrown away. So the worst that a forger who got everything right can do is one more question to a source that is
//! asked anyway. [`verify`] judges a request, [`replay`] and [`limit`] bound what many of them can do, [`serve`] bounds
//! connections.
//!
//! Only the replica that works knows what is watched. The others answer 503 with `Retry-After`.

pub mod limit;
pub mod replay;
pub mod serve;
pub mod verify;

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes};
use jiff::Timestamp;

use crate::{metrics::Metrics, observe::source::Key};
use limit::Limits;
use replay::Replays;
use verify::{Meaning, Refusal, Verifier};

/// Largest payload: as much as GitHub sends. It is hashed as it comes in and never kept.
pub const BODY_MAX: u64 = 25 << 20;
/// The longest that a payload may take.
const BODY_TIME: Duration = Duration::from_secs(8);
/// Shortest secret that is taken for one.
const SECRET_MIN: usize = 16;
/// When a replica that does not work is to be asked again: an election takes no longer.
const STANDBY: &str = "15";

/// What the replica that works knows.
pub trait Watcher: Send + Sync {
    /// The secret of a pipeline's webhook; none when it has no webhook.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn secret<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Vec<u8>>, String>>;

    /// Has the source of a pipeline asked at once.
    fn ring(&self, key: &Key);
}

/// Judges requests, whichever replica this is.
pub struct Receiver {
    watcher: Mutex<Option<Arc<dyn Watcher>>>,
    replays: Mutex<Replays>,
    limits: Mutex<Limits>,
    metrics: Arc<Metrics>,
}

/// An answer: its status, what is said, and a label for what it was.
struct Answer {
    status: StatusCode,
    says: String,
    result: &'static str,
    retry_after: Option<&'static str>,
}

impl Answer {
    fn new(status: StatusCode, result: &'static str, says: impl Into<String>) -> Self {
        Self { status, says: says.into(), result, retry_after: None }
    }

    /// The same whether a pipeline exists, has a webhook, or a secret that can be used: strangers learn nothing.
    fn unknown() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "unknown",
            "no webhook here: expected POST /hooks/NAMESPACE/PIPELINE of a Pipeline with spec.onChange.webhook",
        )
    }

    fn limited() -> Self {
        let says = "too many requests: the source is asked on its schedule anyway";
        Self { retry_after: Some("5"), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "limited", says) }
    }

    fn slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow",
            format!("the payload took longer than {} s", BODY_TIME.as_secs()),
        )
    }

    fn oversized() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "oversized", format!("a payload may have {BODY_MAX} bytes"))
    }
}

impl Receiver {
    /// A receiver that knows of no pipeline yet.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { watcher: Mutex::default(), replays: Mutex::default(), limits: Mutex::default(), metrics }
    }

    /// This replica works from now on, or no more.
    pub fn serve_for(&self, watcher: Option<Arc<dyn Watcher>>) {
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = watcher;
    }

    /// Answers a request.
    ///
    /// # Errors
    /// Never: whatever is wrong with it is an answer.
    pub async fn respond<B>(&self, request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
    where
        B: Body<Data = Bytes> + Unpin + Send,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let answer = self.judge(request).await;
        self.metrics.webhook(answer.result);
        let mut response = Response::new(Full::new(Bytes::from(answer.says + "\n")));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Some(seconds) = answer.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        Ok(response)
    }

    async fn judge<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Unpin + Send,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        // First: what strangers ask must cost nothing.
        if !self.limits.lock().unwrap_or_else(PoisonError::into_inner).admits(Instant::now()) {
            return Answer::limited();
        }
        let Some(key) = pipeline(request.uri().path()) else { return Answer::unknown() };
        if request.method() != Method::POST {
            return Answer::new(StatusCode::METHOD_NOT_ALLOWED, "unknown", "send a POST");
        }
        let (head, body) = request.into_parts();
        if length(&head.headers).is_some_and(|length| length > BODY_MAX) {
            return Answer::oversized();
        }
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(watcher) = watcher else {
            let says = "this replica does not hold the Lease: send it again, the next one may reach the one that does";
            return Answer {
                retry_after: Some(STANDBY),
                ..Answer::new(StatusCode::SERVICE_UNAVAILABLE, "standby", says)
            };
        };
        let secret = match watcher.secret(&key).await {
            Ok(Some(secret)) if secret.len() >= SECRET_MIN => secret,
            Ok(Some(secret)) => {
                tracing::warn!(pipeline = %key, bytes = secret.len(), "Webhook secret is shorter than {SECRET_MIN} bytes: it is not used");
                return Answer::unknown();
            }
            Ok(None) => return Answer::unknown(),
            Err(why) => {
                tracing::warn!(pipeline = %key, why, "Webhook secret cannot be read");
                let says = "the secret of this webhook cannot be read now";
                return Answer {
                    retry_after: Some(STANDBY),
                    ..Answer::new(StatusCode::SERVICE_UNAVAILABLE, "no_secret", says)
                };
            }
        };
        let fields: Vec<(&str, &[u8])> =
            head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let verifier = match Verifier::new(&fields, &secret, Timestamp::now().as_second()) {
            Ok(verifier) => verifier,
            Err(refusal) => return refused(refusal),
        };
        match tokio::time::timeout(BODY_TIME, payload(body, verifier)).await {
            Err(_) => Answer::slow(),
            Ok(Err(answer)) => answer,
            Ok(Ok(verified)) => self.take(&key, verified, watcher.as_ref()),
        }
    }

    /// What a request that is what it says it is leads to.
    fn take(&self, key: &Key, verified: verify::Verified, watcher: &dyn Watcher) -> Answer {
        if let Some(print) = &verified.fingerprint
            && !self.replays.lock().unwrap_or_else(PoisonError::into_inner).is_new(key, *print, Instant::now())
        {
            return Answer::new(StatusCode::CONFLICT, "replayed", "this delivery was taken before");
        }
        match verified.meaning {
            Meaning::Ping => Answer::new(StatusCode::OK, "ping", "the secret is right"),
            Meaning::Changed => {
                if !self.limits.lock().unwrap_or_else(PoisonError::into_inner).admits_for(key, Instant::now()) {
                    return Answer::limited();
                }
                watcher.ring(key);
                Answer::new(StatusCode::ACCEPTED, "accepted", format!("the source of {key} is asked"))
            }
        }
    }
}

fn refused(refusal: Refusal) -> Answer {
    let (status, result) = match refusal {
        Refusal::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
        Refusal::Unsigned | Refusal::Forged => (StatusCode::UNAUTHORIZED, "forged"),
        Refusal::Stale => (StatusCode::UNAUTHORIZED, "replayed"),
    };
    Answer::new(status, result, refusal.to_string())
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Hashes a payload as it comes in.
async fn payload<B>(mut body: B, mut verifier: Verifier) -> Result<verify::Verified, Answer>
where
    B: Body<Data = Bytes> + Unpin + Send,
{
    let mut size = 0_u64;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Answer::new(StatusCode::BAD_REQUEST, "malformed", "the payload broke off"));
        };
        let Some(piece) = frame.data_ref() else { continue };
        size += piece.len() as u64;
        if size > BODY_MAX {
            return Err(Answer::oversized());
        }
        verifier.update(piece);
    }
    verifier.finish().map_err(refused)
}

/// The pipeline that a path names.
fn pipeline(path: &str) -> Option<Key> {
    let (namespace, name) = path.strip_prefix("/hooks/")?.split_once('/')?;
    let fits = |text: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        (1..=253).contains(&text.len()) && text.bytes().all(inner)
    };
    (fits(namespace) && fits(name)).then(|| Key::new(namespace, name))
}
