//! Executions and pipelines as the operator would leave them, for tests of what people see.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{Environment, Pipeline, PipelineExecution, conditions, execution::Mode, step::StepName};
use serde_json::{Value, json};

use super::{releases::Runs, tree::Around};

/// The moment at which the samples are looked at.
pub const NOW: &str = "2026-11-21T10:35:12Z";

fn release() -> String {
    format!("registry.example.com/wknd/images@sha256:{}", "ab".repeat(32))
}

fn execution(state: &str, steps: &Value, waiting: &Value) -> PipelineExecution {
    object(json!({
        "apiVersion": "launchway.dev/v1alpha1",
        "kind": "PipelineExecution",
        "metadata": {"name": "wknd-42", "namespace": "wknd", "uid": "u-42", "annotations": {}},
        "spec": {"pipelineRef": {"name": "wknd-production"}, "requestedBy": "ann"},
        "status": {
            "state": state,
            "step": if waiting.is_null() { json!("deployProduction") } else { json!("approvalProduction") },
            "startTime": "2026-11-21T10:25:00Z",
            "environments": {"stage": "stage", "production": "prod"},
            "release": release(),
            "steps": steps,
            "waitingFor": waiting,
        },
    }))
}

fn steps(approval: Value, deploy: Value) -> Value {
    let mut steps = json!([
        {"name": "validate", "state": "Finished", "startedAt": "2026-11-21T10:25:00Z", "finishedAt": "2026-11-21T10:25:01Z"},
        {"name": "build", "state": "Finished", "startedAt": "2026-11-21T10:25:01Z", "finishedAt": "2026-11-21T10:25:03Z"},
        {"name": "buildImage", "state": "Finished", "startedAt": "2026-11-21T10:25:03Z", "finishedAt": "2026-11-21T10:25:44Z"},
        {"name": "deployStage", "environment": "stage", "state": "Finished", "startedAt": "2026-11-21T10:25:44Z", "finishedAt": "2026-11-21T10:28:54Z"},
        {"name": "smokeTest", "environment": "stage", "state": "Finished", "startedAt": "2026-11-21T10:28:54Z", "finishedAt": "2026-11-21T10:28:58Z", "message": "3 pages"},
        {"name": "functionalTest", "environment": "stage", "state": "Incomplete", "message": "the pipeline names no functional test"},
    ]);
    let list = steps.as_array_mut().unwrap();
    list.push(approval);
    list.push(deploy);
    steps
}

fn approved() -> Value {
    json!({"name": "approvalProduction", "environment": "prod", "state": "Finished",
           "startedAt": "2026-11-21T10:28:58Z", "finishedAt": "2026-11-21T10:30:00Z", "message": "approved by bob"})
}

/// A pipeline that starts on changes and saw a revision five minutes ago: what is due, and what its condition says.
pub fn on_change(name: &str, due: Option<&str>, (status, reason, message): (&str, &str, &str)) -> Pipeline {
    let condition = json!({
        "type": "SourceWatched", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-11-21T10:00:00Z",
    });
    object(json!({
        "apiVersion": "launchway.dev/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": name, "namespace": "wknd"},
        "spec": {
            "type": "CodeQuality",
            "source": {"artifact": {"repository": "registry.example.com/wknd/artifacts", "tag": "main"}},
            "trigger": "OnChange",
        },
        "status": {
            "conditions": [condition],
            "source": {
                "of": "registry.example.com/wknd/artifacts:main",
                "revision": format!("sha256:{}", "ab".repeat(32)),
                "since": "2026-11-21T10:30:00Z",
                "due": due,
                "execution": "wknd-stage-cdcdcdcd",
            },
        },
    }))
}

/// Stage is tested, an approval is awaited.
pub fn waiting() -> PipelineExecution {
    let waiting = json!({
        "step": "approvalProduction",
        "why": "approval of the production deployment",
        "since": "2026-11-21T10:30:00Z",
        "until": "2026-12-05T10:30:00Z",
        "who": "whoever holds the verb approve on Environment prod",
        "command": "kubectl launchway approve wknd-42 -n wknd",
    });
    let approval = json!({"name": "approvalProduction", "environment": "prod", "state": "Waiting", "startedAt": "2026-11-21T10:30:00Z"});
    execution(
        "Waiting",
        &steps(approval, json!({"name": "deployProduction", "environment": "prod", "state": "NotStarted"})),
        &waiting,
    )
}

