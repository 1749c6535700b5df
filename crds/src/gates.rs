//! Gates: what follows when metrics miss their thresholds, what the thresholds are, and who else measures packages.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::Span,
    digest::ImageRef,
    step::{Comparator, Severity},
};

/// What happens when metrics miss their thresholds. A critical one always fails the execution, an informational one never.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gates {
    /// What happens when an important metric misses its threshold.
    #[serde(default)]
    pub important_failures: ImportantFailures,
    /// How long an execution waits for somebody to override the failing metrics, before it is cancelled.
    #[serde(default = "two_weeks")]
    pub timeout: Span,
    /// Images that scan the packages in the code quality step, side by side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub scanners: Vec<Scanner>,
    /// What metrics of the code quality step have to be, by name. Those that are not named are judged by what the package
    /// checks or the scanner says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name", "severity"]))]
    pub thresholds: Vec<MetricThreshold>,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            important_failures: ImportantFailures::default(),
            timeout: two_weeks(),
            scanners: vec![],
            thresholds: vec![],
        }
    }
}

/// What happens when an important metric misses its threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImportantFailures {
    /// The execution waits for somebody with the verb `override`, who names every failing metric, or rejects.
    #[default]
    Ask,
    /// The execution fails.
    Fail,
    /// The execution goes on; its status tells of the failing metrics.
    Continue,
}

/// A scanner: any image that looks at the packages and leaves a report.
///
/// It finds the zips of the artifact in `/packages` (also `LAUNCHWAY_PACKAGES`) and leaves SARIF 2.1.0 or `metrics.json` in
/// `/reports` (also `REPORTS_PATH`). Its exit code is ignored; without a report the step ends as Error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scanner {
    /// Name, which metrics counted from SARIF carry too: `NAME.sarif_errors`.
    #[schemars(length(min = 1, max = 24), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,
    /// The image, by digest.
    pub image: ImageRef,
    /// Further environment variables. Names of the operator's own win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50, "additionalProperties" = {"type": "string", "maxLength": 2048}))]
    pub variables: BTreeMap<String, String>,
    /// How long it may take. Scanners run side by side: the step ends after `buildTimeout` and the longest of these.
    #[serde(default = "half_an_hour")]
    pub timeout: Span,
}

/// What a metric has to be, instead of what its source says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("self.comparator in ['EQ', 'NEQ'] || self.expected.matches('^([A-F]|-?[0-9]+([.][0-9]+)?)$')").message("expected has to be a number or a grade from A to F; only EQ and NEQ compare other words"))]
pub struct MetricThreshold {
    /// Name of the metric, such as `coverage`. A metric that nobody measured fails the step.
    #[schemars(length(min = 1, max = 48), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"))]
    pub name: String,
    /// What a miss means. One name may have a threshold of each severity.
    pub severity: Severity,
    /// How the metric has to compare with `expected`. Grades compare as grades: `A` is greater than `B`.
    pub comparator: Comparator,
    /// A number, a grade from `A` (best) to `F`, or a word.
    #[schemars(length(min = 1, max = 24))]
    pub expected: String,
}

const fn half_an_hour() -> Span {
    Span::from_secs(1800)
}

/// Cloud Manager's time-out of gates.
const fn two_weeks() -> Span {
    Span::from_secs(14 * 24 * 3600)
}
