//! API types of Launchway: `Environment`, `Pipeline` and `PipelineExecution` of `launchway.dev/v1alpha1`.
//!
//! Types only: no client, no runtime, no clock. `crdgen` writes the YAML in `crds/yaml` from them.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")
)]

pub mod common;
pub mod conditions;
pub mod deploy;
pub mod digest;
pub mod environment;
pub mod execution;
pub mod gates;
pub mod git;
pub mod guard;
pub mod history;
pub mod layer_encoding;
pub mod ledger;
pub mod names;
pub mod network;
pub mod notification;
pub mod pause;
pub mod pipeline;
pub mod restore;
pub mod revision;
pub mod shared;
pub mod step;
pub mod trigger;
mod truncate;
pub mod variable;
pub mod version;
pub mod web_tier;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use environment::Environment;
pub use execution::PipelineExecution;
pub use pipeline::Pipeline;

/// Every CustomResourceDefinition, in the order in which they are documented.
#[must_use]
pub fn all_crds() -> [CustomResourceDefinition; 3] {
    [Environment::crd(), Pipeline::crd(), PipelineExecution::crd()]
}
