//! Condition types, their reasons, and how a condition is set without losing when it last changed.

pub use crate::truncate::truncate;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Types of conditions.
pub mod types {
    /// The object does what its spec says.
    pub const READY: &str = "Ready";
    /// The operator works on it (kstatus).
    pub const RECONCILING: &str = "Reconciling";
    /// It needs a person (kstatus).
    pub const STALLED: &str = "Stalled";
    /// An execution's result: Unknown while it runs, then True or False for ever.
    pub const SUCCEEDED: &str = "Succeeded";
    /// An execution waits for somebody or something outside.
    pub const WAITING: &str = "Waiting";
    /// An execution skips tests.
    pub const EMERGENCY: &str = "Emergency";
    /// Changes of a pipeline's source are noticed, and start executions.
    pub const SOURCE_WATCHED: &str = "SourceWatched";
    /// Images that the history of a pipeline let go of are deleted from the registry.
    pub const IMAGES_DELETED: &str = "ImagesDeleted";
    /// Something of an Environment is not what was deployed: somebody changed it by hand.
    pub const DRIFTED: &str = "Drifted";
    /// The pipeline of an execution was edited after the execution began.
    pub const PIPELINE_CHANGED: &str = "PipelineChanged";
    /// An Environment is to be deleted, and waits for something.
    pub const DELETING: &str = "Deleting";
}

/// Reasons of conditions and steps. One word each, stable: tools may depend on them.
pub mod reasons {
    /// Everything is as it should be.
    pub const READY: &str = "Ready";
    /// Nothing was ever deployed here.
    pub const NO_RELEASE: &str = "NoRelease";
    /// Nothing was ever deployed here: the bare base images run.
    pub const BARE: &str = "Bare";
    /// What runs is what was deployed.
    pub const AS_DEPLOYED: &str = "AsDeployed";
    /// Somebody changed objects of the Environment by hand: they are put back.
    pub const EDITED: &str = "Edited";
    /// Objects that somebody had changed by hand were put back.
    pub const PUT_BACK: &str = "PutBack";
    /// Somebody changed what the operator cannot put back: a pod, or a field that it does not own.
    pub const NOT_OURS: &str = "NotOurs";
    /// A rollout goes on.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// A rollout stopped where it was.
    pub const ROLLOUT_FAILED: &str = "RolloutFailed";
    /// A rollout failed, and what ran before comes back.
    pub const ROLLING_BACK: &str = "RollingBack";
    /// A rollout failed, and every pod runs what ran before.
    pub const ROLLED_BACK: &str = "RolledBack";
    /// A variable refers to a Secret, or a key of one, that is not there or has no usable value.
    pub const CONFIGURATION_MISSING: &str = "ConfigurationMissing";
    /// The apiserver refuses an object of the Environment, or what an execution writes besides its Jobs: a quota, an admission
    /// policy, a right that the operator lost, or a field that cannot change.
    pub const CHANGE_REFUSED: &str = "ChangeRefused";
    /// The Environment is to be deleted, and an execution still has it.
    pub const DELETION_WAITS: &str = "DeletionWaits";
    /// Pods are missing or not ready, and no rollout explains it.
    pub const DEGRADED: &str = "Degraded";
    /// A reference names something that is not there.
    pub const NOT_FOUND: &str = "NotFound";
    /// The spec asks for something that cannot be.
    pub const INVALID: &str = "Invalid";

    /// The execution runs.
    pub const RUNNING: &str = "Running";
    /// The execution waits.
    pub const WAITING: &str = "Waiting";
    /// Every step passed.
    pub const FINISHED: &str = "Finished";
    /// A step failed for a reason that lies in what the user gave.
    pub const FAILED: &str = "Failed";
    /// A step failed for a reason that lies in the platform.
    pub const ERROR: &str = "Error";
    /// Somebody cancelled or rejected.
    pub const CANCELLED: &str = "Cancelled";
    /// An execution of this name and spec ended before: it does not run again.
    pub const ALREADY_EXECUTED: &str = "AlreadyExecuted";
    /// An execution of this name and another spec ended before.
    pub const NAME_REUSED: &str = "NameReused";