/// Production is being replaced.
pub fn rolling() -> PipelineExecution {
    let deploy = json!({"name": "deployProduction", "environment": "prod", "state": "Running", "startedAt": "2026-11-21T10:30:00Z"});
    execution("Running", &steps(approved(), deploy), &Value::Null)
}

/// Production did not become ready; the message is hostile too.
pub fn failed() -> PipelineExecution {
    let message = "publish-1 is not ready after 15m: failed wknd:ui.apps:1.0.0: \u{1b}[31mmissing\u{1b}[0m dependency; pair 0 goes on with the new release, pair 1 with the previous one";
    let deploy = json!({"name": "deployProduction", "environment": "prod", "state": "Failed", "reason": "DeploymentFailed",
                        "startedAt": "2026-11-21T10:30:00Z", "finishedAt": "2026-11-21T10:35:00Z", "message": message});
    let mut execution = execution("Failed", &steps(approved(), deploy), &Value::Null);
    let status = execution.status.as_mut().unwrap();
    let end: Timestamp = "2026-11-21T10:35:00Z".parse().unwrap();
    status.completion_time = Some(Time(end));
    conditions::set(
        &mut status.conditions,
        &Time(end),
        None,
        "Succeeded",
        false,
        "Failed",
        "deployProduction: DeploymentFailed",
    );
    execution
}

/// Seen by no operator.
pub fn unseen(created: &str) -> PipelineExecution {
    let mut execution = waiting();
    execution.status = None;
    execution.metadata.creation_timestamp = Some(Time(created.parse().unwrap()));
    execution
}

