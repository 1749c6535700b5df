//! Requests: addresses, authentication, retries, and manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use launchway_crds::digest::Sha256Digest;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::auth::{Challenge, Credential, Credentials, challenge, is_internal, same_host};
use super::error::{ErrorKind, RegistryError};
use super::repository::Repository;

/// Largest manifest.
pub const MANIFEST_CAP: usize = 4 << 20;
const TOKEN_CAP: usize = 64 << 10;
const ERROR_CAP: usize = 4 << 10;
const CONNECT: Duration = Duration::from_secs(10);
/// Longest silence of a registry while it answers.
pub const IDLE: Duration = Duration::from_secs(30);
const TRIES: u32 = 5;
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 5;

/// How to reach registries.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    /// Registries (`HOST[:PORT]`) that are spoken to in plain HTTP.
    pub plain_http: BTreeSet<String>,
    /// Credentials by registry.
    pub credentials: Credentials,
}

/// A client for any number of registries. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    plain: reqwest::Client,
    secure: OnceLock<Result<reqwest::Client, String>>,
    tokens: Mutex<BTreeMap<(String, String), String>>,
    basic: Mutex<BTreeSet<String>>,
}

/// A manifest with its digest, verified.
#[derive(Debug, Clone)]
pub struct FetchedManifest {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Sha256Digest,
    /// Media type, as the registry states it.
    pub media_type: String,
}

/// One request, which may be sent several times.
#[derive(Debug, Clone)]
pub(super) struct Ask<'a> {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
    pub repository: &'a Repository,
    /// Further repositories of the same registry that are read, for mounts.
    pub reads: Option<&'a Repository>,
    pub write: bool,
}

fn builder(plain: bool) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("launchway/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .pool_idle_timeout(Duration::from_secs(20))
        .tcp_keepalive(Duration::from_secs(30))
        .http1_only();
    // Plain HTTP is for registries inside the cluster, never behind a proxy, and needs no certificates of the machine.
    if plain { builder.no_proxy().tls_certs_only([]) } else { builder }
}

impl Client {
    /// Makes a client. Nothing is contacted.
    ///
    /// # Errors
    /// When no HTTP client can be made on this machine.
    pub fn new(options: ClientOptions) -> Result<Self, RegistryError> {
        // Another part of the process may have chosen the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plain = builder(true)
            .build()
            .map_err(|error| RegistryError::local(format!("no HTTP client can be made: {error}")))?;
        Ok(Self { options, plain, secure: OnceLock::new(), tokens: Mutex::default(), basic: Mutex::default() })
    }

    /// Whether a registry is spoken to in plain HTTP.
    #[must_use]
    pub fn is_plain(&self, registry: &str) -> bool {
        self.options.plain_http.contains(registry)
    }

    pub(super) fn http(&self, url: &Url) -> Result<&reqwest::Client, RegistryError> {
        if url.scheme() == "http" {
            return Ok(&self.plain);
        }
        self.secure.get_or_init(|| builder(false).build().map_err(|error| error.to_string())).as_ref().map_err(
            |error| {
                RegistryError::local(format!(
                    "no HTTPS client can be made: {error}; does this machine have CA certificates?"
                ))
            },
        )
    }

