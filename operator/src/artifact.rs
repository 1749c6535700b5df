//! The artifact of a build: every zip of a project as one OCI artifact, pushed by people and CI, read by the build Job.
//!
//! One layer a zip, named by its title, sorted by file name, with the empty configuration: the same zips give the same
//! digest, and any `oras`-compatible tool can write and read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use launchway_crds::digest::{ImageRef, Sha256Digest};

use crate::image::Blob;
use crate::image::blob::Hasher;
use crate::image::failure::{Reason, Refusal};
use crate::image::manifest::{self, ARTIFACTS, Descriptor, Document, EMPTY_JSON, TITLE};
use crate::registry::{Client, Location, Progress, Pushed, RegistryError, Repository};

/// Media type of packages.
pub const ZIP: &str = "application/zip";
/// Media type of a jar with functional tests, which a build of sources may add.
const JAR: &str = "application/java-archive";
/// Media type of an archive with UI tests.
const TAR_GZ: &str = "application/gzip";
/// Most files of one artifact.
pub const MAX_FILES: usize = 200;
/// Largest file of an artifact.
pub const MAX_FILE_BYTES: u64 = 4 << 30;

const UPLOADS: usize = 3;
const MAX_DEPTH: usize = 12;

/// Why there is nothing to push, or pushing failed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The given paths.
    #[error("{0}")]
    Input(String),
    /// The registry.
    #[error("{0}")]
    Registry(#[from] RegistryError),
}

/// One file that was pushed.
#[derive(Debug, Clone)]
pub struct PushedFile {
    /// File name.
    pub name: String,
    /// Digest.
    pub digest: Sha256Digest,
    /// Size.
    pub size: u64,
    /// How it came into the registry.
    pub how: Pushed,
}

/// The artifact that was pushed.
#[derive(Debug, Clone)]
pub struct PushedArtifact {
    /// `REGISTRY/REPOSITORY@sha256:…`: what a pipeline's execution takes as its source.
    pub image: ImageRef,
    /// Its files.
    pub files: Vec<PushedFile>,
    /// Size of its manifest in bytes.
    pub manifest_size: u64,
}

/// Finds the zips below some paths. A file stands for itself; a Maven project (a folder with `pom.xml`) for every
/// `target/*.zip` in it; any other folder for its own `*.zip`.
///
/// # Errors
/// When a path does not exist, or there is no zip at all.
pub fn find_zips(paths: &[PathBuf]) -> Result<Vec<PathBuf>, PushError> {
    let mut found = BTreeSet::new();
    for path in paths {
        let shown = path.display();
        let metadata =
            std::fs::metadata(path).map_err(|error| PushError::Input(format!("{shown} cannot be read: {error}")))?;
        if metadata.is_file() {
            if !is_zip(path) {
                return Err(PushError::Input(format!(
                    "{shown} is not a .zip file. Name the zips, the target folder or the project folder"
                )));
            }
            found.insert(path.clone());
        } else if path.join("pom.xml").is_file() {
            targets(path, 0, &mut found)?;
        } else {
            zips_of(path, &mut found)?;
        }
    }
    if found.is_empty() {
        let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(PushError::Input(format!(
            "no *.zip in {}. Build the project first (mvn clean package), and name its folder, or the folder with the zips",
            shown.join(", ")
        )));
    }
    if found.len() > MAX_FILES {
        return Err(PushError::Input(format!(
            "{} zips found, {MAX_FILES} allowed. Name the target folders to push",
            found.len()
        )));
    }
    Ok(found.into_iter().collect())
}

fn is_zip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zip"))
}

fn entries(folder: &Path) -> Result<Vec<(PathBuf, std::fs::FileType)>, PushError> {
    let bad = |error: std::io::Error| PushError::Input(format!("{} cannot be read: {error}", folder.display()));
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(bad)? {
        let entry = entry.map_err(bad)?;
        out.push((entry.path(), entry.file_type().map_err(bad)?));
    }
    Ok(out)
}

fn zips_of(folder: &Path, found: &mut BTreeSet<PathBuf>) -> Result<(), PushError> {
    for (path, _) in entries(folder)? {
        if is_zip(&path) && path.is_file() {
            found.insert(path);
        }
    }
    Ok(())
}

