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
    let mut build = Process::script("e2e/site/build.sh").args([release.to_string()]).args([folder.path()]);
    if let Some(variant) = variant {
        build = build.args(["--variant", variant]);
    }
    build.limit(SITE).remedy("Maven says above what it misses; it must reach Maven Central").run().await?;
    Ok(folder)
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

/// An empty folder that goes away with the value.
///
/// # Errors
/// When there is no room.
pub fn folder() -> Outcome<tempfile::TempDir> {
    tempfile::tempdir().map_err(|error| Failure::new(format!("no folder for zips can be made: {error}")))
}

/// Every zip in a folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn zips(folder: &Path) -> Outcome<Vec<PathBuf>> {
    artifact::find_zips(&[folder.to_path_buf()]).map_err(|error| Failure::new(error.to_string()))
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