    pub(super) fn url(&self, repository: &Repository, rest: &str) -> Result<Url, RegistryError> {
        let scheme = if self.is_plain(repository.registry()) { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{}/v2/{}/{rest}", repository.registry(), repository.path()))
            .map_err(|error| RegistryError::invalid(&repository.to_string(), error))
    }

    pub(super) fn ask<'a>(
        &self,
        method: Method,
        repository: &'a Repository,
        rest: &str,
    ) -> Result<Ask<'a>, RegistryError> {
        let write = !matches!(method, Method::GET | Method::HEAD);
        Ok(Ask {
            method,
            url: self.url(repository, rest)?,
            headers: HeaderMap::new(),
            body: None,
            repository,
            reads: None,
            write,
        })
    }

    fn scope(ask: &Ask<'_>) -> String {
        let actions = if ask.write { "pull,push" } else { "pull" };
        let own = format!("repository:{}:{actions}", ask.repository.path());
        match ask.reads {
            Some(other) => format!("{own} repository:{}:pull", other.path()),
            None => own,
        }
    }

    /// The `Authorization` header to start with.
    pub(super) fn authorization(&self, ask: &Ask<'_>) -> Option<String> {
        let registry = ask.repository.registry();
        let key = (registry.to_owned(), Self::scope(ask));
        // A token that was given for a mount also covers the plain upload that follows when the mount is declined.
        let found = self
            .tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .range(key.clone()..)
            .next()
            .filter(|((host, scope), _)| {
                *host == key.0 && (*scope == key.1 || scope.starts_with(&format!("{} ", key.1)))
            })
            .map(|(_, token)| format!("Bearer {token}"));
        if found.is_some() {
            return found;
        }
        let basic = self.basic.lock().unwrap_or_else(PoisonError::into_inner).contains(registry);
        match self.options.credentials.get(registry) {
            Some(credential @ Credential::Token(_)) => Some(credential.header()),
            Some(credential) if basic => Some(credential.header()),
            _ => None,
        }
    }

    /// Answers a 401: remembers how to authenticate. The next attempt uses it.
    pub(super) async fn authenticate(&self, ask: &Ask<'_>, headers: &HeaderMap) -> Result<(), RegistryError> {
        let registry = ask.repository.registry();
        let plain = self.is_plain(registry);
        let header: Vec<&str> =
            headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect();
        let credential = self.options.credentials.get(registry);
        match challenge(&header.join(", "), registry, plain)? {
            Challenge::Basic => {
                if credential.is_none() {
                    return Err(self.refused(ask, StatusCode::UNAUTHORIZED, "it asks for a user and a password"));
                }
                self.basic.lock().unwrap_or_else(PoisonError::into_inner).insert(registry.to_owned());
            }
            Challenge::Bearer { realm, service } => {
                let scope = Self::scope(ask);
                let token = self.token(ask, realm, service.as_deref(), &scope, credential).await?;
                self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert((registry.to_owned(), scope), token);
            }
        }
        Ok(())
    }

    async fn token(
        &self,
        ask: &Ask<'_>,
        mut realm: Url,
        service: Option<&str>,
        scope: &str,
        credential: Option<&Credential>,
    ) -> Result<String, RegistryError> {
        {
            let mut query = realm.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            for scope in scope.split(' ') {
                query.append_pair("scope", scope);
            }
        }
        let place = format!("{} (token server {})", ask.repository, realm.host_str().unwrap_or_default());
        let mut request = self.http(&realm)?.get(realm.clone()).timeout(IDLE);
        if let Some(Credential::Password { .. }) = credential
            && let Some(credential) = credential
        {
            request = request.header(AUTHORIZATION, credential.header());
        }
        let response = request.send().await.map_err(|error| unreachable(&place, &error))?;
        let status = response.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(RegistryError::new(
                ErrorKind::Refused,
                &place,
                format!("no token: {status}"),
                "Check the credentials of this registry",
            ));
        }
        if !status.is_success() {
            return Err(RegistryError::new(
                ErrorKind::Unreachable,
                &place,
                format!("no token: {status}"),
                "Try again later",
            ));
        }
        let body = capped(response, TOKEN_CAP, &place).await?;
        let value: serde_json::Value =
            serde_json::from_slice(&body).map_err(|_| RegistryError::invalid(&place, "the token is not JSON"))?;
        ["token", "access_token"]
            .iter()
            .find_map(|key| value.get(*key)?.as_str())
            .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
            .map(str::to_owned)
            .ok_or_else(|| RegistryError::invalid(&place, "its answer has no token"))
    }

    pub(super) fn refused(&self, ask: &Ask<'_>, status: StatusCode, detail: &str) -> RegistryError {
        let remedy = match (self.options.credentials.get(ask.repository.registry()).is_some(), ask.write) {
            (false, _) => "No credentials for this registry are configured: add a dockerconfigjson secret for it",
            (true, true) => "The configured credentials do not allow pushing to this repository",
            (true, false) => "The configured credentials do not allow pulling from this repository",
        };
        RegistryError::new(
            ErrorKind::Refused,
            &ask.repository.to_string(),
            format!("{} {}: {detail}", status.as_u16(), status.canonical_reason().unwrap_or_default()),
            remedy,
        )
    }

    /// Sends a request with retries and authentication. Success and 404 come back; everything else is an error.
    pub(super) async fn send(&self, ask: &Ask<'_>) -> Result<Response, RegistryError> {
        let place = ask.repository.to_string();
        let mut authenticated = 0;
        let mut attempt = 0;
        let mut broken = 0;
        loop {
            attempt += 1;
            let mut request =
                self.http(&ask.url)?.request(ask.method.clone(), ask.url.clone()).headers(ask.headers.clone());
            if let Some(body) = &ask.body {
                request = request.body(body.clone());
            } else if ask.write {
                request = request.header(CONTENT_LENGTH, 0);
            }
            if let Some(value) = self.authorization(ask) {
                request = request.header(AUTHORIZATION, value);
            }
            let sent = tokio::time::timeout(IDLE, request.send()).await;
            let failure = match sent {
                Ok(Ok(response)) => {
                    let status = response.status();
                    if status == StatusCode::UNAUTHORIZED && authenticated < 2 {
                        authenticated += 1;
                        self.forget(ask);
                        self.authenticate(ask, response.headers()).await?;
                        attempt -= 1;
                        continue;
                    }
                    if !retryable(status) {
                        return self.judge(ask, response).await;
                    }
                    if attempt >= TRIES {
                        return Err(RegistryError::new(
                            ErrorKind::Unreachable,
                            &place,
                            format!("{status} {attempt} times"),
                            "Try again later",
                        ));
                    }
                    tokio::time::sleep(pause(attempt, response.headers())).await;
                    continue;
                }
                Ok(Err(error)) => unreachable(&place, &error),
                Err(_) => RegistryError::new(
                    ErrorKind::Unreachable,
                    &place,
                    format!("no answer within {} seconds", IDLE.as_secs()),
                    "Check that the registry runs and can be reached from here",
                ),
            };
            broken += 1;
            if broken >= 3 || attempt >= TRIES {
                return Err(failure);
            }
            tokio::time::sleep(pause(broken, &HeaderMap::new())).await;
        }
    }

    fn forget(&self, ask: &Ask<'_>) {
        let key = (ask.repository.registry().to_owned(), Self::scope(ask));
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// Turns a final answer that is no success into an error.
    pub(super) async fn judge(&self, ask: &Ask<'_>, response: Response) -> Result<Response, RegistryError> {
        let status = response.status();
        if status.is_success()
            || status.is_redirection()
            || status == StatusCode::NOT_FOUND
            || status == StatusCode::RANGE_NOT_SATISFIABLE
        {
            return Ok(response);
        }
        let place = ask.repository.to_string();
        let body = capped(response, ERROR_CAP, &place).await.unwrap_or_default();
        let detail = error_detail(&body);
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.refused(ask, status, &detail),
            _ => {
                RegistryError::invalid(&place, format!("{} {} answered {status}: {detail}", ask.method, ask.url.path()))
            }
        })
    }

    /// Follows redirects of a GET: with credentials only inside the registry's own host.
    pub(super) async fn follow(&self, ask: &Ask<'_>) -> Result<Response, RegistryError> {
        let place = ask.repository.to_string();
        let plain = self.is_plain(ask.repository.registry());
        let mut ask = ask.clone();
        let mut response = self.send(&ask).await?;
        for _ in 0..MAX_REDIRECTS {
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let target = location(&response, &ask.url)
                .ok_or_else(|| RegistryError::invalid(&place, "a redirect without a usable address"))?;
            if same_host(&target, ask.repository.registry(), plain) {
                ask.url = target;
                response = self.send(&ask).await?;
                continue;
            }
            if target.scheme() != "https" || is_internal(&target) {
                let host = target.host_str().unwrap_or_default();
                return Err(RegistryError::invalid(
                    &place,
                    format!("a redirect to {}://{host} is not followed", target.scheme()),
                ));
            }
            let request = self.http(&target)?.request(ask.method.clone(), target.clone()).headers(ask.headers.clone());
            response = tokio::time::timeout(IDLE, request.send())
                .await
                .map_err(|_| {
                    RegistryError::new(ErrorKind::Unreachable, &place, "no answer of its storage", "Try again later")
                })?
                .map_err(|error| unreachable(&place, &error))?;
            ask.url = target;
        }
        Err(RegistryError::invalid(&place, "too many redirects"))
    }
}

