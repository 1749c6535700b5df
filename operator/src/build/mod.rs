//! From packages and base images to a release: the one way of the Build Images Job, `launchway image build` and
//! `launchway verify`.
//!
//! [`make`] reads and computes: every digest of a release follows from it. [`publish`] writes what a registry does not
//! have yet. When it is told where the release goes, [`make`] sends large new layers while it hashes them: blobs that
//! nothing names until [`publish`] writes the images. The images are a function of the packages and the bases alone: nothing of an
//! execution, the time or this machine is in them, so the same again, anywhere, gives the same digests.

pub mod assemble;
pub mod attach;
pub mod base;
pub mod layout;
pub mod publish;
pub mod report;
pub mod source;
pub mod stream;
pub mod verify;

use std::path::Path;

use launchway_crds::digest::Sha256Digest;

use crate::artifact;
use crate::image::ImageError;
use crate::image::blob::Spool;
use crate::image::contract::ImageTier;
use crate::image::dispatcher::BaseFiles;
use crate::image::failure::Refusal;
use crate::image::layer::LayerEncoding;
use crate::image::plan::{PlanOptions, Planned, plan};
use crate::registry::{Client, Progress, RegistryError, Repository};

pub use assemble::{Assembled, Assembly};
pub use base::{BaseRef, LoadedBase};
pub use publish::publish;
pub use report::Report;
pub use source::{Gathered, Source, gather};
use stream::Outlet;

/// The platform that is built for when none is named.
pub const PLATFORM: &str = "linux/amd64";

/// Why a build stops.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The customer's input, or a base image that the customer chose.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// A registry.
    #[error("{0}")]
    Registry(#[from] RegistryError),
    /// This machine, or the request itself.
    #[error("{0}")]
    Platform(String),
}

impl From<ImageError> for BuildError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Refused(refusal) => Self::Refused(refusal),
            ImageError::Io(error) => Self::from(error),
        }
    }
}

impl From<std::io::Error> for BuildError {
    fn from(error: std::io::Error) -> Self {
        Self::Platform(format!("reading or writing the spool failed: {error}"))
    }
}

/// Told what a build does, line by line, besides the bytes that move.
pub trait Watch: Progress {
    /// One line for people.
    fn line(&self, line: &str);
}

/// What to build.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The packages.
    pub source: Source,
    /// Base of author and publish; with `web_tier` their image, which stays as it is.
    pub aem: BaseRef,
    /// Base of the web server.
    pub dispatcher: BaseRef,
    /// Whether the dispatcher image alone is built, and content packages are left out.
    pub web_tier: bool,
    /// Prefixes of `group:name` that the runtime brings along, besides the default ones.
    pub provided: Vec<String>,
    /// How layers are stored.
    pub layer_encoding: LayerEncoding,
    /// `os/architecture` to choose from bases that are an index.
    pub platform: String,
}

impl Recipe {
    fn options(&self) -> PlanOptions {
        PlanOptions { web_tier: self.web_tier, ..PlanOptions::with_provided(&self.provided) }
    }
}

/// A build before anything is written.
#[derive(Debug)]
pub struct Made {
    /// What every file was found to be.
    pub report: Report,
    /// The release, or why there is none.
    pub outcome: Result<Box<Assembled>, Box<Refusal>>,
}

/// Reads everything that a recipe names and computes the release. Writes nothing but the spool, and, once all packages
/// are accepted, layers into the repository `to`.
///
/// # Errors
/// When something cannot be read, or a base image cannot be built upon. Refused packages are part of the result.
pub async fn make(
    client: &Client,
    recipe: &Recipe,
    to: Option<&Repository>,
    spool: &Path,
    watch: &dyn Watch,
) -> Result<Made, BuildError> {
    let platform = recipe
        .platform
        .split_once('/')
        .ok_or_else(|| BuildError::Platform(format!("platform `{}` is not os/architecture", recipe.platform)))?;
    let (gathered, aem, dispatcher) = tokio::try_join!(
        source::gather(client, &recipe.source, spool, watch),
        base::load(client, &recipe.aem, ImageTier::Aem, platform),
        base::load(client, &recipe.dispatcher, ImageTier::Dispatcher, platform),
    )?;
    watch.line(&format!("bases: aem {}, dispatcher {}", aem.base.digest, dispatcher.base.digest));
    let Gathered { artifact, inputs } = gathered;
    let planned = plan_off_thread(inputs, BaseFiles::of(&dispatcher.contract), recipe.options(), spool).await?;
    for line in report::lines(&planned) {
        watch.line(&line);
    }
    let artifact = artifact.unwrap_or_else(|| artifact_of(&planned));
    let mut report = Report::new(artifact, &planned);
    let Planned { files, plan, .. } = planned;
    let plan = match plan {
        Ok(plan) => plan,
        Err(refusal) => return Ok(Made { report, outcome: Err(refusal) }),
    };
    let outlet = match to.filter(|_| !recipe.web_tier) {
        Some(repository) => Outlet::open(client, repository, &plan).await?,
        None => None,
    };
    let assembled = assemble::assemble(recipe, (artifact, &files), plan, (aem, dispatcher), outlet).await?;
    report.release = Some(assembled.release.digest);
    Ok(Made { report, outcome: Ok(Box::new(assembled)) })
}

/// The artifact that the files would be if they were pushed.
fn artifact_of(planned: &Planned) -> Sha256Digest {
    let named: Vec<_> = planned.files.iter().map(|file| (file.name.clone(), file.sha256, file.size)).collect();
    artifact::encode(&named).digest
}

/// Checks packages without bases: what can be said of them before anything is built.
///
/// # Errors
/// When something cannot be read. Refused packages are part of the result.
pub async fn check(
    gathered: Gathered,
    provided: &[String],
    spool: &Path,
    watch: &dyn Watch,
) -> Result<Planned, BuildError> {
    let options = PlanOptions::with_provided(provided);
    let planned = plan_off_thread(gathered.inputs, BaseFiles::default(), options, spool).await?;
    for line in report::lines(&planned) {
        watch.line(&line);
    }
    Ok(planned)
}

async fn plan_off_thread(
    inputs: Vec<crate::image::plan::Input>,
    base: BaseFiles,
    options: PlanOptions,
    spool: &Path,
) -> Result<Planned, BuildError> {
    let spool = Spool::new(spool);
    tokio::task::spawn_blocking(move || plan(inputs, &base, &options, &spool))
        .await
        .map_err(|error| BuildError::Platform(format!("planning failed: {error}")))?
        .map_err(BuildError::from)
}
