//! Image configurations, manifests and the release index, as canonical JSON.
//!
//! The base's configuration is edited as a JSON value, so that fields which Launchway does not know survive. Keys are
//! sorted and no time is added: the same inputs give the same digest.

use std::collections::BTreeMap;

use launchway_crds::digest::Sha256Digest;
use serde_json::{Map, Value, json};

use super::blob::Hasher;
use super::layer::{Described, LayerEncoding};

/// OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, gzip.
pub const LAYER_GZIP: &str = LayerEncoding::Gzip.media_type();
/// OCI layer, not compressed.
pub const LAYER_TAR: &str = LayerEncoding::Tar.media_type();
/// The empty configuration of artifacts.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Content of the empty configuration.
pub const EMPTY_JSON: &[u8] = b"{}";
/// Docker's image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's image index.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Type of the release index.
pub const RELEASE: &str = "application/vnd.launchway.release.v1";
/// Type of the artifact that `launchway push` writes.
pub const ARTIFACTS: &str = "application/vnd.launchway.artifacts.v1";
/// Type of the build report.
pub const REPORT: &str = "application/vnd.launchway.report.v1";
/// Annotation and label: format of images.
pub const FORMAT_KEY: &str = "dev.launchway.format";
/// Annotation: tier of a manifest in the release index.
pub const TIER_KEY: &str = "dev.launchway.tier";
/// Annotation: file name of a layer of an artifact.
pub const TITLE: &str = "org.opencontainers.image.title";
/// Format name of images.
pub const IMAGE_FORMAT: &str = "aem-image/1";

const MAX_BLOBS: usize = 500;

/// A reference from a manifest to a blob or another manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Media type.
    pub media_type: String,
    /// Digest.
    pub digest: Sha256Digest,
    /// Size.
    pub size: u64,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// `os` and `architecture`, for entries of an index.
    pub platform: Option<(String, String)>,
}

impl Descriptor {
    /// A descriptor without annotations.
    #[must_use]
    pub fn new(media_type: &str, digest: Sha256Digest, size: u64) -> Self {
        Self { media_type: media_type.to_owned(), digest, size, annotations: BTreeMap::new(), platform: None }
    }

    /// As JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut out = json!({"mediaType": self.media_type, "digest": self.digest.to_string(), "size": self.size});
        if !self.annotations.is_empty() {
            out["annotations"] = json!(self.annotations);
        }
        if let Some((os, architecture)) = &self.platform {
            out["platform"] = json!({"os": os, "architecture": architecture});
        }
        out
    }

    fn parse(value: &Value, what: &str) -> Result<Self, String> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let digest = text("digest").unwrap_or_default();
        let annotations = value
            .get("annotations")
            .and_then(Value::as_object)
            .map(|map| map.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect())
            .unwrap_or_default();
        let platform = value.get("platform").and_then(|platform| {
            Some((platform.get("os")?.as_str()?.to_owned(), platform.get("architecture")?.as_str()?.to_owned()))
        });
        if value.get("urls").and_then(Value::as_array).is_some_and(|urls| !urls.is_empty()) {
            return Err(format!("{what} is to be fetched from foreign addresses (urls), which is not supported"));
        }
        Ok(Self {
            media_type: text("mediaType").ok_or_else(|| format!("{what} has no mediaType"))?.to_owned(),
            digest: digest.parse().map_err(|_| format!("{what} has no sha256 digest"))?,
            size: value.get("size").and_then(Value::as_u64).ok_or_else(|| format!("{what} has no size"))?,
            annotations,
            platform,
        })
    }
}

/// A parsed image manifest.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Type of an artifact, else `None`.
    pub artifact_type: Option<String>,
    /// Configuration.
    pub config: Descriptor,
    /// Layers.
    pub layers: Vec<Descriptor>,
}

/// A parsed manifest of either kind.
#[derive(Debug, Clone)]
pub enum Document {
    /// One image or artifact.
    Manifest(Manifest),
    /// Several manifests.
    Index {
        /// Type of the index.
        artifact_type: Option<String>,
        /// Its entries.
        manifests: Vec<Descriptor>,
    },
}

