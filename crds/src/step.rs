//! The vocabulary of an execution: its steps and their states.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A step of an execution, in Cloud Manager's words where it has one.
///
/// The order of the variants is the order in which steps run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StepName {
    /// Everything that the pipeline refers to exists, and its environments are this execution's alone.
    Validate,
    /// The packages, or the release of another execution, are there: resolved to a digest, once.
    Build,
    /// The packages keep the rules of the package checks, and metrics reach their thresholds.
    CodeQuality,
    /// Packages become images, and a release that names both.
    BuildImage,
    /// The release runs on the Environment of a Deployment pipeline.
    Deploy,
    /// The release runs on stage.
    DeployStage,
    /// A person looks at stage and lets the tests begin.
    ApprovalStage,
    /// Pages answer as the pipeline says.
    SmokeTest,
    /// Requests that must be refused are refused. Skipped in an emergency.
    SecurityTest,
    /// Pages are requested as many visitors would. Skipped in an emergency.
    LoadTest,
    /// What the load test measured reaches its thresholds. Skipped in an emergency.
    ReportPerformanceTest,
    /// The product's own test image passes.
    ProductTest,
    /// The project's own test image passes.
    FunctionalTest,
    /// The project's tests in a browser pass: their report decides.
    UiTest,
    /// Pages are rated. It never fails an execution. Skipped in an emergency.
    ContentAudit,
    /// A person approves exactly the release that stage tested.
    ApprovalProduction,
    /// The time that somebody chose for production has come.
    Schedule,
    /// The support organisation gives its go.
    Managed,
    /// The release runs on production.
    DeployProduction,
}

impl StepName {
    /// Every step, in order.
    pub const ALL: [Self; 19] = [
        Self::Validate,
        Self::Build,
        Self::CodeQuality,
        Self::BuildImage,
        Self::Deploy,
        Self::DeployStage,
        Self::ApprovalStage,
        Self::SmokeTest,
        Self::SecurityTest,
        Self::LoadTest,
        Self::ReportPerformanceTest,
        Self::ProductTest,
        Self::FunctionalTest,
        Self::UiTest,
        Self::ContentAudit,
        Self::ApprovalProduction,
        Self::Schedule,
        Self::Managed,
        Self::DeployProduction,
    ];

    /// Steps with a gate: where an important metric fails, a person accepts it or rejects the release.
    pub const GATES: [Self; 6] = [
        Self::CodeQuality,
        Self::SecurityTest,
        Self::ReportPerformanceTest,
        Self::ProductTest,
        Self::FunctionalTest,
        Self::UiTest,
    ];

    /// The name in status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Build => "build",
            Self::CodeQuality => "codeQuality",
            Self::BuildImage => "buildImage",
            Self::Deploy => "deploy",
            Self::DeployStage => "deployStage",
            Self::ApprovalStage => "approvalStage",
            Self::SmokeTest => "smokeTest",
            Self::SecurityTest => "securityTest",
            Self::LoadTest => "loadTest",
            Self::ReportPerformanceTest => "reportPerformanceTest",
            Self::ProductTest => "productTest",
            Self::FunctionalTest => "functionalTest",
            Self::UiTest => "uiTest",
            Self::ContentAudit => "contentAudit",
            Self::ApprovalProduction => "approvalProduction",
            Self::Schedule => "schedule",
            Self::Managed => "managed",
            Self::DeployProduction => "deployProduction",
        }
    }

    /// The name as part of an object's name.
    #[must_use]
    pub const fn dashed(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Build => "build",
            Self::CodeQuality => "code-quality",
            Self::BuildImage => "build-image",
            Self::Deploy => "deploy",
            Self::DeployStage => "deploy-stage",
            Self::ApprovalStage => "approval-stage",
            Self::SmokeTest => "smoke-test",
            Self::SecurityTest => "security-test",
            Self::LoadTest => "load-test",
            Self::ReportPerformanceTest => "report-performance-test",
            Self::ProductTest => "product-test",
            Self::FunctionalTest => "functional-test",
            Self::UiTest => "ui-test",
            Self::ContentAudit => "content-audit",
            Self::ApprovalProduction => "approval-production",
            Self::Schedule => "schedule",
            Self::Managed => "managed",
            Self::DeployProduction => "deploy-production",
        }
    }
}

