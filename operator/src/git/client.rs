//! A Git server, asked by HTTP.

use std::{fmt, time::Duration};

use reqwest::{
    Certificate, Client, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, LOCATION},
    redirect::Policy,
};

use super::{
    fault::{FaultKind, GitFault},
    refs::{Advertised, Ref, advertisement, listed},
    request::ls_refs,
};
use crate::worker::http::{body, cause};

/// The longest that one request may take with its answer.
const EACH: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(10);
/// The most that is read of an answer: a server of version 0 tells of all its refs.
const ANSWER_MAX: usize = 16 << 20;

/// User and password of a Git server; a token is a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user; many servers take any with a token.
    pub username: String,
    /// The password or token.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?}, …)", self.username)
    }
}

/// A repository behind smart HTTP. Clients are made for one question: an installation asks a few times a minute.
#[derive(Debug)]
pub struct Server<'a> {
    url: &'a str,
    login: Option<Login>,
    client: Client,
}

impl<'a> Server<'a> {
    /// `url` is the repository, `authorities` are certificates that are trusted besides those of the machine.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &'a str, login: Option<Login>, authorities: Vec<Certificate>) -> Result<Self, GitFault> {
        // Another part of the process may have chosen the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            .user_agent(concat!("git/2 launchway/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(EACH)
            .http1_only();
        // Plain HTTP is for servers inside the cluster and needs no certificates of this machine.
        let builder = if url.starts_with("http://") {
            builder.no_proxy().tls_certs_only([])
        } else {
            builder.tls_certs_merge(authorities)
        };
        let client = builder.build().map_err(|error| {
            GitFault::new(FaultKind::Unreachable, format!("no HTTP client can be made: {}", cause(&error)))
        })?;
        Ok(Self { url: url.trim_end_matches('/'), login, client })
    }

    /// The commit that a ref names now; of an annotated tag the commit behind it.
    ///
    /// # Errors
    /// When the server does not answer, refuses, is no Git server, or has no such ref.
    pub async fn commit(&self, reference: &str) -> Result<String, GitFault> {
        let all = self.refs(reference).await?;
        all.iter().find(|found| found.name == reference).map(|found| found.commit().to_string()).ok_or_else(|| {
            GitFault::new(
                FaultKind::RefNotFound,
                format!(
                    "{} has no {reference}: push it, or correct spec.source.git.branch or spec.source.git.tag of the pipeline",
                    self.url
                ),
            )
        })
    }

    /// Refs whose names begin with `prefix`; a server of version 0 tells of all.
    ///
    /// # Errors
    /// As [`Server::commit`], but for a missing ref.
    pub async fn refs(&self, prefix: &str) -> Result<Vec<Ref>, GitFault> {
        let first = self.client.get(format!("{}/info/refs?service=git-upload-pack", self.url));
        let bytes = self.answer(first, "application/x-git-upload-pack-advertisement").await?;
        let format = match advertisement(&bytes).map_err(|why| self.invalid(&why))? {
            Advertised::Tells(all) => return Ok(all),
            Advertised::Asks { format } => format,
        };
        let second = self
            .client
            .post(format!("{}/git-upload-pack", self.url))
            .header(CONTENT_TYPE, "application/x-git-upload-pack-request")
            .body(ls_refs(prefix, format.as_deref()));
        let bytes = self.answer(second, "application/x-git-upload-pack-result").await?;
        listed(&bytes).map_err(|why| self.invalid(&why))
    }

    async fn answer(&self, request: RequestBuilder, kind: &str) -> Result<Vec<u8>, GitFault> {
        let mut request = request.header("Git-Protocol", "version=2").header(ACCEPT, kind);
        if let Some(Login { username, password }) = &self.login {
            request = request.basic_auth(username, Some(password));
        }
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        self.judge(&response)?;
        let stated = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if stated.split(';').next() != Some(kind) {
            return Err(self.invalid(&format!(
                "the answer is `{}`, not {kind}: the address is none of a repository, or the server speaks no smart HTTP",
                stated.escape_debug()
            )));
        }
        let bytes = body(&mut response, ANSWER_MAX + 1).await.map_err(|error| self.unreachable(&error))?;
        if bytes.len() > ANSWER_MAX {
            return Err(self.invalid(&format!("the answer has more than {} MiB", ANSWER_MAX >> 20)));
        }
        Ok(bytes)
    }

    fn judge(&self, response: &Response) -> Result<(), GitFault> {
        let (status, url) = (response.status(), self.url);
        let fault = |kind, why: String| Err(GitFault::new(kind, why));
        match status {
            StatusCode::OK => Ok(()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => fault(
                FaultKind::Refused,
                match self.login {
                    Some(_) => format!(
                        "{url} refuses the login ({status}): correct username and password in the Secret that spec.source.git.secretRef names"
                    ),
                    None => format!(
                        "{url} asks for a login ({status}): name a Secret with username and password in spec.source.git.secretRef"
                    ),
                },
            ),
            StatusCode::NOT_FOUND | StatusCode::GONE => fault(
                FaultKind::RepositoryNotFound,
                format!(
                    "{url} is no repository ({status}): correct spec.source.git.url; some servers answer so when the login may not read it"
                ),
            ),
            _ if status.is_redirection() => {
                let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
                fault(
                    FaultKind::Invalid,
                    format!(
                        "{url} redirects to `{}`, which is not followed because it would get the login: set spec.source.git.url to the new address",
                        launchway_crds::conditions::truncate(&target.escape_debug().to_string(), 300)
                    ),
                )
            }
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                fault(FaultKind::Unreachable, format!("{url} answered {status}"))
            }
            _ => fault(FaultKind::Invalid, format!("{url} answered {status}")),
        }
    }

    fn invalid(&self, why: &str) -> GitFault {
        GitFault::new(FaultKind::Invalid, format!("{}: {why}", self.url))
    }

    fn unreachable(&self, error: &reqwest::Error) -> GitFault {
        GitFault::new(FaultKind::Unreachable, format!("{} cannot be reached: {}", self.url, cause(error)))
    }
}
