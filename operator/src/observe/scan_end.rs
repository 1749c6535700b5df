//! How the code quality step ended when scanners look at the packages too: what the package checks left, and what the
//! sidecar read of the scanners.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodStatus};
use launchway_crds::conditions::reasons;

use crate::{
    render::scan_job::CHECKS,
    render::test_job::COLLECTOR,
    worker::{
        measured::Measured,
        verdict::{Reason, Verdict},
    },
};

use super::test_end::TestEnd;

/// Whether a pod of the code quality step has scanners.
pub(super) fn has_scanners(pod: &Pod) -> bool {
    let containers = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref());
    containers.is_some_and(|all| all.iter().any(|container| container.name == CHECKS))
}

/// How the step ended; `None` while checks or scanners run, or their reports are still read.
#[must_use]
pub fn scan_end(pod: &Pod) -> Option<TestEnd> {
    let status = pod.status.as_ref()?;
    let checked = match outcome(named(status, CHECKS).and_then(terminated)?, "package checks") {
        Ok(measured) => measured,
        // No scanner was started.
        Err(end) => return Some(end),
    };
    let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let scanners: Vec<&ContainerStatus> = status.container_statuses.iter().flatten().collect();
    let last = last_end(&scanners);
    let read = named(status, COLLECTOR).and_then(terminated);
    let read = match (last, read) {
        // A collector that ended before the last scanner was started again: that is not its result.
        (Some(last), Some(read)) if over || read.finished_at.as_ref().map(|at| at.0) >= last => read,
        (Some(_), _) if over => {
            let why = "the scanners ended and their reports were not read: the sidecar has left no result";
            return Some(TestEnd::Error(Reason::new(reasons::JOB_FAILED, why)));
        }
        _ => return None,
    };
    Some(match outcome(read, "sidecar") {
        Ok(scanned) => together(checked, scanned),
        Err(end) => with_words(end, &scanners),
    })
}

fn named<'a>(status: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    status.init_container_statuses.iter().flatten().find(|one| one.name == name)
}

fn terminated(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref()?.terminated.as_ref()
}

/// When the last scanner ended; none while one of them has not.
fn last_end(scanners: &[&ContainerStatus]) -> Option<Option<Timestamp>> {
    let ends: Vec<&ContainerStateTerminated> = scanners.iter().filter_map(|one| terminated(one)).collect();
    let all = !scanners.is_empty() && ends.len() == scanners.len();
    all.then(|| ends.iter().filter_map(|end| end.finished_at.as_ref()).map(|at| at.0).max())
}

fn outcome(end: &ContainerStateTerminated, who: &str) -> Result<Measured, TestEnd> {
    if end.reason.as_deref() == Some("OOMKilled") {
        let why = format!("{who}: the container was killed because it used more memory than its limit");
        return Err(TestEnd::Error(Reason::new(reasons::JOB_FAILED, &why)));
    }
    match Verdict::<Measured>::parse(end.message.as_deref().unwrap_or_default()) {
        Ok(Verdict::Ok(measured)) => Ok(measured),
        Ok(Verdict::Failed(reason)) => Err(TestEnd::Failed(reason)),
        Ok(Verdict::Error(reason)) => Err(TestEnd::Error(reason)),
        Err(why) => Err(TestEnd::Error(Reason::new(
            reasons::JOB_FAILED,
            &format!("the {who} exited with {} and left no result ({why})", end.exit_code),
        ))),
    }
}

/// The metrics of both; what status has no room for goes as in [`Measured::new`].
fn together(checked: Measured, scanned: Measured) -> TestEnd {
    let messages = [checked.message, scanned.message];
    let message: Vec<&str> = messages.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    let metrics = checked.metrics.into_iter().chain(scanned.metrics).collect();
    match Measured::that_fit(metrics) {
        Ok((metrics, _)) => TestEnd::Measured { metrics, message: message.join("; "), report: scanned.report },
        Err(failing) => TestEnd::Failed(Reason {
            report: scanned.report,
            ..Reason::new(
                reasons::TEST_FAILED,
                &format!("{failing} metrics failed, more than a step keeps: {}", message.join("; ")),
            )
        }),
    }
}

/// A scanner that was killed explains a report that is missing or torn.
fn with_words(end: TestEnd, scanners: &[&ContainerStatus]) -> TestEnd {
    let killed: Vec<&str> = scanners
        .iter()
        .filter(|one| terminated(one).is_some_and(|end| end.reason.as_deref() == Some("OOMKilled")))
        .map(|one| one.name.as_str())
        .collect();
    match end {
        TestEnd::Error(reason) if !killed.is_empty() => {
            let said = format!("{}; {} used more memory than its limit", reason.message, killed.join(", "));
            TestEnd::Error(Reason { report: reason.report, ..Reason::new(&reason.reason, &said) })
        }
        end => end,
    }
}

#[cfg(test)]
mod tests {
    use launchway_crds::step::{Comparator, Metric, Severity};
    use serde_json::{Value, json};

