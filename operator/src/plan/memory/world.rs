//! What is known of a Pipeline's past.

use jiff::Timestamp;
use launchway_crds::{
    Environment, Pipeline, PipelineExecution,
    conditions::reasons,
    execution::{PipelineExecutionSpec, PipelineExecutionStatus},
};

/// Everything that decides what is kept.
#[derive(Clone, Debug)]
pub struct World {
    /// The pipeline as the apiserver has it now.
    pub pipeline: Pipeline,
    /// Every Pipeline of the namespace, this one too.
    pub pipelines: Vec<Pipeline>,
    /// Every Environment of the namespace.
    pub environments: Vec<Environment>,
    /// Every execution of the namespace, from memory: some may have changed since, none that ended can begin again.
    pub executions: Vec<Execution>,
    /// Kept versions of this pipeline, other than the present one.
    pub revisions: Vec<Revision>,
    /// What executions of this pipeline run, read live; none when there is no version to delete.
    pub in_use: Option<InUse>,
}

/// What matters of an execution to the memory of its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The version of the object that was seen.
    pub version: String,
    /// Its pipeline.
    pub pipeline: String,
    /// When it ended, and as what.
    pub ended: Option<(Timestamp, End)>,
    /// Whether everybody was told that it did.
    pub told: bool,
    /// Executions that it names as what it takes a release from.
    pub names: Vec<String>,
    /// UID of the execution whose release it took.
    pub takes: Option<String>,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It succeeded.
    Succeeded,
    /// It failed, or was cancelled.
    Failed,
    /// It only says that one of its name ended before.
    Known,
}

impl Execution {
    /// What matters of an execution.
    #[must_use]
    pub fn of(execution: &PipelineExecution) -> Self {
        let meta = &execution.metadata;
        let PipelineExecutionSpec { source_execution, re_execute, roll_back_to, .. } = &execution.spec;
        let status = execution.status.as_ref();
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            version: meta.resource_version.clone().unwrap_or_default(),
            pipeline: execution.spec.pipeline_ref.name.clone(),
            ended: status.and_then(end),
            told: status.is_none_or(|status| status.untold.is_empty()),
            names: [source_execution, re_execute, roll_back_to].into_iter().flatten().cloned().collect(),
            takes: status.and_then(|status| status.source.as_ref()).map(|source| source.uid.clone()),
        }
    }
}

fn end(status: &PipelineExecutionStatus) -> Option<(Timestamp, End)> {
    let at = status.completion_time.as_ref()?.0;
    let end = match status.state.as_str() {
        reasons::FINISHED => End::Succeeded,
        reasons::ALREADY_EXECUTED | reasons::NAME_REUSED => End::Known,
        _ => End::Failed,
    };
    Some((at, end))
}

/// A kept version of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Name of the object.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// Which versions of a pipeline executions run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Names of the objects that hold them.
    pub revisions: Vec<String>,
    /// Whether an execution is there that has not said yet what it runs: it may be about to say any.
    pub undecided: bool,
}

impl InUse {
    /// What the executions of a pipeline run.
    #[must_use]
    pub fn by(executions: &[PipelineExecution]) -> Self {
        let mut in_use = Self::default();
        for execution in executions {
            match execution.status.as_ref() {
                Some(status) if status.completion_time.is_some() => {}
                Some(PipelineExecutionStatus { pipeline_revision: Some(runs), .. }) => {
                    in_use.revisions.push(runs.name.clone());
                }
                Some(_) | None => in_use.undecided = true,
            }
        }
        in_use
    }
}
