//! Folders as tests leave them.

use std::fs;

use super::*;

const GOOD: &str = "<testsuite><testcase name='a'/><testcase name='b'/></testsuite>";
const BAD: &str = "<testsuite><testcase classname='Login' name='signs in'><failure/></testcase></testsuite>";
const METRICS: &str = r#"{"format":"launchway-metrics/1","metrics":[{"name":"seo","severity":"informational","comparator":"GTE","expected":80,"actual":79}]}"#;

async fn outcome(kind: &str, files: &[(&str, &str)]) -> Verdict<Measured> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let request = serde_json::json!({"kind": kind, "folder": folder.path()});
    from_text(&request.to_string()).await
}

fn measured(verdict: Verdict<Measured>) -> Measured {
    match verdict {
        Verdict::Ok(measured) => measured,
        other => panic!("{other:?}"),
    }
}

fn failing(measured: &Measured) -> Vec<&str> {
    measured.metrics.iter().filter(|metric| !metric.passed).map(|metric| metric.name.as_str()).collect()
}

fn error(verdict: Verdict<Measured>) -> String {
    match verdict {
        Verdict::Error(reason) => reason.message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn junit_xml_in_any_folder_decides_ui_tests() {
    let good = measured(outcome("ui", &[("junit.xml", GOOD), ("chrome/TEST-a.xml", GOOD), ("log.txt", "x")]).await);
    assert_eq!(failing(&good), [""; 0]);
    assert_eq!(good.message, "4 tests, 0 failed, 0 broke, 0 skipped");
    let bad = measured(outcome("ui", &[("a.xml", GOOD), ("b.xml", BAD)]).await);
    assert_eq!(failing(&bad), ["test_failures"]);
    assert!(bad.message.ends_with("1 failed, 0 broke, 0 skipped: Login.signs in"), "{}", bad.message);
}

#[tokio::test]
async fn a_missing_or_torn_report_of_ui_tests_is_an_error() {
    let missing = error(outcome("ui", &[("log.txt", "all well"), ("other.xml", "<html/>")]).await);
    assert!(missing.contains("left no JUnit XML"), "{missing}");
    let torn = error(outcome("ui", &[("good.xml", GOOD), ("torn.xml", &GOOD[..40])]).await);
    assert!(torn.contains("torn.xml: it is not well-formed") || torn.contains("torn.xml: it ends inside"), "{torn}");
    assert!(error(outcome("ui", &[("empty.xml", "")]).await).contains("empty.xml: "));
}

#[tokio::test]
async fn functional_tests_need_no_report_but_a_failing_case_counts() {
    assert_eq!(measured(outcome("functional", &[]).await).metrics, []);
    assert_eq!(failing(&measured(outcome("product", &[("a.xml", BAD)]).await)), ["test_failures"]);
}

#[tokio::test]
async fn scanners_report_in_any_of_the_formats() {
    let sarif = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"results":[{"level":"error"}]}]}"#;
    let jacoco = r#"<?xml version="1.0"?><!DOCTYPE report PUBLIC "-//JACOCO//DTD Report 1.1//EN" "report.dtd"><report name="x"><counter type="LINE" missed="3" covered="1"/></report>"#;
    let files = [("metrics.json", METRICS), ("out/scan.sarif", sarif), ("site/jacoco.xml", jacoco)];
    let measured = measured(outcome("scan", &files).await);
    assert_eq!(failing(&measured), ["seo", "sarif_errors", "coverage", "line_coverage"]);
    assert!(error(outcome("scan", &[]).await).contains("left no metrics.json, SARIF or XML"));
    assert!(
        error(outcome("audit", &[("metrics.json", "{}")]).await).contains("metrics.json: it is no launchway-metrics/1")
    );
}

#[tokio::test]
async fn links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("a.xml"), BAD).unwrap();
    std::os::unix::fs::symlink(outside.path().join("a.xml"), folder.path().join("a.xml")).unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("more")).unwrap();
    let reports = folder::read(folder.path(), None, &mut Room::default()).unwrap();
    assert!(reports.found.is_empty() && reports.documents.is_empty(), "{reports:?}");
    assert!(reports.notes[0].starts_with("2 entries are not looked at"), "{:?}", reports.notes);
}

#[tokio::test]
async fn what_is_too_much_is_left_out_and_said() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..publish::FILES_MAX + 5 {
        fs::write(folder.path().join(format!("{number:04}.png")), "x").unwrap();
    }
    fs::write(folder.path().join("z.xml"), BAD).unwrap();
    let big = fs::File::create(folder.path().join("y.mp4")).unwrap();
    big.set_len(publish::BYTES_MAX + 1).unwrap();
    let reports = folder::read(folder.path(), None, &mut Room::default()).unwrap();
    assert_eq!(reports.documents.len(), publish::FILES_MAX);
    assert!(reports.notes[0].starts_with("7 files are not kept"), "{:?}", reports.notes);
    assert_eq!(reports.found.len(), 1, "a report counts even where it is not kept");
}

#[tokio::test]
async fn a_wrong_request_is_the_platforms_fault() {
    for text in ["", r#"{"kind":"load","folder":"/x"}"#, r#"{"kind":"ui","folder":"/no/such/folder"}"#] {
        assert!(matches!(from_text(text).await, Verdict::Error(_)), "{text}");
    }
}

const SARIF: &str = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"pmd"}},"results":[{"level":"error","message":{"text":"x"}}]}]}"#;

/// Scanners with what each left, and what the package checks found.
async fn scanned(files: &[(&str, &str)], scanners: &[&str]) -> Verdict<Measured> {
    let folder = tempfile::tempdir().unwrap();
    for scanner in scanners {
        fs::create_dir(folder.path().join(scanner)).unwrap();
    }
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let request = serde_json::json!({"kind": "scan", "folder": folder.path(), "scanners": scanners});
    from_text(&request.to_string()).await
}

#[tokio::test]
async fn counts_carry_the_name_of_their_scanner_and_other_metrics_their_own() {
    let files = [("pmd/a.sarif", SARIF), ("trivy/a.sarif", SARIF), ("trivy/metrics.json", METRICS)];
    let both = measured(scanned(&files, &["pmd", "trivy"]).await);
    assert_eq!(failing(&both), ["pmd.sarif_errors", "seo", "trivy.sarif_errors"]);
}

#[tokio::test]
async fn each_scanner_has_to_leave_a_report() {
    let files = [("pmd/a.sarif", SARIF), ("trivy/log.txt", "all well")];
    let missing = error(scanned(&files, &["pmd", "trivy"]).await);
    assert!(missing.starts_with("trivy: the test left no metrics.json"), "{missing}");
    let torn = [("pmd/a.sarif", &SARIF[..30]), ("trivy/a.sarif", SARIF)];
    let torn = error(scanned(&torn, &["pmd", "trivy"]).await);
    assert!(torn.starts_with("pmd: a report cannot be read") && torn.contains("pmd/a.sarif: "), "{torn}");
}