/// State of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum StepState {
    /// Its turn has not come.
    #[default]
    NotStarted,
    /// It works.
    Running,
    /// It waits for somebody or something outside; `status.waitingFor` says for whom.
    Waiting,
    /// It succeeded.
    Finished,
    /// It failed for a reason that lies in what the user gave.
    Failed,
    /// It failed for a reason that lies in the platform.
    Error,
    /// Somebody stopped it, or nobody answered in time.
    Cancelled,
    /// There was nothing to do, such as no test: the execution goes on.
    Incomplete,
    /// A deployment failed, and what ran before comes back.
    RollingBack,
    /// A deployment failed, and the Environment runs what it ran before.
    RolledBack,
}

impl StepState {
    /// Whether the state is final.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::NotStarted | Self::Running | Self::Waiting | Self::RollingBack => false,
            Self::Finished | Self::Failed | Self::Error | Self::Cancelled | Self::Incomplete | Self::RolledBack => true,
        }
    }

    /// Whether the next step may begin.
    #[must_use]
    pub const fn lets_pass(self) -> bool {
        match self {
            Self::Finished | Self::Incomplete => true,
            Self::NotStarted
            | Self::Running
            | Self::Waiting
            | Self::Failed
            | Self::Error
            | Self::Cancelled
            | Self::RollingBack
            | Self::RolledBack => false,
        }
    }
}

/// How many metrics a step keeps; the rest is in its report.
pub const METRICS_MAX: usize = 40;
/// Longest name of a metric, in bytes.
pub const METRIC_NAME_MAX: usize = 48;
/// Longest expected or actual value of a metric, in bytes.
pub const METRIC_VALUE_MAX: usize = 24;

/// Something that a step measured, and what it had to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    /// What was measured, in Cloud Manager's words where it has one (`coverage`, `error_rate`). One name may appear
    /// with several severities.
    #[schemars(length(min = 1, max = 48), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"))]
    pub name: String,
    /// What a failure means.
    pub severity: Severity,
    /// How `actual` has to compare with `expected`.
    pub comparator: Comparator,
    /// A number, a grade from `A` (best) to `F`, or a word.
    #[schemars(length(min = 1, max = 24))]
    pub expected: String,
    /// What was found, of the same kind.
    #[schemars(length(min = 1, max = 24))]
    pub actual: String,
    /// Whether `actual` compares as it has to.
    pub passed: bool,
}

/// What a failed metric means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The execution fails, and nobody can override it.
    Critical,
    /// The pipeline's behaviour decides: ask a person, fail, or go on.
    Important,
    /// It is recorded.
    Informational,
}

impl Severity {
    /// The name in status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Important => "important",
            Self::Informational => "informational",
        }
    }
}

/// How an actual value has to compare with the expected one. Grades compare as grades: `A` is greater than `B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Comparator {
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
    /// Equal.
    Eq,
    /// Not equal.
    Neq,
}

impl Comparator {
    /// The name in status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gt => "GT",
            Self::Gte => "GTE",
            Self::Lt => "LT",
            Self::Lte => "LTE",
            Self::Eq => "EQ",
            Self::Neq => "NEQ",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_status_are_the_serialised_names() {
        for step in StepName::ALL {
            assert_eq!(serde_json::to_value(step).unwrap(), step.as_str());
        }
    }

    #[test]
    fn a_metric_has_cloud_managers_words() {
        let metric = Metric {
            name: "security_rating".into(),
            severity: Severity::Critical,
            comparator: Comparator::Gte,
            expected: "B".into(),
            actual: "A".into(),
            passed: true,
        };
        let text = r#"{"name":"security_rating","severity":"critical","comparator":"GTE","expected":"B","actual":"A","passed":true}"#;
        assert_eq!(serde_json::to_string(&metric).unwrap(), text);
        for comparator in
            [Comparator::Gt, Comparator::Gte, Comparator::Lt, Comparator::Lte, Comparator::Eq, Comparator::Neq]
        {
            assert_eq!(serde_json::to_value(comparator).unwrap(), comparator.as_str());
        }
        for severity in [Severity::Critical, Severity::Important, Severity::Informational] {
            assert_eq!(serde_json::to_value(severity).unwrap(), severity.as_str());
        }
    }
}
