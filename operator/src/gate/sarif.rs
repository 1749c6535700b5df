//! SARIF 2.1.0, the format in which most scanners report: results by level become three metrics.

use std::collections::BTreeMap;

use launchway_crds::step::{Metric, Severity};
use serde::Deserialize;

use super::{
    bounded::{self, AtMost},
    metric::none_of,
};

/// Largest document.
pub const MAX: usize = 32 << 20;
const RUNS_MAX: usize = 100;
const RULES_MAX: usize = 20_000;
const RESULTS_MAX: usize = 100_000;
const FEW_MAX: usize = 100;

/// Results that are problems, by their level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// `error`.
    pub errors: u64,
    /// `warning`.
    pub warnings: u64,
    /// `note`.
    pub notes: u64,
}

impl Levels {
    /// Sums up two documents.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            errors: self.errors + other.errors,
            warnings: self.warnings + other.warnings,
            notes: self.notes + other.notes,
        }
    }

    /// `sarif_errors` is important, `sarif_warnings` and `sarif_notes` are informational; each has to be 0. A scanner
    /// that wants other tiers writes our own format.
    #[must_use]
    pub fn metrics(self) -> Vec<Metric> {
        vec![
            none_of("sarif_errors", Severity::Important, self.errors),
            none_of("sarif_warnings", Severity::Informational, self.warnings),
            none_of("sarif_notes", Severity::Informational, self.notes),
        ]
    }
}

#[derive(Deserialize)]
struct Log {
    version: String,
    runs: AtMost<Run, RUNS_MAX>,
}

#[derive(Deserialize)]
struct Run {
    tool: Tool,
    #[serde(default)]
    results: Option<AtMost<Finding, RESULTS_MAX>>,
}

