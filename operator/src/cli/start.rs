//! How run, promote, re-execute and roll-back start an execution: named, created, told, followed if asked to.

use clap::Args;
use jiff::Timestamp;
use kube::{
    ResourceExt,
    api::{ListParams, PostParams},
};
use launchway_crds::{
    Pipeline, PipelineExecution, common::Span, execution::PipelineExecutionSpec, pipeline::PipelineType,
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

/// What every command that starts an execution takes.
#[derive(Args, Debug)]
pub struct StartArgs {
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

/// Creates the execution, tells how kubectl does it, and follows it if asked to.
///
/// # Errors
/// When the apiserver refuses, or the execution cannot be followed.
pub async fn start(session: &Session, spec: PipelineExecutionSpec, args: &StartArgs) -> Result<End, CliError> {
    let name = args.name.clone().unwrap_or_else(|| generated_name(&spec.pipeline_ref.name, Timestamp::now()));
    let execution = PipelineExecution::new(&name, spec);
    let json = serde_json::to_string(&execution).map_err(|error| CliError::said(error.to_string()))?;
    let created = within(CALL, session.executions().create(&PostParams::default(), &execution)).await?;
    let name = created.name_any();
    say(format!("pipelineexecution.launchway.dev/{name} created"))?;
    same_as(&format!("echo {} | {}", shell(&json), session.kubectl(&["create", "-f", "-"])));
    if args.watch {
        return follow(session, &name, args.timeout).await;
    }
    eprintln!("follow it with:\n  {}", session.plugin(&["status", &name, "-w"]));
    Ok(End::Done)
}

/// The pipeline of a name; nothing when it cannot be read: who may not read pipelines may still run one.
///
/// # Errors
/// When there is no such pipeline: an execution of it would fail anyway, only later.
pub async fn known(session: &Session, pipeline: &str) -> Result<Option<Pipeline>, CliError> {
    match within(CALL, session.pipelines().get_opt(pipeline)).await {
        Ok(Some(found)) => Ok(Some(found)),
        Ok(None) => {
            let others = within(CALL, session.pipelines().list(&ListParams::default().limit(20))).await;
            Err(unknown(pipeline, &session.namespace, &others.map(|list| list.items).unwrap_or_default()))
        }
        Err(_) => Ok(None),
    }
}

/// What to say when a pipeline is not there.
#[must_use]
pub fn unknown(pipeline: &str, namespace: &str, others: &[Pipeline]) -> CliError {
    let names: Vec<String> = others.iter().map(ResourceExt::name_any).collect();
    let there = if names.is_empty() { "there is none".into() } else { format!("there are: {}", names.join(", ")) };
    CliError::said(format!("no Pipeline {pipeline} in namespace {namespace}: {there}"))
}

/// The type of a pipeline as its spec has it.
#[must_use]
pub const fn kind(type_: PipelineType) -> &'static str {
    match type_ {
        PipelineType::FullStack => "FullStack",
        PipelineType::StageOnly => "StageOnly",
        PipelineType::ProductionOnly => "ProductionOnly",
        PipelineType::Deployment => "Deployment",
        PipelineType::CodeQuality => "CodeQuality",
        PipelineType::WebTier => "WebTier",
    }
}

/// Sorts by time among the pipeline's executions.
fn generated_name(pipeline: &str, now: Timestamp) -> String {
    let time = now.strftime("-%Y%m%d-%H%M%S").to_string();
    let head: String = pipeline.chars().take(NAME_MAX - time.len()).collect();
    format!("{}{time}", head.trim_end_matches(['-', '.']))
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
    fn a_pipeline_that_is_not_there_is_answered_with_those_that_are() {
        let error = unknown("wknd", "shop", &[]).to_string();
        assert_eq!(error, "no Pipeline wknd in namespace shop: there is none");
    }
}
