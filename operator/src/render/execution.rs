//! The execution that a change of a pipeline's source starts.

use launchway_crds::{
    Pipeline, PipelineExecution,
    common::LocalName,
    execution::{ArtifactChoice, Mode, PipelineExecutionSpec},
    names::{FIELD_MANAGER, labels},
};

use crate::plan::pipeline::Start;

/// The execution. It has no owner: like one that a person created, it outlives what started it.
#[must_use]
pub fn execution(pipeline: &Pipeline, start: &Start, requested_by: &str) -> PipelineExecution {
    let git = pipeline.spec.source.git.is_some();
    let digest = start.revision.parse().ok().filter(|_| !git);
    let spec = PipelineExecutionSpec {
        pipeline_ref: LocalName { name: pipeline.metadata.name.clone().unwrap_or_default() },
        artifact: digest.map(|digest| ArtifactChoice { digest: Some(digest), tag: None }),
        commit: Some(start.revision.clone()).filter(|_| git),
        rebuild: false,
        mode: Mode::Normal,
        reason: None,
        source_execution: None,
        re_execute: None,
        roll_back_to: None,
        allow_older: false,
        change: Some(start.revision.clone()),
        requested_by: Some(requested_by.to_string()),
    };
    let mut object = PipelineExecution::new(&start.name, spec);
    object.metadata.namespace = pipeline.metadata.namespace.clone();
    object.metadata.labels = Some([(labels::MANAGED_BY.to_string(), FIELD_MANAGER.to_string())].into());
    object
}
