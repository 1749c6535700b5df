//! What is known of a Pipeline's past.

use std::sync::Arc;

use launchway_crds::{Environment, Pipeline};

use crate::outline::{ExecutionOutline, Progress};

/// Everything that decides what is kept.
#[derive(Clone, Debug)]
pub struct World {
    /// The pipeline as the apiserver has it now.
    pub pipeline: Pipeline,
    /// Every Pipeline of the namespace, this one too; empty when no execution is beyond the limits.
    pub pipelines: Vec<Pipeline>,
    /// Every Environment of the namespace; the same.
    pub environments: Vec<Environment>,
    /// Every execution of the namespace, from memory: some may have changed since, none that ended can begin again.
    pub executions: Vec<Arc<ExecutionOutline>>,
    /// Kept versions of this pipeline, other than the present one.
    pub revisions: Vec<Revision>,
    /// What executions of this pipeline run, read live; none when there is no version to delete.
    pub in_use: Option<InUse>,
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
    pub fn by(executions: &[ExecutionOutline]) -> Self {
        let mut in_use = Self::default();
        for execution in executions.iter().filter(|execution| execution.ended().is_none()) {
            match &execution.progress {
                Some(Progress { runs: Some(runs), .. }) => in_use.revisions.push(runs.name.clone()),
                Some(_) | None => in_use.undecided = true,
            }
        }
        in_use
    }
}
