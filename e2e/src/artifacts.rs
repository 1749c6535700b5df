//! What is pushed: releases of the demo site, real packages, and things that are no packages at all.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use launchway_crds::digest::ImageRef;
use launchway_operator::{
    artifact,
    image::blob::Hasher,
    image::manifest::EMPTY_JSON,
    registry::{Client, ClientOptions, Location, Repository, Silent},
};

use crate::{Failure, Outcome, process::Program as Process, program::Program};

/// A Maven build whose plugins have to be downloaded first.
const SITE: Duration = Duration::from_secs(1000);

/// Builds a release of the demo site; the folder holds its zips as long as the value lives.
///
/// # Errors
/// When Maven fails.
pub async fn site(release: u32, variant: Option<&str>) -> Outcome<tempfile::TempDir> {
    let folder = folder()?;
    build_site(release, variant, folder.path()).await?;
    Ok(folder)
}

/// Builds a release of the demo site into a folder.
///
/// # Errors
/// When Maven fails.
pub async fn build_site(release: u32, variant: Option<&str>, folder: &Path) -> Outcome {
    let mut build = Process::script("e2e/site/build.sh").args([release.to_string()]).args([folder]);
    if let Some(variant) = variant {
        build = build.args(["--variant", variant]);
    }
    build.limit(SITE).remedy("Maven says above what it misses; it must reach Maven Central").run().await.map(drop)
}

/// Fetches packages that nobody here wrote.
///
/// # Errors
/// When they cannot be had.
pub async fn real_packages(files: &[&str]) -> Outcome<tempfile::TempDir> {
    let folder = folder()?;
    Process::script("e2e/packages/fetch.sh").args([folder.path()]).args(files).limit(SITE).run().await?;
    Ok(folder)
}

/// Adds a package that nobody here wrote to a folder; no, where it cannot be had because only some machines have it.
///
/// # Errors
/// When it cannot be had for another reason.
pub async fn add_real_package(folder: &Path, file: &str) -> Outcome<bool> {
    Process::script("e2e/packages/fetch.sh").args(["--if-there"]).args([folder]).args([file]).limit(SITE).run().await?;
    Ok(folder.join(file).is_file())
}

/// An empty folder that goes away with the value.
///
/// # Errors
/// When there is no room.
pub fn folder() -> Outcome<tempfile::TempDir> {
    tempfile::tempdir().map_err(|error| Failure::new(format!("no folder for zips can be made: {error}")))
}

/// Writes a container package that embeds others, as a project's `all` does.
///
/// # Errors
/// When a package cannot be read, or the container not be written.
pub fn container(folder: &Path, name: &str, packages: &[PathBuf]) -> Outcome {
    let mut entries = descriptors(name, VERSION, "container", "/apps/launchway-e2e-packages");
    for package in packages {
        let file = package.file_name().unwrap_or_default().to_string_lossy();
        let bytes = std::fs::read(package).map_err(|error| Failure::new(format!("{}: {error}", package.display())))?;
        entries.push((format!("jcr_root/apps/launchway-e2e-packages/container/install/{file}"), bytes));
    }
    write(folder, name, VERSION, &entries)
}

