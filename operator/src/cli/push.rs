//! `push`: every zip of a project, as one artifact, into a registry.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

use super::registry::RegistryArgs;
use crate::artifact::{self, PushError, PushedArtifact};
use crate::registry::{Location, Progress, Pushed};
use crate::text::human;

/// Push the packages of a project as one artifact
#[derive(Debug, Clone, Args)]
pub struct PushArgs {
    /// Zips, folders with zips, or project folders (with pom.xml: every target/*.zip below)
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Where to push: REGISTRY/REPOSITORY[:TAG]
    #[arg(long, value_name = "REGISTRY/REPOSITORY[:TAG]")]
    pub to: String,
    /// Output format
    #[arg(short, long, value_parser = ["text", "json", "digest"], default_value = "text")]
    pub output: String,
    /// Registry access.
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// Draws one bar a file; nothing when standard error is no terminal.
pub struct Bars {
    all: MultiProgress,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Default for Bars {
    fn default() -> Self {
        Self { all: MultiProgress::new(), bars: Mutex::default() }
    }
}

impl Bars {
    fn with(&self, name: &str, act: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self.bars.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            act(bar);
        }
    }
}

impl Progress for Bars {
    fn start(&self, name: &str, total: u64) {
        let style = ProgressStyle::with_template(
            "{prefix:40!} {bar:30} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {msg}",
        );
        let bar = self.all.add(ProgressBar::new(total));
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(name.to_owned());
        self.bars.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), bar);
    }

    fn advance(&self, name: &str, bytes: u64) {
        self.with(name, |bar| bar.inc(bytes));
    }

    fn rewind(&self, name: &str, to: u64) {
        self.with(name, |bar| bar.set_position(to));
    }

    fn finish(&self, name: &str, how: &str) {
        self.with(name, |bar| {
            bar.set_position(bar.length().unwrap_or_default());
            bar.finish_with_message(how.to_owned());
        });
    }
}

/// Runs the command.
///
/// # Errors
/// When there is nothing to push, or the registry fails.
pub async fn run(args: &PushArgs, out: &mut (dyn Write + Send)) -> Result<PushedArtifact, PushError> {
    let target = Location::parse(&args.to)?;
    if target.digest.is_some() {
        return Err(PushError::Input(format!(
            "{}: a digest follows from the content; write REGISTRY/REPOSITORY[:TAG]",
            args.to
        )));
    }
    let client = args.registry.client()?;
    let pushed = artifact::push(&client, &target, &args.paths, &Bars::default()).await?;
    print(&pushed, &args.output, out)
        .map_err(|error| PushError::Input(format!("the output cannot be written: {error}")))?;
    Ok(pushed)
}

fn print(pushed: &PushedArtifact, format: &str, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    match format {
        "digest" => writeln!(out, "{}", pushed.image.digest()),
        "json" => {
            let files: Vec<_> = pushed
                .files
                .iter()
                .map(|file| json!({"name": file.name, "digest": file.digest, "size": file.size, "result": file.how.as_str()}))
                .collect();
            writeln!(out, "{:#}", json!({"artifact": pushed.image, "files": files}))
        }
        _ => {
            for file in &pushed.files {
                writeln!(out, "{:<50} {:>12}  {}", file.name, human(file.size), file.how.as_str())?;
            }
            let sent: u64 = pushed.files.iter().filter(|file| file.how == Pushed::Uploaded).map(|file| file.size).sum();
            writeln!(out, "{} files, {} sent", pushed.files.len(), human(sent))?;
            writeln!(out, "artifact {}", pushed.image)
        }
    }
}