/// Production in the middle of the rollout of `rolling`, or of another execution's.
pub fn production(uid: &str, state: &str) -> Around {
    let digest = format!("r.example.com/i@sha256:{}", "cd".repeat(32));
    let environment: Environment = object(json!({
        "apiVersion": "launchway.dev/v1alpha1",
        "kind": "Environment",
        "metadata": {"name": "prod", "namespace": "wknd"},
        "spec": {"type": "Production"},
        "status": {
            "target": {"execution": "wknd-42", "uid": uid, "release": release(), "since": "2026-11-21T10:30:00Z",
                       "images": {"aem": digest, "dispatcher": digest}},
            "rollout": {"state": state, "phase": "Pair 1", "since": "2026-11-21T10:34:00Z", "revision": "0123abcd",
                        "updated": 1, "total": 3, "message": "prod-publish-1: 2 of 5 packages are installed"},
        },
    }));
    Around { environments: [("prod".to_string(), environment)].into(), ..Around::default() }
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// The execution of `waiting`, at another step that waits for somebody.
pub fn awaits(step: StepName) -> PipelineExecution {
    let mut execution = waiting();
    let status = execution.status.as_mut().unwrap();
    status.step = Some(step);
    status.waiting_for.as_mut().unwrap().step = step;
    status.waiting_for.as_mut().unwrap().why = "somebody".into();
    if status.steps.iter().all(|have| have.name != step) {
        status.steps.push(launchway_crds::execution::Step::new(step, Some("prod".into())));
    }
    execution
}

fn metric(name: &str, actual: &str, comparator: &str, expected: &str, severity: &str, passed: bool) -> Value {
    json!({"name": name, "actual": actual, "comparator": comparator, "expected": expected, "severity": severity,
           "passed": passed})
}

fn metrics() -> Value {
    json!([
        metric("security_rating", "A", "GTE", "B", "critical", true),
        metric("coverage", "42.1", "GTE", "50", "important", false),
        metric("skipped_tests", "3", "LT", "1", "important", false),
        metric("duplicated_lines_density", "4", "LT", "1", "informational", false),
    ])
}

/// Important metrics of the packages fail, and somebody has to say a word.
pub fn gate() -> PipelineExecution {
    let steps = json!([
        {"name": "validate", "state": "Finished", "startedAt": "2026-11-21T10:25:00Z", "finishedAt": "2026-11-21T10:25:01Z"},
        {"name": "build", "state": "Finished", "startedAt": "2026-11-21T10:25:01Z", "finishedAt": "2026-11-21T10:25:03Z"},
        {"name": "codeQuality", "state": "Waiting", "startedAt": "2026-11-21T10:25:03Z", "metrics": metrics(),
         "message": "coverage is 42.1 and must be at least 50"},
        {"name": "buildImage", "state": "NotStarted"},
    ]);
    let waiting = json!({
        "step": "codeQuality",
        "why": "coverage is 42.1 and must be at least 50",
        "since": "2026-11-21T10:30:00Z",
        "until": "2026-12-05T10:30:00Z",
        "who": "whoever may `override` Pipeline wknd-production, for coverage, skipped_tests",
        "command": "kubectl launchway override wknd-42 --namespace wknd",
    });
    let mut execution = execution("Waiting", &steps, &waiting);
    execution.status.as_mut().unwrap().step = Some(StepName::CodeQuality);
    execution
}

/// Every step there is, before the approval of production, in an emergency, with accepted metrics.
pub fn emergency() -> PipelineExecution {
    let mut execution = waiting();
    execution.spec.mode = Mode::Emergency;
    execution.spec.reason = Some("checkout is down".into());
    let status = execution.status.as_mut().unwrap();
    status.steps = object(every_step());
    status.overrides = object(json!([{"step": "codeQuality", "by": "dana", "at": "2026-11-21T10:26:00Z",
                                      "metrics": ["coverage", "skipped_tests"]}]));
    execution
}

fn every_step() -> Value {
    let steps = StepName::ALL.into_iter().filter(|step| *step != StepName::Deploy).map(|step| {
        let place = match step {
            StepName::Validate | StepName::Build | StepName::CodeQuality | StepName::BuildImage => Value::Null,
            step if step >= StepName::ApprovalProduction => json!("prod"),
            _ => json!("stage"),
        };
        let mut value = json!({"name": step, "environment": place, "state": "Finished",
                               "startedAt": "2026-11-21T10:25:00Z", "finishedAt": "2026-11-21T10:25:40Z"});
        let changes = match step {
            StepName::CodeQuality => json!({"metrics": metrics(), "reason": "Overridden",
                                            "message": "coverage is 42.1; accepted by dana"}),
            StepName::SecurityTest | StepName::LoadTest | StepName::ReportPerformanceTest | StepName::ContentAudit => {
                json!({"state": "Incomplete", "reason": "SkippedInEmergency", "message": "skipped in an emergency"})
            }
            StepName::ApprovalProduction => json!({"state": "Waiting", "finishedAt": null}),
            step if step > StepName::ApprovalProduction => {
                json!({"state": "NotStarted", "startedAt": null, "finishedAt": null})
            }
            _ => json!({}),
        };
        value.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        value
    });
    Value::Array(steps.collect())
}

/// What the pipeline of `emergency` owes.
pub fn around() -> Around {
    let debt = json!([
        {"step": "securityTest", "execution": "wknd-40", "since": "2026-11-18T10:00:00Z"},
        {"step": "loadTest", "execution": "wknd-41", "since": "2026-11-21T09:35:12Z"},
    ]);
    Around { debt: object(debt), ..Around::default() }
}

/// The Environments of `waiting`, as they are while somebody is asked to approve.
pub fn with_environments() -> Around {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let image = format!("registry.example.com/wknd/images@{digest}");
    let stage = json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "stage"},
        "spec": {"type": "Stage"},
        "status": {"deployed": {"execution": "wknd-42", "uid": "u-42", "release": image, "at": "2026-11-21T10:20:00Z",
                                "images": {"aem": image, "dispatcher": image}}},
    });
    let production = json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "prod"},
        "spec": {"type": "Production", "publish": {"replicas": 2}},
    });
    let environments = [("stage", stage), ("prod", production)].map(|(name, value)| (name.to_string(), object(value)));
    Around { environments: environments.into(), ..Around::default() }
}