fn targets(folder: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) -> Result<(), PushError> {
    for (path, kind) in entries(folder)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // Links to folders are not followed: they may lead out of the project or in a circle.
        if !kind.is_dir() || name.starts_with('.') || name == "node_modules" || name == "src" {
            continue;
        }
        if name == "target" {
            zips_of(&path, found)?;
        } else if depth < MAX_DEPTH {
            targets(&path, depth + 1, found)?;
        }
    }
    Ok(())
}

/// One zip of this machine.
#[derive(Debug, Clone)]
pub struct LocalFile {
    /// File name, without folders.
    pub name: String,
    /// Content.
    pub blob: Blob,
    /// Digest of the content.
    pub digest: Sha256Digest,
}

/// Reads the zips below some paths, sorted by name. One file found twice counts once.
///
/// # Errors
/// As [`find_zips`]; when a file cannot be read, or two different files have one name.
pub fn read_files(paths: &[PathBuf]) -> Result<Vec<LocalFile>, PushError> {
    read_local_files(find_zips(paths)?)
}

/// Reads files, sorted by name. One file found twice counts once.
///
/// # Errors
/// As [`open_files`].
pub fn read_local_files(paths: impl IntoIterator<Item = PathBuf>) -> Result<Vec<LocalFile>, PushError> {
    let read = |file: OpenFile| Ok(LocalFile { digest: file.digest()?, name: file.name, blob: file.blob });
    open_files(paths)?.into_iter().map(read).collect()
}

/// A file that can be read.
#[derive(Debug)]
pub struct OpenFile {
    /// File name.
    pub name: String,
    /// Content.
    pub blob: Blob,
}

impl OpenFile {
    fn digest(&self) -> Result<Sha256Digest, PushError> {
        self.blob.digest().map_err(|error| PushError::Input(format!("{} cannot be read: {error}", self.name)))
    }
}

/// Opens files, sorted by name. One file found twice counts once.
///
/// # Errors
/// When a file cannot be read, there are too many, or two different files have one name.
pub fn open_files(paths: impl IntoIterator<Item = PathBuf>) -> Result<Vec<OpenFile>, PushError> {
    let mut files: BTreeMap<String, OpenFile> = BTreeMap::new();
    for path in paths {
        let local = open_file(&path)?;
        if let Some(other) = files.get(&local.name)
            && other.digest()? != local.digest()?
        {
            return Err(PushError::Input(format!(
                "two different files are named {}. Give one module another finalName, or name the files to push",
                local.name
            )));
        }
        files.insert(local.name.clone(), local);
        if files.len() > MAX_FILES {
            return Err(PushError::Input(format!("more than {MAX_FILES} files, which an artifact may have")));
        }
    }
    Ok(files.into_values().collect())
}

fn open_file(path: &Path) -> Result<OpenFile, PushError> {
    // The name may hold anything that a file system takes.
    let shown = path.to_string_lossy().escape_debug().to_string();
    let bad = |error: std::io::Error| PushError::Input(format!("{shown} cannot be read: {error}"));
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| PushError::Input(format!("{shown}: the file name is not UTF-8")))?;
    check_title(name).map_err(|why| PushError::Input(format!("{shown}: the file name {why}")))?;
    let blob = Blob::from_file(File::open(path).map_err(bad)?).map_err(bad)?;
    if blob.is_empty() {
        return Err(PushError::Input(format!(
            "{shown} has no bytes. An interrupted build leaves such files; build again"
        )));
    }
    if blob.len() > MAX_FILE_BYTES {
        return Err(PushError::Input(format!("{shown} has {} bytes, {MAX_FILE_BYTES} allowed", blob.len())));
    }
    Ok(OpenFile { name: name.to_owned(), blob })
}

fn check_title(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name == "." || name == ".." || name.len() > 200 {
        return Err("is empty or longer than 200 bytes");
    }
    if name.contains(['/', '\\']) || name.chars().any(char::is_control) {
        return Err("has a separator or a control character");
    }
    Ok(())
}

/// Pushes zips as one artifact. What the registry has already is not sent again, so an interrupted push continues.
///
/// # Errors
/// When a file cannot be read, two different files have one name, or the registry fails.
pub async fn push(
    client: &Client,
    target: &Location,
    paths: &[PathBuf],
    progress: &dyn Progress,
) -> Result<PushedArtifact, PushError> {
    let paths = paths.to_vec();
    let files = tokio::task::spawn_blocking(move || read_files(&paths))
        .await
        .map_err(|error| PushError::Input(format!("the files cannot be read: {error}")))??;
    push_files(client, target, files, BTreeMap::new(), progress).await
}