fn retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

fn pause(attempt: u32, headers: &HeaderMap) -> Duration {
    let asked = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse().ok())
        .map(Duration::from_secs);
    let own = Duration::from_millis(250) * 2_u32.pow(attempt.min(6));
    asked.unwrap_or(own).clamp(Duration::from_millis(100), MAX_RETRY_AFTER)
}

/// The `Location` of an answer, resolved.
pub(super) fn location(response: &Response, base: &Url) -> Option<Url> {
    let text = response.headers().get(LOCATION)?.to_str().ok()?;
    base.join(text).ok()
}

/// The registry could not be reached, and the innermost cause.
pub(super) fn unreachable(place: &str, error: &reqwest::Error) -> RegistryError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let remedy = if error.is_connect() {
        "Check the host, the port, and whether it speaks https (plain HTTP must be asked for)"
    } else {
        "Check that the registry runs and can be reached from here"
    };
    RegistryError::new(ErrorKind::Unreachable, place, format!("not reachable ({cause})"), remedy)
}

fn error_detail(body: &[u8]) -> String {
    let parsed: Option<String> = serde_json::from_slice::<serde_json::Value>(body).ok().and_then(|value| {
        let first = value.get("errors")?.get(0)?;
        let text = |key: &str| first.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        Some(format!("{} {}", text("code"), text("message")))
    });
    parsed.unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned())
}

