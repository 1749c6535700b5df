//! The execution that a change of a pipeline's source starts.

use launchway_crds::{
    Pipeline, PipelineExecution,
    execution::{ArtifactChoice, PipelineExecutionSpec},
    names::{FIELD_MANAGER, labels},
};

use crate::plan::pipeline::Start;

/// The execution. It has no owner: like one that a person created, it outlives what started it.
#[must_use]
pub fn execution(pipeline: &Pipeline, start: &Start, requested_by: &str) -> PipelineExecution {
    let git = pipeline.spec.source.git.is_some();
    let digest = start.revision.parse().ok().filter(|_| !git);
    let name = pipeline.metadata.name.clone().unwrap_or_default();
    let spec = PipelineExecutionSpec {
        artifact: digest.map(|digest| ArtifactChoice { digest: Some(digest), tag: None }),
        commit: Some(start.revision.clone()).filter(|_| git),
        change: Some(start.revision.clone()),
        ..PipelineExecutionSpec::usual(name, requested_by)
    };
    let mut object = PipelineExecution::new(&start.name, spec);
    object.metadata.namespace = pipeline.metadata.namespace.clone();
    object.metadata.labels = Some([(labels::MANAGED_BY.to_string(), FIELD_MANAGER.to_string())].into());
    object
}
