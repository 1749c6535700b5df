//! Reading OCI image layouts: a folder with `oci-layout`, `index.json` and `blobs/`, as skopeo and `e2e/images` write it.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use launchway_crds::digest::Sha256Digest;

use crate::image::manifest::{Descriptor, Document};
use crate::image::{Blob, Hasher};

/// Largest manifest or index.
const MANIFEST_CAP: u64 = 4 << 20;
/// Annotation that names a manifest of a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// One image of a layout: `FOLDER`, `FOLDER:NAME` or `FOLDER@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The folder.
    pub folder: PathBuf,
    /// The image's name in it.
    pub name: Option<String>,
    /// The image's digest.
    pub digest: Option<Sha256Digest>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci:{}", self.folder.display())?;
        match (&self.name, &self.digest) {
            (Some(name), _) => write!(f, ":{name}"),
            (None, Some(digest)) => write!(f, "@{digest}"),
            (None, None) => Ok(()),
        }
    }
}

impl Place {
    /// Parses what stands behind `oci:`.
    ///
    /// # Errors
    /// When there is no folder, or the digest is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (folder, name, digest) = match text.split_once('@') {
            Some((folder, digest)) => (folder, None, Some(digest.parse().map_err(|error| format!("{error}"))?)),
            None => match text.rsplit_once(':') {
                Some((folder, name)) if !name.contains('/') => (folder, Some(name.to_owned()), None),
                _ => (text, None, None),
            },
        };
        if folder.is_empty() {
            return Err("write it as oci:FOLDER, oci:FOLDER:NAME or oci:FOLDER@sha256:…".to_owned());
        }
        Ok(Self { folder: PathBuf::from(folder), name, digest })
    }

    /// The descriptor that `index.json` has for this image.
    ///
    /// # Errors
    /// When there is no layout, or not exactly one such image in it.
    pub fn find(&self) -> Result<Descriptor, String> {
        let path = self.folder.join("index.json");
        let bytes = bounded(&path, MANIFEST_CAP)?;
        let Document::Index { manifests, .. } =
            Document::parse(&bytes).map_err(|why| format!("{}: {why}", path.display()))?
        else {
            return Err(format!("{} is not an index", path.display()));
        };
        let wanted = |entry: &&Descriptor| match (&self.name, &self.digest) {
            (Some(name), _) => entry.annotations.get(REF_NAME) == Some(name),
            (None, Some(digest)) => entry.digest == *digest,
            (None, None) => true,
        };
        let found: Vec<&Descriptor> = manifests.iter().filter(wanted).collect();
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(format!("{self}: there is no such image in the folder's index.json")),
            several => Err(format!(
                "{self}: index.json names {} images; say which: oci:FOLDER:NAME or oci:FOLDER@sha256:…",
                several.len()
            )),
        }
    }
}

fn bounded(path: &Path, cap: u64) -> Result<Vec<u8>, String> {
    let bad = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let file = std::fs::File::open(path).map_err(bad)?;
    let mut bytes = Vec::new();
    file.take(cap + 1).read_to_end(&mut bytes).map_err(bad)?;
    if bytes.len() as u64 > cap {
        return Err(format!("{} is larger than {cap} bytes", path.display()));
    }
    Ok(bytes)
}

fn path_of(folder: &Path, digest: &Sha256Digest) -> PathBuf {
    folder.join("blobs/sha256").join(digest.hex())
}

/// A small blob of a layout, verified.
///
/// # Errors
/// When it is not there, too large, or other content.
pub fn read(folder: &Path, digest: &Sha256Digest, cap: u64) -> Result<Vec<u8>, String> {
    let path = path_of(folder, digest);
    let bytes = bounded(&path, cap)?;
    let found = Hasher::of(&bytes);
    if found != *digest {
        return Err(format!("{} has the digest {found}: the layout is damaged", path.display()));
    }
    Ok(bytes)
}

/// A manifest of a layout, verified.
///
/// # Errors
/// As [`read`].
pub fn manifest(folder: &Path, digest: &Sha256Digest) -> Result<Vec<u8>, String> {
    read(folder, digest, MANIFEST_CAP)
}

/// A layer of a layout. Its content is not read here: the registry that takes it compares it with its digest.
///
/// # Errors
/// When it is not there or has another size.
pub fn open(folder: &Path, blob: &Descriptor) -> Result<Blob, String> {
    let path = path_of(folder, &blob.digest);
    let opened = std::fs::File::open(&path).and_then(Blob::from_file);
    let opened = opened.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    if opened.len() != blob.size {
        return Err(format!("{} has {} bytes and should have {}", path.display(), opened.len(), blob.size));
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_folder_and_name_or_digest() {
        let digest = Hasher::of(b"x");
        for (text, folder, name, by_digest) in [
            ("/a/b", "/a/b", None, false),
            ("a", "a", None, false),
            ("/a/b:img", "/a/b", Some("img"), false),
            ("/a:1/b", "/a:1/b", None, false),
            (&format!("/a/b@{digest}"), "/a/b", None, true),
        ] {
            let place = Place::parse(text).unwrap();
            assert_eq!(place.folder, PathBuf::from(folder), "{text}");
            assert_eq!(place.name.as_deref(), name, "{text}");
            assert_eq!(place.digest, by_digest.then_some(digest), "{text}");
            assert_eq!(place.to_string(), format!("oci:{text}"));
        }
        for bad in ["", ":x", "a@sha256:1"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_image_of_several_must_be_named() {
        let folder = tempfile::tempdir().unwrap();
        let entry = |name: &str| {
            let digest = Hasher::of(name.as_bytes()).to_string();
            json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
                "annotations": {REF_NAME: name}})
        };
        let index = json!({"schemaVersion": 2, "manifests": [entry("one"), entry("two")]});
        std::fs::write(folder.path().join("index.json"), index.to_string()).unwrap();
        let find = |more: &str| Place::parse(&format!("{}{more}", folder.path().display())).unwrap().find();
        assert!(find("").unwrap_err().contains("2 images"));
        assert_eq!(find(":two").unwrap().digest, Hasher::of(b"two"));
        assert_eq!(find(&format!("@{}", Hasher::of(b"one"))).unwrap().digest, Hasher::of(b"one"));
        assert!(find(":three").unwrap_err().contains("no such image"));
    }

    #[test]
    fn damaged_blobs_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let digest = Hasher::of(b"content");
        std::fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        std::fs::write(path_of(folder.path(), &digest), "contenT").unwrap();
        assert!(read(folder.path(), &digest, 100).unwrap_err().contains("damaged"));
        assert!(read(folder.path(), &digest, 3).unwrap_err().contains("larger"));
        let descriptor = |size| Descriptor::new("x", digest, size);
        assert!(open(folder.path(), &descriptor(7)).is_ok());
        assert!(open(folder.path(), &descriptor(8)).unwrap_err().contains("should have 8"));
        assert!(read(folder.path(), &Hasher::of(b"other"), 100).is_err());
    }
}