/// Pushes files as one artifact with annotations. What the registry has already is not sent again.
///
/// # Errors
/// When the registry fails.
pub async fn push_files(
    client: &Client,
    target: &Location,
    files: Vec<LocalFile>,
    annotations: BTreeMap<String, String>,
    progress: &dyn Progress,
) -> Result<PushedArtifact, PushError> {
    let repository = &target.repository;
    let pushed: Vec<PushedFile> = stream::iter(files)
        .map(|local| async move {
            let size = local.blob.len();
            progress.start(&local.name, size);
            let how = client
                .push_blob(repository, &local.digest, Arc::new(local.blob), None, (progress, &local.name))
                .await?;
            progress.finish(&local.name, how.as_str());
            Ok::<_, RegistryError>(PushedFile { name: local.name, digest: local.digest, size, how })
        })
        .buffered(UPLOADS)
        .try_collect()
        .await?;
    client.push_bytes(repository, &Hasher::of(EMPTY_JSON), EMPTY_JSON).await?;
    let named: Vec<_> = pushed.iter().map(|file| (file.name.clone(), file.digest, file.size)).collect();
    let document = encode_with(&named, &annotations);
    client.put_manifest(repository, &document.digest.to_string(), document.media_type, &document.bytes).await?;
    if let Some(tag) = &target.tag {
        client.put_manifest(repository, tag, document.media_type, &document.bytes).await?;
    }
    let image =
        ImageRef::new(&repository.to_string(), document.digest).map_err(|error| PushError::Input(error.to_string()))?;
    Ok(PushedArtifact { image, files: pushed, manifest_size: document.bytes.len() as u64 })
}

/// The media type of a file, by its name.
fn media_type(name: &str) -> &'static str {
    let lower = name.to_ascii_lowercase();
    if lower.ends_with(".jar") {
        JAR
    } else if lower.ends_with(".tar.gz") {
        TAR_GZ
    } else {
        ZIP
    }
}

/// Whether a file of an artifact is a package; tests are in it for whoever runs them, and images are made without them.
#[must_use]
pub fn is_package(name: &str) -> bool {
    media_type(name) == ZIP
}

/// The manifest of an artifact with these files, which are sorted by name.
#[must_use]
pub fn encode(files: &[(String, Sha256Digest, u64)]) -> manifest::Encoded {
    encode_with(files, &BTreeMap::new())
}

/// The same with annotations.
fn encode_with(files: &[(String, Sha256Digest, u64)], annotations: &BTreeMap<String, String>) -> manifest::Encoded {
    let mut sorted = files.to_vec();
    sorted.sort();
    let layers: Vec<Descriptor> = sorted
        .into_iter()
        .map(|(name, digest, size)| {
            let mut descriptor = Descriptor::new(media_type(&name), digest, size);
            descriptor.annotations.insert(TITLE.to_owned(), name);
            descriptor
        })
        .collect();
    manifest::artifact(ARTIFACTS, &layers, annotations)
}

/// One file of an artifact in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactFile {
    /// File name.
    pub name: String,
    /// Digest.
    pub digest: Sha256Digest,
    /// Size.
    pub size: u64,
}

/// Why an artifact cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not an artifact of zips.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The registry.
    #[error("{0}")]
    Registry(#[from] RegistryError),
}

/// Lists the files of an artifact.
///
/// # Errors
/// When it does not exist or is something else.
pub async fn list(client: &Client, image: &ImageRef) -> Result<Vec<ArtifactFile>, ReadError> {
    let repository = Repository::of(image);
    let fetched = client.need_manifest(&repository, &image.digest().to_string()).await?;
    decode(&fetched.bytes).map_err(|rule| {
        ReadError::Refused(Box::new(Refusal::new(
            Reason::ArtifactInvalid,
            &image.to_string(),
            rule,
            "Push the artifact with `kubectl launchway push`, and name the digest that it prints",
        )))
    })
}