    /// Another execution has the environment.
    pub const ENVIRONMENT_LOCKED: &str = "EnvironmentLocked";
    /// The Environment's type does not fit its place in the pipeline.
    pub const WRONG_ENVIRONMENT_TYPE: &str = "WrongEnvironmentType";
    /// Stage and production name different base images: one release cannot be both.
    pub const RUNTIME_MISMATCH: &str = "RuntimeMismatch";
    /// No base image is configured.
    pub const NO_RUNTIME: &str = "NoRuntime";
    /// The pipeline of an execution, or what was kept of it, is gone.
    pub const PIPELINE_DELETED: &str = "PipelineDeleted";
    /// The pipeline was edited after the execution began: the next one runs what it says now.
    pub const APPLIES_TO_NEXT: &str = "AppliesToNext";
    /// The pipeline says what it said when the execution began.
    pub const UNCHANGED: &str = "Unchanged";
    /// The record of tests, of approvals, or of the release that was taken, is incomplete.
    pub const PROOF_INCOMPLETE: &str = "ProofIncomplete";
    /// The artifact or its tag is not in the registry.
    pub const ARTIFACT_NOT_FOUND: &str = "ArtifactNotFound";
    /// The registry refuses the credentials.
    pub const REGISTRY_REFUSED: &str = "RegistryRefused";
    /// The registry does not answer.
    pub const REGISTRY_UNREACHABLE: &str = "RegistryUnreachable";
    /// The Git server has no such repository, or hides it.
    pub const REPOSITORY_NOT_FOUND: &str = "RepositoryNotFound";
    /// The repository has no such branch or tag.
    pub const REF_NOT_FOUND: &str = "RefNotFound";
    /// The repository does not have the commit any more.
    pub const COMMIT_NOT_FOUND: &str = "CommitNotFound";
    /// The tag names another commit than before.
    pub const TAG_MOVED: &str = "TagMoved";
    /// The Git server refuses the credentials, or asks for some.
    pub const GIT_REFUSED: &str = "GitRefused";
    /// The Git server's SSH host key is not among the known ones.
    pub const HOST_KEY_UNKNOWN: &str = "HostKeyUnknown";
    /// The answer is none of a Git server, or what a repository holds is refused.
    pub const GIT_INVALID: &str = "GitInvalid";
    /// The Git server does not answer.
    pub const GIT_UNREACHABLE: &str = "GitUnreachable";
    /// The sources, or what the build writes, need more disk than the pipeline allows.
    pub const TOO_LARGE: &str = "TooLarge";
    /// The cluster knows no such kind of Flux.
    pub const FLUX_NOT_INSTALLED: &str = "FluxNotInstalled";
    /// The operator may not read objects of Flux.
    pub const FLUX_FORBIDDEN: &str = "FluxForbidden";
    /// The apiserver does not say what an object of Flux is.
    pub const FLUX_UNREADABLE: &str = "FluxUnreadable";
    /// Flux has not seen what an object of its own says now.
    pub const FLUX_NOT_OBSERVED: &str = "FluxNotObserved";
    /// Flux cannot fetch what an object of its own says.
    pub const FLUX_NOT_READY: &str = "FluxNotReady";
    /// Flux does not try again what it cannot fetch before somebody changes the object.
    pub const FLUX_STALLED: &str = "FluxStalled";
    /// Flux has fetched nothing yet.
    pub const FLUX_NO_ARTIFACT: &str = "FluxNoArtifact";
    /// What an object of Flux says is no repository, commit or digest that can be used.
    pub const FLUX_INVALID: &str = "FluxInvalid";
    /// No image to build in is configured, or another one than when the execution began.
    pub const NO_BUILDER: &str = "NoBuilder";
    /// The repository has no `pom.xml` in its root.
    pub const NO_POM: &str = "NoPom";
    /// A `pom.xml` says its version in a way that no other one can be written in its place.
    pub const PROJECT_VERSION_INVALID: &str = "ProjectVersionInvalid";
    /// A command of the build failed.
    pub const BUILD_FAILED: &str = "BuildFailed";
    /// Unit tests failed or broke.
    pub const UNIT_TESTS_FAILED: &str = "UnitTestsFailed";
    /// A container used more memory than its limit.
    pub const OUT_OF_MEMORY: &str = "OutOfMemory";
    /// Every image that the history of a pipeline let go of is deleted.
    pub const NOTHING_LEFT: &str = "NothingLeft";
    /// Images that the history of a pipeline let go of stay while somebody else needs them, or a build runs.
    pub const STILL_NEEDED: &str = "StillNeeded";
    /// The registry deletes nothing.
    pub const REGISTRY_CANNOT_DELETE: &str = "RegistryCannotDelete";
    /// The registry does not have what the build said it pushed.
    pub const RELEASE_NOT_FOUND: &str = "ReleaseNotFound";
    /// A Job ended without its result.
    pub const JOB_FAILED: &str = "JobFailed";
    /// The apiserver refuses the Job of a step: a quota, an admission policy, or a right that the operator lost.
    pub const JOB_REFUSED: &str = "JobRefused";
    /// An object of the child's name belongs to somebody else.
    pub const CHILD_CONFLICT: &str = "ChildConflict";
    /// The environment did not become ready with the release.
    pub const DEPLOYMENT_FAILED: &str = "DeploymentFailed";
    /// A test did not pass.
    pub const TEST_FAILED: &str = "TestFailed";
    /// The pipeline has no such test.
    pub const NO_TEST: &str = "NoTest";
    /// Somebody has to approve.
    pub const AWAITING_APPROVAL: &str = "AwaitingApproval";
    /// Somebody approved.
    pub const APPROVED: &str = "Approved";
    /// Somebody rejected.
    pub const REJECTED: &str = "Rejected";
    /// Nobody answered in time.
    pub const TIMED_OUT: &str = "TimedOut";
    /// An older pipeline of the same type goes to the same Environment.
    pub const PIPELINE_EXISTS: &str = "PipelineExists";
    /// The pipeline is suspended.
    pub const SUSPENDED: &str = "Suspended";
    /// Another execution of the pipeline runs, and the pipeline refuses a second one.
    pub const BUSY: &str = "Busy";
    /// A newer execution of the pipeline took this one's place.
    pub const REPLACED: &str = "Replaced";
    /// The Environment does not allow emergencies.
    pub const EMERGENCY_NOT_ENABLED: &str = "EmergencyNotEnabled";
    /// The policies that decide who may declare an emergency were not in force when the execution was created.
    pub const EMERGENCY_UNGUARDED: &str = "EmergencyUnguarded";
    /// The step is left out in an emergency.
    pub const SKIPPED_IN_EMERGENCY: &str = "SkippedInEmergency";
    /// An execution skips tests.
    pub const EMERGENCY: &str = "Emergency";
    /// The execution whose release is asked for is not one that can be taken.
    pub const SOURCE_REFUSED: &str = "SourceRefused";
    /// The release was made before the one that production runs.
    pub const OLDER_RELEASE: &str = "OlderRelease";
    /// An older release does not come over the repository that an author keeps on a volume.
    pub const AUTHOR_KEEPS_REPOSITORY: &str = "AuthorKeepsRepository";
    /// What an execution asks for does not belong to its pipeline.
    pub const NOT_POSSIBLE: &str = "NotPossible";
    /// A stage-only pipeline that starts on changes of the same source does so instead of this one.
    pub const STAGE_ONLY_WINS: &str = "StageOnlyWins";
    /// The source is asked for changes.
    pub const WATCHED: &str = "Watched";
    /// The pipeline is not ready, so that changes are not looked for.
    pub const NOT_READY: &str = "NotReady";
    /// The source cannot be watched: it is not there, or not what it should be.
    pub const SOURCE_NOT_FOUND: &str = "SourceNotFound";
    /// The source refuses the credentials.
    pub const SOURCE_UNAUTHORIZED: &str = "SourceUnauthorized";
    /// The source does not answer.
    pub const SOURCE_UNREACHABLE: &str = "SourceUnreachable";
    /// Metrics miss their thresholds, and nobody may or did accept that.
    pub const GATE_FAILED: &str = "GateFailed";
    /// Important metrics miss their thresholds: somebody has to decide.
    pub const AWAITING_OVERRIDE: &str = "AwaitingOverride";
    /// Somebody accepted the failing metrics.
    pub const OVERRIDDEN: &str = "Overridden";
    /// Somebody has to choose a time.
    pub const AWAITING_SCHEDULE: &str = "AwaitingSchedule";
    /// The chosen time has not come.
    pub const SCHEDULED: &str = "Scheduled";
    /// What a request annotation says cannot be understood.
    pub const REQUEST_MALFORMED: &str = "RequestMalformed";
    /// The support organisation has to give its go.
    pub const AWAITING_GO: &str = "AwaitingGo";
    /// A rollout waits for somebody before its next pair.
    pub const PAUSED: &str = "Paused";
    /// Another web-tier pipeline has the dispatcher of the Environment.
    pub const WEB_TIER_TAKEN: &str = "WebTierTaken";
    /// The Environment is held.
    pub const HELD: &str = "Held";
    /// Deployments may not begin at this time.
    pub const WINDOW_CLOSED: &str = "WindowClosed";
    /// The admission policy that guards approvals, or its binding, is not there: approvals are not accepted.
    pub const APPROVAL_GUARD_MISSING: &str = "ApprovalGuardMissing";
    /// The approval annotation does not name the release that stage tested.
    pub const APPROVAL_MALFORMED: &str = "ApprovalMalformed";
}

