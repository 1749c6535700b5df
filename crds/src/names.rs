//! Every name that crosses a process boundary: annotations, labels, field managers, child names.

/// The API group of every kind.
pub const GROUP: &str = "launchway.dev";
/// The served and stored version.
pub const VERSION: &str = "v1alpha1";
/// Field manager of everything the operator applies.
pub const FIELD_MANAGER: &str = "launchway";

/// Annotation keys that people and tools set on a `PipelineExecution`.
///
/// Each is guarded by a ValidatingAdmissionPolicy (`config/policy`): the apiserver, not the
/// operator, decides who may set it.
pub mod requests {
    /// Approves what runs on stage, so that its tests begin; the value is the release digest.
    pub const APPROVE_STAGE: &str = "launchway.dev/approve-stage";
    /// Who approved stage.
    pub const APPROVED_STAGE_BY: &str = "launchway.dev/approved-stage-by";
    /// The go of the support organisation; the value is the release digest.
    pub const MANAGED_GO: &str = "launchway.dev/managed-go";
    /// Who gave the go.
    pub const MANAGED_GO_BY: &str = "launchway.dev/managed-go-by";
    /// When production is deployed: `now`, or a date and time with its zone, such as `2026-11-21T22:00[Europe/Zurich]`.
    pub const SCHEDULE: &str = "launchway.dev/schedule";
    /// Who chose the time.
    pub const SCHEDULED_BY: &str = "launchway.dev/scheduled-by";
    /// Accepts failing important metrics; the value is `STEP:METRIC,METRIC`, with every one of them.
    pub const OVERRIDE: &str = "launchway.dev/override";
    /// Who accepted them.
    pub const OVERRIDDEN_BY: &str = "launchway.dev/overridden-by";
    /// Approves the production deployment; the value is the release digest that stage tested.
    pub const APPROVE_PRODUCTION: &str = "launchway.dev/approve-production";
    /// Who approved: stamped by the apiserver, or checked to be the caller.
    pub const APPROVED_BY: &str = "launchway.dev/approved-by";
    /// Rejects the approval that is waited for; the value is the reason.
    pub const REJECT: &str = "launchway.dev/reject";
    /// Who rejected: stamped by the apiserver, or checked to be the caller.
    pub const REJECTED_BY: &str = "launchway.dev/rejected-by";
    /// Lets a deployment that pauses go on (`true`), or stops it where it is (`false`).
    pub const RESUME: &str = "launchway.dev/resume";
    /// Who resumed or stopped it.
    pub const RESUMED_BY: &str = "launchway.dev/resumed-by";
    /// Cancels the execution; the value is the reason.
    pub const CANCEL: &str = "launchway.dev/cancel";
    /// Who cancelled: stamped by the apiserver, or checked to be the caller.
    pub const CANCELLED_BY: &str = "launchway.dev/cancelled-by";
    /// On a `Pipeline`: the next build begins with an empty cache. Any value that was not there before does it, such as
    /// a time.
    pub const INVALIDATE_CACHE: &str = "launchway.dev/invalidate-cache";
}

/// Label keys on objects that the operator creates. Labels of users' objects are never copied to children.
pub mod labels {
    /// Always [`super::FIELD_MANAGER`].
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// Name of the Environment that a workload belongs to.
    pub const ENVIRONMENT: &str = "launchway.dev/environment";
    /// `author`, `publish` or `dispatcher`.
    pub const TIER: &str = "launchway.dev/tier";
    /// Short hash of everything in a pod's template, the release above all. Author and publish share one.
    pub const REVISION: &str = "launchway.dev/revision";
    /// First 12 hex digits of the release digest, for people and metrics.
    pub const RELEASE: &str = "launchway.dev/release";
    /// Name of the Pipeline that a kept version of it belongs to.
    pub const PIPELINE: &str = "launchway.dev/pipeline";
    /// Hash of the variables that a ConfigMap or Secret of an Environment holds.
    pub const VARIABLES: &str = "launchway.dev/variables";
    /// Name of the PipelineExecution that a Job belongs to.
    pub const EXECUTION: &str = "launchway.dev/execution";
    /// Name of the step that a Job does.
    pub const STEP: &str = "launchway.dev/step";
}

/// Finalizer of an Environment that an execution has: it is not gone before its rollout came to an end.
pub const FINALIZER: &str = "launchway.dev/execution";

/// Annotation keys on objects that the operator creates: what is deployed can be read back from them.
pub mod annotations {
    /// The whole release reference (`REPOSITORY@sha256:…`) in a workload's template.
    pub const RELEASE: &str = "launchway.dev/release";
    /// Namespaced name of the execution that deployed the release.
    pub const EXECUTION: &str = "launchway.dev/execution";
    /// What the dispatchers dropped from their caches before they served, as JSON, on their workload.
    pub const CACHE: &str = "launchway.dev/cache";
    /// Hash of the object as rendered: equal means that nothing has to be applied.
    pub const RENDERED: &str = "launchway.dev/rendered";
}

/// The longest name of a Job, so that its pods' names and the `job-name` label fit 63 characters.
const JOB_NAME_MAX: usize = 52;

/// A name for the child of `parent` that does `part`: the same every time, so that a second create
/// meets the first. Long parents are shortened and keep a hash, so that two of them never meet.
///
/// ```
/// use launchway_crds::names::child_name;
/// assert_eq!(child_name("wknd-42", "build-image"), "wknd-42-build-image");
/// assert!(child_name(&"x".repeat(200), "build-image").len() <= 52);
/// ```
#[must_use]
pub fn child_name(parent: &str, part: &str) -> String {
    let whole = format!("{parent}-{part}");
    if whole.len() <= JOB_NAME_MAX {
        return whole;
    }
    let hash = short_hash(parent.as_bytes());
    let room = JOB_NAME_MAX.saturating_sub(part.len() + hash.len() + 2);
    let head: String = parent.chars().take(room).collect();
    format!("{}-{hash}-{part}", head.trim_end_matches(['-', '.']))
}

/// The value of a label that names an object: a label has at most 63 characters, a name may have more.
#[must_use]
pub fn label_value(name: &str) -> String {
    let head: String = name.chars().take(63).collect();
    head.trim_end_matches(['-', '.']).into()
}

/// Eight hex digits of a 64-bit FNV-1a hash: names apart, not secure.
#[must_use]
pub fn short_hash(bytes: &[u8]) -> String {
    format!("{:016x}", fnv1a(bytes))[..8].to_string()
}

/// 64-bit FNV-1a, folded so that its first half depends on every input byte.
fn fnv1a(bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash ^ hash.rotate_left(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_parents_that_differ_at_the_end_get_different_children() {
        let a = child_name(&format!("{}a", "x".repeat(100)), "smoke-test");
        let b = child_name(&format!("{}b", "x".repeat(100)), "smoke-test");
        assert_ne!(a, b);
        assert!(a.ends_with("-smoke-test") && a.len() <= JOB_NAME_MAX);
    }
}
