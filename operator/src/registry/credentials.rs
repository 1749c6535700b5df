//! Credentials, read from the usual JSON file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::error::RegistryError;
use super::repository::Repository;

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

/// Credentials by registry, or by a part of a registry (`HOST/PATH`), as kubelets read them: the longest path that
/// leads to a repository counts, and `*` stands for one label of a host name.
#[derive(Debug, Clone, Default)]
pub struct Credentials(BTreeMap<Key, Credential>);

/// Host pattern and path, without slashes around it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    host: String,
    path: String,
}

impl Key {
    fn parse(text: &str) -> Self {
        let text = text.trim_start_matches("https://").trim_start_matches("http://");
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        let host = host.to_ascii_lowercase();
        let hub = matches!(host.as_str(), "index.docker.io" | "registry-1.docker.io");
        // What tools write behind the host as the version of the protocol is no path of a repository.
        let path = path.trim_matches('/');
        let path = if matches!(path, "v1" | "v2") { "" } else { path };
        Self { host: if hub { "docker.io".to_owned() } else { host }, path: path.to_owned() }
    }

    fn covers(&self, repository: &Key) -> bool {
        let below = repository.path.strip_prefix(self.path.as_str());
        let in_path = self.path.is_empty() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let mut labels = (self.host.split('.'), repository.host.split('.'));
        in_path
            && loop {
                match (labels.0.next(), labels.1.next()) {
                    (None, None) => break true,
                    (Some("*"), Some(_)) => {}
                    (Some(own), Some(other)) if own == other => {}
                    _ => break false,
                }
            }
    }
}

fn credential(key: &Key, entry: &Value) -> Result<Option<Credential>, String> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|value| !value.is_empty());
    if let Some(token) = text("registrytoken") {
        return Ok(Some(Credential::Token(token.to_owned())));
    }
    if let (Some(user), Some(password)) = (text("username"), text("password")) {
        return Ok(Some(Credential::Password { user: user.to_owned(), password: password.to_owned() }));
    }
    let Some(encoded) = text("auth") else {
        return Ok(None);
    };
    let bad = |what: &str| format!("`auth` of {} is not {what}", key.host);
    let bytes = STANDARD.decode(encoded.trim()).map_err(|_| bad("base64"))?;
    let decoded = String::from_utf8(bytes).map_err(|_| bad("text"))?;
    let (user, password) = decoded.split_once(':').ok_or_else(|| bad("user:password"))?;
    Ok(Some(Credential::Password { user: user.to_owned(), password: password.to_owned() }))
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
            let key = Key::parse(key);
            if let Some(credential) = credential(&key, entry)? {
                out.insert(key, credential);
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
        let Some(text) = small_file(path)? else {
            return Ok(Self::none());
        };
        Self::from_docker_config(&text).map_err(|why| RegistryError::local(format!("{shown}: {why}")))
    }

    /// The credentials of the user who runs a command: `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub fn of_user() -> Result<Self, RegistryError> {
        let folder = std::env::var_os("DOCKER_CONFIG")
            .map(std::path::PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker")));
        let Some(folder) = folder else {
            return Ok(Self::none());
        };
        // A user's file may only name helpers; then there is nothing to read here.
        let text = small_file(&folder.join("config.json"))?;
        Ok(text.and_then(|text| Self::from_docker_config(&text).ok()).unwrap_or_default())
    }

    /// Adds those of another set; the other set wins.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Credentials for a repository.
    #[must_use]
    pub fn get(&self, repository: &Repository) -> Option<&Credential> {
        let wanted = Key::parse(&repository.to_string());
        // Of equally long paths a written-out host counts more than a pattern.
        self.0
            .iter()
            .filter(|(key, _)| key.covers(&wanted))
            .max_by_key(|(key, _)| (key.path.len(), !key.host.contains('*')))
            .map(|(_, credential)| credential)
    }
}

/// The text of a small file; `None` when there is none.
pub(super) fn small_file(path: &Path) -> Result<Option<String>, RegistryError> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if metadata.len() > MAX_FILE => {
            return Err(RegistryError::local(format!("{shown} is larger than 1 MiB")));
        }
        _ => {}
    }
    std::fs::read_to_string(path)
        .map(Some)
        .map_err(|error| RegistryError::local(format!("{shown} cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn repository(text: &str) -> Repository {
        Repository::parse(text).unwrap()
    }

    #[test]
    fn docker_config() {
        let credentials = Credentials::from_docker_config(
            r#"{"auths":{"https://reg.example.org/v2/":{"auth":"dTpwOng="},"10.0.0.1:5000":{"username":"a","password":"b"},"t:1":{"registrytoken":"x"},"empty:1":{}}}"#,
        )
        .unwrap();
        let get = |text: &str| credentials.get(&repository(text));
        assert_eq!(
            get("reg.example.org/any"),
            Some(&Credential::Password { user: "u".into(), password: "p:x".into() })
        );
        assert_eq!(get("10.0.0.1:5000/a").unwrap().header(), "Basic YTpi");
        assert_eq!(get("t:1/a").unwrap().header(), "Bearer x");
        assert!(get("empty:1/a").is_none() && get("10.0.0.1:5001/a").is_none());
        assert!(!format!("{credentials:?}").contains("p:x"));
        for bad in ["", "[]", "{}", r#"{"auths":{"r":{"auth":"%"}}}"#, r#"{"auths":{"r":{"auth":"eA=="}}}"#] {
            assert!(Credentials::from_docker_config(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_longest_path_to_a_repository_counts() {
        let entry = |name: &str| serde_json::json!({"registrytoken": name});
        let auths = serde_json::json!({"auths": {
            "reg.example.org": entry("all"), "reg.example.org/team": entry("team"),
            "https://reg.example.org/team/site": entry("site"), "*.example.org": entry("pattern"),
            "index.docker.io/v1/": entry("hub"),
        }});
        let credentials = Credentials::from_docker_config(&auths.to_string()).unwrap();
        for (text, wanted) in [
            ("reg.example.org/other", Some("all")),
            ("reg.example.org/teams", Some("all")),
            ("reg.example.org/team/x", Some("team")),
            ("reg.example.org/team/site", Some("site")),
            ("two.example.org/a", Some("pattern")),
            ("a.two.example.org/a", None),
            ("example.org/a", None),
            ("reg.example.org:444/a", None),
            ("docker.io/a", Some("hub")),
        ] {
            let wanted = wanted.map(|name| Credential::Token(name.to_owned()));
            assert_eq!(credentials.get(&repository(text)), wanted.as_ref(), "{text}");
        }
    }
}