/// Sets a condition in a list, keeping `lastTransitionTime` while its status stays the same.
pub fn set(
    conditions: &mut Vec<Condition>,
    now: &Time,
    generation: Option<i64>,
    type_: &str,
    status: bool,
    reason: &str,
    message: &str,
) {
    set_status(conditions, now, generation, type_, if status { "True" } else { "False" }, reason, message);
}

/// As [`set`], for a status that is also `Unknown`.
pub fn set_status(
    conditions: &mut Vec<Condition>,
    now: &Time,
    generation: Option<i64>,
    type_: &str,
    status: &str,
    reason: &str,
    message: &str,
) {
    let since = conditions
        .iter()
        .find(|old| old.type_ == type_ && old.status == status)
        .map_or_else(|| now.clone(), |old| old.last_transition_time.clone());
    let condition = Condition {
        type_: type_.into(),
        status: status.into(),
        reason: reason.into(),
        message: truncate(message, 1024),
        observed_generation: generation,
        last_transition_time: since,
    };
    match conditions.iter_mut().find(|old| old.type_ == type_) {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

/// The condition of a type.
#[must_use]
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_time_changes_only_with_the_status() {
        let at = |seconds: i64| Time(jiff::Timestamp::from_second(seconds).unwrap());
        let mut all = vec![];
        set(&mut all, &at(1), Some(1), types::READY, false, reasons::NO_RELEASE, "nothing yet");
        set(&mut all, &at(2), Some(2), types::READY, false, reasons::ROLLING_OUT, "on its way");
        assert_eq!((all.len(), &all[0].last_transition_time), (1, &at(1)));
        set(&mut all, &at(3), Some(2), types::READY, true, reasons::READY, "");
        assert_eq!(all[0].last_transition_time, at(3));
    }

    #[test]
    fn a_cut_text_fits_and_ends_at_a_character() {
        assert_eq!(truncate("short", 10), "short");
        let cut = truncate(&"ü".repeat(20), 10);
        assert!(cut.len() <= 10 && cut.ends_with('…'));
    }
}
