//! The record of a build of sources: a small OCI index under the tag of the build's key that names the packages and who
//! built them. The packages' own manifest says nothing of an execution, so that the same packages have one digest.

use std::collections::BTreeMap;

use launchway_crds::{conditions::truncate, digest::Sha256Digest, version::ArtifactsVersion};
use serde_json::json;

use crate::{
    image::manifest::{ARTIFACTS, Document, Encoded, INDEX, MANIFEST},
    text::one_line,
};

/// Artifact type of the record.
const BUILD: &str = "application/vnd.launchway.build.v1";
/// Annotation with the execution that built the packages, `NAMESPACE/NAME`.
const EXECUTION: &str = "dev.launchway.execution";
/// Annotation with the version that was generated for the packages, as the image specification names it.
pub const VERSION: &str = "org.opencontainers.image.version";
/// Longest name of an execution with its namespace.
const BY_MAX: usize = 256;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildRecord {
    /// The packages.
    pub artifact: Sha256Digest,
    /// The execution that built them.
    pub by: Option<String>,
    /// The version that was generated for them, if any was.
    pub version: Option<ArtifactsVersion>,
}

/// The record of packages, whose manifest has so many bytes.
#[must_use]
pub fn encode(artifact: Sha256Digest, size: u64, by: &str, version: Option<&ArtifactsVersion>) -> Encoded {
    let mut annotations = BTreeMap::from([(EXECUTION, by.to_string())]);
    annotations.extend(version.map(|version| (VERSION, version.to_string())));
    let value = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "artifactType": BUILD,
        "manifests": [{ "mediaType": MANIFEST, "artifactType": ARTIFACTS, "digest": artifact, "size": size }],
        "annotations": annotations,
    });
    Encoded::of(&value, INDEX)
}

/// Reads a record.
///
/// # Errors
/// The rule that it breaks.
pub fn decode(bytes: &[u8]) -> Result<BuildRecord, String> {
    let Document::Index { artifact_type: Some(kind), manifests } = Document::parse(bytes)? else {
        return Err("it is no record of a build".into());
    };
    let ([packages], BUILD) = (manifests.as_slice(), kind.as_str()) else {
        return Err("it is no record of a build".into());
    };
    let artifact = packages.digest;
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let annotation = |name: &str| value["annotations"][name].as_str();
    let by = annotation(EXECUTION).map(|by| truncate(&one_line(by), BY_MAX));
    let version = annotation(VERSION).and_then(|version| version.parse().ok());
    Ok(BuildRecord { artifact, by: by.filter(|by| !by.is_empty()), version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_another_index_does_not() {
        let artifact = Sha256Digest::from_bytes([7; 32]);
        let by = || Some("wknd/wknd-42".into());
        let version: Option<ArtifactsVersion> = "2019.926.121356.0000020490".parse().ok();
        let record = encode(artifact, 700, "wknd/wknd-42", version.as_ref());
        assert_eq!(decode(&record.bytes), Ok(BuildRecord { artifact, by: by(), version }));
        let record = encode(artifact, 700, "wknd/wknd-42", None);
        assert_eq!(decode(&record.bytes), Ok(BuildRecord { artifact, by: by(), version: None }));
        let other = String::from_utf8(record.bytes).unwrap().replace(BUILD, "application/vnd.launchway.release.v1");
        assert!(decode(other.as_bytes()).is_err());
        for bad in ["", "{}", r#"{"schemaVersion":2,"manifests":[]}"#] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