/// Adds a package with pages below `/content/SITE`, which the demo site's script of the same release renders: for a site of
/// which only the dispatcher configuration is at hand.
///
/// # Errors
/// When it cannot be written.
pub fn pages(folder: &Path, site: &str, release: u32, pages: &[&str]) -> Outcome {
    let (name, version, root) = (format!("{site}.pages"), format!("{release}.0.0"), format!("/content/{site}"));
    let node = |properties: &str| {
        format!(
            r#"<jcr:root xmlns:jcr="http://www.jcp.org/jcr/1.0" xmlns:nt="http://www.jcp.org/jcr/nt/1.0" xmlns:sling="http://sling.apache.org/jcr/sling/1.0" jcr:primaryType="nt:unstructured" {properties}/>"#
        )
        .into_bytes()
    };
    let mut entries = descriptors(&name, &version, "content", &root);
    entries.push((format!("jcr_root{root}/.content.xml"), node(&format!(r#"version="{version}""#))));
    for page in pages {
        let properties = format!(r#"jcr:title="{page}" sling:resourceType="launchway-demo/components/page""#);
        entries.push((format!("jcr_root{root}/{page}/.content.xml"), node(&properties)));
    }
    write(folder, &name, &version, &entries)
}

/// Adds a package that tells the stand-in runtime how to behave: properties as `e2e/images/README.md` lists them, such as
/// `fails="the disk is full" runModes="publish,prod"`.
///
/// # Errors
/// When it cannot be written.
pub fn wishes(folder: &Path, properties: &str) -> Outcome {
    const ROOT: &str = "/apps/launchway-standin";
    let name = "launchway-standin";
    let node = format!(
        r#"<jcr:root xmlns:jcr="http://www.jcp.org/jcr/1.0" xmlns:nt="http://www.jcp.org/jcr/nt/1.0" jcr:primaryType="nt:unstructured" {properties}/>"#
    );
    let mut entries = descriptors(name, VERSION, "application", ROOT);
    entries.push((format!("jcr_root{ROOT}/.content.xml"), node.into_bytes()));
    write(folder, name, VERSION, &entries)
}

/// Of packages that are the same in every release.
const VERSION: &str = "1.0.0";

type Entry = (String, Vec<u8>);

/// What every package says of itself.
fn descriptors(name: &str, version: &str, type_: &str, root: &str) -> Vec<Entry> {
    let filter = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<workspaceFilter version="1.0"><filter root="{root}"/></workspaceFilter>"#
    );
    let properties = format!(
        r#"<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<!DOCTYPE properties SYSTEM "http://java.sun.com/dtd/properties.dtd">
<properties><entry key="group">dev.launchway.e2e</entry><entry key="name">{name}</entry><entry key="version">{version}</entry>
<entry key="packageType">{type_}</entry></properties>"#
    );
    vec![
        ("META-INF/vault/filter.xml".into(), filter.into_bytes()),
        ("META-INF/vault/properties.xml".into(), properties.into_bytes()),
    ]
}

fn write(folder: &Path, name: &str, version: &str, entries: &[Entry]) -> Outcome {
    let entries: Vec<(&str, &[u8])> = entries.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    zip(&folder.join(format!("{name}-{version}.zip")), &entries)
}

/// Writes a zip of stored entries.
///
/// # Errors
/// When it cannot be written.
pub fn zip(file: &Path, entries: &[(&str, &[u8])]) -> Outcome {
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let short = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_le_bytes();
    let (mut bytes, mut directory) = (vec![], vec![]);
    for (name, content) in entries {
        let at = bytes.len();
        // Version, flags, method, time, date, checksum, sizes, lengths of name and extra field.
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        common.extend(crc32fast::hash(content).to_le_bytes());
        common.extend([size(content.len()), size(content.len())].concat());
        common.extend([short(name.len()), [0, 0]].concat());
        bytes.extend([b"PK\x03\x04".as_slice(), &common, name.as_bytes(), content].concat());
        directory.extend([b"PK\x01\x02\x14\0".as_slice(), &common, &[0; 10], &size(at), name.as_bytes()].concat());
    }
    let (at, count) = (bytes.len(), short(entries.len()));
    bytes.extend(&directory);
    bytes.extend(
        [b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count, &size(directory.len()), &size(at), &[0, 0]].concat(),
    );
    std::fs::write(file, bytes).map_err(|error| Failure::new(format!("{}: {error}", file.display())))
}

impl Program {
    /// Where the Pipeline takes artifacts from.
    #[must_use]
    pub fn artifacts(&self) -> String {
        format!("{}/{}/artifacts", self.cluster.registry, self.namespace)
    }

    fn registry(&self) -> Outcome<(Client, Repository)> {
        let options = ClientOptions { plain_http: [self.cluster.registry.clone()].into(), ..ClientOptions::default() };
        let failed = |error: launchway_operator::registry::RegistryError| Failure::new(error.to_string());
        Ok((Client::new(options).map_err(failed)?, Repository::parse(&self.artifacts()).map_err(failed)?))
    }

    /// Pushes every zip of a folder as one artifact.
    ///
    /// # Errors
    /// When there is none, or the registry fails.
    pub async fn push(&self, folder: &Path) -> Outcome<ImageRef> {
        let (client, repository) = self.registry()?;
        let target = Location { repository, tag: Some("main".into()), digest: None };
        let pushed = artifact::push(&client, &target, &[folder.to_path_buf()], &Silent).await;
        Ok(pushed.map_err(|error| Failure::new(error.to_string()))?.image)
    }

    /// Pushes an artifact without any file, as another tool than ours could.
    ///
    /// # Errors
    /// When the registry fails.
    pub async fn push_nothing(&self) -> Outcome<ImageRef> {
        let (client, repository) = self.registry()?;
        let failed = |error: launchway_operator::registry::RegistryError| Failure::new(error.to_string());
        client.push_bytes(&repository, &Hasher::of(EMPTY_JSON), EMPTY_JSON).await.map_err(failed)?;
        let document = artifact::encode(&[]);
        client.put_manifest(&repository, "empty", document.media_type, &document.bytes).await.map_err(failed)?;
        ImageRef::new(&repository.to_string(), document.digest).map_err(|error| Failure::new(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use launchway_operator::image::{Blob, archive::Archive, limits::Limits};

    use super::*;

    #[test]
    fn the_zip_can_be_read() -> Outcome {
        let folder = folder()?;
        let file = folder.path().join("a.zip");
        zip(&file, &[("photos/beach.txt", b"sand"), ("photos/hill.txt", b"grass")])?;
        let file = std::fs::File::open(&file).map_err(|error| error.to_string())?;
        let blob = Blob::from_file(file).map_err(|error| error.to_string())?;
        let read = Archive::open(&blob, "a.zip", &Limits::default()).map_err(|error| format!("{error:?}"))?;
        let names: Vec<&str> = read.entries().iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, ["photos/beach.txt", "photos/hill.txt"]);
        let content = read.read(&read.entries()[1], 100).map_err(|error| format!("{error:?}"))?;
        assert_eq!(content, b"grass");
        Ok(())
    }
}
