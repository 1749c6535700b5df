//! Names of what is in repositories, as people write them.

use launchway_crds::digest::Sha256Digest;

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
    /// Parses a location. The registry's host must be written out; no default registry is assumed, and no tag.
    ///
    /// Tags are those of the OCI distribution specification 1.1: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`. By hand, because the
    /// expression of `oci-spec` takes 16 MB; tests hold this against it.
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
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(digest.parse().map_err(|error| bad(format!("{error}")))?)),
            None => (text, None),
        };
        // A colon before the last slash is that of the registry's port.
        let (repository, tag) = match named.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (named, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(bad(format!(
                "`{}` is not a tag (a letter, digit or `_`, then up to 127 of those, `.` and `-`)",
                tag.escape_debug()
            )));
        }
        Ok(Self { repository: Repository::parse(repository)?, tag: tag.map(str::to_owned), digest })
    }
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_MAX
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

/// Bytes of the longest tag.
const TAG_MAX: usize = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use oci_spec::distribution::Reference;
    use proptest::prelude::*;

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
            "reg.example.org/a:-t",
            "reg.example.org/a:t:u",
            "reg.example.org/a:ä",
            "reg.example.org:v1",
            &format!("reg.example.org/a@{DIGEST}@{DIGEST}"),
            &format!("reg.example.org/a:{}", "t".repeat(129)),
        ] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
    }

    /// Something like a location: right ones, and near misses.
    fn written() -> impl Strategy<Value = String> {
        let host =
            prop_oneof![Just("10.0.0.1:5000"), Just("reg.example.org"), Just("localhost"), Just("reg.example.org:443")];
        let tag = prop_oneof![Just(String::new()), ":[a-zA-Z0-9_.-]{0,130}", ":[a-z/:@ ]{0,4}"];
        let digest = prop_oneof![Just(String::new()), "@sha256:[0-9a-f]{64}", "@sha256:[0-9a-fA-F]{60,66}"];
        (host, "(/[a-zA-Z0-9._-]{0,6}){1,3}", tag, digest)
            .prop_map(|(host, path, tag, digest)| format!("{host}{path}{tag}{digest}"))
    }

    proptest! {
        /// Whatever is taken, `oci-spec` takes as well, and reads the same in it.
        #[test]
        fn agrees_with_oci_spec(text in written()) {
            let reference = text.parse::<Reference>();
            let Ok(location) = Location::parse(&text) else { return Ok(()) };
            let reference = reference.map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            prop_assert_eq!(location.repository.registry(), reference.registry());
            prop_assert_eq!(location.repository.path(), reference.repository());
            let digest = location.digest.map(|digest| digest.to_string());
            prop_assert_eq!(digest.as_deref(), reference.digest());
            // Without tag and digest it invents `latest`.
            let tag = reference.tag().filter(|_| location.tag.is_some());
            prop_assert_eq!(location.tag.as_deref(), tag);
        }

        /// Of tags, both take the same.
        #[test]
        fn takes_the_tags_that_oci_spec_takes(tag in "[a-zA-Z0-9_.-]{0,130}") {
            let text = format!("reg.example.org/a:{tag}");
            prop_assert_eq!(Location::parse(&text).is_ok(), text.parse::<Reference>().is_ok(), "{}", text);
        }
    }
}
