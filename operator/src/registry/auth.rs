//! What a registry asks for, and which addresses may have credentials or be asked at all.

use url::{Host, Url};

use super::error::{ErrorKind, RegistryError};

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// User and password.
    Basic,
    /// A token from a token server.
    Bearer {
        /// Address of the token server.
        realm: Url,
        /// Name of the registry there.
        service: Option<String>,
    },
}

/// Parses a `WWW-Authenticate` header and checks where its realm leads.
///
/// # Errors
/// When no scheme is known, or the realm is not acceptable for this registry.
pub fn challenge(header: &str, registry: &str, plain: bool) -> Result<Challenge, RegistryError> {
    let refused = |what: String| {
        RegistryError::new(ErrorKind::Refused, registry, what, "Check the registry's authentication settings")
    };
    if header.len() > 8 << 10 {
        return Err(refused("its authentication header is too long".to_owned()));
    }
    let challenges = http_auth::parse_challenges(header)
        .map_err(|_| refused("its authentication header cannot be read".to_owned()))?;
    let mut basic = false;
    for challenge in challenges {
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            basic = true;
        } else if challenge.scheme.eq_ignore_ascii_case("bearer") {
            let find = |key: &str| {
                challenge
                    .params
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(key))
                    .map(|(_, value)| value.to_unescaped())
            };
            let realm = find("realm").ok_or_else(|| refused("it asks for a token without saying where".to_owned()))?;
            let realm = check_realm(&realm, registry, plain).map_err(|why| {
                refused(format!(
                    "its token server `{}` is not used: {why}",
                    realm.chars().take(200).collect::<String>()
                ))
            })?;
            return Ok(Challenge::Bearer { realm, service: find("service") });
        }
    }
    if basic {
        Ok(Challenge::Basic)
    } else {
        Err(refused("it asks for an authentication that is neither Basic nor Bearer".to_owned()))
    }
}

/// A realm gets credentials, so it must be https, or the registry itself when that is spoken to in plain HTTP.
fn check_realm(realm: &str, registry: &str, plain: bool) -> Result<Url, String> {
    let url = Url::parse(realm).map_err(|error| error.to_string())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it has a user name".to_owned());
    }
    let own = same_host(&url, registry, plain);
    match url.scheme() {
        "https" => {}
        "http" if plain && own => {}
        "http" => return Err("credentials are only sent over https".to_owned()),
        _ => return Err("it is not https".to_owned()),
    }
    if !own && is_internal(&url) {
        return Err("it is a loopback or link-local address".to_owned());
    }
    Ok(url)
}

/// Whether an address belongs to the registry itself.
#[must_use]
pub fn same_host(url: &Url, registry: &str, plain: bool) -> bool {
    let scheme = if plain { "http" } else { "https" };
    Url::parse(&format!("{scheme}://{registry}/")).is_ok_and(|own| {
        own.host() == url.host()
            && own.port_or_known_default() == url.port_or_known_default()
            && own.scheme() == url.scheme()
    })
}

/// Whether an address is one that only this machine can mean: a way to make us ask its own services.
#[must_use]
pub fn is_internal(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        Some(Host::Ipv6(ip)) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || (ip.segments()[0] & 0xffc0) == 0xfe80
                || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback() || ip.is_link_local())
        }
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn realms() {
        let bearer = |realm: &str| format!("Bearer realm=\"{realm}\",service=\"s\",scope=\"x\"");
        for (realm, registry, plain, accepted) in [
            ("https://auth.example.org/token", "reg.example.org", false, true),
            ("http://auth.example.org/token", "reg.example.org", false, false),
            ("http://reg.example.org/token", "reg.example.org", false, false),
            ("http://10.0.0.1:5000/token", "10.0.0.1:5000", true, true),
            ("http://10.0.0.1:5001/token", "10.0.0.1:5000", true, false),
            ("https://127.0.0.1/token", "reg.example.org", false, false),
            ("https://169.254.169.254/latest", "reg.example.org", false, false),
            ("https://[::1]/x", "reg.example.org", false, false),
            ("https://localhost/x", "reg.example.org", false, false),
            ("https://u@auth.example.org/token", "reg.example.org", false, false),
            ("file:///etc/passwd", "reg.example.org", false, false),
            ("token", "reg.example.org", false, false),
        ] {
            assert_eq!(challenge(&bearer(realm), registry, plain).is_ok(), accepted, "{realm}");
        }
        assert_eq!(challenge("Basic realm=\"x\"", "r.example.org", false).unwrap(), Challenge::Basic);
        assert!(challenge("Negotiate", "r.example.org", false).is_err());
    }
}
