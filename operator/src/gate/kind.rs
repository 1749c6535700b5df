//! What counts for which kind of test: exit code, reports, or both.

use launchway_crds::step::{Metric, Severity, StepName};
use serde::{Deserialize, Serialize};

use super::metric::none_of;

/// Name of the metric that an exit code makes.
pub const EXIT_CODE: &str = "exit_code";

/// A test or check that a container of somebody's image does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TestKind {
    /// The product's own functional tests.
    Product,
    /// The project's functional tests.
    Functional,
    /// UI tests: JUnit XML decides, the exit code is ignored (`cloud-manager.md §5.3`).
    Ui,
    /// The content audit: it never blocks (`cloud-manager.md §5.4`).
    Audit,
    /// Any scanner, for code quality or security: its metrics decide; scanners end with what they like.
    Scan,
}

/// What a test's container must leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the exit code is there anyway.
    Nothing,
    /// At least one JUnit XML file.
    JUnit,
    /// At least one file with metrics: our JSON, SARIF, JUnit XML or JaCoCo XML.
    Metrics,
}

impl TestKind {
    /// The kind of a step that is somebody's image; None of every other step.
    #[must_use]
    pub const fn of(step: StepName) -> Option<Self> {
        match step {
            StepName::ProductTest => Some(Self::Product),
            StepName::FunctionalTest => Some(Self::Functional),
            StepName::UiTest => Some(Self::Ui),
            StepName::ContentAudit => Some(Self::Audit),
            _ => None,
        }
    }

    /// What has to be in the folder of reports.
    #[must_use]
    pub const fn needs(self) -> Needs {
        match self {
            Self::Product | Self::Functional => Needs::Nothing,
            Self::Ui => Needs::JUnit,
            Self::Audit | Self::Scan => Needs::Metrics,
        }
    }

    /// Whether the exit code of the test's container has a say.
    #[must_use]
    pub const fn heeds_exit_code(self) -> bool {
        match self {
            Self::Product | Self::Functional => true,
            Self::Ui | Self::Audit | Self::Scan => false,
        }
    }

    /// The metrics that the gate looks at: those that were read from reports, and the exit code where it counts. An
    /// audit's are informational, whatever they say of themselves.
    #[must_use]
    pub fn judged(self, exit_code: i32, read: Vec<Metric>) -> Vec<Metric> {
        let code =
            self.heeds_exit_code().then(|| none_of(EXIT_CODE, Severity::Critical, u64::from(exit_code.unsigned_abs())));
        let severity = |metric: Metric| match self {
            Self::Audit => Metric { severity: Severity::Informational, ..metric },
            Self::Product | Self::Functional | Self::Ui | Self::Scan => metric,
        };
        code.into_iter().chain(read.into_iter().map(severity)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Decision, decide};
    use launchway_crds::pipeline::ImportantFailures;

    fn outcome(kind: TestKind, exit_code: i32, failing_cases: u64) -> bool {
        let metrics = kind.judged(exit_code, vec![none_of("test_failures", Severity::Critical, failing_cases)]);
        decide(&metrics, ImportantFailures::Ask, &[]) == Decision::Pass
    }

    #[test]
    fn xml_decides_ui_tests_and_the_exit_code_does_not() {
        assert!(outcome(TestKind::Ui, 1, 0));
        assert!(!outcome(TestKind::Ui, 0, 1));
    }

    #[test]
    fn functional_tests_pass_by_exit_code_and_cases() {
        for kind in [TestKind::Functional, TestKind::Product] {
            assert!(outcome(kind, 0, 0));
            assert!(!outcome(kind, 1, 0));
            assert!(!outcome(kind, -9, 0));
            assert!(!outcome(kind, 0, 1));
        }
    }

    #[test]
    fn an_audit_never_blocks() {
        assert!(outcome(TestKind::Audit, 1, 5));
    }

    #[test]
    fn a_scanner_is_judged_by_its_metrics() {
        assert!(outcome(TestKind::Scan, 3, 0));
        assert!(!outcome(TestKind::Scan, 0, 1));
    }
}
