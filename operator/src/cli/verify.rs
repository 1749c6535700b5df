//! `verify`: builds a release again from the inputs that its provenance names, and compares digests.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use launchway_crds::digest::ImageRef;
use serde_json::json;

use super::image_build::{BaseArgs, Narrator};
use super::registry::RegistryArgs;
use super::{CliError, End};
use crate::attest::key::PublicKey;
use crate::build::verify::{Check, Elsewhere, verify};
use crate::build::{BaseRef, Source};
use crate::registry::Client;

/// Build a release again and compare it with what is in the registry
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The release: REGISTRY/REPOSITORY@sha256:… or REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "RELEASE")]
    pub release: String,
    /// Zips or folders to build from, where the packages are in no registry
    #[arg(value_name = "PATH", conflicts_with = "artifact")]
    pub paths: Vec<PathBuf>,
    /// Artifact to build from, where it is elsewhere now: REGISTRY/REPOSITORY@sha256:… or :TAG
    #[arg(long, value_name = "REF")]
    pub artifact: Option<String>,
    /// Base images, where they are elsewhere now.
    #[command(flatten)]
    pub base: BaseArgs,
    /// Ask for a signature of the provenance by this public key (PEM)
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_parser = ["table", "json"], default_value = "table")]
    pub output: String,
    /// Registry access.
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// Runs the command. `Failed` when anything differs.
///
/// # Errors
/// When the release or one of its inputs cannot be read.
pub async fn run(args: &VerifyArgs, out: &mut (dyn Write + Send)) -> Result<End, CliError> {
    let registry = |error: crate::registry::RegistryError| CliError::said(error.to_string());
    let client = args.registry.client().map_err(registry)?;
    let release = resolve(&client, &args.release).await?;
    let key = args.key.as_deref().map(read_public_key).transpose()?;
    let elsewhere = elsewhere(&client, args).await?;
    let spool = tempfile::tempdir()?;
    let checks = verify(&client, &release, elsewhere, key.as_ref(), spool.path(), &Narrator).await?;
    let same = checks.iter().all(|check| check.same);
    print(&release, &checks, same, &args.output, out)?;
    Ok(if same { End::Done } else { End::Failed })
}

fn read_public_key(path: &std::path::Path) -> Result<PublicKey, CliError> {
    let bad = |why: String| CliError::said(format!("key {}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| bad(format!("it cannot be read: {error}")))?;
    PublicKey::from_pem(&pem).map_err(bad)
}

/// A reference to one manifest; a tag is asked for its digest once.
async fn resolve(client: &Client, text: &str) -> Result<ImageRef, CliError> {
    match BaseRef::resolve(client, text).await? {
        BaseRef::Image(image) => Ok(image),
        BaseRef::Layout(_) => Err(CliError::said(format!("{text}: name it in a registry; a folder has no referrers"))),
    }
}

async fn elsewhere(client: &Client, args: &VerifyArgs) -> Result<Elsewhere, CliError> {
    let mut out = Elsewhere::default();
    if !args.paths.is_empty() {
        out.source = Some(Source::Files(args.paths.clone()));
    } else if let Some(artifact) = &args.artifact {
        out.source = Some(Source::Artifact(resolve(client, artifact).await?));
    }
    if let Some(base) = &args.base.base_aem {
        out.aem = Some(BaseRef::resolve(client, base).await?);
    }
    if let Some(base) = &args.base.base_dispatcher {
        out.dispatcher = Some(BaseRef::resolve(client, base).await?);
    }
    Ok(out)
}

fn print(
    release: &ImageRef,
    checks: &[Check],
    same: bool,
    format: &str,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    if format == "json" {
        let list: Vec<_> = checks
            .iter()
            .map(
                |check| json!({"what": check.what, "found": check.found, "rebuilt": check.rebuilt, "same": check.same}),
            )
            .collect();
        return Ok(writeln!(out, "{:#}", json!({"release": release, "same": same, "checks": list}))?);
    }
    for check in checks {
        let word = if check.same { "same" } else { "DIFFERS" };
        writeln!(out, "{:<10} {word:<8} {}", check.what, check.found)?;
        if !check.same {
            writeln!(out, "{:<10} {:<8} {}", "", "expected", check.rebuilt)?;
        }
    }
    let end = if same { "is what its provenance says" } else { "is NOT proved" };
    Ok(writeln!(out, "{release} {end}")?)
}
