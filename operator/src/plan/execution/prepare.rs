//! The packages, or a release that exists, and what a registry has of them.

use jiff::{SignedDuration, Timestamp};
use launchway_crds::{
    conditions::reasons,
    execution::{Artifact, FILES_MAX, PipelineExecutionStatus},
    step::StepName,
};

use super::{
    Verdict,
    git::unready,
    source, step_of,
    world::{Fault, FoundArtifact, World},
};

/// How long a registry may be away before an execution gives up.
const REGISTRY_PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// Pause between two tries.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// The packages are there: the artifact is resolved to a digest, once.
pub(super) fn build(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    if let Some(verdict) = source::take(world, status) {
        return verdict;
    }
    if let Some(artifact) = &status.artifact {
        return Verdict::finished(format!("uses {}", artifact.reference));
    }
    if let Some(Err(fault)) = &world.git.flux_artifact {
        return unready(world, fault, began(world, status, StepName::Build));
    }
    match &world.artifact {
        None => Verdict::running("looks the artifact up in the registry"),
        Some(Ok(found)) => {
            if let Some(verdict) = unverified(world, found) {
                return verdict;
            }
            let files = found.files.iter().take(FILES_MAX).cloned().collect();
            status.artifact = Some(Artifact { reference: found.reference.clone(), files });
            Verdict::finished(format!("uses {} with {} files", found.reference, found.files.len()))
        }
        Some(Err(fault)) => faulty(world, status, StepName::Build, fault, reasons::ARTIFACT_NOT_FOUND),
    }
}

/// An execution may choose another artifact than Flux has, unless Flux takes only artifacts that it has verified.
fn unverified(world: &World, found: &FoundArtifact) -> Option<Verdict> {
    let Some(Ok(told)) = &world.git.flux_artifact else { return None };
    (told.verified && told.digest != found.reference.digest()).then(|| {
        Verdict::failed(
            reasons::NOT_POSSIBLE,
            format!(
                "spec.artifact: Flux has verified {} and not {}, and the OCIRepository asks for verified artifacts \
                 (spec.verify): run without spec.artifact",
                told.digest,
                found.reference.digest()
            ),
        )
    })
}

/// What a fault of a registry means for a step.
pub(super) fn faulty(
    world: &World,
    status: &PipelineExecutionStatus,
    step: StepName,
    fault: &Fault,
    absent: &str,
) -> Verdict {
    match fault {
        Fault::Absent(message) => Verdict::failed(absent, message.clone()),
        Fault::Refused(message) => Verdict::failed(reasons::REGISTRY_REFUSED, message.clone()),
        Fault::Unreachable(message) => {
            let began = began(world, status, step);
            if world.now.duration_since(began) < REGISTRY_PATIENCE {
                Verdict::retrying(
                    format!("{message}; tries again"),
                    world.now.saturating_add(PAUSE).unwrap_or(world.now),
                )
            } else {
                Verdict::error(reasons::REGISTRY_UNREACHABLE, message.clone())
            }
        }
    }
}

/// When a step began, or now.
pub(super) fn began(world: &World, status: &PipelineExecutionStatus, step: StepName) -> Timestamp {
    step_of(status, step).and_then(|step| step.started_at.as_ref()).map_or(world.now, |at| at.0)
}
