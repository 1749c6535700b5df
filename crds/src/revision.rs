//! Which version of a Pipeline an execution runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;

/// The Pipeline as it was when an execution began. What is edited later applies to the next execution.
///
/// The spec itself is no part of the execution's status, which would have no useful bound with it: an immutable
/// `ControllerRevision` that belongs to the Pipeline holds it, once for all executions that run the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PipelineRevision {
    /// `metadata.generation` of the Pipeline.
    pub generation: i64,
    /// Name of the `ControllerRevision` that holds the spec.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Digest of what it holds: another object of that name is not believed.
    pub digest: Sha256Digest,
}
