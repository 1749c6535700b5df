//! Requests: addresses, retries and redirects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use launchway_crds::digest::Sha256Digest;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::answer::{capped, error_detail, location, pause, retryable, too_long, unreachable};
use super::auth::{is_internal, same_host};
use super::authorities::Authorities;
use super::credentials::Credentials;
use super::error::{ErrorKind, RegistryError};
use super::patience::Patience;
use super::repository::Repository;

/// Largest manifest.
pub const MANIFEST_CAP: usize = 4 << 20;
/// Largest error that is read.
pub const ERROR_CAP: usize = 4 << 10;
const TRIES: u32 = 5;
const MAX_REDIRECTS: usize = 5;

/// How to reach registries.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    /// Registries (`HOST[:PORT]`) that are spoken to in plain HTTP.
    pub plain_http: BTreeSet<String>,
    /// Credentials by registry.
    pub credentials: Credentials,
    /// Authorities that are trusted besides those of this machine.
    pub authorities: Authorities,
    /// How long registries may take.
    pub patience: Patience,
}

/// A client for any number of registries. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Client {
    pub(super) options: ClientOptions,
    plain: reqwest::Client,
    secure: OnceLock<Result<reqwest::Client, String>>,
    /// Tokens by registry and scope.
    pub(super) tokens: Mutex<BTreeMap<(String, String), String>>,
    /// Registries that ask for user and password with every request.
    pub(super) basic: Mutex<BTreeSet<String>>,
    /// Turns of writers that read, merge and write an index of referrers.
    pub(super) referrers: tokio::sync::Mutex<()>,
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

fn builder(plain: bool, options: &ClientOptions) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("launchway/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(options.patience.connect)
        .pool_idle_timeout(Duration::from_secs(20))
        .tcp_keepalive(Duration::from_secs(30))
        .http1_only();
    // Plain HTTP is for registries inside the cluster, never behind a proxy, and needs no certificates of the machine.
    if plain {
        builder.no_proxy().tls_certs_only([])
    } else {
        builder.tls_certs_merge(options.authorities.certificates())
    }
}

impl Client {
    /// Makes a client. Nothing is contacted.
    ///
    /// # Errors
    /// When no HTTP client can be made on this machine.
    pub fn new(options: ClientOptions) -> Result<Self, RegistryError> {
        // Another part of the process may have chosen the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plain = builder(true, &options)
            .build()
            .map_err(|error| RegistryError::local(format!("no HTTP client can be made: {error}")))?;
        Ok(Self {
            options,
            plain,
            secure: OnceLock::new(),
            tokens: Mutex::default(),
            basic: Mutex::default(),
            referrers: tokio::sync::Mutex::default(),
        })
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
        let secure = || builder(false, &self.options).build().map_err(|error| error.to_string());
        self.secure.get_or_init(secure).as_ref().map_err(|error| {
            RegistryError::local(format!(
                "no HTTPS client can be made: {error}; does this machine have CA certificates?"
            ))
        })
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

    /// Sends a request with retries and authentication. Success and 404 come back; everything else is an error.
    pub(super) async fn send(&self, ask: &Ask<'_>) -> Result<Response, RegistryError> {
        let place = ask.repository.to_string();
        let patience = &self.options.patience;
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
            let sent = tokio::time::timeout(patience.idle, request.send()).await;
            let failure = match sent {
                Ok(Ok(response)) => {
                    let status = response.status();
                    if status == StatusCode::UNAUTHORIZED && authenticated < 2 {
                        authenticated += 1;
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
                    let wait = pause(attempt, response.headers(), patience)
                        .map_err(|asked| too_long(&place, status, asked, patience))?;
                    tokio::time::sleep(wait).await;
                    continue;
                }
                Ok(Err(error)) => unreachable(&place, &error),
                Err(_) => RegistryError::new(
                    ErrorKind::Unreachable,
                    &place,
                    format!("no answer within {} seconds", patience.idle.as_secs()),
                    "Check that the registry runs and can be reached from here",
                ),
            };
            broken += 1;
            if broken >= 3 || attempt >= TRIES {
                return Err(failure);
            }
            tokio::time::sleep(Duration::from_millis(250) * 2_u32.pow(broken)).await;
        }
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
        let body = capped(response, ERROR_CAP, &place, &self.options.patience).await.unwrap_or_default();
        let detail = error_detail(&body);
        if ask.method == Method::DELETE
            && let Some(error) = Self::not_deleted(&place, status, &detail)
        {
            return Err(error);
        }
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
            response = tokio::time::timeout(self.options.patience.idle, request.send())
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
