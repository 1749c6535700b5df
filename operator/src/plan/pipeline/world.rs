//! What the planner of a pipeline knows: facts that [`crate::observe`] read, or a test made up.

use std::collections::BTreeMap;

use jiff::Timestamp;
use launchway_crds::{Environment, Pipeline, PipelineExecution};

use crate::plan::execution::world::Fault;

/// Everything that decides what is said of a pipeline, and whether it starts an execution.
#[derive(Clone, Debug)]
pub struct World {
    /// The moment of the observation, in whole seconds.
    pub now: Timestamp,
    /// The pipeline as the apiserver has it now.
    pub pipeline: Pipeline,
    /// Environments that it names and that exist.
    pub environments: BTreeMap<String, Environment>,
    /// The pipeline whose releases it takes, if there is one.
    pub source_pipeline: Option<Pipeline>,
    /// A stage-only pipeline that starts on changes of the same source.
    pub stage_only: Option<String>,
    /// An older pipeline of the same type, and the Environment that both deploy to.
    pub older: Option<(String, String)>,
    /// Executions of this pipeline, ended ones too; empty when not looked at.
    pub executions: Vec<PipelineExecution>,
    /// What the source is now.
    pub look: Look,
}

/// What was seen of a pipeline's source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Look {
    /// Nobody looked.
    #[default]
    NotYet,
    /// It answered.
    Seen {
        /// Its revision; None when there is nothing.
        revision: Option<String>,
        /// Whether it was asked for this very decision.
        fresh: bool,
    },
    /// It could not be asked.
    Failed {
        /// Why.
        fault: Fault,
        /// Whether that is worth telling: a registry that missed one request is not.
        lasting: bool,
    },
}

/// Facts that are worth reading for a pipeline in its present state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Executions of the pipeline.
    pub executions: bool,
    /// Its source.
    pub look: LookFor,
}

/// How a source is to be looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LookFor {
    /// Not at all.
    #[default]
    Nothing,
    /// What was seen last will do.
    Last,
    /// It has to be asked now.
    Now,
}
