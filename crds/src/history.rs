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
}

impl Default for History {
    fn default() -> Self {
        Self { succeeded: 10, failed: 10 }
    }
}