impl Document {
    /// Parses a manifest or an index.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("it is not JSON ({error})"))?;
        if value.get("schemaVersion").and_then(Value::as_u64) != Some(2) {
            return Err("its schemaVersion is not 2".to_owned());
        }
        let artifact_type = value.get("artifactType").and_then(Value::as_str).map(str::to_owned);
        let list = |key: &str, what: &str| -> Result<Vec<Descriptor>, String> {
            let items = value.get(key).and_then(Value::as_array).ok_or_else(|| format!("it has no {key}"))?;
            if items.len() > MAX_BLOBS {
                return Err(format!("it has more than {MAX_BLOBS} {key}"));
            }
            items.iter().map(|item| Descriptor::parse(item, what)).collect()
        };
        let declared = value.get("mediaType").and_then(Value::as_str);
        let index = match declared {
            Some(INDEX | DOCKER_INDEX) => true,
            Some(MANIFEST | DOCKER_MANIFEST) => false,
            Some(other) => return Err(format!("its media type {other} is not that of an image")),
            None => value.get("manifests").is_some(),
        };
        if index {
            return Ok(Self::Index { artifact_type, manifests: list("manifests", "a manifest of the index")? });
        }
        let config = Descriptor::parse(value.get("config").unwrap_or(&Value::Null), "its configuration")?;
        Ok(Self::Manifest(Manifest { artifact_type, config, layers: list("layers", "a layer")? }))
    }
}

/// Bytes with their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Sha256Digest,
    /// Their media type.
    pub media_type: &'static str,
}

impl Encoded {
    pub(crate) fn of(value: &Value, media_type: &'static str) -> Self {
        let bytes = canonical(value);
        Self { digest: Hasher::of(&bytes), bytes, media_type }
    }

    /// The descriptor that names these bytes.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type, self.digest, self.bytes.len() as u64)
    }
}

/// JSON without spaces and with sorted keys, whatever order a map implementation keeps.
#[must_use]
pub fn canonical(value: &Value) -> Vec<u8> {
    fn write(value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Array(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    write(item, out);
                }
                out.push(b']');
            }
            Value::Object(map) => {
                let sorted: BTreeMap<&String, &Value> = map.iter().collect();
                out.push(b'{');
                for (at, (key, item)) in sorted.into_iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(Value::String(key.clone()).to_string().as_bytes());
                    out.push(b':');
                    write(item, out);
                }
                out.push(b'}');
            }
            scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
        }
    }
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

/// One layer to add on top of a base.
#[derive(Debug, Clone)]
pub struct AddedLayer {
    /// Digests and size.
    pub described: Described,
    /// How it is stored.
    pub encoding: LayerEncoding,
    /// What it holds, for the image's history. Never a path or name of the building machine.
    pub what: String,
    /// Annotations of its descriptor.
    pub annotations: BTreeMap<String, String>,
}

/// A base image, as read from the registry.
#[derive(Debug, Clone)]
pub struct Base {
    /// Digest of the manifest (of the platform, when the reference names an index).
    pub digest: Sha256Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration.
    pub config: Value,
}

/// An image ready to be pushed.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// Configuration.
    pub config: Encoded,
    /// Manifest.
    pub manifest: Encoded,
    /// Layers of the base, then ours.
    pub layers: Vec<Descriptor>,
    /// How many of the layers are the base's.
    pub base_layers: usize,
    /// `os` and `architecture`.
    pub platform: (String, String),
}

fn oci_twin(media_type: &str) -> Result<&'static str, String> {
    Ok(match media_type {
        LAYER_GZIP | "application/vnd.docker.image.rootfs.diff.tar.gzip" => LAYER_GZIP,
        LAYER_TAR | "application/vnd.docker.image.rootfs.diff.tar" => LAYER_TAR,
        "application/vnd.oci.image.layer.v1.tar+zstd" => "application/vnd.oci.image.layer.v1.tar+zstd",
        other => {
            return Err(format!("the base has a layer of type {other}, which cannot be built upon"));
        }
    })
}

