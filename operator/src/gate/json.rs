//! Our own format of metrics, `launchway-metrics/1`: what any scanner, audit or test may write (`docs/metrics.md`).

use launchway_crds::step::{Comparator, METRICS_MAX, Metric, Severity};
use serde::Deserialize;
use serde_json::Number;

use super::{
    bounded::{self, AtMost},
    metric::{Rule, metric},
};

/// The format's name.
pub const FORMAT: &str = "launchway-metrics/1";
/// Largest document.
pub const MAX: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    metrics: AtMost<Entry, METRICS_MAX>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    severity: Severity,
    comparator: Comparator,
    expected: Scalar,
    actual: Scalar,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected and actual are texts or numbers")]
enum Scalar {
    Text(String),
    Number(Number),
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// Reads the metrics of a document. Whether each passed is computed here, never read.
///
/// # Errors
/// The rule that the document breaks, with the metric's name.
pub fn read(bytes: &[u8]) -> Result<Vec<Metric>, String> {
    bounded::size(bytes, MAX)?;
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| format!("it is no {FORMAT} document: {error}"))?;
    if document.format != FORMAT {
        let found: String = document.format.chars().take(40).collect();
        return Err(format!("its format is `{}`, and `{FORMAT}` is read", found.escape_debug()));
    }
    let of = |entry: &Entry| {
        let Entry { name, severity, comparator, expected, actual } = entry;
        let rule = Rule { name, severity: *severity, comparator: *comparator, expected: &expected.text() };
        metric(rule, &actual.text())
    };
    document.metrics.0.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(metric: &str) -> String {
        format!(r#"{{"format":"launchway-metrics/1","metrics":[{metric}]}}"#)
    }

    #[test]
    fn texts_and_numbers_are_read() {
        let text = document(
            r#"{"name":"coverage","severity":"important","comparator":"GTE","expected":50,"actual":"50.4"},
               {"name":"security_rating","severity":"critical","comparator":"GTE","expected":"B","actual":"C"}"#,
        );
        let metrics = read(text.as_bytes()).unwrap();
        let seen: Vec<_> = metrics.iter().map(|metric| (metric.actual.as_str(), metric.passed)).collect();
        assert_eq!(seen, [("50.4", true), ("C", false)]);
        assert_eq!(read(document("").as_bytes()), Ok(vec![]));
    }

    #[test]
    fn what_breaks_the_format_is_refused() {
        let full = r#""severity":"critical","comparator":"EQ","expected":"0","actual":"#;
        let many = vec![format!(r#"{{"name":"m",{full}1}}"#); METRICS_MAX + 1].join(",");
        for (text, why) in [
            (String::new(), "no launchway-metrics/1 document"),
            ("[]".into(), "no launchway-metrics/1 document"),
            (r#"{"format":"launchway-metrics/2","metrics":[]}"#.into(), "its format is `launchway-metrics/2`"),
            (document(&format!(r#"{{"name":"m",{full}true}}"#)), "texts or numbers"),
            (document(&format!(r#"{{"name":"m",{full}null}}"#)), "texts or numbers"),
            (document(&format!(r#"{{"name":"m",{full}{{"a":1}}}}"#)), "texts or numbers"),
            (document(&format!(r#"{{"name":"m",{full}1,"passed":true}}"#)), "unknown field `passed`"),
            (document(&format!(r#"{{"name":"m","name":"n",{full}1}}"#)), "duplicate field `name`"),
            (document(&format!(r#"{{"name":"m m",{full}1}}"#)), "is no name of a metric"),
            (document(&format!(r#"{{"name":"m",{full}"A"}}"#)), "metric m: actual `A` is a grade"),
            (document(&many), "more than 40 entries"),
            (format!("{}{}", document(""), " ".repeat(MAX)), "at most 1 MiB"),
            (format!("{}{}", "[".repeat(5000), "]".repeat(5000)), "no launchway-metrics/1 document"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error} <- {}", text.chars().take(100).collect::<String>());
        }
    }
}
