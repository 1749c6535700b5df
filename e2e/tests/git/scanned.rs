//! What people see of a build and of a scan: the log while the commands run, and the report as table, JSON and CSV.

use std::{process::Stdio, time::Duration};

use k8s_openapi::api::{core::v1::Pod, networking::v1::NetworkPolicy};
use kube::{Api, api::ListParams};
use launchway_crds::{execution::PipelineExecutionStatus, step::StepName};
use launchway_e2e::{
    Failure, Outcome, artifacts,
    cluster::call,
    executions::{step, told},
    failure::ensure,
    git_ground::{Ground, SHORT},
    git_server::Checkout,
    process::Program as Process,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::shared::copy;

/// The pipeline and its execution.
const NAME: &str = "scanned";
/// From the execution to the first line of its commands.
const FIRST: Duration = Duration::from_secs(120);
/// From there to the last one.
const LAST: Duration = Duration::from_secs(60);
/// Says a line, and another one some time later.
const SLOW: &str = "echo first line; sleep 10; echo last line";
const BUILD: &str = "mkdir -p target/surefire-reports target/site/jacoco; cp packages/*.zip target; cp unit.xml target/surefire-reports/TEST-a.xml; cp coverage.xml target/site/jacoco/jacoco.xml";
const UNIT: &str = "<testsuite><testcase name='a'/><testcase name='b'><skipped/></testcase></testsuite>";
const COVERAGE: &str = r#"<?xml version="1.0"?><!DOCTYPE report PUBLIC "-//JACOCO//DTD Report 1.1//EN" "report.dtd"><report name="x"><counter type="LINE" missed="1" covered="3"/></report>"#;
const SARIF: &str = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"pmd"}},"results":[{"ruleId":"EmptyCatch","level":"error","message":{"text":"=nothing is caught"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"A.java"},"region":{"startLine":7}}}]}]}]}"#;
const METRICS: &str = r#"{"format":"launchway-metrics/1","metrics":[{"name":"audit_rating","severity":"critical","comparator":"GTE","expected":"B","actual":"C"}]}"#;

pub async fn check(ground: &Ground) -> Outcome {
    let checkout = Checkout::empty(&ground.server, "small.git")?;
    copy(artifacts::site(1, None).await?.path(), &checkout.folder().join("packages"))?;
    checkout.write("unit.xml", UNIT)?;
    checkout.write("coverage.xml", COVERAGE)?;
    checkout.push()?;
    let git = json!({
        "url": ground.server.url("small.git"), "branch": "main",
        "builder": {
            "image": ground.images.builder, "commands": [SLOW, BUILD], "timeout": "4m",
            "resources": { "limits": { "memory": "128Mi" } },
        },
    });
    let gates = json!({ "gates": {
        // A grade that is worse than its source wants, and good enough for the pipeline.
        "thresholds": [
            { "name": "audit_rating", "severity": "critical", "comparator": "GTE", "expected": "D" },
            { "name": "coverage", "severity": "critical", "comparator": "GTE", "expected": "60" },
        ],
        "scanners": [{
            "name": "pmd", "image": ground.program.images.tester,
            "variables": { "LAUNCHWAY_TEST_SARIF": SARIF, "LAUNCHWAY_TEST_METRICS": METRICS },
        }],
    } });
    ground.code_quality(NAME, git, gates).await?;
    ground.run(NAME, NAME, json!({})).await?;

    let ended = async {
        followed(ground).await?;
        ground.program.ended(NAME, SHORT).await
    };
    let status = ground.scenario.on_failure(&ground.program, NAME, ended).await?;
    judged(&status)?;
    reported(ground).await
}

/// The log is there while the commands still run, and ends with them.
async fn followed(ground: &Ground) -> Outcome {
    let program = &ground.program;
    program.begins(NAME, StepName::Build, FIRST).await?;
    let (mut follower, mut lines) = follow(ground)?;
    let first = heard(&mut lines, "first line", FIRST).await?;
    let status = program.execution(NAME).await?.status.unwrap_or_default();
    let running = step(&status, StepName::Build)?.finished_at.is_none();
    ensure(running, || format!("it was told of `{first}` after the end: {}", told(&status)))?;
    alone(ground).await?;
    heard(&mut lines, "last line", LAST).await?;
    let end = tokio::time::timeout(LAST, follower.wait()).await;
    let good = matches!(&end, Ok(Ok(code)) if code.success());
    ensure(good, || format!("`logs -f` does not end with the commands: {end:?}"))
}

type Lines = tokio::io::Lines<BufReader<tokio::process::ChildStdout>>;

