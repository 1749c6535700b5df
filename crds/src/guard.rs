//! Watching what visitors get from a new release while it is rolled out, and the record of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::Span;

/// Watches each pair that serves the new release, beside those that serve the previous one, before the next pair is
/// touched. A release that does worse than the limits fails, as one does that never becomes ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricGuard {
    /// How long a pair is watched after it began to serve: at least 10s, and more than a minute shorter than `readyTimeout`.
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s')").message("spec.rollout.guard.watch must be at least 10s: counters are a second old"))]
    #[serde(default = "two_minutes")]
    pub watch: Span,
    /// Requests that a release has to answer in this time: with fewer there is nothing to judge.
    #[serde(default = "a_hundred")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub minimum_requests: i32,
    /// By how many percentage points more of its requests may fail (status 500 and above) than of the previous release's.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 100))]
    pub error_increase_points: i32,
    /// By how many milliseconds its mean answer may take longer than the previous release's.
    #[serde(default = "quarter")]
    #[schemars(range(min = 0, max = 600_000))]
    pub latency_increase_milliseconds: i32,
    /// What happens when there is nothing to judge, because hardly anybody came or a dispatcher does not say what it counted.
    #[serde(default)]
    pub without_data: WithoutData,
}

/// What a rollout does when there is nothing to judge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WithoutData {
    /// It goes on: readiness and the tests before have to do.
    #[default]
    Continue,
    /// It fails.
    Fail,
}

/// What the guard watches, or watched last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Watch {
    /// The pair that got the new release last: `Surge`, `Pair 2`.
    #[schemars(length(max = 32))]
    pub pair: String,
    /// Pairs of this ordinal and above serve the new release.
    #[schemars(range(min = 0))]
    pub ordinal: i32,
    /// When it began.
    pub since: Time,
    /// What each dispatcher had counted then; none when it is over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 51), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["ordinal"]))]
    pub baseline: Vec<Baseline>,
    /// What came of it; none while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<WatchResult>,
}

/// What a dispatcher had counted when a watch began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Baseline {
    /// Ordinal of the dispatcher.
    #[schemars(range(min = 0))]
    pub ordinal: i32,
    /// Its counters.
    pub counters: Counters,
}

/// What a dispatcher counts: what visitors asked it for since its container started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counters {
    /// Requests that it answered.
    #[schemars(range(min = 0))]
    pub requests: i64,
    /// Those of them that it answered with 500 or above.
    #[schemars(range(min = 0))]
    pub errors: i64,
    /// How long all answers took together, in milliseconds.
    #[schemars(range(min = 0))]
    pub milliseconds: i64,
}

/// What came of a watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WatchResult {
    /// What was decided.
    pub verdict: Verdict,
    /// When.
    pub at: Time,
    /// What visitors got from the new release.
    pub new: Figures,
    /// What they got from the previous one.
    pub previous: Figures,
    /// Why the new release is worse, or why there is nothing to judge.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// What was decided about a release that was watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// It keeps the limits.
    Good,
    /// It does not.
    Worse,
    /// There was nothing to judge: `withoutData` says what follows.
    NoData,
}

/// What visitors got from the dispatchers of one release during a watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Requests that were answered.
    #[schemars(range(min = 0))]
    pub requests: i64,
    /// Those of them that were answered with 500 or above.
    #[schemars(range(min = 0))]
    pub errors: i64,
    /// How long an answer took in the mean.
    #[schemars(range(min = 0))]
    pub mean_milliseconds: i64,
}

const fn two_minutes() -> Span {
    Span::from_secs(120)
}

const fn a_hundred() -> i32 {
    100
}

const fn one() -> i32 {
    1
}

const fn quarter() -> i32 {
    250
}
