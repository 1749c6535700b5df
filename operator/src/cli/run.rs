//! `launchway run`: starts an execution.

use clap::Args;
use launchway_crds::{
    Pipeline,
    digest::Sha256Digest,
    execution::{ArtifactChoice, Mode, PipelineExecutionSpec},
    pipeline::PipelineType,
};

use super::{
    CliError, End, request,
    session::Session,
    start::{self, StartArgs},
};

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Name of the Pipeline
    pub pipeline: String,
    /// Packages to run with: a digest, or a tag that is resolved once; default: the pipeline's tag
    #[arg(long, value_name = "sha256:…|TAG", value_parser = artifact, conflicts_with = "source")]
    pub artifact: Option<ArtifactChoice>,
    /// Commit to build, in whole, on a pipeline with spec.source.git; default: what its branch or tag names
    #[arg(long, value_name = "COMMIT", value_parser = commit, conflicts_with_all = ["source", "artifact"])]
    pub commit: Option<String>,
    /// Build even if the same build was done before
    #[arg(long, conflicts_with_all = ["source", "artifact"])]
    pub rebuild: bool,
    /// Stage-only execution whose release goes to production, on a pipeline of type ProductionOnly; default: the last
    /// one that succeeded
    #[arg(long, value_name = "EXECUTION")]
    pub source: Option<String>,
    /// Deploy the release even if it was made before the one that production runs
    #[arg(long)]
    pub allow_older: bool,
    /// Skip the tests of security and performance, on a stage-only pipeline every test of stage
    #[arg(long, requires = "reason")]
    pub emergency: bool,
    /// Why; everyone can read it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Name, following, cluster.
    #[command(flatten)]
    pub start: StartArgs,
}

/// Creates the execution, and follows it if asked to.
///
/// # Errors
/// When there is no such pipeline, what is asked does not belong to it, or the apiserver refuses.
pub async fn run(args: RunArgs) -> Result<End, CliError> {
    let reason = args.reason.as_deref().map(request::reason).transpose()?;
    let session = Session::open(args.start.connection.clone()).await?;
    if let Some(pipeline) = start::known(&session, &args.pipeline).await? {
        fits(&pipeline, &args)?;
    }
    let spec = PipelineExecutionSpec {
        artifact: args.artifact,
        commit: args.commit,
        rebuild: args.rebuild,
        source_execution: args.source,
        allow_older: args.allow_older,
        mode: if args.emergency { Mode::Emergency } else { Mode::Normal },
        reason,
        ..PipelineExecutionSpec::usual(&args.pipeline, session.me().await?)
    };
    start::start(&session, spec, &args.start).await
}

/// Refuses what the operator would refuse, before there is an execution that has failed.
fn fits(pipeline: &Pipeline, args: &RunArgs) -> Result<(), CliError> {
    let takes_release = pipeline.spec.type_ == PipelineType::ProductionOnly;
    let builds = pipeline.spec.source.git.is_some();
    let wrong = match (builds, &args.artifact) {
        (true, Some(_)) => {
            Some("it builds its packages from Git, and --artifact names some: name a commit with --commit")
        }
        (false, _) if args.commit.is_some() || args.rebuild => {
            Some("--commit and --rebuild belong to pipelines with spec.source.git")
        }
        _ => None,
    };
    if let Some(wrong) = wrong {
        return Err(CliError::said(format!("Pipeline {}: {wrong}", args.pipeline)));
    }
    let wrong = match (takes_release, &args.artifact) {
        (true, Some(_)) => "--artifact names packages, and it builds none: name a stage-only execution with --source",
        (false, _) if args.source.is_some() => "--source belongs to pipelines of type ProductionOnly",
        (false, _) if args.allow_older => "--allow-older belongs to pipelines of type ProductionOnly",
        _ => return Ok(()),
    };
    Err(CliError::said(format!("Pipeline {} is of type {}: {wrong}", args.pipeline, start::kind(pipeline.spec.type_))))
}

fn commit(text: &str) -> Result<String, String> {
    let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if hex && matches!(text.len(), 40 | 64) {
        return Ok(text.into());
    }
    Err("no commit: write its whole hash, 40 hex digits (git rev-parse HEAD)".into())
}

fn artifact(text: &str) -> Result<ArtifactChoice, String> {
    if text.starts_with("sha256:") {
        let digest: Sha256Digest = text.parse().map_err(|error| format!("{error}"))?;
        return Ok(ArtifactChoice { digest: Some(digest), tag: None });
    }
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let valid = text.starts_with(word) && text.len() <= 128 && text.chars().all(|c| word(c) || c == '.' || c == '-');
    if !valid {
        return Err("neither a digest (sha256: and 64 hex digits) nor a tag (letters, digits, `_`, `.`, `-`)".into());
    }
    Ok(ArtifactChoice { digest: None, tag: Some(text.into()) })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::samples;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    #[test]
    fn an_artifact_is_a_digest_or_a_tag() {
        assert!(artifact(&format!("sha256:{}", "0".repeat(64))).unwrap().digest.is_some());
        assert_eq!(artifact("main").unwrap().tag.as_deref(), Some("main"));
        for bad in ["", "sha256:1", ".x", "a b", "a/b", &"t".repeat(129)] {
            assert!(artifact(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_belongs_to_another_type_of_pipeline_is_refused_before_anything_starts() {
        let asked = |line: &str| Line::try_parse_from(line.split(' ')).unwrap().run;
        let (full, production) = (samples::full_stack(), samples::production_only());
        assert!(fits(&full, &asked("run wknd --artifact main")).is_ok());
        assert!(fits(&production, &asked("run wknd-prod --source wknd-stage-7 --allow-older")).is_ok());
        for (pipeline, line, part) in [
            (&full, "run wknd --source wknd-stage-7", "--source belongs"),
            (&full, "run wknd --allow-older", "--allow-older belongs"),
            (&production, "run wknd-prod --artifact main", "--source"),
        ] {
            let error = fits(pipeline, &asked(line)).unwrap_err().to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
