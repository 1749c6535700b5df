//! A person's word for exactly the release that was built: on stage, before production, and the go of the support
//! organisation.
//!
//! Who may give it is decided by the apiserver (`config/policy`). What is checked here once more is
//! what the operator can check: the digest, and that whoever gives it did not ask for the execution.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    common::Span,
    conditions::reasons,
    execution::{ApprovalRecord, PipelineExecutionStatus},
    names::requests,
    step::{StepName, StepState},
};

use super::{
    Verdict, identity, request,
    requested::{self, Clock, Doubt, Request},
    revision::gone,
    world::{Guard, World},
};

/// An approval that an execution waits for.
struct Approval<'a> {
    step: StepName,
    request: Request,
    timeout: Span,
    environment: &'a str,
    verb: &'static str,
    awaiting: &'static str,
    command: &'static str,
}

/// Waits for a person who has looked at stage.
pub(super) fn stage(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    let Some(stage) = world.pipeline.as_ref().and_then(|pipeline| pipeline.spec.stage.as_ref()) else {
        return gone(world);
    };
    let approval = Approval {
        step: StepName::ApprovalStage,
        request: Request { key: requests::APPROVE_STAGE, by: requests::APPROVED_STAGE_BY },
        timeout: stage.approval.timeout,
        environment: &stage.environment,
        verb: "approve",
        awaiting: reasons::AWAITING_APPROVAL,
        command: "approve",
    };
    wait(world, status, &approval)
}

/// Waits for the approval of the release that stage tested, a rejection, or the end of the time.
pub(super) fn production(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    let Some(production) = world.pipeline.as_ref().and_then(|pipeline| pipeline.spec.production.as_ref()) else {
        return gone(world);
    };
    let approval = Approval {
        step: StepName::ApprovalProduction,
        request: Request { key: requests::APPROVE_PRODUCTION, by: requests::APPROVED_BY },
        timeout: production.approval.timeout,
        environment: &production.environment,
        verb: "approve",
        awaiting: reasons::AWAITING_APPROVAL,
        command: "approve",
    };
    wait(world, status, &approval)
}

/// Waits for the go of the support organisation.
pub(super) fn managed(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    let Some(production) = world.pipeline.as_ref().and_then(|pipeline| pipeline.spec.production.as_ref()) else {
        return gone(world);
    };
    let approval = Approval {
        step: StepName::Managed,
        request: Request { key: requests::MANAGED_GO, by: requests::MANAGED_GO_BY },
        timeout: production.managed.timeout,
        environment: &production.environment,
        verb: "manage",
        awaiting: reasons::AWAITING_GO,
        command: "managed-go",
    };
    wait(world, status, &approval)
}

fn wait(world: &World, status: &mut PipelineExecutionStatus, approval: &Approval<'_>) -> Verdict {
    let Some(release) = status.release.clone() else {
        return Verdict::error(reasons::RELEASE_NOT_FOUND, "this execution has no release: run the pipeline again");
    };
    let clock = Clock::of(world, status, approval.step, approval.timeout);
    if let Some(verdict) = requested::rejected(world) {
        return verdict;
    }
    let digest = release.digest().to_string();
    let doubt = match requested::read(world, &approval.request) {
        Some(Ok((value, _))) if value != digest => Some((
            reasons::APPROVAL_MALFORMED,
            format!(
                "annotation {} is not the release of this execution, {digest}: cancel it and run the pipeline again",
                approval.request.key
            ),
        )),
        Some(Ok((_, by))) if requester(world).is_none_or(|requester| requester == by) => Some((
            reasons::APPROVAL_MALFORMED,
            format!("{by} asked for this execution and cannot approve it: ask somebody else"),
        )),
        Some(Ok(_)) if hearsay(world).is_some() => hearsay(world),
        Some(Ok((_, by))) => {
            status.approvals.push(ApprovalRecord {
                step: approval.step,
                by: by.clone(),
                at: Time(world.now),
                release: release.digest(),
            });
            // Nothing goes to production before the record of the approval is safe. What follows stage's are tests, which
            // are told of with it: that they have begun already when the operator dies changes nothing.
            return Verdict::Passed {
                state: StepState::Finished,
                reason: reasons::APPROVED,
                message: format!("approved by {by}"),
                persist: approval.step != StepName::ApprovalStage,
            };
        }
        Some(Err(doubt)) => Some(doubt),
        None => None,
    };
    if let Some(verdict) = clock.over(world, "nobody approved") {
        return verdict;
    }
    let (name, namespace, _) = identity(world);
    let (verb, environment) = (approval.verb, approval.environment);
    let told =
        doubt.unwrap_or_else(|| (approval.awaiting, format!("approval of {digest} for Environment {environment}")));
    let who = format!(
        "whoever may `{verb}` Environment {environment}, but not {}",
        requester(world).unwrap_or("the requester")
    );
    let command = format!("kubectl launchway {} {name} --namespace {namespace}", approval.command);
    clock.waits(world, approval.step, told, who, command)
}

/// Whether nobody checked who asked for the execution, so that nobody can tell whether somebody else approves it.
fn hearsay(world: &World) -> Option<Doubt> {
    let Guard::InForce { creations_since, .. } = world.guard else { return None };
    let created = world.execution.metadata.creation_timestamp.as_ref()?.0;
    (created < creations_since).then(|| {
        (
            reasons::APPROVAL_MALFORMED,
            format!(
                "this execution was created at {created}, before the policy that checks who asks for one was installed at \
                 {creations_since}: cancel it and run the pipeline again"
            ),
        )
    })
}

fn requester(world: &World) -> Option<&str> {
    world.execution.spec.requested_by.as_deref()
}

/// Whether a request that matters at this step is there, so that its guard is worth reading.
pub(super) fn asked(world: &World, step: StepName) -> Option<&'static str> {
    let key = match step {
        StepName::ApprovalStage => requests::APPROVE_STAGE,
        StepName::ApprovalProduction => requests::APPROVE_PRODUCTION,
        StepName::Managed => requests::MANAGED_GO,
        StepName::DeployProduction => requests::RESUME,
        StepName::Schedule => requests::SCHEDULE,
        StepName::CodeQuality
        | StepName::SecurityTest
        | StepName::ReportPerformanceTest
        | StepName::ProductTest
        | StepName::FunctionalTest
        | StepName::UiTest => requests::OVERRIDE,
        StepName::Validate
        | StepName::Build
        | StepName::BuildImage
        | StepName::Deploy
        | StepName::DeployStage
        | StepName::SmokeTest
        | StepName::LoadTest
        | StepName::ContentAudit => return None,
    };
    request(world, key).map(|_| key)
}