/// A promoted release that was approved and has its time, before the go of support.
pub fn promoted() -> PipelineExecution {
    let mut execution = awaits(StepName::Managed);
    execution.spec.source_execution = Some("wknd-stage-7".into());
    let status = execution.status.as_mut().unwrap();
    status.trigger = launchway_crds::execution::Trigger::Promote;
    status.source = object(json!({"pipeline": "wknd-stage", "execution": "wknd-stage-7", "uid": "u-7"}));
    let digest = format!("sha256:{}", "ab".repeat(32));
    status.approvals = object(json!([{"step": "approvalProduction", "by": "bob", "at": "2026-11-21T10:30:00Z",
                                      "release": digest}]));
    status.scheduled = object(json!({"by": "cem", "at": "2026-11-21T21:00:00Z",
                                     "text": "2026-11-21T22:00[Europe/Zurich]"}));
    status.steps = object(json!([
        {"name": "validate", "state": "Finished", "startedAt": "2026-11-21T10:25:00Z", "finishedAt": "2026-11-21T10:25:01Z"},
        {"name": "build", "state": "Finished", "startedAt": "2026-11-21T10:25:01Z", "finishedAt": "2026-11-21T10:25:01Z",
         "message": "takes the release of execution wknd-stage-7"},
        {"name": "approvalProduction", "environment": "prod", "state": "Finished", "message": "approved by bob",
         "startedAt": "2026-11-21T10:25:01Z", "finishedAt": "2026-11-21T10:30:00Z"},
        {"name": "managed", "environment": "prod", "state": "Waiting", "startedAt": "2026-11-21T10:30:00Z"},
        {"name": "deployProduction", "environment": "prod", "state": "NotStarted"},
    ]));
    execution
}

fn pipeline(name: &str, spec: &Value, ledger: &Value) -> Pipeline {
    object(json!({
        "apiVersion": "launchway.dev/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": name, "namespace": "wknd"},
        "spec": spec,
        "status": {"ledger": ledger},
    }))
}

/// An entry of a ledger; `digit` tells its release from others.
pub fn entry(name: &str, result: &str, digit: char, made: &str, ended: &str) -> Value {
    let image = format!("registry.example.com/wknd/images@sha256:{}", digit.to_string().repeat(64));
    json!({"name": name, "uid": format!("u-{name}"), "specHash": "h", "result": result, "release": image,
           "madeAt": made, "beganProduction": true, "approved": true, "trigger": "Manual", "at": ended})
}

fn artifacts() -> Value {
    json!({"artifact": {"repository": "registry.example.com/wknd/artifacts"}})
}

/// Two executions of it succeeded, and one between them failed.
pub fn full_stack() -> Pipeline {
    let spec = json!({
        "type": "FullStack",
        "source": artifacts(),
        "images": {"repository": "registry.example.com/wknd/images"},
        "stage": {"environment": "stage"},
        "production": {"environment": "prod"},
    });
    let ledger = json!([
        entry("wknd-41", "Finished", '3', "2026-11-21T09:00:00Z", "2026-11-21T10:00:00Z"),
        entry("wknd-40", "Failed", '2', "2026-11-20T09:00:00Z", "2026-11-20T10:00:00Z"),
        entry("wknd-39", "Finished", '1', "2026-11-18T10:00:00Z", "2026-11-18T11:00:00Z"),
    ]);
    pipeline("wknd", &spec, &ledger)
}

/// Its latest execution failed, the one before passed.
pub fn stage_only() -> Pipeline {
    let spec = json!({
        "type": "StageOnly",
        "source": artifacts(),
        "images": {"repository": "registry.example.com/wknd/images"},
        "stage": {"environment": "stage"},
    });
    let ledger = json!([
        entry("wknd-stage-8", "Failed", '8', "2026-11-21T10:00:00Z", "2026-11-21T10:30:00Z"),
        entry("wknd-stage-7", "Finished", '7', "2026-11-21T09:00:00Z", "2026-11-21T09:30:00Z"),
        entry("wknd-stage-6", "Finished", '6', "2026-11-20T09:00:00Z", "2026-11-20T09:30:00Z"),
    ]);
    pipeline("wknd-stage", &spec, &ledger)
}

/// Takes releases of `stage_only`.
pub fn production_only() -> Pipeline {
    let spec = json!({
        "type": "ProductionOnly",
        "source": {"pipeline": "wknd-stage"},
        "production": {"environment": "prod", "schedule": {"required": true}},
    });
    pipeline("wknd-prod", &spec, &json!([]))
}

/// What production runs: the release of a digit, made at a moment.
pub fn runs(digit: char, made: &str) -> Runs {
    let image = format!("registry.example.com/wknd/images@sha256:{}", digit.to_string().repeat(64));
    let deployed = json!({"execution": "wknd-1", "uid": "u-1", "release": image, "madeAt": made, "at": made,
                          "images": {"aem": image, "dispatcher": image}});
    Runs::Release(object(deployed))
}