    use super::*;

    fn metric(name: &str) -> Value {
        json!([name, "important", "EQ", "0", "1"])
    }

    fn read(metrics: &[Value]) -> String {
        json!({"ok": {"metrics": metrics, "message": "said"}}).to_string()
    }

    fn ended(message: &str, second: u8) -> Value {
        json!({"terminated": {"exitCode": 0, "message": message, "finishedAt": format!("2026-11-27T10:00:{second:02}Z")}})
    }

    fn pod(phase: &str, checks: &Value, collector: &Value, scanners: &[Value]) -> Pod {
        let status = |name: &str, state: &Value| json!({"name": name, "image": "i", "imageID": "i", "ready": false, "restartCount": 0, "state": state});
        let all: Vec<Value> =
            scanners.iter().enumerate().map(|(at, state)| status(&format!("scan-{at}"), state)).collect();
        serde_json::from_value(json!({
            "spec": {"containers": [], "initContainers": [{"name": CHECKS}, {"name": COLLECTOR}]},
            "status": {
                "phase": phase,
                "initContainerStatuses": [status(CHECKS, checks), status(COLLECTOR, collector)],
                "containerStatuses": all,
            },
        }))
        .unwrap()
    }

    fn names(end: Option<TestEnd>) -> Vec<String> {
        let Some(TestEnd::Measured { metrics, .. }) = end else { panic!("no result: {end:?}") };
        metrics.into_iter().map(|metric| metric.name).collect()
    }

    #[test]
    fn checks_and_scanners_are_one_result() {
        let checks = ended(&read(&[metric("open_issues")]), 1);
        let scans = ended(&read(&[metric("pmd.sarif_errors"), metric("coverage")]), 9);
        let pod = pod("Succeeded", &checks, &scans, &[ended("", 5), ended("", 7)]);
        assert!(has_scanners(&pod));
        assert_eq!(names(scan_end(&pod)), ["open_issues", "pmd.sarif_errors", "coverage"]);
    }

    #[test]
    fn nothing_is_said_before_the_last_report_is_read() {
        let running = json!({"running": {}});
        let checks = ended(&read(&[metric("open_issues")]), 1);
        let scans = ended(&read(&[]), 6);
        assert_eq!(scan_end(&pod("Pending", &running, &running, &[])), None);
        assert_eq!(scan_end(&pod("Pending", &checks, &running, &[])), None);
        assert_eq!(scan_end(&pod("Running", &checks, &running, &[ended("", 5), running.clone()])), None);
        // The sidecar ended before the second scanner: it has been started again since.
        assert_eq!(scan_end(&pod("Running", &checks, &scans, &[ended("", 5), ended("", 7)])), None);
    }

    #[test]
    fn refused_packages_end_it_before_any_scanner() {
        let waiting = json!({"waiting": {"reason": "PodInitializing"}});
        let refused = ended(r#"{"failed":{"reason":"NoArtifacts","message":"no zip"}}"#, 1);
        let end = scan_end(&pod("Failed", &refused, &waiting, std::slice::from_ref(&waiting)));
        assert!(matches!(end, Some(TestEnd::Failed(reason)) if reason.reason == "NoArtifacts"));
    }

    #[test]
    fn a_lost_result_is_an_error_and_no_pass() {
        let checks = ended(&read(&[]), 1);
        let mut killed = ended("", 5);
        killed["terminated"]["reason"] = json!("OOMKilled");
        for collector in [json!({"waiting": {"reason": "CrashLoopBackOff"}}), ended("garbage", 9)] {
            let end = scan_end(&pod("Succeeded", &checks, &collector, &[ended("", 5)]));
            assert!(matches!(end, Some(TestEnd::Error(_))), "{end:?}");
        }
        let torn = ended(r#"{"error":{"reason":"JobFailed","message":"pmd left no report"}}"#, 9);
        let Some(TestEnd::Error(reason)) = scan_end(&pod("Failed", &checks, &torn, &[killed])) else { panic!() };
        assert_eq!(reason.message, "pmd left no report; scan-0 used more memory than its limit");
    }

    #[test]
    fn what_fails_is_never_left_out() {
        let of = |passed: bool, at: usize| Metric {
            name: format!("m{at}"),
            severity: Severity::Important,
            comparator: Comparator::Eq,
            expected: "0".into(),
            actual: if passed { "0" } else { "1" }.into(),
            passed,
        };
        let half = |passed: bool, from: usize| Measured {
            metrics: (from..from + 30).map(|at| of(passed, at)).collect(),
            left_out: 0,
            message: String::new(),
            report: None,
        };
        let TestEnd::Measured { metrics, .. } = together(half(true, 0), half(false, 30)) else { panic!() };
        assert_eq!(metrics.iter().filter(|metric| !metric.passed).count(), 30);
        assert_eq!(metrics.len(), 40);
        assert!(matches!(together(half(false, 0), half(false, 30)), TestEnd::Failed(_)));
    }
}
