//! Names of what is in repositories, as people write them.

use launchway_crds::digest::Sha256Digest;
use oci_distribution::Reference;

use super::error::{ErrorKind, RegistryError};
use super::repository::Repository;

/// `REGISTRY/REPOSITORY[:TAG][@DIGEST]`, as people write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Repository.
    pub repository: Repository,
    /// Tag, if written.
    pub tag: Option<String>,
    /// Digest, if written.
    pub digest: Option<Sha256Digest>,
}

impl Location {
    /// Parses a location. The registry's host must be written out; no default registry is assumed.
    ///
    /// # Errors
    /// When it is of another form.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        let bad = |why: String| {
            RegistryError::new(
                ErrorKind::Invalid,
                text,
                why,
                "Write it as REGISTRY/REPOSITORY, with :TAG or @sha256:… behind it if wanted",
            )
        };
        let parsed: Reference = text.parse().map_err(|error| bad(format!("it is not a reference ({error})")))?;
        let tag = parsed.tag().map(str::to_owned);
        let digest =
            parsed.digest().map(|digest| digest.parse().map_err(|error| bad(format!("{error}")))).transpose()?;
        let mut name = text;
        if let Some((before, _)) = name.split_once('@') {
            name = before;
        }
        if let Some(tag) = &tag {
            name = name.strip_suffix(&format!(":{tag}")).unwrap_or(name);
        }
        // The parser invents `latest`; only what was written counts.
        let tag = tag.filter(|tag| text.contains(&format!(":{tag}")));
        Ok(Self { repository: Repository::parse(name)?, tag, digest })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn locations() {
        for (text, repository, tag, digest) in [
            ("10.0.0.1:5000/a/b", "10.0.0.1:5000/a/b", None, false),
            ("10.0.0.1:5000/a/b:v1", "10.0.0.1:5000/a/b", Some("v1"), false),
            ("reg.example.org/a:v1", "reg.example.org/a", Some("v1"), false),
            (&format!("localhost/a@{DIGEST}"), "localhost/a", None, true),
            (&format!("reg.example.org/a:t@{DIGEST}"), "reg.example.org/a", Some("t"), true),
        ] {
            let location = Location::parse(text).unwrap();
            assert_eq!(location.repository.to_string(), repository, "{text}");
            assert_eq!(location.tag.as_deref(), tag, "{text}");
            assert_eq!(location.digest.is_some(), digest, "{text}");
        }
        for bad in [
            "",
            "a",
            "a/b",
            "http://reg.example.org/a",
            "reg.example.org/A",
            "reg.example.org/a:",
            "reg.example.org/a@sha256:00",
            "reg.example.org/../a",
        ] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
    }
}
