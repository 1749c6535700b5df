//! Content digests and digest-pinned image references.
//!
//! Launchway compares, approves and deploys by content only. These two types make it impossible to pass a tag, or a
//! digest that was never checked for form, where content is meant.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest accepted image reference, in bytes.
pub const MAX_IMAGE_REF: usize = 512;

/// The SHA-256 digest of some content, written `sha256:<64 lower-case hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest([u8; 32]);

/// Why a string is not a digest or not a digest-pinned image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not of the form `sha256:<64 hex>`.
    #[error("`{0}` is not a digest: write sha256: followed by 64 lower-case hexadecimal digits")]
    Digest(String),
    /// Not of the form `REGISTRY/REPOSITORY@sha256:<64 hex>`.
    #[error("`{value}` is not a digest-pinned image reference ({why}): write REGISTRY/REPOSITORY@sha256:<64 hex>")]
    Image {
        /// The value that was refused, shortened.
        value: String,
        /// The rule that it breaks.
        why: &'static str,
    },
}

impl Sha256Digest {
    /// Wraps the 32 bytes of a finished SHA-256.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits without the `sha256:` prefix.
    #[must_use]
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut out = String::with_capacity(64);
        for byte in self.0 {
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        out
    }

    /// The first 12 hexadecimal digits, for names that people read.
    #[must_use]
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        hex
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn shortened(value: &str) -> String {
    value.chars().take(120).collect()
}

impl FromStr for Sha256Digest {
    type Err = DigestError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let refused = || DigestError::Digest(shortened(value));
        let hex = value.strip_prefix("sha256:").ok_or_else(refused)?.as_bytes();
        if hex.len() != 64 {
            return Err(refused());
        }
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0_u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            match (nibble(pair[0]), nibble(pair[1])) {
                (Some(high), Some(low)) => *byte = (high << 4) | low,
                _ => return Err(refused()),
            }
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Sha256Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Sha256Digest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sha256Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^sha256:[0-9a-f]{64}$",
            "maxLength": 71,
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// An image named by content: `REGISTRY/REPOSITORY@sha256:<64 hex>`. Never a tag.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    repository: String,
    digest: Sha256Digest,
}

impl ImageRef {
    /// Joins a repository (`REGISTRY/REPOSITORY`) and a digest.
    ///
    /// # Errors
    /// When the repository is not of the form `REGISTRY/REPOSITORY`.
    pub fn new(repository: &str, digest: Sha256Digest) -> Result<Self, DigestError> {
        check_repository(repository).map_err(|why| DigestError::Image { value: shortened(repository), why })?;
        Ok(Self { repository: repository.to_owned(), digest })
    }

    /// `REGISTRY/REPOSITORY`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// `HOST[:PORT]` of the registry.
    #[must_use]
    pub fn registry(&self) -> &str {
        self.repository.split_once('/').map_or(&self.repository, |(host, _)| host)
    }

    /// The repository's path inside the registry.
    #[must_use]
    pub fn path(&self) -> &str {
        self.repository.split_once('/').map_or("", |(_, path)| path)
    }

    /// The digest.
    #[must_use]
    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    if repository.len() > MAX_IMAGE_REF - 72 {
        return Err("it is longer than 512 bytes with its digest");
    }
    let (host, path) = repository.split_once('/').ok_or("the registry host is missing")?;
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')) {
        return Err("the registry host has characters that are not letters, digits, `.` or `-`");
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err("the registry port is not a number from 0 to 65535");
    }
    if !(name.contains('.') || port.is_some() || name == "localhost") {
        return Err("the first part is not a registry host (no dot, no port, not localhost)");
    }
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    for part in path.split('/') {
        let bytes = part.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return Err("a part of the repository is empty");
        };
        if !edge(*first) || !edge(*last) || !bytes.iter().all(|b| edge(*b) || matches!(b, b'.' | b'_' | b'-')) {
            return Err("a part of the repository has characters that are not a-z, 0-9, `.`, `_` or `-`");
        }
        // Of the OCI distribution specification: what joins letters and digits is `.`, `_`, `__` or any number of `-`.
        let joined = part
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|join| matches!(join, "" | "." | "_" | "__") || join.bytes().all(|b| b == b'-'));
        if !joined {
            return Err("a part of the repository joins its words by other than one `.`, one or two `_`, or `-`");
        }
    }
    Ok(())
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

impl fmt::Debug for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ImageRef {
    type Err = DigestError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let refused = |why| DigestError::Image { value: shortened(value), why };
        let (repository, digest) = value.rsplit_once('@').ok_or_else(|| refused("the @sha256:… part is missing"))?;
        let digest = digest.parse().map_err(|_| refused("the part behind @ is not sha256: and 64 hex digits"))?;
        check_repository(repository).map_err(refused)?;
        Ok(Self { repository: repository.to_owned(), digest })
    }
}

impl Serialize for ImageRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for ImageRef {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ImageRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)+(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?|[A-Za-z0-9-]+:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])|localhost)(/[a-z0-9]([a-z0-9._-]*[a-z0-9])?)+@sha256:[0-9a-f]{64}$",
            "maxLength": 512,
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digest_round_trip() {
        let text = format!("sha256:{HEX}");
        let digest: Sha256Digest = text.parse().unwrap();
        assert_eq!(digest.to_string(), text);
        assert_eq!(digest.short(), "e3b0c44298fc");
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Sha256Digest>(&format!("\"{text}\"")).unwrap(), digest);
    }

    #[test]
    fn digest_refusals() {
        for bad in [
            "",
            HEX,
            "sha512:00",
            &format!("sha256:{}", &HEX[1..]),
            &format!("sha256:{}", HEX.to_uppercase()),
            &format!("sha256:{HEX}0"),
            &format!(" sha256:{HEX}"),
        ] {
            assert!(bad.parse::<Sha256Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn image_references() {
        let text = format!("10.1.2.3:5000/team/site-a@sha256:{HEX}");
        let image: ImageRef = text.parse().unwrap();
        assert_eq!(image.registry(), "10.1.2.3:5000");
        assert_eq!(image.path(), "team/site-a");
        assert_eq!(image.to_string(), text);
        for joined in ["a.b", "a_b", "a__b", "a---b"] {
            assert!(format!("localhost/{joined}@sha256:{HEX}").parse::<ImageRef>().is_ok(), "{joined}");
        }
        for bad in [
            format!("site@sha256:{HEX}"),
            format!("team/site@sha256:{HEX}"),
            format!("localhost/UP@sha256:{HEX}"),
            format!("localhost:99999/a@sha256:{HEX}"),
            format!("localhost//a@sha256:{HEX}"),
            format!("localhost/../a@sha256:{HEX}"),
            format!("localhost/a..b@sha256:{HEX}"),
            format!("localhost/a_.b@sha256:{HEX}"),
            format!("localhost/a___b@sha256:{HEX}"),
            "localhost/a:latest".to_owned(),
            format!("http://localhost/a@sha256:{HEX}"),
        ] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad}");
        }
    }
}
