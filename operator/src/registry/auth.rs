//! Credentials and tokens: read from the usual JSON file, and never sent to a host they are not for.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use url::{Host, Url};

use super::error::{ErrorKind, RegistryError};

/// Largest credentials file that is read.
const MAX_FILE: u64 = 1 << 20;

/// User and password, or a token, of one registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// For the Basic scheme and for token servers.
    Password {
        /// User.
        user: String,
        /// Password.
        password: String,
    },
    /// A ready bearer token.
    Token(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// Credentials by registry host.
#[derive(Debug, Clone, Default)]
pub struct Credentials(BTreeMap<String, Credential>);

fn host_of(key: &str) -> String {
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    let host = key.split('/').next().unwrap_or_default().to_ascii_lowercase();
    if host == "index.docker.io" || host == "registry-1.docker.io" { "docker.io".to_owned() } else { host }
}

impl Credentials {
    /// No credentials.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Parses the content of a `kubernetes.io/dockerconfigjson` secret.
    ///
    /// # Errors
    /// What is wrong with it; never any of its content.
    pub fn from_docker_config(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|_| "the credentials are not JSON".to_owned())?;
        let auths = value.get("auths").and_then(Value::as_object).ok_or("the credentials have no `auths`")?;
        let mut out = BTreeMap::new();
        for (key, entry) in auths {
            let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|value| !value.is_empty());
            let credential = if let Some(token) = text("registrytoken") {
                Some(Credential::Token(token.to_owned()))
            } else if let (Some(user), Some(password)) = (text("username"), text("password")) {
                Some(Credential::Password { user: user.to_owned(), password: password.to_owned() })
            } else if let Some(encoded) = text("auth") {
                let bytes =
                    STANDARD.decode(encoded.trim()).map_err(|_| format!("`auth` of {} is not base64", host_of(key)))?;
                let decoded =
                    String::from_utf8(bytes).map_err(|_| format!("`auth` of {} is not text", host_of(key)))?;
                let (user, password) = decoded
                    .split_once(':')
                    .ok_or_else(|| format!("`auth` of {} is not user:password", host_of(key)))?;
                Some(Credential::Password { user: user.to_owned(), password: password.to_owned() })
            } else {
                None
            };
            if let Some(credential) = credential {
                out.insert(host_of(key), credential);
            }
        }
        Ok(Self(out))
    }

    /// Reads a credentials file; a missing file means no credentials.
    ///
    /// # Errors
    /// When the file exists and cannot be used.
    pub fn from_file(path: &Path) -> Result<Self, RegistryError> {
        let shown = path.display();
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::none()),
            Ok(metadata) if metadata.len() > MAX_FILE => {
                return Err(RegistryError::local(format!("{shown} is larger than 1 MiB")));
            }
            _ => {}
        }
        let text = std::fs::read_to_string(path)
            .map_err(|error| RegistryError::local(format!("{shown} cannot be read: {error}")))?;
        Self::from_docker_config(&text).map_err(|why| RegistryError::local(format!("{shown}: {why}")))
    }

    /// The credentials of the user who runs a command: `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`.
    ///
    /// # Errors
    /// When the file exists and cannot be used.
    pub fn of_user() -> Result<Self, RegistryError> {
        let folder = std::env::var_os("DOCKER_CONFIG")
            .map(std::path::PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker")));
        match folder.map(|folder| folder.join("config.json")) {
            Some(path) if path.exists() => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| RegistryError::local(format!("{}: {error}", path.display())))?;
                // A user's file may only name helpers; then there is nothing to read here.
                Ok(Self::from_docker_config(&text).unwrap_or_default())
            }
            _ => Ok(Self::none()),
        }
    }

    /// Adds those of another set; the other set wins.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Credentials for a registry.
    #[must_use]
    pub fn get(&self, registry: &str) -> Option<&Credential> {
        self.0.get(&host_of(registry))
    }
}

impl Credential {
    /// Value of the `Authorization` header.
    #[must_use]
    pub fn header(&self) -> String {
        match self {
            Self::Password { user, password } => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
            Self::Token(token) => format!("Bearer {token}"),
        }
    }
}

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
    fn docker_config() {
        let credentials = Credentials::from_docker_config(
            r#"{"auths":{"https://reg.example.org/v2/":{"auth":"dTpwOng="},"10.0.0.1:5000":{"username":"a","password":"b"},"t":{"registrytoken":"x"},"empty":{}}}"#,
        )
        .unwrap();
        assert_eq!(
            credentials.get("reg.example.org"),
            Some(&Credential::Password { user: "u".into(), password: "p:x".into() })
        );
        assert_eq!(credentials.get("10.0.0.1:5000").unwrap().header(), "Basic YTpi");
        assert_eq!(credentials.get("t").unwrap().header(), "Bearer x");
        assert!(credentials.get("empty").is_none() && credentials.get("10.0.0.1").is_none());
        assert!(!format!("{credentials:?}").contains("p:x"));
        for bad in ["", "[]", "{}", r#"{"auths":{"r":{"auth":"%"}}}"#, r#"{"auths":{"r":{"auth":"eA=="}}}"#] {
            assert!(Credentials::from_docker_config(bad).is_err(), "{bad}");
        }
    }

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
