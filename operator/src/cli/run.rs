//! `launchway run`: starts an execution.

use clap::Args;
use jiff::Timestamp;
use kube::{
    ResourceExt,
    api::{ListParams, PostParams},
};
use launchway_crds::{
    PipelineExecution,
    common::{LocalName, Span},
    digest::Sha256Digest,
    execution::{ArtifactChoice, PipelineExecutionSpec},
};

use super::{
    CliError, End,
    follow::follow,
    say,
    session::{Connection, Session, same_as},
};
use crate::{
    client::{CALL, within},
    text::shell,
};

/// A label has room for no more, and Jobs carry the execution's name as a label.
const NAME_MAX: usize = 63;

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Name of the Pipeline
    pub pipeline: String,
    /// Packages to run with: a digest, or a tag that is resolved once; default: the pipeline's tag
    #[arg(long, value_name = "sha256:…|TAG", value_parser = artifact)]
    pub artifact: Option<ArtifactChoice>,
    /// Name of the execution; default: the pipeline's name and the time
    #[arg(long, value_name = "NAME", value_parser = execution_name)]
    pub name: Option<String>,
    /// Follow the execution until it ends
    #[arg(short, long)]
    pub watch: bool,
    /// Stop following after this time, such as 90s, 15m or 1h30m; the execution goes on
    #[arg(long, value_name = "SPAN", requires = "watch")]
    pub timeout: Option<Span>,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// Creates the execution, and follows it if asked to.
///
/// # Errors
/// When there is no such pipeline, or the apiserver refuses.
pub async fn run(args: RunArgs) -> Result<End, CliError> {
    let session = Session::open(args.connection).await?;
    known(&session, &args.pipeline).await?;
    let name = args.name.unwrap_or_else(|| generated_name(&args.pipeline, Timestamp::now()));
    let spec = PipelineExecutionSpec {
        pipeline_ref: LocalName { name: args.pipeline },
        artifact: args.artifact,
        requested_by: Some(session.me().await?),
    };
    let execution = PipelineExecution::new(&name, spec);
    let json = serde_json::to_string(&execution).map_err(|error| CliError::said(error.to_string()))?;
    let created = within(CALL, session.executions().create(&PostParams::default(), &execution)).await?;
    let name = created.name_any();
    say(format!("pipelineexecution.launchway.dev/{name} created"))?;
    same_as(&format!("echo {} | {}", shell(&json), session.kubectl(&["create", "-f", "-"])));
    if args.watch {
        return follow(&session, &name, args.timeout).await;
    }
    eprintln!("follow it with:\n  {}", session.plugin(&["status", &name, "-w"]));
    Ok(End::Done)
}

/// An execution of a pipeline that is not there would fail anyway, only later. Who may not read pipelines
/// may still run one.
async fn known(session: &Session, pipeline: &str) -> Result<(), CliError> {
    if !matches!(within(CALL, session.pipelines().get_opt(pipeline)).await, Ok(None)) {
        return Ok(());
    }
    let others = within(CALL, session.pipelines().list(&ListParams::default().limit(20))).await;
    let names: Vec<String> = others.map(|list| list.iter().map(ResourceExt::name_any).collect()).unwrap_or_default();
    let there = if names.is_empty() { "there is none".into() } else { format!("there are: {}", names.join(", ")) };
    Err(CliError::said(format!("no Pipeline {pipeline} in namespace {}: {there}", session.namespace)))
}

/// Sorts by time among the pipeline's executions.
fn generated_name(pipeline: &str, now: Timestamp) -> String {
    let time = now.strftime("-%Y%m%d-%H%M%S").to_string();
    let head: String = pipeline.chars().take(NAME_MAX - time.len()).collect();
    format!("{}{time}", head.trim_end_matches(['-', '.']))
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

fn execution_name(text: &str) -> Result<String, String> {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid = text.starts_with(letter)
        && text.ends_with(letter)
        && text.len() <= NAME_MAX
        && text.chars().all(|c| letter(c) || c == '-' || c == '.');
    valid
        .then(|| text.to_string())
        .ok_or_else(|| format!("a name has lower-case letters, digits, `-` and `.`, at most {NAME_MAX} of them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_pipeline_and_the_time() {
        let now: Timestamp = "2026-11-21T10:34:05Z".parse().unwrap();
        assert_eq!(generated_name("wknd", now), "wknd-20261121-103405");
        let long = generated_name(&format!("{}-x", "p".repeat(46)), now);
        assert!(long.len() <= NAME_MAX && execution_name(&long).is_ok(), "{long}");
    }

    #[test]
    fn an_artifact_is_a_digest_or_a_tag() {
        assert!(artifact(&format!("sha256:{}", "0".repeat(64))).unwrap().digest.is_some());
        assert_eq!(artifact("main").unwrap().tag.as_deref(), Some("main"));
        for bad in ["", "sha256:1", ".x", "a b", "a/b", &"t".repeat(129)] {
            assert!(artifact(bad).is_err(), "{bad}");
        }
    }
}
