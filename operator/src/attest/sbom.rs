//! What is in a release: a `CycloneDX` 1.6 bill of materials out of the metadata of packages.
//!
//! Packages with group, name, version, digest and what they depend on, embedded ones inside their container; the
//! dispatcher configuration; both base images by digest. What is inside the base images and which bundles are inside the
//! packages is not known here, and the document says so (`compositions`).

use std::collections::{BTreeMap, BTreeSet};

use launchway_crds::digest::Sha256Digest;
use serde_json::{Value, json};

use crate::image::manifest::canonical;
use crate::image::package::{Package, PackageId};

use super::provenance::Subjects;

/// Largest document that is read.
pub const MAX_SBOM: usize = 4 << 20;
const SCHEMA: &str = "http://cyclonedx.org/schema/bom-1.6.schema.json";
/// RFC 9562's namespace for URLs.
const NAMESPACE_URL: [u8; 16] =
    [0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];

/// A base image, as the document names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// `org.opencontainers.image.title` of its labels, else what it is the base of.
    pub name: String,
    /// Digest of its manifest.
    pub digest: Sha256Digest,
}

/// What a release holds.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// Its digests.
    pub subjects: &'a Subjects,
    /// Base of author and publish.
    pub aem_base: &'a BaseImage,
    /// Base of the web server.
    pub dispatcher_base: &'a BaseImage,
    /// All packages, embedded ones included.
    pub packages: &'a [Package],
    /// File name and digest of the dispatcher configuration.
    pub dispatcher: Option<(&'a str, Sha256Digest)>,
}

/// The document, as canonical JSON.
#[must_use]
pub fn document(contents: &Contents<'_>) -> Vec<u8> {
    let Contents { subjects, aem_base, dispatcher_base, packages, dispatcher } = contents;
    let known: BTreeSet<&PackageId> = packages.iter().map(|package| &package.id).collect();
    let mut top: Vec<&Package> = Vec::new();
    let mut inside: BTreeMap<&PackageId, Vec<&Package>> = BTreeMap::new();
    for package in *packages {
        match package.embedded_in.as_ref().filter(|container| known.contains(container)) {
            Some(container) => inside.entry(container).or_default().push(package),
            None => top.push(package),
        }
    }
    top.sort_by(|a, b| a.id.cmp(&b.id));
    let mut components = vec![
        image("image-aem", "aem", &subjects.aem),
        image("image-dispatcher", "dispatcher", &subjects.dispatcher),
        image("base-aem", &aem_base.name, &aem_base.digest),
        image("base-dispatcher", &dispatcher_base.name, &dispatcher_base.digest),
    ];
    components.extend(top.iter().map(|package| component(package, &inside)));
    let mut parts_of_dispatcher = BTreeSet::from(["base-dispatcher".to_owned()]);
    if let Some((name, digest)) = dispatcher {
        components.push(json!({
            "type": "file", "bom-ref": "dispatcher-configuration", "name": name, "hashes": hashes(digest),
            "mime-type": "application/zip",
        }));
        parts_of_dispatcher.insert("dispatcher-configuration".to_owned());
    }
    let mut parts_of_aem: BTreeSet<String> = top.iter().map(|package| reference(&package.id)).collect();
    parts_of_aem.insert("base-aem".to_owned());
    let mut graph = BTreeMap::from([
        ("release".to_owned(), ["image-aem", "image-dispatcher"].map(str::to_owned).into()),
        ("image-aem".to_owned(), parts_of_aem),
        ("image-dispatcher".to_owned(), parts_of_dispatcher),
    ]);
    for package in *packages {
        graph.insert(reference(&package.id), needs(package, packages));
    }
    let graph: Vec<Value> = graph
        .into_iter()
        .map(|(from, to)| json!({"ref": from, "dependsOn": to.into_iter().collect::<Vec<_>>()}))
        .collect();
    canonical(&json!({
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid(&format!("https://launchway.dev/release/{}", subjects.release))),
        "version": 1,
        "metadata": {
            "component": image("release", "release", &subjects.release),
            "tools": {"components": [{"type": "application", "name": "launchway"}]},
        },
        "components": components,
        "dependencies": graph,
        "compositions": [
            {"aggregate": "complete", "dependencies": ["release"]},
            {"aggregate": "unknown", "assemblies": ["base-aem", "base-dispatcher"]},
        ],
    }))
}

fn hashes(digest: &Sha256Digest) -> Value {
    json!([{"alg": "SHA-256", "content": digest.hex()}])
}

fn image(reference: &str, name: &str, digest: &Sha256Digest) -> Value {
    json!({
        "type": "container", "bom-ref": reference, "name": name, "version": digest.to_string(), "hashes": hashes(digest),
    })
}

fn reference(id: &PackageId) -> String {
    format!("package:{id}")
}

/// A package with those inside it. Containers are acyclic: a package is embedded in one that was read before it.
fn component(package: &Package, inside: &BTreeMap<&PackageId, Vec<&Package>>) -> Value {
    let id = &package.id;
    let mut out = json!({
        "type": "library",
        "bom-ref": reference(id),
        "name": id.name(),
        "hashes": hashes(&package.sha256),
        "purl": purl(id, &package.sha256),
        "mime-type": "application/zip",
        "properties": properties(package),
    });
    if !id.group().is_empty() {
        out["group"] = json!(id.group());
    }
    if !id.version().is_empty() {
        out["version"] = json!(id.version());
    }
    let mut nested: Vec<&Package> = inside.get(id).cloned().unwrap_or_default();
    nested.sort_by(|a, b| a.id.cmp(&b.id));
    if !nested.is_empty() {
        out["components"] = nested.into_iter().map(|package| component(package, inside)).collect();
    }
    out
}

