//! What a test found, small enough for a termination message: metrics, a sentence, and where the full report is.

use launchway_crds::{
    conditions::{reasons, truncate},
    digest::Sha256Digest,
    step::{Comparator, METRICS_MAX, Metric, Severity},
};
use serde::{Deserialize, Serialize};

use super::verdict::Reason;
use crate::{
    gate::metric::{Rule, metric},
    text::printable,
};

/// Bytes of a termination message that this may use; `Verdict` puts a few around it.
const MAX: usize = 4000;
const MESSAGE_MAX: usize = 700;

/// What a test found. Whether that is good enough is not for the test to say: the gate decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Wire", try_from = "Wire")]
pub struct Measured {
    /// What was measured.
    pub metrics: Vec<Metric>,
    /// How many metrics are in the report alone, because they found no room.
    pub left_out: usize,
    /// What happened, in a sentence.
    pub message: String,
    /// The report in the images' repository, when it could be written.
    pub report: Option<Sha256Digest>,
}

/// The form on the wire. `passed` is not in it: who reads it compares again and believes nobody.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    metrics: Vec<(String, Severity, Comparator, String, String)>,
    #[serde(default, skip_serializing_if = "is_zero")]
    left_out: usize,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report: Option<Sha256Digest>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl From<Measured> for Wire {
    fn from(measured: Measured) -> Self {
        let of = |metric: Metric| (metric.name, metric.severity, metric.comparator, metric.expected, metric.actual);
        Self {
            metrics: measured.metrics.into_iter().map(of).collect(),
            left_out: measured.left_out,
            message: measured.message,
            report: measured.report,
        }
    }
}

impl TryFrom<Wire> for Measured {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        if wire.metrics.len() > METRICS_MAX {
            return Err(format!("it has {} metrics, and a step keeps {METRICS_MAX}", wire.metrics.len()));
        }
        let of = |(name, severity, comparator, expected, actual): &(String, _, _, String, String)| {
            metric(Rule { name, severity: *severity, comparator: *comparator, expected }, actual)
        };
        Ok(Self {
            metrics: wire.metrics.iter().map(of).collect::<Result<_, _>>()?,
            left_out: wire.left_out,
            message: truncate(&printable(&wire.message), MESSAGE_MAX),
            report: wire.report,
        })
    }
}

impl Measured {
    /// Keeps what fits. What passed goes first, the least severe before the others; nothing that failed and counts is
    /// ever left out.
    ///
    /// # Errors
    /// When the failing critical and important metrics alone do not fit.
    pub fn new(metrics: Vec<Metric>, message: &str, report: Option<Sha256Digest>) -> Result<Self, Reason> {
        let all = metrics.len();
        let message = truncate(&printable(message), MESSAGE_MAX);
        let mut measured = Self { metrics, left_out: 0, message, report };
        while !measured.fits() {
            if !leave_one_out(&mut measured.metrics) {
                return Err(Reason::new(
                    reasons::TEST_FAILED,
                    &format!("{all} metrics failed, more than a result can tell: {}", measured.message),
                ));
            }
            measured.left_out += 1;
        }
        Ok(measured)
    }

    /// The metrics that a step keeps, and how many are left out: in the same order as for [`Self::new`].
    ///
    /// # Errors
    /// How many failing critical and important metrics there are, when they alone are too many.
    pub fn that_fit(mut metrics: Vec<Metric>) -> Result<(Vec<Metric>, usize), usize> {
        let all = metrics.len();
        while metrics.len() > METRICS_MAX {
            if !leave_one_out(&mut metrics) {
                return Err(metrics.len());
            }
        }
        let left_out = all - metrics.len();
        Ok((metrics, left_out))
    }

    fn fits(&self) -> bool {
        self.metrics.len() <= METRICS_MAX && serde_json::to_vec(self).is_ok_and(|text| text.len() <= MAX)
    }
}

/// Leaves out what matters least; false when everything that is left failed and counts.
fn leave_one_out(metrics: &mut Vec<Metric>) -> bool {
    let dispensable = |metric: &&Metric| metric.passed || metric.severity == Severity::Informational;
    let rank = |metric: &Metric| (metric.passed, metric.severity);
    let least = metrics.iter().filter(dispensable).map(rank).max();
    let at = least.and_then(|least| metrics.iter().rposition(|metric| rank(metric) == least));
    at.map(|at| metrics.remove(at)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::verdict::Verdict;

    fn of(name: &str, severity: Severity, actual: &str) -> Metric {
        metric(Rule { name, severity, comparator: Comparator::Eq, expected: "0" }, actual).unwrap()
    }

    #[test]
    fn a_result_survives_the_termination_message() {
        let metrics = vec![of("a", Severity::Critical, "0"), of("b", Severity::Important, "3")];
        let measured = Measured::new(metrics, "two\u{1b} things", Some(Sha256Digest::from_bytes([7; 32]))).unwrap();
        let text = serde_json::to_string(&Verdict::Ok(measured.clone())).unwrap();
        assert!(
            text.starts_with(r#"{"ok":{"metrics":[["a","critical","EQ","0","0"],["b","important","EQ","0","3"]],"#),
            "{text}"
        );
        assert_eq!(Verdict::<Measured>::parse(&text), Ok(Verdict::Ok(measured)));
    }

    #[test]
    fn whether_a_metric_passed_is_computed_by_the_reader() {
        let text = r#"{"ok":{"metrics":[["a","critical","EQ","0","1"]],"message":""}}"#;
        let Ok(Verdict::Ok(measured)) = Verdict::<Measured>::parse(text) else { panic!("no result") };
        assert!(!measured.metrics[0].passed);
        for hostile in [
            r#"{"ok":{"metrics":[["a b","critical","EQ","0","1"]],"message":""}}"#.to_string(),
            r#"{"ok":{"metrics":[["a","critical","EQ","0","A"]],"message":""}}"#.to_string(),
            r#"{"ok":{"metrics":[["a","critical","EQ","0","0",true]],"message":""}}"#.to_string(),
            format!(
                r#"{{"ok":{{"metrics":[{}],"message":""}}}}"#,
                vec![r#"["a","critical","EQ","0","1"]"#; 41].join(",")
            ),
        ] {
            assert!(Verdict::<Measured>::parse(&hostile).is_err(), "{hostile}");
        }
    }

    #[test]
    fn what_counts_and_failed_is_never_left_out() {
        let long = |n: usize| format!("{n}{}", "x".repeat(45));
        let mut metrics: Vec<_> = (0..20).map(|n| of(&long(n), Severity::Important, "0")).collect();
        metrics.extend((20..60).map(|n| of(&long(n), Severity::Informational, "1")));
        metrics.extend((60..75).map(|n| of(&long(n), Severity::Important, "1")));
        let measured = Measured::new(metrics, &"ü".repeat(2000), None).unwrap();
        let failed = |severity| measured.metrics.iter().filter(|m| !m.passed && m.severity == severity).count();
        assert_eq!(failed(Severity::Important), 15);
        assert!(measured.left_out > 0 && measured.left_out + measured.metrics.len() == 75);
        assert!(measured.metrics.iter().all(|metric| !metric.passed), "what passed goes first");
        assert!(serde_json::to_vec(&Verdict::Ok(measured)).unwrap().len() < 4096);
    }

    #[test]
    fn too_many_failures_to_tell_are_a_failure() {
        let metrics = (0..41).map(|n| of(&format!("m{n}"), Severity::Critical, "1")).collect();
        assert_eq!(Measured::new(metrics, "", None).unwrap_err().reason, reasons::TEST_FAILED);
    }
}
