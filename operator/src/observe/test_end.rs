//! How a test of somebody's image ended: the exit code of its container, and what the sidecar beside it read.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use launchway_crds::{
    conditions::{reasons, truncate},
    digest::Sha256Digest,
    step::Metric,
};

use crate::{
    gate::TestKind,
    render::test_job::COLLECTOR,
    text::one_line,
    worker::{
        measured::Measured,
        verdict::{Reason, Verdict},
    },
};

const WORDS_MAX: usize = 300;

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestEnd {
    /// It ran; the gate decides by these.
    Measured {
        /// The metrics that count for this kind of test.
        metrics: Vec<Metric>,
        /// What the reports and the test itself say.
        message: String,
        /// Where the reports are.
        report: Option<Sha256Digest>,
    },
    /// What the user gave is at fault.
    Failed(Reason),
    /// Nothing is known: the platform, or reports that cannot be read.
    Error(Reason),
}

/// How the test in a pod ended; `None` while it runs or its reports are still read.
#[must_use]
pub fn test_end(kind: TestKind, pod: &Pod) -> Option<TestEnd> {
    let status = pod.status.as_ref()?;
    let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let test = status.container_statuses.iter().flatten().find_map(terminated);
    let collector = status.init_container_statuses.iter().flatten().find(|one| one.name == COLLECTOR);
    let read = collector.and_then(terminated);
    let (test, read) = match (test, read) {
        // A collector that ended before the test was started again: that is not its result.
        (Some(test), Some(read)) if over || read.finished_at >= test.finished_at => (test, read),
        (Some(_), _) if over => {
            let why = "the test ended and its reports were not read: the sidecar has left no result";
            return Some(TestEnd::Error(Reason::new(reasons::JOB_FAILED, why)));
        }
        _ => return None,
    };
    Some(end(kind, test, read))
}

fn terminated(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref()?.terminated.as_ref()
}

fn end(kind: TestKind, test: &ContainerStateTerminated, read: &ContainerStateTerminated) -> TestEnd {
    let text = read.message.as_deref().unwrap_or_default();
    match Verdict::<Measured>::parse(text) {
        Ok(Verdict::Ok(measured)) => TestEnd::Measured {
            metrics: kind.judged(test.exit_code, measured.metrics),
            message: [measured.message, words(kind, test)]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("; "),
            report: measured.report,
        },
        Ok(Verdict::Failed(reason)) => TestEnd::Failed(reason),
        Ok(Verdict::Error(reason)) => {
            let said = [reason.message.clone(), words(kind, test)]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>();
            TestEnd::Error(Reason { report: reason.report, ..Reason::new(&reason.reason, &said.join("; ")) })
        }
        Err(why) => TestEnd::Error(Reason::new(
            reasons::JOB_FAILED,
            &format!("the sidecar exited with {} and left no result ({why})", read.exit_code),
        )),
    }
}

/// What the test's container itself says: that it was killed, or its last line.
fn words(kind: TestKind, test: &ContainerStateTerminated) -> String {
    if test.reason.as_deref() == Some("OOMKilled") {
        return "the test was killed because it used more memory than its limit".into();
    }
    let last = test.message.as_deref().unwrap_or_default().trim().lines().last().unwrap_or_default();
    let last = truncate(&one_line(last), WORDS_MAX);
    match test.exit_code {
        0 => last,
        code if kind.heeds_exit_code() && last.is_empty() => format!("the test exited with {code}"),
        code if kind.heeds_exit_code() => format!("the test exited with {code}: {last}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Decision, decide};
    use launchway_crds::pipeline::ImportantFailures;
    use serde_json::{Value, json};

    const READ: &str = r#"{"ok":{"metrics":[["test_failures","critical","EQ","0","0"]],"message":"2 tests"}}"#;

    fn ended(code: i32, message: &str, second: u8) -> Value {
        json!({"terminated": {"exitCode": code, "message": message, "finishedAt": format!("2026-11-23T10:00:{second:02}Z")}})
    }

    fn pod(phase: &str, test: &Value, collector: &Value) -> Pod {
        let status = |name: &str, state: &Value| json!([{"name": name, "image": "i", "imageID": "i", "ready": false, "restartCount": 0, "state": state}]);
        serde_json::from_value(json!({"status": {
            "phase": phase,
            "containerStatuses": status("test", test),
            "initContainerStatuses": status("collect", collector),
        }}))
        .unwrap()
    }

    fn passes(kind: TestKind, code: i32) -> bool {
        let pod = pod("Failed", &ended(code, "", 1), &ended(0, READ, 2));
        let Some(TestEnd::Measured { metrics, .. }) = test_end(kind, &pod) else { panic!("no result") };
        decide(&metrics, ImportantFailures::Ask, &[]) == Decision::Pass
    }

    #[test]
    fn the_exit_code_counts_where_it_is_heeded() {
        assert!(passes(TestKind::Ui, 1) && passes(TestKind::Functional, 0));
        assert!(!passes(TestKind::Functional, 1) && !passes(TestKind::Product, 137));
    }

    #[test]
    fn nothing_is_said_before_the_reports_are_read() {
        let running = json!({"running": {}});
        assert_eq!(test_end(TestKind::Ui, &pod("Running", &running, &running)), None);
        assert_eq!(test_end(TestKind::Ui, &pod("Running", &ended(0, "", 5), &running)), None);
        // Ended before the test: it has been started again since.
        assert_eq!(test_end(TestKind::Ui, &pod("Running", &ended(0, "", 5), &ended(2, "", 3))), None);
        assert_eq!(test_end(TestKind::Ui, &pod("Running", &running, &ended(0, READ, 3))), None);
    }

    #[test]
    fn a_lost_result_is_an_error_and_no_pass() {
        let lost = [
            pod("Succeeded", &ended(0, "", 5), &json!({"waiting": {"reason": "CrashLoopBackOff"}})),
            pod("Succeeded", &ended(0, "", 5), &ended(137, "", 6)),
            pod("Succeeded", &ended(0, "", 5), &ended(0, "garbage", 6)),
        ];
        for pod in lost {
            assert!(matches!(test_end(TestKind::Functional, &pod), Some(TestEnd::Error(_))), "{pod:?}");
        }
    }

    #[test]
    fn the_tests_last_words_are_told() {
        let test = ended(1, "long story\npage is empty\n", 1);
        let Some(TestEnd::Measured { message, .. }) =
            test_end(TestKind::Functional, &pod("Failed", &test, &ended(0, READ, 2)))
        else {
            panic!()
        };
        assert_eq!(message, "2 tests; the test exited with 1: page is empty");
        let mut test = ended(137, "", 1);
        test["terminated"]["reason"] = json!("OOMKilled");
        let read = r#"{"error":{"reason":"JobFailed","message":"the test left no JUnit XML"}}"#;
        let Some(TestEnd::Error(reason)) = test_end(TestKind::Ui, &pod("Failed", &test, &ended(2, read, 2))) else {
            panic!()
        };
        assert!(reason.message.contains("no JUnit XML; the test was killed because"), "{reason:?}");
    }
}
