//! Which way an execution goes: the steps it has, and the Environments it works on.
//!
//! Both follow from the pipeline's spec and from what the execution was asked to do, and are written down with the first
//! status: a later change of the pipeline does not move an execution to another way.

use launchway_crds::{
    execution::{Environments, Mode, PipelineExecutionSpec, Trigger},
    pipeline::{LedgerEntry, PipelineSpec, PipelineType},
    step::StepName::{self, *},
};

/// What started an execution, as its spec shows.
pub(super) const fn trigger(asked: &PipelineExecutionSpec) -> Trigger {
    if asked.re_execute.is_some() {
        Trigger::ReExecute
    } else if asked.roll_back_to.is_some() {
        Trigger::RollBack
    } else if asked.source_execution.is_some() {
        Trigger::Promote
    } else if asked.change.is_some() {
        Trigger::OnChange
    } else {
        Trigger::Manual
    }
}

/// Whether a release that exists goes to production, and nothing is built or tested.
pub(super) const fn only_production(type_: PipelineType, trigger: Trigger) -> bool {
    matches!(type_, PipelineType::ProductionOnly) || matches!(trigger, Trigger::ReExecute | Trigger::RollBack)
}

/// Every step of an execution, in order.
///
/// What the pipeline does not ask for has no step, but for the smoke test and the functional test, which every tested
/// release has: without a test they end as Incomplete (`cloud-manager.md` §2.1). A release of the dispatcher alone has no
/// packages to check, and those tests only if it asks for them (§2.7). `taken` is the record of the execution
/// that is done again or gone back to: what was approved then needs no second approval.
pub(super) fn steps(
    pipeline: &PipelineSpec,
    asked: &PipelineExecutionSpec,
    taken: Option<&LedgerEntry>,
) -> Vec<StepName> {
    let trigger = trigger(asked);
    let only_production = only_production(pipeline.type_, trigger);
    let web_tier = pipeline.type_ == PipelineType::WebTier;
    let again = !fresh(trigger) && taken.is_some_and(|entry| entry.approved);
    let tests = pipeline.tested_on().map(|(_, tests)| tests);
    let production = pipeline.production.as_ref();
    let wanted = |step: StepName| match step {
        Validate | Build => true,
        CodeQuality => !only_production && !web_tier,
        BuildImage => !only_production && pipeline.images.is_some(),
        Deploy => pipeline.deployment.is_some(),
        DeployStage => !only_production && pipeline.stage.is_some(),
        ApprovalStage => !only_production && pipeline.stage.as_ref().is_some_and(|stage| stage.approval.required),
        SmokeTest => !only_production && tests.is_some_and(|tests| !web_tier || !tests.smoke.is_empty()),
        FunctionalTest => !only_production && tests.is_some_and(|tests| !web_tier || tests.functional.is_some()),
        SecurityTest => !only_production && tests.is_some_and(|tests| tests.security.is_some()),
        LoadTest | ReportPerformanceTest => !only_production && tests.is_some_and(|tests| tests.performance.is_some()),
        ProductTest => !only_production && tests.is_some_and(|tests| tests.product.is_some()),
        UiTest => !only_production && tests.is_some_and(|tests| tests.ui.is_some()),
        ContentAudit => !only_production && tests.is_some_and(|tests| tests.audit.is_some()),
        ApprovalProduction => !again && production.is_some_and(|production| production.approval.required),
        // A deployment that is done again, or undone, is not put off.
        Schedule => fresh(trigger) && production.is_some_and(|production| production.schedule.required),
        Managed => fresh(trigger) && production.is_some_and(|production| production.managed.required),
        DeployProduction => production.is_some(),
    };
    StepName::ALL.into_iter().filter(|step| wanted(*step)).collect()
}

/// Whether a release goes its way for the first time: it is not done again, nor a way back.
pub(super) const fn fresh(trigger: Trigger) -> bool {
    matches!(trigger, Trigger::Manual | Trigger::OnChange | Trigger::Promote)
}

/// The Environments that an execution locks.
#[must_use]
pub fn environments(pipeline: &PipelineSpec, asked: &PipelineExecutionSpec) -> Environments {
    let tested = !only_production(pipeline.type_, trigger(asked));
    Environments {
        stage: pipeline.stage.as_ref().filter(|_| tested).map(|stage| stage.environment.clone()),
        deployment: pipeline.deployment.as_ref().map(|place| place.environment.clone()),
        production: pipeline.production.as_ref().map(|production| production.environment.clone()),
    }
}

/// The Environment that a step works on.
pub(super) fn place(step: StepName, environments: &Environments) -> Option<String> {
    match step {
        Validate | Build | CodeQuality | BuildImage => None,
        Deploy => environments.deployment.clone(),
        DeployStage | ApprovalStage => environments.stage.clone(),
        SmokeTest
        | SecurityTest
        | LoadTest
        | ReportPerformanceTest
        | ProductTest
        | FunctionalTest
        | UiTest
        | ContentAudit => environments.tested().map(str::to_owned),
        ApprovalProduction | Schedule | Managed | DeployProduction => environments.production.clone(),
    }
}

/// Whether an emergency leaves a step out: the tests of security and performance; on a stage-only pipeline every test
/// (`cloud-manager.md` §2.8). The smoke test stays: a release that does not answer helps nobody. A functional test that the
/// pipeline does not have is not left out: nobody could pass it later.
pub(super) fn skipped(pipeline: &PipelineSpec, asked: &PipelineExecutionSpec, step: StepName) -> bool {
    if asked.mode != Mode::Emergency {
        return false;
    }
    let functional = || pipeline.tested_on().is_some_and(|(_, tests)| tests.functional.is_some());
    match step {
        SecurityTest | LoadTest | ReportPerformanceTest | ContentAudit => true,
        ProductTest | UiTest => pipeline.type_ == PipelineType::StageOnly,
        FunctionalTest => pipeline.type_ == PipelineType::StageOnly && functional(),
        Validate | Build | CodeQuality | BuildImage | Deploy | DeployStage | ApprovalStage | SmokeTest
        | ApprovalProduction | Schedule | Managed | DeployProduction => false,
    }
}