/// Reads the manifest of an artifact.
///
/// # Errors
/// The rule that it breaks.
pub fn decode(bytes: &[u8]) -> Result<Vec<ArtifactFile>, String> {
    let Document::Manifest(parsed) = Document::parse(bytes)? else {
        return Err("it is an index of images, not an artifact of zips".to_owned());
    };
    if parsed.layers.len() > MAX_FILES {
        return Err(format!("it has {} files, {MAX_FILES} allowed", parsed.layers.len()));
    }
    let image = parsed
        .layers
        .iter()
        .any(|layer| layer.media_type.contains("image.layer") || layer.media_type.contains("image.rootfs"));
    if parsed.artifact_type.as_deref().is_some_and(|kind| kind != ARTIFACTS) && image {
        return Err("its layers are those of an image, not zips".to_owned());
    }
    let mut out: BTreeMap<String, ArtifactFile> = BTreeMap::new();
    for layer in parsed.layers {
        if [JAR, TAR_GZ].contains(&layer.media_type.as_str()) {
            continue;
        }
        let name = match layer.annotations.get(TITLE) {
            Some(title) => title.clone(),
            None => format!("{}.zip", layer.digest.short()),
        };
        check_title(&name).map_err(|why| format!("the file name `{}` {why}", name.escape_debug()))?;
        if layer.size > MAX_FILE_BYTES {
            return Err(format!("{name} has {} bytes, {MAX_FILE_BYTES} allowed", layer.size));
        }
        let file = ArtifactFile { name: name.clone(), digest: layer.digest, size: layer.size };
        if out.insert(name.clone(), file).is_some() {
            return Err(format!("two of its files are named {name}"));
        }
    }
    Ok(out.into_values().collect())
}

/// Downloads one file into a folder, under its digest. A file that is there already is verified and used again.
///
/// # Errors
/// When the registry fails or the folder cannot be written.
pub async fn download(
    client: &Client,
    repository: &Repository,
    file: &ArtifactFile,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Blob, RegistryError> {
    let path = folder.join(format!("{}.zip", file.digest.hex()));
    let local = |error: std::io::Error| RegistryError::local(format!("{}: {error}", path.display()));
    if let Ok(existing) = File::open(&path) {
        let blob = Blob::from_file(existing).map_err(local)?;
        if blob.len() == file.size {
            let again = blob.clone();
            let digest = tokio::task::spawn_blocking(move || again.digest())
                .await
                .map_err(|error| RegistryError::local(error.to_string()))?;
            if digest.map_err(local)? == file.digest {
                progress.finish(&file.name, "spooled already");
                return Ok(blob);
            }
        }
    }
    let mut target = File::options().read(true).write(true).create(true).truncate(true).open(&path).map_err(local)?;
    client.download(repository, &file.digest, file.size, &mut target, (progress, &file.name)).await?;
    target.seek(SeekFrom::Start(0)).map_err(local)?;
    Blob::from_file(target).map_err(local)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn finds_zips() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        write("project/pom.xml");
        write("project/all/target/all.zip");
        write("project/all/target/classes/inner.zip");
        write("project/ui/apps/target/apps.zip");
        write("project/ui/node_modules/x/target/no.zip");
        write("project/other.zip");
        write("plain/a.zip");
        write("plain/b.txt");
        write("empty/b.txt");
        let names = |paths: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(|path| root.path().join(path)).collect();
            find_zips(&paths).map(|found| {
                found.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect::<Vec<_>>()
            })
        };
        assert_eq!(names(&["project"]).unwrap(), ["all.zip", "apps.zip"]);
        assert_eq!(names(&["plain", "plain/a.zip"]).unwrap(), ["a.zip"]);
        assert!(names(&["empty"]).unwrap_err().to_string().contains("mvn"));
        assert!(names(&["plain/b.txt"]).is_err());
        assert!(names(&["nowhere"]).is_err());
    }

    #[test]
    fn manifests_are_sorted_and_stable() {
        let file = |name: &str| (name.to_owned(), Hasher::of(name.as_bytes()), 3);
        let (first, second) = (encode(&[file("b.zip"), file("a.zip")]), encode(&[file("a.zip"), file("b.zip")]));
        assert_eq!(first.digest, second.digest);
        let files = decode(&first.bytes).unwrap();
        assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["a.zip", "b.zip"]);
        assert_eq!(decode(&encode(&[]).bytes).unwrap(), []);
    }

    #[test]
    fn hostile_titles() {
        for name in ["../x.zip", "a/b.zip", "a\\b.zip", "..", "", "a\n.zip", &"x".repeat(300)] {
            assert!(decode(&encode(&[(name.to_owned(), Hasher::of(b"x"), 1)]).bytes).is_err(), "{name}");
        }
        let twice = [("a.zip".to_owned(), Hasher::of(b"x"), 1), ("a.zip".to_owned(), Hasher::of(b"y"), 1)];
        assert!(decode(&encode(&twice).bytes).is_err());
    }
}
