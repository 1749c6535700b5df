//! `image build`: what the Build Images Job does, by hand and on this machine.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use launchway_crds::pipeline::LayerEncoding;
use serde_json::{Value, json};

use super::registry::RegistryArgs;
use super::{CliError, End};
use crate::build::publish::Target;
use crate::build::stream::OwnLayer;
use crate::build::{self, Assembled, BaseRef, BuildError, Made, PLATFORM, Recipe, Report, Source, Watch, attach};
use crate::registry::{Client, Location, Progress};
use crate::text::human;
use crate::worker::build::read_key;

/// Images by hand.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Build the images and the release of some packages, as the Build Images Job does
    Build(BuildArgs),
}

/// Base images, as people name them.
#[derive(Debug, Clone, Args)]
pub struct BaseArgs {
    /// Base image of author and publish: REGISTRY/REPOSITORY:TAG or @sha256:…, or oci:FOLDER[:NAME]
    #[arg(long, value_name = "REF")]
    pub base_aem: Option<String>,
    /// Base image of the web server, named likewise
    #[arg(long, value_name = "REF")]
    pub base_dispatcher: Option<String>,
}

/// Build the images and the release of some packages
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Zips, folders with zips, or project folders (with pom.xml: every target/*.zip below)
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Where images go: REGISTRY/REPOSITORY[:TAG]
    #[arg(long, value_name = "REGISTRY/REPOSITORY[:TAG]", required_unless_present = "dry_run")]
    pub to: Option<String>,
    /// Base images.
    #[command(flatten)]
    pub base: BaseArgs,
    /// Compute everything and write nothing; needs the bases, and no registry if those are folders (oci:FOLDER)
    #[arg(long)]
    pub dry_run: bool,
    /// Build the dispatcher image alone, as a pipeline of type WebTier does; --base-aem is then the image beside it
    #[arg(long)]
    pub web_tier: bool,
    /// Package that the runtime brings along: prefix of group:name; may be given several times
    #[arg(long, value_name = "PREFIX")]
    pub provided: Vec<String>,
    /// Store layers as plain tars, as `layerEncoding: Tar` of a Pipeline does; default: gzips of stored blocks
    #[arg(long)]
    pub tar_layers: bool,
    /// Platform to choose from bases that are an index
    #[arg(long, value_name = "OS/ARCHITECTURE", default_value = PLATFORM)]
    pub platform: String,
    /// Sign the provenance with this private key (ECDSA P-256, PKCS#8 PEM)
    #[arg(long, value_name = "FILE")]
    pub sign_key: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_parser = ["table", "json", "digest"], default_value = "table")]
    pub output: String,
    /// Registry access.
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// Says on standard error what a build does: standard output is for the result.
pub(super) struct Narrator;

impl Progress for Narrator {}

impl Watch for Narrator {
    fn line(&self, line: &str) {
        eprintln!("{line}");
    }
}

impl From<BuildError> for CliError {
    fn from(error: BuildError) -> Self {
        Self::said(error.to_string())
    }
}

/// Runs the command. `Failed` when the packages or a base are refused.
///
/// # Errors
/// When something cannot be read or written.
pub async fn run(args: &BuildArgs, out: &mut (dyn Write + Send)) -> Result<End, CliError> {
    match build(args, out).await {
        Err(Stop::Build(BuildError::Refused(refusal))) => {
            eprintln!("refused: {refusal}");
            Ok(End::Failed)
        }
        Err(Stop::Build(error)) => Err(error.into()),
        Err(Stop::Cli(error)) => Err(error),
        Ok(()) => Ok(End::Done),
    }
}

enum Stop {
    Build(BuildError),
    Cli(CliError),
}

impl<E: Into<BuildError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Build(error.into())
    }
}

fn said(text: String) -> Stop {
    Stop::Cli(CliError::said(text))
}

async fn build(args: &BuildArgs, out: &mut (dyn Write + Send)) -> Result<(), Stop> {
    let target = args.to.as_deref().map(Location::parse).transpose()?;
    if let Some(target) = target.as_ref().filter(|target| target.digest.is_some()) {
        return Err(said(format!("{}: a digest follows from the content; write :TAG, or nothing", target.repository)));
    }
    let key = args.sign_key.as_deref().map(read_key).transpose()?;
    let client = args.registry.client()?;
    let recipe = recipe(args, &client).await?;
    let spool = tempfile::tempdir()?;
    let to = target.as_ref().filter(|_| !args.dry_run).map(|target| &target.repository);
    let Made { report, outcome } = build::make(&client, &recipe, to, spool.path(), &Narrator).await?;
    let assembled = outcome.map_err(BuildError::Refused)?;
    if let Some(target) = target.as_ref().filter(|_| !args.dry_run) {
        let to = Target { repository: &target.repository, tag: target.tag.as_deref(), key: key.as_ref() };
        build::publish(&client, to, &assembled, &report, spool.path(), &Narrator).await?;
    }
    let repository = target.map(|target| target.repository.to_string());
    print(&assembled, &report, repository.as_deref(), args, out).map_err(|error| Stop::Cli(CliError::Output(error)))
}

async fn recipe(args: &BuildArgs, client: &Client) -> Result<Recipe, Stop> {
    let need = |base: &Option<String>, option: &str| {
        base.clone()
            .ok_or_else(|| said(format!("name the base image with {option}: docs/base-images.md says which fit")))
    };
    Ok(Recipe {
        source: Source::Files(args.paths.clone()),
        aem: BaseRef::resolve(client, &need(&args.base.base_aem, "--base-aem")?).await?,
        dispatcher: BaseRef::resolve(client, &need(&args.base.base_dispatcher, "--base-dispatcher")?).await?,
        web_tier: args.web_tier,
        provided: args.provided.clone(),
        layer_encoding: if args.tar_layers { LayerEncoding::Tar } else { LayerEncoding::Gzip },
        platform: args.platform.clone(),
    })
}

/// Name and digest of everything that is, or would be, in the registry.
fn results(assembled: &Assembled, report: &Report) -> [(&'static str, String); 6] {
    let subjects = assembled.subjects();
    [
        ("release", subjects.release),
        ("aem", subjects.aem),
        ("dispatcher", subjects.dispatcher),
        ("provenance", assembled.provenance.manifest.digest),
        ("sbom", assembled.sbom.manifest.digest),
        ("report", attach::Document::report(report).manifest.digest),
    ]
    .map(|(what, digest)| (what, digest.to_string()))
}

fn print(
    assembled: &Assembled,
    report: &Report,
    repository: Option<&str>,
    args: &BuildArgs,
    out: &mut (dyn Write + Send),
) -> std::io::Result<()> {
    let layers =
        || assembled.images().into_iter().flat_map(|image| image.layers.iter().map(move |layer| (image, layer)));
    match args.output.as_str() {
        "digest" => writeln!(out, "{}", assembled.release.digest),
        "json" => {
            let mut value = json!({
                "repository": repository,
                "written": !args.dry_run,
                "artifact": report.artifact,
                "order": report.order,
                "layers": layers().map(|(image, OwnLayer { named, added, .. })| json!({
                    "image": image.tier().as_str(), "holds": named.what, "digest": added.described.digest,
                    "diffId": added.described.diff_id, "size": added.described.size,
                })).collect::<Vec<Value>>(),
            });
            for (what, digest) in results(assembled, report) {
                value[what] = json!(digest);
            }
            writeln!(out, "{value:#}")
        }
        _ => {
            writeln!(out, "{:<12} DIGEST", "WHAT")?;
            for (what, digest) in results(assembled, report) {
                writeln!(out, "{what:<12} {digest}")?;
            }
            writeln!(out, "\n{:<12} {:>10}  HOLDS", "LAYER OF", "SIZE")?;
            for (image, OwnLayer { named, added, .. }) in layers() {
                writeln!(out, "{:<12} {:>10}  {}", image.tier().as_str(), human(added.described.size), named.what)?;
            }
            match repository.filter(|_| !args.dry_run) {
                Some(repository) => writeln!(out, "\nrelease {repository}@{}", assembled.release.digest),
                None => writeln!(out, "\nnothing was written (--dry-run)"),
            }
        }
    }
}
