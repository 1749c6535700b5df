//! Releases that a pipeline remembers, and what production would become with one of them.
//!
//! The operator decides; what is found here says no before there is an execution that has failed.

use jiff::Timestamp;
use kube::ResourceExt;
use launchway_crds::{
    Environment, Pipeline,
    environment::Deployed,
    pipeline::{LedgerEntry, PipelineType},
};

use super::{CliError, heading::untested, session::Session, start::kind, times::away};
use crate::client::{CALL, within};

/// Ended executions of a pipeline, newest first.
#[must_use]
pub fn ledger(pipeline: &Pipeline) -> &[LedgerEntry] {
    pipeline.status.as_ref().map_or(&[], |status| status.ledger.as_slice())
}

/// Executions of a pipeline that succeeded and have a release, newest first.
pub fn succeeded(pipeline: &Pipeline) -> impl Iterator<Item = &LedgerEntry> {
    ledger(pipeline).iter().filter(|entry| entry.has_passed())
}

/// Name of the Environment that a pipeline deploys to as production.
///
/// # Errors
/// When it has none.
pub fn production(pipeline: &Pipeline) -> Result<&str, CliError> {
    let production = pipeline.spec.production.as_ref().map(|production| production.environment.as_str());
    production.ok_or_else(|| {
        CliError::said(format!(
            "Pipeline {} is of type {}: it deploys nothing to production",
            pipeline.name_any(),
            kind(pipeline.spec.type_)
        ))
    })
}

/// What production is known to run.
#[derive(Clone, Debug, PartialEq)]
pub enum Runs {
    /// This.
    Release(Box<Deployed>),
    /// Nothing yet.
    Nothing,
    /// It cannot be read.
    Unknown,
}

impl Runs {
    /// What the Environment of a name runs.
    pub async fn on(session: &Session, environment: &str) -> Self {
        match within(CALL, session.environments().get_opt(environment)).await {
            Ok(found) => Self::of(found.as_ref()),
            Err(_) => Self::Unknown,
        }
    }

    /// What an Environment runs, when it could be read.
    #[must_use]
    pub fn of(environment: Option<&Environment>) -> Self {
        let Some(environment) = environment else { return Self::Unknown };
        let deployed = environment.status.as_ref().and_then(|status| status.deployed.clone());
        deployed.map_or(Self::Nothing, |deployed| Self::Release(Box::new(deployed)))
    }

    /// Whether it is the entry's release.
    #[must_use]
    pub fn is(&self, entry: &LedgerEntry) -> bool {
        let (Self::Release(deployed), Some(release)) = (self, &entry.release) else { return false };
        deployed.release.digest() == release.digest()
    }

    /// When the running release was made, if that is after the entry's.
    #[must_use]
    pub fn newer_than(&self, entry: &LedgerEntry) -> Option<Timestamp> {
        let Self::Release(deployed) = self else { return None };
        let made = deployed.made_at.as_ref()?.0;
        entry.is_older_than(deployed).then_some(made)
    }
}

/// What production runs now and what it would become.
#[must_use]
pub fn change(environment: &str, runs: &Runs, entry: &LedgerEntry, now: Timestamp) -> Vec<String> {
    let before = match runs {
        Runs::Release(deployed) => {
            let made = deployed.made_at.as_ref().map_or(String::new(), |at| format!(", made {}", away(at.0, now)));
            format!("{} of {}{made}", deployed.release.digest(), deployed.execution)
        }
        Runs::Nothing => "nothing: nothing was ever deployed there".into(),
        Runs::Unknown => "unknown: the Environment cannot be read".into(),
    };
    let after = entry.release.as_ref().map_or_else(String::new, |release| release.digest().to_string());
    let made = entry.made_at.as_ref().map_or(String::new(), |at| format!(", made {}", away(at.0, now)));
    let mut lines = vec![
        format!("{environment} runs now      {before}"),
        format!("{environment} would become  {after} of {}{made}", entry.name),
    ];
    lines.extend(untested(&entry.skipped));
    lines
}

/// The waits for people that a pipeline puts before production.
#[must_use]
pub fn waits(pipeline: &Pipeline) -> String {
    let Some(production) = &pipeline.spec.production else { return String::new() };
    let all = [
        (production.approval.required, "an approval by somebody else"),
        (production.schedule.required, "a time"),
        (production.managed.required, "the go of support"),
    ];
    let asked: Vec<&str> = all.into_iter().filter_map(|(required, name)| required.then_some(name)).collect();
    if asked.is_empty() { "nobody: it is deployed at once".into() } else { asked.join(", then ") }
}

/// The execution whose deployment to production can be done again: the last one, whatever became of it
/// (`cloud-manager.md` §2.9).
///
/// # Errors
/// Why it cannot.
pub fn again(pipeline: &Pipeline) -> Result<&LedgerEntry, CliError> {
    let name = pipeline.name_any();
    production(pipeline)?;
    let last = ledger(pipeline).first();
    let last = last.ok_or_else(|| CliError::said(format!("Pipeline {name} has no execution that ended: run it")))?;
    let Some(because) = last.never_again() else { return Ok(last) };
    Err(CliError::said(format!(
        "{}, the last execution of Pipeline {name}, cannot be executed again: {because}; run the pipeline instead",
        last.name
    )))
}