fn properties(package: &Package) -> Value {
    let mut out = vec![json!({"name": "launchway:file", "value": package.file})];
    if let Some(kind) = &package.package_type {
        out.push(json!({"name": "launchway:packageType", "value": kind}));
    }
    let tiers: Vec<&str> = package.tiers.iter().map(|tier| tier.as_str()).collect();
    out.push(json!({"name": "launchway:tiers", "value": tiers.join(",")}));
    out.extend(
        package.dependencies.iter().map(|need| json!({"name": "launchway:dependency", "value": need.to_string()})),
    );
    Value::Array(out)
}

/// What of the release satisfies the package's dependencies; what the runtime brings along is in no release.
fn needs(package: &Package, packages: &[Package]) -> BTreeSet<String> {
    package
        .dependencies
        .iter()
        .flat_map(|need| packages.iter().filter(|other| need.matches(&other.id) && other.id != package.id))
        .map(|other| reference(&other.id))
        .collect()
}

/// Content packages have no type of their own among package URLs.
fn purl(id: &PackageId, sha256: &Sha256Digest) -> String {
    let group: Vec<String> = id.group().split('/').filter(|part| !part.is_empty()).map(encoded).collect();
    let version = if id.version().is_empty() { String::new() } else { format!("@{}", encoded(id.version())) };
    let group = if group.is_empty() { String::new() } else { format!("{}/", group.join("/")) };
    format!("pkg:generic/{group}{}{version}?checksum=sha256:{}", encoded(id.name()), sha256.hex())
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A name-based UUID, version 5 (RFC 9562 §5.5), of a URL.
fn uuid(name: &str) -> String {
    uuid_in(&NAMESPACE_URL, name)
}

fn uuid_in(namespace: &[u8; 16], name: &str) -> String {
    // SHA-1 is what the format asks for; nothing here depends on its strength.
    let mut context = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(namespace);
    context.update(name.as_bytes());
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&context.finish().as_ref()[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x50;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Hasher;
    use crate::image::checks::Facts;
    use crate::image::package::{Dependency, ServiceTier, WorkspaceFilter};

    fn package(id: (&str, &str, &str), needs: &[&str], container: Option<&PackageId>) -> Package {
        Package {
            id: PackageId::new(id.0, id.1, id.2).unwrap(),
            sha256: Hasher::of(id.1.as_bytes()),
            size: 1,
            file: format!("{}.zip", id.1),
            tiers: ServiceTier::BOTH.to_vec(),
            dependencies: needs.iter().map(|need| Dependency::parse(need).unwrap()).collect(),
            package_type: Some("application".to_owned()),
            filter: WorkspaceFilter::default(),
            embedded_in: container.cloned(),
            skipped: false,
            facts: Facts::default(),
        }
    }

    fn example(reversed: bool) -> Value {
        let all = PackageId::new("site", "all", "1.0").unwrap();
        let mut packages = vec![
            package(("site", "all", "1.0"), &["day/cq60/product:cq-content:[6.5,)"], None),
            package(("site", "core", "1.0"), &[], Some(&all)),
            package(("site/deep er", "content", ""), &["site:core:[1.0,2.0)"], None),
        ];
        if reversed {
            packages.reverse();
        }
        let digest = |text: &str| Hasher::of(text.as_bytes());
        let base = |name: &str| BaseImage { name: name.to_owned(), digest: digest(name) };
        let subjects = Subjects { release: digest("r"), aem: digest("a"), dispatcher: digest("d") };
        let bytes = document(&Contents {
            subjects: &subjects,
            aem_base: &base("sling"),
            dispatcher_base: &base("httpd"),
            packages: &packages,
            dispatcher: Some(("site.dispatcher.zip", digest("zip"))),
        });
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn the_order_of_packages_does_not_matter() {
        assert_eq!(example(false), example(true));
    }

    #[test]
    fn embedded_packages_are_inside_their_container_and_dependencies_name_what_satisfies_them() {
        let bom = example(false);
        let all = bom["components"].as_array().unwrap().iter().find(|part| part["name"] == "all").unwrap();
        assert_eq!(all["components"][0]["bom-ref"], "package:site:core:1.0");
        let needs = |from: &str| {
            let graph = bom["dependencies"].as_array().unwrap();
            graph.iter().find(|entry| entry["ref"] == from).unwrap()["dependsOn"].clone()
        };
        assert_eq!(needs("package:site/deep er:content"), json!(["package:site:core:1.0"]));
        assert_eq!(needs("package:site:all:1.0"), json!([]), "the runtime brings it along");
        assert_eq!(needs("image-dispatcher"), json!(["base-dispatcher", "dispatcher-configuration"]));
    }

    #[test]
    fn package_urls_are_encoded() {
        let bom = example(false);
        let content = bom["components"].as_array().unwrap().iter().find(|part| part["name"] == "content").unwrap();
        let url = content["purl"].as_str().unwrap();
        assert!(url.starts_with("pkg:generic/site/deep%20er/content?checksum=sha256:"), "{url}");
        assert!(content.get("version").is_none());
    }

    /// The example of Python's `uuid` and of RFC 9562, appendix A.4.
    #[test]
    fn uuids_are_those_of_the_standard() {
        let dns = [0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];
        assert_eq!(uuid_in(&dns, "www.example.com"), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
        assert_eq!(uuid_in(&dns, "python.org"), "886313e1-3b8a-5372-9b90-0c9aee199e5d");
    }
}
