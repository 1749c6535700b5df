//! Where a release comes from: an in-toto statement (v1) with SLSA provenance (v1).
//!
//! It names every input by digest, so that the same code can build the release again and compare. Where inputs were
//! read from is an input too and is stated; where the release went, who asked for it and when are not.

use std::collections::BTreeMap;

use launchway_crds::digest::{ImageRef, Sha256Digest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::SLSA_PROVENANCE;
use crate::image::layer::{self, LayerEncoding};
use crate::image::manifest::{IMAGE_FORMAT, canonical};

/// Largest statement that is read.
pub const MAX_STATEMENT: usize = 2 << 20;
/// Type of in-toto statements.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What `externalParameters` mean and how to build from them. A change of either is another type.
pub const BUILD_TYPE: &str = "https://launchway.dev/build/v1";
/// Who built it.
pub const BUILDER: &str = "https://launchway.dev/builder/v1";

/// A pair of references to base images: `REGISTRY/REPOSITORY@sha256:…`, or only the digest when they were read from a
/// folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseNames {
    /// Base of author and publish.
    pub aem: String,
    /// Base of the web server.
    pub dispatcher: String,
}

/// Everything that a build was given: with these, anybody can repeat it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameters {
    /// Where the packages were read from; absent when they were files of a machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ImageRef>,
    /// Digest of the artifact, which the names and contents of the files alone decide.
    pub artifact_digest: Sha256Digest,
    /// Base images.
    pub base: BaseNames,
    /// `os/architecture`.
    pub platform: String,
    /// Prefixes of `group:name` that the runtime brings along, besides the default ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provided: Vec<String>,
    /// Whether the dispatcher image alone was built: `base.aem` is then the image beside it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub web_tier: bool,
    /// How layers are stored.
    #[serde(default, skip_serializing_if = "LayerEncoding::is_default")]
    pub layer_encoding: LayerEncoding,
}

/// Digests of the index and of both images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subjects {
    /// The index over both images.
    pub release: Sha256Digest,
    /// Author and publish.
    pub aem: Sha256Digest,
    /// The web server.
    pub dispatcher: Sha256Digest,
}

/// Something named with its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Name, of no machine.
    pub name: String,
    /// Digest.
    pub digest: Sha256Digest,
    /// Media type.
    pub media_type: String,
    /// Package URL, when it is in a registry.
    pub uri: Option<String>,
    /// Remarks, sorted by key.
    pub annotations: BTreeMap<String, String>,
}

impl Resource {
    fn to_value(&self) -> Value {
        let mut out = json!({"name": self.name, "digest": {"sha256": self.digest.hex()}, "mediaType": self.media_type});
        if let Some(uri) = &self.uri {
            out["uri"] = json!(uri);
        }
        if !self.annotations.is_empty() {
            out["annotations"] = json!(self.annotations);
        }
        out
    }
}

/// The package URL of an image (purl type `oci`).
#[must_use]
pub fn purl(image: &ImageRef) -> String {
    let name = image.path().rsplit('/').next().unwrap_or_default();
    format!("pkg:oci/{name}@sha256%3A{}?repository_url={}", image.digest().hex(), image.repository())
}

/// The statement, as canonical JSON. `materials` are the inputs that were read, `layers` what was made of them.
#[must_use]
pub fn statement(subjects: &Subjects, parameters: &Parameters, materials: &[Resource], layers: &[Resource]) -> Vec<u8> {
    let subject = |name: &str, digest: Sha256Digest| json!({"name": name, "digest": {"sha256": digest.hex()}});
    let list = |resources: &[Resource]| resources.iter().map(Resource::to_value).collect::<Vec<_>>();
    canonical(&json!({
        "_type": STATEMENT,
        "subject": [
            subject("release", subjects.release),
            subject("aem", subjects.aem),
            subject("dispatcher", subjects.dispatcher),
        ],
        "predicateType": SLSA_PROVENANCE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": parameters,
                "internalParameters": {"imageFormat": IMAGE_FORMAT, "layerFormat": layer::FORMAT},
                "resolvedDependencies": list(materials),
            },
            "runDetails": {"builder": {"id": BUILDER}, "byproducts": list(layers)},
        },
    }))
}

/// What a statement claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What was built.
    pub subjects: Subjects,
    /// What it was built from.
    pub parameters: Parameters,
}

