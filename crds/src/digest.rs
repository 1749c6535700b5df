//! Content digests and references that name an image by its digest.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A SHA-256 digest, `sha256:` and 64 lower-case hex digits. No other algorithm is accepted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest(String);

/// Why a text is no digest or no pinned reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not `sha256:` with 64 lower-case hex digits.
    #[error("`{0}` is not a digest: expected sha256: and 64 lower-case hex digits")]
    Digest(String),
    /// No `@sha256:…` at the end.
    #[error("`{0}` does not name an image by digest: expected REGISTRY/REPOSITORY@sha256:…")]
    Reference(String),
}

impl Sha256Digest {
    /// From the 32 bytes of the hash.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("sha256:{hex}"))
    }

    /// The whole text, `sha256:…`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hex digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// The first `digits` hex digits, for names and people.
    #[must_use]
    pub fn short(&self, digits: usize) -> &str {
        &self.hex()[..digits.min(64)]
    }
}

impl FromStr for Sha256Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let valid = text.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        });
        valid.then(|| Self(text.to_string())).ok_or_else(|| DigestError::Digest(text.to_string()))
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A reference that cannot move: `REGISTRY/REPOSITORY@sha256:…`, without a tag.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    repository: String,
    digest: Sha256Digest,
}

impl ImageRef {
    /// Joins a repository (`REGISTRY/NAME`) and a digest.
    #[must_use]
    pub fn new(repository: impl Into<String>, digest: Sha256Digest) -> Self {
        Self { repository: repository.into(), digest }
    }

    /// `REGISTRY/REPOSITORY`, without the digest.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The digest.
    #[must_use]
    pub fn digest(&self) -> &Sha256Digest {
        &self.digest
    }
}

impl FromStr for ImageRef {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let error = || DigestError::Reference(text.to_string());
        let (name, digest) = text.rsplit_once('@').ok_or_else(error)?;
        let digest = digest.parse()?;
        // A tag beside a digest is allowed in references and means nothing: drop it.
        let repository = match name.rsplit_once(':') {
            Some((head, tag)) if !tag.contains('/') && head.contains('/') => head,
            _ => name,
        };
        if !repository.contains('/') || repository.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(error());
        }
        Ok(Self::new(repository, digest))
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

impl fmt::Debug for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

macro_rules! as_text {
    ($type:ty, $name:literal, $max:literal, $pattern:literal) => {
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "maxLength": $max, "pattern": $pattern })
            }
        }
    };
}

as_text!(Sha256Digest, "Sha256Digest", 71, "^sha256:[0-9a-f]{64}$");
as_text!(ImageRef, "ImageRef", 512, "^[^@\\s]+/[^@\\s]+@sha256:[0-9a-f]{64}$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_need_a_digest_and_lose_their_tag() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let image: ImageRef = format!("registry.example.com:5000/wknd/images:main@{digest}").parse().unwrap();
        assert_eq!(image.repository(), "registry.example.com:5000/wknd/images");
        assert_eq!(image.to_string(), format!("registry.example.com:5000/wknd/images@{digest}"));
        let image: ImageRef = format!("10.111.0.2:5000/images@{digest}").parse().unwrap();
        assert_eq!(image.repository(), "10.111.0.2:5000/images");
        for bad in [
            "",
            "a/b",
            "a/b:tag",
            "a/b@sha256:12",
            &format!("nohost@{digest}"),
            &format!("a/b@{}", digest.to_uppercase()),
        ] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad}");
        }
    }
}
