//! What is kept of a Pipeline's past: executions that ended, versions that executions run, and images in the registry.

mod history;
pub mod images;
pub mod world;

use std::sync::Arc;

use launchway_crds::Pipeline;

use self::world::World;
use crate::outline::ExecutionOutline;

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Delete an execution that ended, if it is still the one that was seen.
    DeleteExecution {
        /// Its name.
        name: String,
        /// Its UID: another one of that name stays.
        uid: String,
        /// The version that was seen: one that was changed stays.
        version: String,
    },
    /// Delete a kept version of the pipeline that nobody runs.
    DeleteRevision {
        /// Name of the object.
        name: String,
        /// Its UID.
        uid: String,
    },
}

impl Action {
    /// The kind of effect, for metrics and logs.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::DeleteExecution { .. } => "delete_execution",
            Self::DeleteRevision { .. } => "delete_revision",
        }
    }
}

/// Whether more executions of a pipeline ended than it keeps: only then who needs them has to be asked.
#[must_use]
pub fn has_surplus(pipeline: &Pipeline, executions: &[Arc<ExecutionOutline>]) -> bool {
    !history::beyond(pipeline, executions).is_empty()
}

/// What may go, in any order.
#[must_use]
pub fn next(world: &World) -> Vec<Action> {
    let mut actions = history::surplus(world);
    actions.extend(unused_revisions(world));
    actions
}

/// Kept versions that no execution runs. While one has not said what it runs, all stay.
fn unused_revisions(world: &World) -> Vec<Action> {
    let Some(in_use) = world.in_use.as_ref().filter(|in_use| !in_use.undecided) else { return vec![] };
    let unused = world.revisions.iter().filter(|kept| !in_use.revisions.contains(&kept.name));
    unused.map(|kept| Action::DeleteRevision { name: kept.name.clone(), uid: kept.uid.clone() }).collect()
}

#[cfg(test)]
mod tests;
