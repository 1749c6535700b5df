//! Gates: what follows when the metrics of a step miss their thresholds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::reasons,
    execution::{OverrideRecord, PipelineExecutionStatus},
    names::requests,
    pipeline::{Gates, PipelineType},
    step::{Metric, StepName, StepState},
};

use crate::gate::{Decision, decide, decision::sentence, override_of};

use super::{
    Verdict, identity, request,
    requested::{self, Clock, Doubt, Request},
    world::World,
};

const REQUEST: Request = Request { key: requests::OVERRIDE, by: requests::OVERRIDDEN_BY };

/// Decides about a step that has measured: it passes, fails, or waits for somebody who accepts what fails.
pub(super) fn judge(
    world: &World,
    status: &mut PipelineExecutionStatus,
    step: StepName,
    metrics: &[Metric],
    told: &str,
) -> Verdict {
    let gates = world.pipeline.as_ref().map(|pipeline| pipeline.spec.gates.clone()).unwrap_or_default();
    let overridden = status.overrides.iter().find(|known| known.step == step).map(|known| known.metrics.clone());
    let failing = match decide(metrics, gates.important_failures, overridden.as_deref().unwrap_or_default()) {
        Decision::Pass => return passed(metrics, told),
        Decision::Fail(failing) => return failed(step, told, &sentence(&failing)),
        Decision::Wait(failing) => failing,
    };
    let names: Vec<&str> = failing.iter().map(|metric| metric.name.as_str()).collect();
    let failing = sentence(&failing);
    // There is nothing after it that could go on (`cloud-manager.md` §1.1).
    if world.pipeline.as_ref().is_some_and(|pipeline| pipeline.spec.type_ == PipelineType::CodeQuality) {
        return Verdict::failed(
            reasons::GATE_FAILED,
            format!(
                "{failing}. A CodeQuality pipeline cannot be overridden: correct the packages, or spec.gates.thresholds"
            ),
        );
    }
    if let Some(verdict) = requested::rejected(world) {
        return verdict;
    }
    let doubt = match accepted(world, step, metrics) {
        Some(Ok((by, metrics))) => {
            let message = format!("{failing}; accepted by {by}");
            status.overrides.push(OverrideRecord { step, by, at: Time(world.now), metrics });
            return Verdict::Passed { state: StepState::Finished, reason: reasons::OVERRIDDEN, message, persist: true };
        }
        Some(Err(doubt)) => Some(doubt),
        None => None,
    };
    wait(world, status, step, &gates, &names, failing, doubt)
}

/// A test that fails is told by its own words first.
fn failed(step: StepName, told: &str, failing: &str) -> Verdict {
    let reason = match step {
        StepName::ProductTest | StepName::FunctionalTest | StepName::UiTest => reasons::TEST_FAILED,
        _ => reasons::GATE_FAILED,
    };
    Verdict::failed(reason, if told.is_empty() { failing.to_owned() } else { format!("{told}: {failing}") })
}

fn passed(metrics: &[Metric], told: &str) -> Verdict {
    let missed: Vec<&Metric> = metrics.iter().filter(|metric| !metric.passed).collect();
    Verdict::finished(if missed.is_empty() {
        told.to_owned()
    } else {
        format!("{told}; missed: {}", sentence(&missed))
    })
}

/// Who accepted the failing metrics of this step, and which; none when nobody did.
fn accepted(world: &World, step: StepName, metrics: &[Metric]) -> Option<Result<(String, Vec<String>), Doubt>> {
    // One annotation serves every gate of an execution: what is said about another step is not for this one.
    let (_, names) = request(world, REQUEST.key)?.split_once(':').filter(|(named, _)| *named == step.as_str())?;
    let read = requested::read(world, &REQUEST)?;
    Some(read.and_then(|(_, by)| {
        let metrics = override_of(metrics, names)
            .map_err(|refused| (reasons::REQUEST_MALFORMED, format!("annotation {}: {refused}", REQUEST.key)))?;
        Ok((by, metrics))
    }))
}

fn wait(
    world: &World,
    status: &PipelineExecutionStatus,
    step: StepName,
    gates: &Gates,
    names: &[&str],
    failing: String,
    doubt: Option<Doubt>,
) -> Verdict {
    let clock = Clock::of(world, status, step, gates.timeout);
    if let Some(verdict) = clock.over(world, "nobody accepted the failing metrics") {
        return verdict;
    }
    let (name, namespace, _) = identity(world);
    let pipeline = &world.execution.spec.pipeline_ref.name;
    let who = format!("whoever may `override` Pipeline {pipeline}, for {}", names.join(", "));
    clock.waits(
        world,
        step,
        doubt.unwrap_or((reasons::AWAITING_OVERRIDE, failing)),
        who,
        format!("kubectl launchway override {name} --namespace {namespace}"),
    )
}
