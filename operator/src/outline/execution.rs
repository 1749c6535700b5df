//! An execution in outline.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use launchway_crds::{
    PipelineExecution,
    conditions::{self, reasons, types},
    execution::{Environments, Mode, PipelineExecutionSpec, PipelineExecutionStatus},
    revision::PipelineRevision,
    step::StepName,
};
use serde::{Deserialize, de::IgnoredAny};

use super::{identity, lean, lenient, outline_of};

/// What is kept in memory of an execution.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "Wire")]
pub struct ExecutionOutline {
    /// Who it is, and the version of the object that was seen.
    pub metadata: ObjectMeta,
    /// Name of its pipeline.
    pub pipeline: String,
    /// Executions that it names as what it takes a release from; none when it ended.
    pub names: Vec<String>,
    /// Whether it leaves out tests in an emergency; not of one that ended.
    pub emergency: bool,
    /// How far it has come; none before its first status.
    pub progress: Option<Progress>,
}

outline_of!(ExecutionOutline, PipelineExecution);

/// How far an execution has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Summary for lists.
    pub state: String,
    /// The step that runs or waits, or that ended it.
    pub step: Option<StepName>,
    /// The step that waits for somebody or something outside.
    pub waits_at: Option<StepName>,
    /// Whether it has not begun because its pipeline is suspended.
    pub suspended: bool,
    /// Environments that it locks and deploys to.
    pub environments: Option<Environments>,
    /// The version of the pipeline that it runs; none when it ended.
    pub runs: Option<PipelineRevision>,
    /// Whether it tells that its pipeline is another one by now.
    pub tells_of_change: bool,
    /// Whether everybody was told what became of it.
    pub told: bool,
    /// UID of the execution whose release it takes; none when it ended.
    pub takes: Option<String>,
    /// When it ended, and as what.
    pub ended: Option<(Timestamp, End)>,
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

impl End {
    fn of(state: &str) -> Self {
        match state {
            reasons::FINISHED => Self::Succeeded,
            reasons::ALREADY_EXECUTED | reasons::NAME_REUSED => Self::Known,
            _ => Self::Failed,
        }
    }
}

impl ExecutionOutline {
    /// The outline of an execution that is there as a whole.
    #[must_use]
    pub fn of(execution: &PipelineExecution) -> Self {
        let PipelineExecutionSpec { pipeline_ref, source_execution, re_execute, roll_back_to, mode, .. } =
            &execution.spec;
        let names = [source_execution, re_execute, roll_back_to];
        Self {
            metadata: identity(&execution.metadata),
            pipeline: pipeline_ref.name.clone(),
            names: names.into_iter().flatten().cloned().collect(),
            emergency: *mode == Mode::Emergency,
            progress: execution.status.as_ref().map(Progress::of),
        }
        .trimmed()
    }

    /// When it ended, and as what.
    #[must_use]
    pub fn ended(&self) -> Option<(Timestamp, End)> {
        self.progress.as_ref()?.ended
    }

    /// Environments that it locks and deploys to, once they are written down.
    #[must_use]
    pub fn environments(&self) -> Option<&Environments> {
        self.progress.as_ref()?.environments.as_ref()
    }

    /// The version of the pipeline that it runs, once it is written down; none when it ended.
    #[must_use]
    pub fn runs(&self) -> Option<&PipelineRevision> {
        self.progress.as_ref()?.runs.as_ref()
    }

    /// The step at which it is; none when it ended.
    #[must_use]
    pub fn works_at(&self) -> Option<StepName> {
        self.progress.as_ref().filter(|progress| progress.ended.is_none())?.step
    }

    /// Whether nothing is left to say of it to anybody.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.progress.as_ref().is_none_or(|progress| progress.told)
    }

    /// What only matters while it runs is let go when it ended.
    fn trimmed(mut self) -> Self {
        if let Some(progress) = self.progress.as_mut().filter(|progress| progress.ended.is_some()) {
            (progress.runs, progress.takes, progress.waits_at) = (None, None, None);
            (self.names, self.emergency) = (vec![], false);
        }
        self
    }
}

impl Progress {
    fn of(status: &PipelineExecutionStatus) -> Self {
        let first = status.steps.first();
        let changed = conditions::get(&status.conditions, types::PIPELINE_CHANGED);
        Self {
            ended: status.completion_time.as_ref().map(|time| (time.0, End::of(&status.state))),
            state: status.state.clone(),
            step: status.step,
            waits_at: status.waiting_for.as_ref().map(|waiting| waiting.step),
            suspended: first
                .is_some_and(|step| !step.state.is_terminal() && step.reason.as_deref() == Some(reasons::SUSPENDED)),
            environments: status.environments.clone(),
            runs: status.pipeline_revision.clone(),
            tells_of_change: changed.is_some_and(|told| told.status == "True"),
            told: status.untold.is_empty(),
            takes: status.source.as_ref().map(|source| source.uid.clone()),
        }
    }
}

/// The parts of the JSON that an outline is made of.
#[derive(Deserialize)]
struct Wire {
    #[serde(deserialize_with = "lean")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: WireSpec,
    status: Option<WireStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireSpec {
    pipeline_ref: WireName,
    source_execution: Option<String>,
    re_execute: Option<String>,
    roll_back_to: Option<String>,
    #[serde(deserialize_with = "lenient")]
    mode: Mode,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireName {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireStatus {
    state: String,
    #[serde(deserialize_with = "lenient")]
    step: Option<StepName>,
    #[serde(deserialize_with = "lenient")]
    waiting_for: Option<WireWait>,
    steps: Vec<WireStep>,
    #[serde(deserialize_with = "lenient")]
    environments: Option<Environments>,
    #[serde(deserialize_with = "lenient")]
    pipeline_revision: Option<PipelineRevision>,
    conditions: Vec<WireCondition>,
    untold: Vec<IgnoredAny>,
    #[serde(deserialize_with = "lenient")]
    source: Option<WireSource>,
    #[serde(deserialize_with = "lenient")]
    completion_time: Option<Time>,
}

#[derive(Deserialize)]
struct WireWait {
    step: StepName,
}

#[derive(Deserialize)]
struct WireSource {
    uid: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireStep {
    #[serde(deserialize_with = "lenient")]
    state: Option<launchway_crds::step::StepState>,
    reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl From<Wire> for ExecutionOutline {
    fn from(Wire { metadata, spec, status }: Wire) -> Self {
        let names = [spec.source_execution, spec.re_execute, spec.roll_back_to];
        Self {
            metadata,
            pipeline: spec.pipeline_ref.name,
            names: names.into_iter().flatten().collect(),
            emergency: spec.mode == Mode::Emergency,
            progress: status.map(Progress::from),
        }
        .trimmed()
    }
}

impl From<WireStatus> for Progress {
    fn from(status: WireStatus) -> Self {
        let waits = |step: &WireStep| step.state.is_none_or(|state| !state.is_terminal());
        let mut told = status.conditions.iter().filter(|one| one.type_ == types::PIPELINE_CHANGED);
        Self {
            ended: status.completion_time.map(|time| (time.0, End::of(&status.state))),
            step: status.step,
            waits_at: status.waiting_for.map(|waiting| waiting.step),
            suspended: status
                .steps
                .first()
                .is_some_and(|step| waits(step) && step.reason.as_deref() == Some(reasons::SUSPENDED)),
            environments: status.environments,
            runs: status.pipeline_revision,
            tells_of_change: told.any(|one| one.status == "True"),
            told: status.untold.is_empty(),
            takes: status.source.map(|source| source.uid),
            state: status.state,
        }
    }
}
