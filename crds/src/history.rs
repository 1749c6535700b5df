//! How many executions that ended a Pipeline keeps.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many executions that ended are kept as objects; older ones are deleted.
///
/// Never deleted is what somebody still needs: an execution whose release an Environment runs or is about to run, the
/// last one of a pipeline, the last success that can be promoted, the one before what production runs, one whose release
/// another one that has not ended takes, one that left tests out and is listed as debt, and one that only says that it ran
/// before. `status.ledger` remembers what is deleted, so that an execution which is created again does not run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct History {
    /// How many that succeeded.
    #[schemars(range(min = 0, max = 50))]
    pub succeeded: i32,
    /// How many that failed or were cancelled.
    #[schemars(range(min = 0, max = 50))]
    pub failed: i32,
    /// What becomes of images in the registry whose executions are no longer there. With `Delete` the repository has to
    /// be that of this cluster's pipelines alone: what anybody else takes from it by digest is not known here.
    pub images: HistoryImages,
}

/// What becomes of the images of executions that are no longer there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HistoryImages {
    /// They stay in the registry.
    #[default]
    Keep,
    /// Those that nobody needs are deleted from the registry, with what the build attached to the release; from then on
    /// nobody can promote, re-execute or roll back to it.
    Delete,
}

impl Default for History {
    fn default() -> Self {
        Self { succeeded: 10, failed: 10, images: HistoryImages::Keep }
    }
}