/// Reads a body up to a limit, each read within the idle time.
pub(super) async fn capped(mut response: Response, cap: usize, place: &str) -> Result<Vec<u8>, RegistryError> {
    if response.content_length().is_some_and(|length| length > cap as u64) {
        return Err(RegistryError::invalid(place, format!("an answer of more than {cap} bytes")));
    }
    let mut out = Vec::new();
    let whole = async {
        while let Some(chunk) = next(&mut response, place).await? {
            if out.len() + chunk.len() > cap {
                return Err(RegistryError::invalid(place, format!("an answer of more than {cap} bytes")));
            }
            out.extend_from_slice(&chunk);
        }
        Ok(())
    };
    // A slow drip keeps every single read alive, so the whole has an end too.
    tokio::time::timeout(IDLE * 4, whole).await.map_err(|_| {
        RegistryError::new(ErrorKind::Unreachable, place, "its answer drips too slowly", "Try again later")
    })??;
    Ok(out)
}

pub(super) async fn next(response: &mut Response, place: &str) -> Result<Option<Bytes>, RegistryError> {
    tokio::time::timeout(IDLE, response.chunk())
        .await
        .map_err(|_| {
            RegistryError::new(
                ErrorKind::Unreachable,
                place,
                "it fell silent in the middle of an answer",
                "Try again later",
            )
        })?
        .map_err(|error| unreachable(place, &error))
}