/// Reads a statement of ours.
///
/// # Errors
/// Why it is none: another predicate, another builder, a format that this version does not know.
pub fn parse(bytes: &[u8]) -> Result<Claim, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("it is not JSON ({error})"))?;
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/_type") != STATEMENT || text("/predicateType") != SLSA_PROVENANCE {
        return Err("it is not an in-toto statement with SLSA provenance v1".to_owned());
    }
    let built = text("/predicate/buildDefinition/buildType");
    if built != BUILD_TYPE {
        return Err(format!(
            "its build type is `{}`, and this Launchway rebuilds {BUILD_TYPE}",
            built.chars().take(100).collect::<String>().escape_debug()
        ));
    }
    for (pointer, known) in [("imageFormat", IMAGE_FORMAT), ("layerFormat", layer::FORMAT)] {
        let found = text(&format!("/predicate/buildDefinition/internalParameters/{pointer}"));
        if found != known {
            let found = found.chars().take(100).collect::<String>();
            return Err(format!("its {pointer} is `{}`, and this Launchway writes {known}", found.escape_debug()));
        }
    }
    let subject = |name: &str| {
        let all = value.get("subject").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let named = all.iter().find(|subject| subject.get("name").and_then(Value::as_str) == Some(name));
        let hex = named.and_then(|subject| subject.pointer("/digest/sha256")).and_then(Value::as_str);
        hex.and_then(|hex| format!("sha256:{hex}").parse().ok()).ok_or_else(|| format!("it has no subject {name}"))
    };
    let subjects = Subjects { release: subject("release")?, aem: subject("aem")?, dispatcher: subject("dispatcher")? };
    let parameters = value.pointer("/predicate/buildDefinition/externalParameters").cloned().unwrap_or_default();
    let parameters =
        serde_json::from_value(parameters).map_err(|error| format!("its parameters cannot be read ({error})"))?;
    Ok(Claim { subjects, parameters })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Hasher;

    fn facts() -> (Subjects, Parameters) {
        let digest = |text: &str| Hasher::of(text.as_bytes());
        let image = ImageRef::new("reg.example.org/base/sling", digest("base")).unwrap();
        let subjects = Subjects { release: digest("r"), aem: digest("a"), dispatcher: digest("d") };
        let parameters = Parameters {
            artifact: Some(ImageRef::new("reg.example.org/artifacts", digest("z")).unwrap()),
            artifact_digest: digest("z"),
            base: BaseNames { aem: image.to_string(), dispatcher: digest("folder").to_string() },
            platform: "linux/amd64".to_owned(),
            provided: vec!["vendor/".to_owned()],
            web_tier: false,
            layer_encoding: LayerEncoding::Gzip,
        };
        (subjects, parameters)
    }

    #[test]
    fn a_statement_says_what_it_was_given() {
        let (subjects, parameters) = facts();
        let material = Resource {
            name: "a.zip".to_owned(),
            digest: Hasher::of(b"a.zip"),
            media_type: "application/zip".to_owned(),
            uri: None,
            annotations: BTreeMap::new(),
        };
        let bytes = statement(&subjects, &parameters, &[material], &[]);
        assert_eq!(parse(&bytes).unwrap(), Claim { subjects, parameters });
        assert_eq!(
            Hasher::of(&bytes).to_string(),
            "sha256:9a947be566c1f83e7c92a8cc3b7cd3c0823f607fae3c8007c8583daef854a5be"
        );
    }

    #[test]
    fn other_statements_are_not_rebuilt() {
        let (subjects, parameters) = facts();
        let text = String::from_utf8(statement(&subjects, &parameters, &[], &[])).unwrap();
        for (from, to, says) in [
            (SLSA_PROVENANCE, "https://slsa.dev/provenance/v0.2", "SLSA"),
            (BUILD_TYPE, "https://launchway.dev/build/v9", "build/v9"),
            (IMAGE_FORMAT, "aem-image/9", "imageFormat"),
            ("\"name\":\"aem\"", "\"name\":\"other\"", "subject aem"),
            ("\"platform\"", "\"plattform\"", "parameters"),
        ] {
            assert!(text.contains(from), "{from}");
            let error = parse(text.replace(from, to).as_bytes()).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert!(parse(b"[").is_err());
    }

    #[test]
    fn package_urls_name_repository_and_digest() {
        let image = ImageRef::new("10.0.0.1:5000/base/sling", Hasher::of(b"x")).unwrap();
        let url = purl(&image);
        assert!(
            url.starts_with("pkg:oci/sling@sha256%3A") && url.ends_with("?repository_url=10.0.0.1:5000/base/sling")
        );
    }
}
