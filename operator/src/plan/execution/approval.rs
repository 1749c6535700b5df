//! The approval before production: a person's word for exactly the release that stage tested.
//!
//! Who may approve is decided by the apiserver (`config/policy`). What is checked here once more is
//! what the operator can check: the digest, and that the approver is not the requester.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::reasons,
    execution::{ApprovalRecord, PipelineExecutionStatus, WaitingFor},
    names::requests,
    step::{StepName, StepState},
};

use super::{
    Verdict, identity, name_of, request, step_of,
    world::{Guard, World},
};

/// Pause before the guard is looked for again, when it was missing.
const GUARD_PAUSE: SignedDuration = SignedDuration::from_secs(30);
const STEP: StepName = StepName::ApprovalProduction;

/// Waits for the approval of the release, a rejection, or the end of the time.
pub(super) fn production(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    let (Some(pipeline), Some(release)) = (&world.pipeline, status.release.clone()) else {
        return Verdict::error(reasons::PIPELINE_CHANGED, "the pipeline was deleted while its execution ran");
    };
    let approval = &pipeline.spec.production.approval;
    if !approval.required {
        return Verdict::Passed {
            state: StepState::Incomplete,
            reason: reasons::NOT_REQUIRED,
            message: "the pipeline asks for no approval".into(),
            persist: true,
        };
    }
    let since = step_of(status, STEP).and_then(|step| step.started_at.clone()).unwrap_or(Time(world.now));
    let until = since.0.saturating_add(approval.timeout.signed()).unwrap_or(since.0);
    if let Some(reason) = request(world, requests::REJECT) {
        let by = request(world, requests::REJECTED_BY).unwrap_or("an unknown user");
        return Verdict::Ended {
            state: StepState::Cancelled,
            reason: reasons::REJECTED.into(),
            message: format!("rejected by {by}: {reason}"),
            actions: vec![],
        };
    }
    let asked = request(world, requests::APPROVE_PRODUCTION);
    let doubt = match asked.map(|value| check(world, value, &release.digest().to_string())) {
        Some(Ok(by)) => {
            status.approvals.push(ApprovalRecord {
                step: STEP,
                by: by.clone(),
                at: Time(world.now),
                release: release.digest(),
            });
            // Production is touched only after the record of the approval is safe.
            return Verdict::Passed {
                state: StepState::Finished,
                reason: reasons::APPROVED,
                message: format!("approved by {by}"),
                persist: true,
            };
        }
        Some(Err(doubt)) => Some(doubt),
        None => None,
    };
    if world.now >= until {
        return Verdict::Ended {
            state: StepState::Cancelled,
            reason: reasons::TIMED_OUT.into(),
            message: format!("nobody approved within {}: run the pipeline again", approval.timeout),
            actions: vec![],
        };
    }
    let (name, namespace, _) = identity(world);
    let environment = world.production.as_ref().map_or("production", |environment| name_of(environment));
    let (reason, why) = doubt.unwrap_or_else(|| {
        (reasons::AWAITING_APPROVAL, format!("approval of {} for Environment {environment}", release.digest()))
    });
    let wake =
        (reason == reasons::APPROVAL_GUARD_MISSING).then(|| world.now.saturating_add(GUARD_PAUSE).unwrap_or(world.now));
    Verdict::Waiting {
        reason,
        waiting: Box::new(WaitingFor {
            step: STEP,
            why,
            since,
            until: Some(Time(until)),
            who: Some(format!("whoever may `approve` Environment {environment}, but not {}", requester(world))),
            command: Some(format!("kubectl launchway approve {name} --namespace {namespace}")),
        }),
        wake,
        actions: vec![],
    }
}

fn requester(world: &World) -> &str {
    world.execution.spec.requested_by.as_deref().unwrap_or("the requester")
}

/// The approver, or why the annotation is not accepted.
fn check(world: &World, value: &str, digest: &str) -> Result<String, (&'static str, String)> {
    let malformed = |why: String| (reasons::APPROVAL_MALFORMED, why);
    if let Guard::Missing(what) = &world.guard {
        return Err((
            reasons::APPROVAL_GUARD_MISSING,
            format!(
                "{what}: approvals are not accepted until an administrator installs it again (helm upgrade, or kubectl apply -k config/policy)"
            ),
        ));
    }
    if world.guard == Guard::NotLookedAt {
        return Err((reasons::AWAITING_APPROVAL, format!("approval of {digest}")));
    }
    if let Guard::InForce { since } = &world.guard {
        // An apiserver records who wrote a field and when. No record means that somebody wiped it.
        let unchecked = match annotated_at(world) {
            Some(at) if at >= *since => None,
            Some(at) => Some(format!("set at {at}, before the policy that checks approvals was installed at {since}")),
            None => Some("set by nobody that the apiserver remembers: its managed fields were reset".into()),
        };
        if let Some(how) = unchecked {
            return Err(malformed(format!("the approval was {how}: cancel this execution and run the pipeline again")));
        }
    }
    if value != digest {
        return Err(malformed(format!(
            "annotation {} is not the release that stage tested, {digest}: cancel this execution and run the pipeline again",
            requests::APPROVE_PRODUCTION
        )));
    }
    let Some(by) = request(world, requests::APPROVED_BY) else {
        return Err(malformed(format!(
            "annotation {} is missing: approve with kubectl launchway",
            requests::APPROVED_BY
        )));
    };
    if world.execution.spec.requested_by.as_deref().is_none_or(|requester| requester == by) {
        return Err(malformed(format!("{by} asked for this execution and cannot approve it: ask somebody else")));
    }
    Ok(launchway_crds::conditions::truncate(by, 256))
}

/// When the approval was last written, as the apiserver recorded it.
fn annotated_at(world: &World) -> Option<Timestamp> {
    let field = format!("f:{}", requests::APPROVE_PRODUCTION);
    let managers = world.execution.metadata.managed_fields.as_deref().unwrap_or_default();
    managers
        .iter()
        .filter(|entry| {
            entry
                .fields_v1
                .as_ref()
                .is_some_and(|fields| !fields.0["f:metadata"]["f:annotations"][field.as_str()].is_null())
        })
        .filter_map(|entry| entry.time.as_ref())
        .map(|time| time.0)
        .max()
}