#[derive(Deserialize)]
struct Tool {
    driver: Component,
    #[serde(default)]
    extensions: AtMost<Component, FEW_MAX>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(default)]
    rules: AtMost<RuleOf, RULES_MAX>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuleOf {
    id: String,
    #[serde(default)]
    default_configuration: Option<Configuration>,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    level: Option<Level>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Level {
    None,
    Note,
    Warning,
    Error,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    #[serde(default)]
    level: Option<Level>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    baseline_state: Option<String>,
    #[serde(default)]
    rule_id: Option<String>,
    #[serde(default)]
    rule_index: Option<i64>,
    #[serde(default)]
    rule: Option<Reference>,
    #[serde(default)]
    suppressions: Option<AtMost<Suppression, FEW_MAX>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    index: Option<i64>,
    #[serde(default)]
    tool_component: Option<ComponentReference>,
}

#[derive(Deserialize)]
struct ComponentReference {
    #[serde(default)]
    index: Option<i64>,
}

#[derive(Deserialize)]
struct Suppression {
    #[serde(default)]
    status: Option<String>,
}

/// Counts the problems of a document (SARIF 2.1.0 §3.27).
///
/// Not counted: results whose `kind` is another than `fail`, suppressed ones (one suppression that is neither
/// `underReview` nor `rejected`, and none that is), and those whose `baselineState` is `absent`. A result without level
/// has its rule's, or else `warning`.
///
/// # Errors
/// When it is no SARIF 2.1.0, too large, or has too many runs, rules or results.
pub fn read(bytes: &[u8]) -> Result<Levels, String> {
    bounded::size(bytes, MAX)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let log: Log = serde_json::from_slice(bytes).map_err(|error| format!("it is no SARIF document: {error}"))?;
    if log.version != "2.1.0" {
        let found: String = log.version.chars().take(40).collect();
        return Err(format!("it is SARIF {}, and 2.1.0 is read", found.escape_debug()));
    }
    let mut levels = Levels::default();
    for run in &log.runs.0 {
        let ids: BTreeMap<&str, Option<Level>> =
            run.tool.driver.rules.0.iter().map(|rule| (rule.id.as_str(), default_level(rule))).collect();
        for result in run.results.iter().flat_map(|results| &results.0).filter(|result| counts(result)) {
            match result.level.or_else(|| rule_level(run, &ids, result)).unwrap_or(Level::Warning) {
                Level::None => {}
                Level::Note => levels.notes += 1,
                Level::Warning => levels.warnings += 1,
                Level::Error => levels.errors += 1,
            }
        }
    }
    Ok(levels)
}

fn counts(result: &Finding) -> bool {
    let suppressions = result.suppressions.as_ref().map_or(&[] as &[Suppression], |all| all.0.as_slice());
    let accepted = |one: &Suppression| !matches!(one.status.as_deref(), Some("underReview" | "rejected"));
    let suppressed = !suppressions.is_empty() && suppressions.iter().all(accepted);
    result.kind.as_deref().is_none_or(|kind| kind == "fail")
        && result.baseline_state.as_deref() != Some("absent")
        && !suppressed
}

fn default_level(rule: &RuleOf) -> Option<Level> {
    rule.default_configuration.as_ref().and_then(|configuration| configuration.level)
}

fn rule_level(run: &Run, ids: &BTreeMap<&str, Option<Level>>, result: &Finding) -> Option<Level> {
    let at = |index: Option<i64>| index.and_then(|index| usize::try_from(index).ok());
    let reference = result.rule.as_ref();
    let extension = reference.and_then(|rule| at(rule.tool_component.as_ref()?.index));
    let component = match extension {
        Some(index) => run.tool.extensions.0.get(index)?,
        None => &run.tool.driver,
    };
    let by_index = at(reference.and_then(|rule| rule.index).or(result.rule_index));
    if let Some(rule) = by_index.and_then(|index| component.rules.0.get(index)) {
        return default_level(rule);
    }
    let id = reference.and_then(|rule| rule.id.as_deref()).or(result.rule_id.as_deref())?;
    // `CA1000/1` is a more specific name of the rule `CA1000` (§3.27.5).
    ids.get(id).or_else(|| ids.get(id.rsplit_once('/')?.0)).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn levels(results: &Value) -> Levels {
        let log = json!({"$schema": "https://example.com/sarif", "version": "2.1.0", "runs": [{
            "tool": {
                "driver": {"name": "scan", "rules": [
                    {"id": "R1", "defaultConfiguration": {"level": "error"}, "help": {"text": "ignored"}},
                    {"id": "R2"},
                ]},
                "extensions": [{"name": "x", "rules": [{"id": "X1", "defaultConfiguration": {"level": "note"}}]}],
            },
            "results": results,
        }]});
        read(log.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn results_count_by_level() {
        let (error, warning, note) = (
            Levels { errors: 1, ..Levels::default() },
            Levels { warnings: 1, ..Levels::default() },
            Levels { notes: 1, ..Levels::default() },
        );
        for (result, wanted) in [
            (json!({"level": "error", "message": {"text": "x"}}), error),
            (json!({"level": "note"}), note),
            (json!({"level": "none"}), Levels::default()),
            (json!({}), warning),
            (json!({"ruleId": "R1"}), error),
            (json!({"ruleId": "R1/sub"}), error),
            (json!({"ruleIndex": 0}), error),
            (json!({"ruleId": "R2"}), warning),
            (json!({"ruleId": "R1", "level": "note"}), note),
            (json!({"ruleIndex": -1, "ruleId": "R1"}), error),
            (json!({"ruleIndex": 99}), warning),
            (json!({"rule": {"index": 0, "toolComponent": {"index": 0}}}), note),
            (json!({"rule": {"id": "R1"}}), error),
        ] {
            assert_eq!(levels(&json!([result])), wanted, "{result}");
        }
    }

    #[test]
    fn what_is_no_problem_any_more_does_not_count() {
        for result in [
            json!({"level": "error", "kind": "pass"}),
            json!({"level": "error", "kind": "notApplicable"}),
            json!({"level": "error", "baselineState": "absent"}),
            json!({"level": "error", "suppressions": [{"kind": "inSource"}]}),
            json!({"level": "error", "suppressions": [{"kind": "external", "status": "accepted"}]}),
        ] {
            assert_eq!(levels(&json!([result])), Levels::default(), "{result}");
        }
        for result in [
            json!({"level": "error", "kind": "fail", "baselineState": "unchanged", "suppressions": []}),
            json!({"level": "error", "suppressions": [{"status": "underReview"}]}),
            json!({"level": "error", "suppressions": [{"status": "accepted"}, {"status": "rejected"}]}),
        ] {
            assert_eq!(levels(&json!([result])).errors, 1, "{result}");
        }
    }

    #[test]
    fn a_run_without_results_is_read() {
        let text =
            r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}}},{"tool":{"driver":{}},"results":null}]}"#;
        assert_eq!(read(text.as_bytes()), Ok(Levels::default()));
    }

    #[test]
    fn other_documents_are_refused() {
        let many = format!("[{}]", vec!["{}"; RESULTS_MAX + 1].join(","));
        for (text, why) in [
            (String::new(), "no SARIF document"),
            (r#"{"version":"2.0.0","runs":[]}"#.into(), "it is SARIF 2.0.0"),
            (r#"{"runs":[]}"#.into(), "missing field `version`"),
            (
                format!(r#"{{"version":"2.1.0","runs":[{{"tool":{{"driver":{{}}}},"results":{many}}}]}}"#),
                "more than 100000",
            ),
            (r#"{"version":"2.1.0","runs":[{"tool":{"driver":{}},"results":[{"level":"fatal"}]}]}"#.into(), "fatal"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn errors_are_important_and_the_rest_is_recorded() {
        let metrics = Levels { errors: 1, warnings: 2, notes: 3 }.metrics();
        let failing: Vec<_> = metrics.iter().map(|metric| (metric.severity, metric.actual.as_str())).collect();
        assert_eq!(
            failing,
            [(Severity::Important, "1"), (Severity::Informational, "2"), (Severity::Informational, "3")]
        );
    }
}