fn follow(ground: &Ground) -> Outcome<(Child, Lines)> {
    let failed = |why: String| Failure::new(format!("logs -f: {why}"));
    let mut child = Command::new(&ground.scenario.launchway)
        .args(["logs", NAME, "build", "-f", "--namespace", &ground.program.namespace])
        .env("KUBECONFIG", &ground.program.cluster.kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let out = child.stdout.take().ok_or_else(|| failed("it has no output".into()))?;
    Ok((child, BufReader::new(out).lines()))
}

/// Reads up to a line.
async fn heard(lines: &mut Lines, wanted: &str, limit: Duration) -> Outcome<String> {
    let read = async {
        while let Some(line) = lines.next_line().await.map_err(|error| error.to_string())? {
            if line == wanted {
                return Ok(line);
            }
        }
        Err(Failure::new(format!("the log ended without `{wanted}`")))
    };
    tokio::time::timeout(limit, read).await.unwrap_or_else(|_| Err(Failure::new(format!("no `{wanted}` came"))))
}

/// The pod has no token, and the policy that keeps others away from it selects it. This cluster enforces no policy.
async fn alone(ground: &Ground) -> Outcome {
    let (client, namespace) = (ground.program.cluster.client.clone(), &ground.program.namespace);
    let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
    let policy = call(policies.get("launchway-builds")).await?.spec.unwrap_or_default();
    let closed = policy.policy_types.as_deref() == Some(&["Ingress".to_string()]) && policy.ingress.is_none();
    ensure(closed, || format!("the policy lets somebody in: {policy:?}"))?;
    let labels = policy.pod_selector.and_then(|selector| selector.match_labels).unwrap_or_default();
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let selected = call(pods.list(&ListParams::default().labels(&labels.join(",")))).await?.items;
    let [pod] = selected.as_slice() else {
        return Err(Failure::new(format!("the policy selects {} pods, not the one of the build", selected.len())));
    };
    let spec = pod.spec.clone().unwrap_or_default();
    let token = spec.volumes.iter().flatten().any(|volume| volume.projected.is_some());
    ensure(spec.automount_service_account_token == Some(false) && !token, || "the pod has a token".into())
}

/// Tests and coverage are counted, thresholds are the pipeline's, and the scanner's error fails the gate.
fn judged(status: &PipelineExecutionStatus) -> Outcome {
    let metric = |of: StepName, name: &str| {
        let metrics = step(status, of).map(|step| step.metrics.to_vec()).unwrap_or_default();
        metrics.into_iter().find(|metric| metric.name == name).map(|metric| (metric.actual, metric.passed))
    };
    for (of, name, actual, passed) in [
        (StepName::Build, "tests", "2", true),
        (StepName::Build, "skipped_tests", "1", false),
        (StepName::Build, "coverage", "75.0", true),
        (StepName::CodeQuality, "coverage", "75.0", true),
        (StepName::CodeQuality, "audit_rating", "C", true),
        (StepName::CodeQuality, "pmd.sarif_errors", "1", false),
    ] {
        let found = metric(of, name);
        ensure(found == Some((actual.into(), passed)), || format!("{name}: {found:?}\n{}", told(status)))?;
    }
    let reason = step(status, StepName::CodeQuality)?.reason.clone();
    ensure(reason.as_deref() == Some("GateFailed"), || told(status))
}

/// One command reads the report, in three forms.
async fn reported(ground: &Ground) -> Outcome {
    let report = async |form: &str| -> Outcome<String> {
        let left = Process::new(&ground.scenario.launchway)
            .args(["report", NAME, "codeQuality", "--output", form, "--plain-http", &ground.program.cluster.registry])
            .args(["--namespace", &ground.program.namespace])
            .env("KUBECONFIG", ground.program.cluster.kubeconfig.clone())
            .env("no_proxy", "*")
            .run()
            .await?;
        Ok(left.stdout)
    };
    let table = report("table").await?;
    for part in ["EmptyCatch", "A.java:7", "audit_rating", "pmd.sarif_errors", "findings.json", "pmd/scan.sarif"] {
        ensure(table.contains(part), || format!("{part} is not in\n{table}"))?;
    }
    let value: Value = serde_json::from_str(&report("json").await?).map_err(|error| error.to_string())?;
    let found = value["findings"].as_array().cloned().unwrap_or_default();
    ensure(found.iter().any(|one| one["rule"] == "EmptyCatch" && one["source"] == "pmd"), || value.to_string())?;
    let csv = report("csv").await?;
    ensure(csv.contains(r#""error","pmd","EmptyCatch","A.java:7","'=nothing is caught""#), || csv.clone())?;
    println!("  report: {} findings as table, JSON and CSV", found.len());
    Ok(())
}