/// Puts layers on a base.
///
/// # Errors
/// What is wrong with the base.
pub fn build(
    base: &Base,
    added: &[AddedLayer],
    labels: &BTreeMap<String, String>,
    max_layers: usize,
) -> Result<BuiltImage, String> {
    let mut config = base.config.clone();
    let root = config.as_object_mut().ok_or("the base's configuration is not a JSON object")?;
    let text = |root: &Map<String, Value>, key: &str| root.get(key).and_then(Value::as_str).map(str::to_owned);
    let platform = (
        text(root, "os").ok_or("the base's configuration has no os")?,
        text(root, "architecture").ok_or("the base's configuration has no architecture")?,
    );
    let diff_ids = root
        .get_mut("rootfs")
        .and_then(|rootfs| rootfs.get_mut("diff_ids"))
        .and_then(Value::as_array_mut)
        .ok_or("the base's configuration has no rootfs.diff_ids")?;
    if diff_ids.len() != base.manifest.layers.len() {
        return Err(format!("the base has {} layers and {} diff_ids", base.manifest.layers.len(), diff_ids.len()));
    }
    if diff_ids.len() + added.len() > max_layers {
        return Err(format!(
            "the image would have {} layers ({} of the base) and {max_layers} are allowed: put several packages into one container package",
            diff_ids.len() + added.len(),
            diff_ids.len(),
        ));
    }
    diff_ids.extend(added.iter().map(|layer| Value::String(layer.described.diff_id.to_string())));
    // Without a history of its own the base's layers have none, and a history must cover all layers or none.
    let history = root.entry("history").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(history) = history.as_array_mut() {
        let covered =
            history.iter().filter(|item| item.get("empty_layer").and_then(Value::as_bool) != Some(true)).count();
        if covered == base.manifest.layers.len() {
            history.extend(added.iter().map(|layer| json!({"created_by": format!("launchway {}", layer.what)})));
        }
    }
    let inner = root.entry("config").or_insert_with(|| json!({}));
    let inner = inner.as_object_mut().ok_or("the base's `config` is not a JSON object")?;
    let slot = inner.entry("Labels").or_insert_with(|| json!({}));
    if slot.is_null() {
        *slot = json!({});
    }
    let slot = slot.as_object_mut().ok_or("the base's `Labels` are not a JSON object")?;
    slot.insert(FORMAT_KEY.to_owned(), json!(IMAGE_FORMAT));
    for (key, value) in labels {
        slot.insert(key.clone(), json!(value));
    }
    let config = Encoded::of(&config, CONFIG);
    let mut layers = Vec::new();
    for layer in &base.manifest.layers {
        layers.push(Descriptor::new(oci_twin(&layer.media_type)?, layer.digest, layer.size));
    }
    for layer in added {
        let mut descriptor = Descriptor::new(layer.encoding.media_type(), layer.described.digest, layer.described.size);
        descriptor.annotations.clone_from(&layer.annotations);
        layers.push(descriptor);
    }
    let manifest = Encoded::of(
        &json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor().to_value(),
            "layers": layers.iter().map(Descriptor::to_value).collect::<Vec<_>>(),
            "annotations": {
                FORMAT_KEY: IMAGE_FORMAT,
                "org.opencontainers.image.base.digest": base.digest.to_string(),
            },
        }),
        MANIFEST,
    );
    Ok(BuiltImage { config, manifest, layers, base_layers: base.manifest.layers.len(), platform })
}

/// The release: one index that names both images. Its digest is what is tested, approved and deployed.
#[must_use]
pub fn release(aem: &Descriptor, dispatcher: &Descriptor) -> Encoded {
    let entry = |tier: &str, descriptor: &Descriptor| {
        let mut descriptor = descriptor.clone();
        descriptor.annotations = BTreeMap::from([(TIER_KEY.to_owned(), tier.to_owned())]);
        descriptor.to_value()
    };
    Encoded::of(
        &json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "artifactType": RELEASE,
            "manifests": [entry("aem", aem), entry("dispatcher", dispatcher)],
            "annotations": {FORMAT_KEY: "aem-release/1"},
        }),
        INDEX,
    )
}

/// A manifest of an artifact with the empty configuration.
#[must_use]
pub fn artifact(artifact_type: &str, layers: &[Descriptor], annotations: &BTreeMap<String, String>) -> Encoded {
    Encoded::of(&artifact_value(artifact_type, layers, annotations), MANIFEST)
}

/// The same, referring to another manifest (OCI 1.1 `subject`): who asks a registry for what belongs to that one finds it.
#[must_use]
pub fn referrer(
    subject: &Descriptor,
    artifact_type: &str,
    layers: &[Descriptor],
    annotations: &BTreeMap<String, String>,
) -> Encoded {
    let mut value = artifact_value(artifact_type, layers, annotations);
    value["subject"] = Descriptor::new(&subject.media_type, subject.digest, subject.size).to_value();
    Encoded::of(&value, MANIFEST)
}

fn artifact_value(artifact_type: &str, layers: &[Descriptor], annotations: &BTreeMap<String, String>) -> Value {
    let config = Descriptor::new(EMPTY, Hasher::of(EMPTY_JSON), EMPTY_JSON.len() as u64);
    let mut value = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": artifact_type,
        "config": config.to_value(),
        "layers": layers.iter().map(Descriptor::to_value).collect::<Vec<_>>(),
    });
    if !annotations.is_empty() {
        value["annotations"] = json!(annotations);
    }
    value
}

#[cfg(test)]
mod tests;
