//! SARIF 2.1.0, the format in which most scanners report: results by level become three metrics.

use std::collections::BTreeMap;

use launchway_crds::step::{Metric, Severity};
use serde::{Deserialize, de::DeserializeOwned};

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

/// A problem, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `error`, `warning` or `note`.
    pub level: &'static str,
    /// Id of the rule; empty when the scanner gives none.
    pub rule: String,
    /// File and line of its first place; empty when it has none.
    pub place: String,
    /// What the scanner says.
    pub message: String,
}

/// A document with results as `R`: counting needs less of them than showing.
#[derive(Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
struct Log<R> {
    version: String,
    runs: AtMost<Run<R>, RUNS_MAX>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
struct Run<R> {
    tool: Tool,
    #[serde(default = "none")]
    results: Option<AtMost<R, RESULTS_MAX>>,
}

const fn none<T>() -> Option<T> {
    None
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

/// A result with what people want to know of it.
#[derive(Deserialize)]
struct Detailed {
    #[serde(flatten)]
    finding: Finding,
    #[serde(default)]
    message: Message,
    #[serde(default)]
    locations: Vec<Location>,
}

#[derive(Default, Deserialize)]
struct Message {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    #[serde(default)]
    physical_location: Option<PhysicalLocation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    #[serde(default)]
    artifact_location: Option<ArtifactLocation>,
    #[serde(default)]
    region: Option<Region>,
}

#[derive(Deserialize)]
struct ArtifactLocation {
    #[serde(default)]
    uri: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    #[serde(default)]
    start_line: Option<u64>,
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
    let mut levels = Levels::default();
    each(
        &parse::<Finding>(bytes)?,
        |result| result,
        |level, _| match level {
            Level::None => {}
            Level::Note => levels.notes += 1,
            Level::Warning => levels.warnings += 1,
            Level::Error => levels.errors += 1,
        },
    );
    Ok(levels)
}

/// The problems that [`read`] counts, in the order of the document.
///
/// # Errors
/// As [`read`].
pub fn problems(bytes: &[u8]) -> Result<Vec<Problem>, String> {
    let mut all = vec![];
    each(
        &parse::<Detailed>(bytes)?,
        |result| &result.finding,
        |level, result| {
            let level = match level {
                Level::None => return,
                Level::Note => "note",
                Level::Warning => "warning",
                Level::Error => "error",
            };
            let finding = &result.finding;
            let rule = finding.rule.as_ref().and_then(|rule| rule.id.clone()).or_else(|| finding.rule_id.clone());
            let place = result.locations.iter().find_map(place).unwrap_or_default();
            all.push(Problem { level, rule: rule.unwrap_or_default(), place, message: result.message.text.clone() });
        },
    );
    Ok(all)
}

fn place(location: &Location) -> Option<String> {
    let physical = location.physical_location.as_ref()?;
    let uri = &physical.artifact_location.as_ref()?.uri;
    let line = physical.region.as_ref().and_then(|region| region.start_line);
    Some(line.map_or_else(|| uri.clone(), |line| format!("{uri}:{line}")))
}

fn parse<R: DeserializeOwned>(bytes: &[u8]) -> Result<Log<R>, String> {
    bounded::size(bytes, MAX)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let log: Log<R> = serde_json::from_slice(bytes).map_err(|error| format!("it is no SARIF document: {error}"))?;
    if log.version != "2.1.0" {
        let found: String = log.version.chars().take(40).collect();
        return Err(format!("it is SARIF {}, and 2.1.0 is read", found.escape_debug()));
    }
    Ok(log)
}

/// Every result that counts, with its level.
fn each<R>(log: &Log<R>, finding: impl Fn(&R) -> &Finding, mut seen: impl FnMut(Level, &R)) {
    for run in &log.runs.0 {
        let ids: BTreeMap<&str, Option<Level>> =
            run.tool.driver.rules.0.iter().map(|rule| (rule.id.as_str(), default_level(rule))).collect();
        for result in run.results.iter().flat_map(|results| &results.0).filter(|result| counts(finding(result))) {
            let found = finding(result);
            seen(found.level.or_else(|| rule_level(&run.tool, &ids, found)).unwrap_or(Level::Warning), result);
        }
    }
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

fn rule_level(tool: &Tool, ids: &BTreeMap<&str, Option<Level>>, result: &Finding) -> Option<Level> {
    let at = |index: Option<i64>| index.and_then(|index| usize::try_from(index).ok());
    let reference = result.rule.as_ref();
    let extension = reference.and_then(|rule| at(rule.tool_component.as_ref()?.index));
    let component = match extension {
        Some(index) => tool.extensions.0.get(index)?,
        None => &tool.driver,
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
    fn problems_are_those_that_are_counted() {
        let place = json!([{"physicalLocation": {"artifactLocation": {"uri": "a.java"}, "region": {"startLine": 7}}}]);
        let log = json!({"version": "2.1.0", "runs": [{
            "tool": {"driver": {"name": "scan"}},
            "results": [
                {"ruleId": "R1", "level": "error", "message": {"text": "bad"}, "locations": place},
                {"ruleId": "R2", "kind": "pass", "message": {"text": "good"}},
                {"level": "none", "message": {"text": "nothing"}},
                {"message": {"text": "no rule and no place"}},
            ],
        }]})
        .to_string();
        let found = problems(log.as_bytes()).unwrap();
        let told: Vec<_> = found.iter().map(|it| (it.level, it.rule.as_str(), it.place.as_str())).collect();
        assert_eq!(told, [("error", "R1", "a.java:7"), ("warning", "", "")]);
        let levels = read(log.as_bytes()).unwrap();
        assert_eq!((levels.errors, levels.warnings, levels.notes), (1, 1, 0));
        assert!(problems(b"{}").is_err());
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
