//! The layers of a plan, and the index that says what is in them.

use std::collections::BTreeMap;

use launchway_crds::digest::Sha256Digest;
use serde_json::json;

use super::BuildPlan;
use crate::image::blob::Blob;
use crate::image::layer::{Content, EPOCH, Layer, LayerEncoding, LayerEntry, content_time};
use crate::image::manifest::canonical;
use crate::image::package::{Package, PackageId};

/// Annotation of a layer: digest of the package in it.
pub const PACKAGE_DIGEST: &str = "dev.launchway.artifact-digest";

/// A layer with what it holds.
#[derive(Debug, Clone)]
pub struct NamedLayer {
    /// The layer.
    pub layer: Layer,
    /// For the image's history and for progress lines.
    pub what: String,
    /// Annotations of its descriptor.
    pub annotations: BTreeMap<String, String>,
}

/// The name of a package's file in the image: content in the name, so that changed bytes never have an old name.
#[must_use]
pub fn file_name(id: &PackageId, sha256: &Sha256Digest) -> String {
    let clean = |text: &str| -> String {
        text.chars()
            .take(80)
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' })
            .collect()
    };
    let name = clean(id.name());
    let name = name.strip_prefix('.').map_or(name.clone(), |rest| format!("_{rest}"));
    let version = if id.version().is_empty() { String::new() } else { format!("-{}", clean(id.version())) };
    format!("{name}{version}.{}.zip", sha256.short())
}

impl BuildPlan {
    /// `packages.json`: what must be installed, in install order.
    #[must_use]
    pub fn packages_json(&self) -> Vec<u8> {
        let packages: Vec<serde_json::Value> = self
            .packages
            .iter()
            .map(|package| {
                let mut value = json!({
                    "id": package.id.to_string(),
                    "group": package.id.group(),
                    "name": package.id.name(),
                    "version": package.id.version(),
                    "sha256": package.sha256.hex(),
                    "tiers": package.tiers,
                    "dependencies": package.dependencies.iter().map(ToString::to_string).collect::<Vec<_>>(),
                });
                match &package.embedded_in {
                    Some(container) => value["embeddedIn"] = json!(container.to_string()),
                    None => value["file"] = json!(file_name(&package.id, &package.sha256)),
                }
                value
            })
            .collect();
        let mut out = canonical(&json!({"format": "launchway-packages/1", "packages": packages}));
        out.push(b'\n');
        out
    }

    /// Layers of the AEM image: one a package, sorted by id, and the index last. Behind `room` layers the smallest
    /// packages share one.
    ///
    /// # Errors
    /// When a path cannot be part of a layer.
    pub fn aem_layers(
        &self,
        (install_path, index_path): (&str, &str),
        room: usize,
        encoding: LayerEncoding,
    ) -> Result<Vec<NamedLayer>, String> {
        let folder = install_path.trim_matches('/');
        let mut top: Vec<(&Package, &Blob)> =
            self.packages.iter().filter_map(|package| Some((package, self.content.get(&package.id)?))).collect();
        top.sort_by(|a, b| (b.0.size, &b.0.id).cmp(&(a.0.size, &a.0.id)));
        let alone = if top.len() + 1 > room { room.saturating_sub(2) } else { top.len() };
        let shared = top.split_off(alone);
        top.sort_by(|a, b| a.0.id.cmp(&b.0.id));
        let entry = |package: &Package, blob: &Blob| LayerEntry {
            path: format!("{folder}/{}", file_name(&package.id, &package.sha256)),
            content: Content::File(blob.clone(), 0o444),
            mtime: content_time(&package.sha256),
        };
        let mut out = Vec::new();
        for (package, blob) in top {
            let annotations =
                [(PACKAGE_DIGEST, package.sha256.to_string()), ("dev.launchway.package", package.id.to_string())];
            out.push(NamedLayer {
                layer: Layer::new(vec![entry(package, blob)], encoding)?,
                what: format!("package {}", package.id),
                annotations: annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            });
        }
        if !shared.is_empty() {
            out.push(NamedLayer {
                layer: Layer::new(shared.iter().map(|(package, blob)| entry(package, blob)).collect(), encoding)?,
                what: format!("{} small packages", shared.len()),
                annotations: BTreeMap::new(),
            });
        }
        let index = LayerEntry {
            path: index_path.trim_matches('/').to_owned(),
            content: Content::File(Blob::from_bytes(self.packages_json()), 0o644),
            mtime: EPOCH,
        };
        out.push(NamedLayer {
            layer: Layer::new(vec![index], encoding)?,
            what: "packages.json".to_owned(),
            annotations: BTreeMap::new(),
        });
        Ok(out)
    }

    /// Layer of the dispatcher image, when there is a configuration.
    ///
    /// # Errors
    /// When a path cannot be part of a layer.
    pub fn dispatcher_layer(&self, config_path: &str, encoding: LayerEncoding) -> Result<Option<NamedLayer>, String> {
        let Some(tree) = &self.dispatcher else {
            return Ok(None);
        };
        Ok(Some(NamedLayer {
            layer: Layer::new(tree.layer_entries(config_path), encoding)?,
            what: format!("dispatcher configuration of {} files", tree.nodes.len()),
            annotations: BTreeMap::new(),
        }))
    }
}
