//! Where packages come from: an artifact in a registry, or files of this machine.

use std::path::{Path, PathBuf};

use futures::stream::{self, StreamExt, TryStreamExt};
use launchway_crds::digest::{ImageRef, Sha256Digest};

use super::{BuildError, Watch};
use crate::artifact::{self, OpenFile, PushError, ReadError};
use crate::image::Blob;
use crate::image::plan::Input;
use crate::registry::{Client, Repository};
use crate::text::human;

/// Files that are downloaded at once.
const DOWNLOADS: usize = 3;

/// Where packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An artifact that `launchway push` wrote.
    Artifact(ImageRef),
    /// Zips, folders with zips, or project folders, as `launchway push` takes them.
    Files(Vec<PathBuf>),
}

/// The packages, readable any number of times.
#[derive(Debug)]
pub struct Gathered {
    /// Digest of the artifact that these files are; `None` for files that never were one.
    pub artifact: Option<Sha256Digest>,
    /// The files.
    pub inputs: Vec<Input>,
}

/// Reads the packages.
///
/// # Errors
/// When the artifact or a file cannot be read, or is none of ours.
pub async fn gather(client: &Client, source: &Source, spool: &Path, watch: &dyn Watch) -> Result<Gathered, BuildError> {
    match source {
        Source::Artifact(image) => download(client, image, spool, watch).await,
        Source::Files(paths) => {
            let paths = paths.clone();
            let gathered = tokio::task::spawn_blocking(move || read(&paths))
                .await
                .map_err(|error| BuildError::Platform(format!("reading the packages failed: {error}")))??;
            watch.line(&format!("files: {}, {}", gathered.inputs.len(), human(total(&gathered.inputs))));
            Ok(gathered)
        }
    }
}

fn total(inputs: &[Input]) -> u64 {
    inputs.iter().map(|input| input.blob.len()).sum()
}

async fn download(client: &Client, image: &ImageRef, spool: &Path, watch: &dyn Watch) -> Result<Gathered, BuildError> {
    let repository = Repository::of(image);
    let files = artifact::list(client, image).await.map_err(|error| match error {
        ReadError::Refused(refusal) => BuildError::Refused(refusal),
        ReadError::Registry(error) => BuildError::Registry(error),
    })?;
    let size: u64 = files.iter().map(|file| file.size).sum();
    watch.line(&format!("artifact {image}: {} files, {}", files.len(), human(size)));
    let repository = &repository;
    let inputs = stream::iter(files)
        .map(|file| async move {
            let blob = artifact::download(client, repository, &file, spool, watch).await?;
            Ok::<_, BuildError>(Input { name: file.name, blob, sha256: Some(file.digest) })
        })
        .buffered(DOWNLOADS)
        .try_collect()
        .await?;
    Ok(Gathered { artifact: Some(image.digest()), inputs })
}

fn read(paths: &[PathBuf]) -> Result<Gathered, BuildError> {
    let files = artifact::find_zips(paths).and_then(artifact::open_files).map_err(|error| match error {
        PushError::Input(message) => BuildError::Platform(message),
        PushError::Registry(error) => BuildError::Registry(error),
    })?;
    let input = |file: OpenFile| Input { name: file.name, blob: file.blob, sha256: None };
    Ok(Gathered { artifact: None, inputs: files.into_iter().map(input).collect() })
}

/// A blob that is not in memory, spooled anonymously.
pub(super) async fn spooled(
    client: &Client,
    from: &Repository,
    digest: &Sha256Digest,
    size: u64,
    spool: &Path,
) -> Result<Blob, BuildError> {
    let mut file = crate::image::blob::Spool::new(spool).file()?;
    client.download(from, digest, size, &mut file, (&crate::registry::Silent, "")).await?;
    Ok(Blob::from_file(file)?)
}
