//! One POST to one address, bounded in everything: whoever answers there is not to be trusted.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::OnceLock,
    time::Duration,
};

use reqwest::{StatusCode, redirect::Policy};
use url::{Host, Url};

use crate::registry::Authorities;

use super::{event, sign::Headers};

/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(5);
/// Until the head of the answer is there. Its body is not read.
const WHOLE: Duration = Duration::from_secs(10);

/// Why an event did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another try may help.
    Later(String),
    /// No further try will.
    Never(String),
}

/// Clients, made when they are first needed.
pub struct Sender {
    whole: Duration,
    plain: OnceLock<Result<reqwest::Client, String>>,
    secure: OnceLock<Result<reqwest::Client, String>>,
}

impl Default for Sender {
    fn default() -> Self {
        Self::within(WHOLE)
    }
}

fn client(whole: Duration, plain: bool, authorities: &Authorities) -> Result<reqwest::Client, String> {
    // Another part of the process may have chosen the same provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("launchway/", env!("CARGO_PKG_VERSION")))
        // A redirect would carry an event, or the signature of one, to somebody who was not named.
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .timeout(whole)
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(Duration::from_secs(20))
        .http1_only();
    let builder =
        if plain { builder.no_proxy().tls_certs_only([]) } else { builder.tls_certs_merge(authorities.certificates()) };
    builder.build().map_err(|error| format!("no HTTP client can be made: {error}"))
}

impl Sender {
    /// Waits no longer for an answer than this.
    #[must_use]
    pub const fn within(whole: Duration) -> Self {
        Self { whole, plain: OnceLock::new(), secure: OnceLock::new() }
    }

    /// Sends an event once.
    ///
    /// # Errors
    /// Whether, and why, it did not arrive.
    pub async fn post(
        &self,
        address: &str,
        authorities: Option<&Authorities>,
        headers: Headers,
        body: Vec<u8>,
    ) -> Result<(), Refusal> {
        let url = parse(address)?;
        let own;
        let client = match (authorities, url.scheme() == "http") {
            (_, true) => self.plain.get_or_init(|| client(self.whole, true, &Authorities::default())),
            (None, false) => self.secure.get_or_init(|| client(self.whole, false, &Authorities::default())),
            (Some(authorities), false) => {
                own = client(self.whole, false, authorities);
                &own
            }
        };
        let client = client.as_ref().map_err(|why| Refusal::Later(why.clone()))?;
        let mut request = client.post(url).header("content-type", event::MEDIA_TYPE).body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        // The answer is dropped with whatever its body would be.
        let answer = request.send().await.map_err(|error| Refusal::Later(self.explained(&error)))?;
        judge(answer.status())
    }

    /// The innermost reason: the outer ones repeat the address.
    fn explained(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no answer within {:?}", self.whole);
        }
        let mut inner: &dyn std::error::Error = error;
        while let Some(source) = inner.source() {
            inner = source;
        }
        inner.to_string()
    }
}

/// What an answer means.
fn judge(status: StatusCode) -> Result<(), Refusal> {
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::GONE => Err(Refusal::Never("it answers 410: it wants no more events".into())),
        status if status.is_redirection() => {
            Err(Refusal::Later(format!("it answers {status}: redirects are not followed; name the address itself")))
        }
        status => Err(Refusal::Later(format!("it answers {status}"))),
    }
}

/// An address may be anybody's but the node's own: what is link-local speaks for the machine to whoever asks.
fn parse(address: &str) -> Result<Url, Refusal> {
    let url = Url::parse(address).map_err(|error| Refusal::Never(format!("the address cannot be read: {error}")))?;
    let link_local = match url.host() {
        Some(Host::Ipv4(ip)) => is_link_local(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => is_link_local(IpAddr::V6(ip)),
        Some(Host::Domain(_)) => false,
        None => true,
    };
    if link_local {
        return Err(Refusal::Never("the address is a link-local one: notifications do not go there".into()));
    }
    Ok(url)
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::is_link_local(&ip),
        IpAddr::V6(ip) => {
            Ipv6Addr::is_unicast_link_local(&ip) || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_is_arrival() {
        assert_eq!(judge(StatusCode::ACCEPTED), Ok(()));
        assert!(matches!(judge(StatusCode::GONE), Err(Refusal::Never(_))));
        for status in [StatusCode::FOUND, StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED, StatusCode::BAD_GATEWAY] {
            assert!(matches!(judge(status), Err(Refusal::Later(_))), "{status}");
        }
    }

    #[test]
    fn the_nodes_own_addresses_are_refused() {
        for address in
            ["http://169.254.169.254/latest", "http://[fe80::1]/", "http://[::ffff:169.254.169.254]/", "nothing"]
        {
            assert!(matches!(parse(address), Err(Refusal::Never(_))), "{address}");
        }
        assert!(parse("https://hooks.example.com/a?b=c").is_ok());
    }
}
