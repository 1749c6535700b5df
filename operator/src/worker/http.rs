//! Asking pages of an environment by HTTP, as its visitors do.

use std::time::Duration;

use reqwest::{Client, Response, Url, redirect::Policy};

/// A client for the Services of an environment: no redirects are followed (a 3xx is an answer like any other), no proxy
/// is used (a proxy of the Job's environment is not on the way of visitors), and no certificates of the image are
/// needed, because inside the cluster plain HTTP is spoken. `each` bounds one request with its body.
///
/// # Errors
/// When this machine cannot make one.
pub(crate) fn client(agent: &'static str, each: Duration) -> Result<Client, String> {
    Client::builder()
        .user_agent(agent)
        .redirect(Policy::none())
        .no_proxy()
        .tls_certs_only([])
        .timeout(each)
        .build()
        .map_err(|error| format!("no HTTP client: {}", cause(&error)))
}

/// The address of a path below `base`.
///
/// # Errors
/// When both together are no URL.
pub(super) fn address(base: &str, path: &str) -> Result<Url, String> {
    Url::parse(&format!("{}{path}", base.trim_end_matches('/')))
        .map_err(|error| format!("{base}{path} is no URL: {error}"))
}

/// At most `max` bytes of an answer's body.
///
/// # Errors
/// When the answer breaks off before.
pub(crate) async fn body(answer: &mut Response, max: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut body: Vec<u8> = vec![];
    while body.len() < max {
        match answer.chunk().await? {
            Some(chunk) => body.extend_from_slice(&chunk[..chunk.len().min(max - body.len())]),
            None => break,
        }
    }
    Ok(body)
}

/// The innermost cause: reqwest's own text only repeats the URL.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "time-out".into();
    }
    let mut error: &dyn std::error::Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