/// The pipeline that takes a stage-only execution to production, and the entry of that execution.
///
/// `wanted` is a pipeline of type ProductionOnly or StageOnly, or an execution of the latter; nothing means the only
/// pipeline of type ProductionOnly.
///
/// # Errors
/// Why nothing can be promoted, and what to do instead.
pub fn promotion<'a>(
    pipelines: &'a [Pipeline],
    wanted: Option<&str>,
) -> Result<(&'a Pipeline, &'a LedgerEntry), CliError> {
    let named = wanted.and_then(|name| pipelines.iter().find(|pipeline| pipeline.name_any() == name));
    let executed = match (wanted, named) {
        (Some(name), None) => Some(stage_only(pipelines, name)?),
        _ => None,
    };
    let target = match (named, executed) {
        (Some(pipeline), _) if pipeline.spec.type_ == PipelineType::ProductionOnly => pipeline,
        (Some(pipeline), _) if pipeline.spec.type_ == PipelineType::StageOnly => taker(pipelines, pipeline)?,
        (Some(pipeline), _) => {
            let (name, kind) = (pipeline.name_any(), kind(pipeline.spec.type_));
            let what = "only what a pipeline of type StageOnly tested can be promoted";
            return Err(CliError::said(format!("Pipeline {name} is of type {kind}: {what}")));
        }
        (None, Some((stage, _))) => taker(pipelines, stage)?,
        (None, None) => only_taker(pipelines)?,
    };
    let source = target.spec.source.pipeline.as_deref().unwrap_or_default();
    let stage = pipelines.iter().find(|pipeline| pipeline.name_any() == source).ok_or_else(|| {
        CliError::said(format!("Pipeline {} takes its release from {source}, which does not exist", target.name_any()))
    })?;
    let latest = succeeded(stage).next().ok_or_else(|| {
        CliError::said(format!("no execution of Pipeline {source} has succeeded yet: there is nothing to promote"))
    })?;
    if let Some((_, entry)) = executed {
        latest_only(entry, latest, target)?;
    }
    Ok((target, latest))
}

/// The stage-only pipeline that remembers an execution, and its entry.
fn stage_only<'a>(pipelines: &'a [Pipeline], name: &str) -> Result<(&'a Pipeline, &'a LedgerEntry), CliError> {
    let found = pipelines
        .iter()
        .filter(|pipeline| pipeline.spec.type_ == PipelineType::StageOnly)
        .find_map(|pipeline| ledger(pipeline).iter().find(|entry| entry.name == name).map(|entry| (pipeline, entry)));
    found.ok_or_else(|| {
        let what = "no Pipeline, and no ended execution of a Pipeline of type StageOnly";
        CliError::said(format!("{name} is {what}: promote takes what such an execution has tested"))
    })
}

fn latest_only(entry: &LedgerEntry, latest: &LedgerEntry, target: &Pipeline) -> Result<(), CliError> {
    let (name, target) = (&entry.name, target.name_any());
    if entry.images_state.is_some() {
        return Err(CliError::said(format!("spec.history let go of the images of {name}: promote the latest one")));
    }
    if !entry.has_passed() {
        return Err(CliError::said(format!(
            "{name} ended as {}: only a release that passed is promoted",
            entry.result
        )));
    }
    if entry.uid != latest.uid {
        let line = format!("kubectl launchway run {target} --source {name}");
        let latest = &latest.name;
        return Err(CliError::said(format!(
            "{name} is not the latest execution that succeeded, which is {latest}: promote that; or take the older one \
             on purpose with `{line}`"
        )));
    }
    Ok(())
}

/// The pipeline that takes releases of a stage-only pipeline to production.
fn taker<'a>(pipelines: &'a [Pipeline], stage: &Pipeline) -> Result<&'a Pipeline, CliError> {
    let name = stage.name_any();
    let takers: Vec<&Pipeline> =
        pipelines.iter().filter(|pipeline| pipeline.spec.source.pipeline.as_deref() == Some(name.as_str())).collect();
    match takers.as_slice() {
        [one] => Ok(one),
        [] => Err(CliError::said(format!(
            "no Pipeline takes releases of {name} to production: create one of type ProductionOnly with \
             spec.source.pipeline: {name}"
        ))),
        several => Err(several_of(several)),
    }
}

fn only_taker(pipelines: &[Pipeline]) -> Result<&Pipeline, CliError> {
    let takers: Vec<&Pipeline> =
        pipelines.iter().filter(|pipeline| pipeline.spec.type_ == PipelineType::ProductionOnly).collect();
    match takers.as_slice() {
        [one] => Ok(one),
        [] => Err(CliError::said("there is no Pipeline of type ProductionOnly: nothing can be promoted")),
        several => Err(several_of(several)),
    }
}

fn several_of(pipelines: &[&Pipeline]) -> CliError {
    let names: Vec<String> = pipelines.iter().map(|pipeline| pipeline.name_any()).collect();
    CliError::said(format!("several Pipelines go to production: name one of {}", names.join(", ")))
}

#[cfg(test)]
#[path = "releases_tests.rs"]
mod tests;
