//! What became of a step's Job: found by name, believed only by UID.

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition},
        core::v1::{ContainerStateTerminated, ContainerStatus, Pod},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Api, ResourceExt, api::ListParams};
use launchway_crds::{
    PipelineExecution,
    conditions::{reasons, truncate},
    digest::{DigestError, ImageRef},
    environment::ReleaseImages,
    names::{child_name, label_value, labels},
    step::StepName,
};

use crate::{
    context::Context,
    error::{Error, bounded},
    gate::TestKind,
    plan::execution::{
        refusal::without_pod,
        world::{JobEnd, JobFacts, JobPod, ReleaseDigests},
    },
    worker::{
        build::Built,
        measured::Measured,
        smoke::Passed,
        verdict::{Reason, Verdict},
    },
};

use super::{
    build_end::build_end,
    fresh, pods, scan_end,
    test_end::{TestEnd, test_end},
};

/// A step's Job and the pods of that step, as they were read.
pub(super) struct Seen {
    job: Option<Job>,
    pods: Vec<Pod>,
}

/// Reads the Job of a step of an execution, and its pods, at once.
pub(super) async fn read(context: &Context, namespace: &str, execution: &str, step: StepName) -> Result<Seen, Error> {
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), namespace);
    let (name, label) = (child_name(execution, step.dashed()), label_value(execution));
    let pods = format!("{}={label},{}={}", labels::EXECUTION, labels::STEP, step.dashed());
    let (job, pods) = tokio::try_join!(
        bounded("read a job", jobs.get_opt(&name)),
        fresh::list(context, "list the pods of a job", namespace, ListParams::default().labels(&pods))
    )?;
    Ok(Seen { job, pods })
}

/// What the Job of a step came to.
///
/// `repository` is where the pipeline's images go: a worker reports digests only.
pub(super) fn facts(seen: Seen, execution: &PipelineExecution, step: StepName, repository: &str) -> JobFacts {
    let name = child_name(&execution.name_any(), step.dashed());
    let Some(job) = seen.job else { return JobFacts::Absent };
    let owned = |references: &[OwnerReference], uid: Option<&String>| {
        references.iter().any(|owner| owner.controller == Some(true) && Some(&owner.uid) == uid)
    };
    if !owned(job.owner_references(), execution.metadata.uid.as_ref()) {
        return JobFacts::Foreign { name };
    }
    // Labels are anybody's to write.
    let pods: Vec<&Pod> =
        seen.pods.iter().filter(|pod| owned(pod.owner_references(), job.metadata.uid.as_ref())).collect();
    let uid = job.metadata.uid.clone().unwrap_or_default();
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_true = |type_: &str| conditions.clone().find(|one| one.type_ == type_ && one.status == "True");
    let out_of_time = |condition: &JobCondition| condition.reason.as_deref() == Some("DeadlineExceeded");
    // It is the Job's target to fail before it has failed, which it has when its pods are gone.
    let stops = ["FailureTarget", "Failed"].into_iter().filter_map(is_true).find(|condition| out_of_time(condition));
    // The container's end is known more than a second before the Job's. One that was ended with its Job had none of its own.
    let mut ended = pods.iter().filter(|pod| stops.is_none() || phase(pod) == Some("Succeeded"));
    if let Some(end) = ended.find_map(|pod| outcome(repository, step, pod)) {
        return JobFacts::Ended { name, uid, end };
    }
    if let Some(condition) = is_true("Failed") {
        let message = condition.message.clone().unwrap_or_default();
        let end = if out_of_time(condition) {
            let pending =
                pods.iter().copied().find_map(pods::problem).map_or(String::new(), |problem| format!(": {problem}"));
            // The Job's controller counts a pod that it ends as failed.
            let had_pod =
                !pods.is_empty() || job.status.as_ref().is_some_and(|status| status.failed.unwrap_or_default() > 0);
            let message = if had_pod {
                format!("Job {name} did not end in its time{pending}: kubectl launchway logs shows how far it came")
            } else {
                let namespace = execution.namespace().unwrap_or_default();
                format!("Job {name} did not end in its time: {}", without_pod(&name, &namespace))
            };
            JobEnd::Failed { reason: reasons::TIMED_OUT.into(), message, report: None }
        } else {
            JobEnd::Error { reason: reasons::JOB_FAILED.into(), message: format!("Job {name} failed: {message}") }
        };
        return JobFacts::Ended { name, uid, end };
    }
    if let Some(condition) = stops {
        let since = condition.last_transition_time.as_ref().or(job.metadata.creation_timestamp.as_ref());
        let since = since.map_or(Timestamp::MIN, |since| since.0);
        return JobFacts::Active { name, uid, pod: JobPod::Stops { since } };
    }
    let pod = match (job.metadata.creation_timestamp, pods.iter().copied().find_map(pods::problem)) {
        (Some(made), _) if pods.is_empty() => JobPod::Missing { since: made.0 },
        (_, Some(problem)) => JobPod::Waits { problem },
        (_, None) => JobPod::Works,
    };
    JobFacts::Active { name, uid, pod }
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// How the work of a pod ended, if it has.
fn outcome(repository: &str, step: StepName, pod: &Pod) -> Option<JobEnd> {
    if let Some(kind) = TestKind::of(step) {
        return tested(kind, pod);
    }
    if step == StepName::CodeQuality && scan_end::has_scanners(pod) {
        return scan_end::scan_end(pod).map(end_of_test);
    }
    if let StepName::Validate | StepName::Build = step {
        return build_end(step, pod);
    }
    let end = ended(pod.status.as_ref()?.container_statuses.as_deref()?)?;
    let text = end.message.as_deref().unwrap_or_default().trim();
    if end.reason.as_deref() == Some("OOMKilled") {
        return Some(JobEnd::Error {
            reason: reasons::JOB_FAILED.into(),
            message: "the container was killed because it used more memory than its limit".into(),
        });
    }
    Some(worker(repository, step, end.exit_code, text))
}

fn tested(kind: TestKind, pod: &Pod) -> Option<JobEnd> {
    test_end(kind, pod).map(end_of_test)
}

fn end_of_test(end: TestEnd) -> JobEnd {
    match end {
        TestEnd::Measured { metrics, message, report } => JobEnd::Measured { metrics, message, report },
        TestEnd::Failed(Reason { reason, message, report }) => JobEnd::Failed { reason, message, report },
        TestEnd::Error(Reason { reason, message, report: _ }) => JobEnd::Error { reason, message },
    }
}

fn ended(statuses: &[ContainerStatus]) -> Option<&ContainerStateTerminated> {
    statuses.iter().find_map(|status| status.state.as_ref()?.terminated.as_ref())
}

/// Our own workers leave a verdict.
fn worker(repository: &str, step: StepName, code: i32, text: &str) -> JobEnd {
    let unknown = |_| JobEnd::Error {
        reason: reasons::JOB_FAILED.into(),
        message: truncate(&format!("the worker exited with {code} and left no result: {text}"), 1024),
    };
    if step == StepName::BuildImage {
        return Verdict::<Built>::parse(text)
            .map_or_else(unknown, |verdict| ended_with(verdict, |built| built_release(repository, &built)));
    }
    if let StepName::CodeQuality | StepName::SecurityTest | StepName::LoadTest = step {
        return Verdict::<Measured>::parse(text).map_or_else(unknown, |verdict| {
            ended_with(verdict, |Measured { metrics, message, report, .. }| JobEnd::Measured {
                metrics,
                message,
                report,
            })
        });
    }
    Verdict::<Passed>::parse(text).map_or_else(unknown, |verdict| {
        ended_with(verdict, |passed| {
            let pages = if passed.checks == 1 { "page" } else { "pages" };
            JobEnd::Passed { message: format!("{} {pages} answered as expected", passed.checks) }
        })
    })
}

fn ended_with<T>(verdict: Verdict<T>, ok: impl FnOnce(T) -> JobEnd) -> JobEnd {
    match verdict {
        Verdict::Ok(result) => ok(result),
        Verdict::Failed(Reason { reason, message, report }) => JobEnd::Failed { reason, message, report },
        Verdict::Error(Reason { reason, message, report: _ }) => JobEnd::Error { reason, message },
    }
}

fn built_release(repository: &str, built: &Built) -> JobEnd {
    let at = |digest| ImageRef::new(repository, digest);
    let digests = || {
        Ok(ReleaseDigests {
            release: at(built.release)?,
            images: ReleaseImages { aem: at(built.aem)?, dispatcher: at(built.dispatcher)? },
            report: at(built.report)?,
        })
    };
    digests().map_or_else(
        |error: DigestError| JobEnd::Failed {
            reason: reasons::INVALID.into(),
            message: error.to_string(),
            report: None,
        },
        |release| JobEnd::Built { release },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(message: &str, code: i32, reason: Option<&str>) -> Pod {
        let terminated = serde_json::json!({ "exitCode": code, "message": message, "reason": reason });
        let status = |name: &str, state: serde_json::Value| serde_json::json!({ "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state });
        serde_json::from_value(serde_json::json!({ "status": {
            "containerStatuses": [status("work", serde_json::json!({ "terminated": terminated }))],
        } }))
        .unwrap()
    }

    fn end(repository: &str, step: StepName, code: i32, text: &str, reason: Option<&str>) -> JobEnd {
        outcome(repository, step, &pod(text, code, reason)).unwrap()
    }

    #[test]
    fn a_job_without_a_pod_is_told_from_one_that_works() {
        let owner = |uid: &str| serde_json::json!([{ "apiVersion": "", "kind": "", "name": "", "uid": uid, "controller": true }]);
        let execution: PipelineExecution = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "wknd-1", "namespace": "wknd", "uid": "run" },
            "spec": { "pipelineRef": { "name": "wknd" } },
        }))
        .unwrap();
        let facts = |pods: &serde_json::Value, status: serde_json::Value| {
            let job = serde_json::json!({ "status": status, "metadata": {
                "uid": "job", "ownerReferences": owner("run"), "creationTimestamp": "2026-11-28T10:00:00Z",
            } });
            let pods = serde_json::from_value(pods.clone()).unwrap();
            let seen = Seen { job: Some(serde_json::from_value(job).unwrap()), pods };
            facts(seen, &execution, StepName::SmokeTest, "")
        };
        let pod = |uid: &str, status: serde_json::Value| serde_json::json!([{ "metadata": { "ownerReferences": owner(uid) }, "status": status }]);
        let runs = serde_json::json!({});
        let unscheduled = serde_json::json!({ "conditions": [
            { "type": "PodScheduled", "status": "False", "message": "0/1 nodes are available" },
        ] });
        let active = |pods: &serde_json::Value| match facts(pods, serde_json::json!({})) {
            JobFacts::Active { pod, .. } => pod,
            other => panic!("{other:?}"),
        };
        let since = "2026-11-28T10:00:00Z".parse().unwrap();
        assert_eq!(active(&serde_json::json!([])), JobPod::Missing { since });
        assert_eq!(active(&pod("another", runs.clone())), JobPod::Missing { since });
        assert_eq!(active(&pod("job", runs)), JobPod::Works);
        assert!(matches!(active(&pod("job", unscheduled)), JobPod::Waits { problem } if problem.contains("0/1 nodes")));

        for (failed, told) in
            [(0, "kubectl describe job wknd-1-smoke-test --namespace wknd"), (1, "kubectl launchway logs")]
        {
            let over = serde_json::json!({ "failed": failed, "conditions": [
                { "type": "Failed", "status": "True", "reason": "DeadlineExceeded" },
            ] });
            let JobFacts::Ended { end: JobEnd::Failed { message, .. }, .. } = facts(&serde_json::json!([]), over)
            else {
                panic!()
            };
            assert!(message.contains(told), "{message}");
        }
    }

    /// A test that never started is ended like one that failed, and its sidecar reads what it left: nothing.
    #[test]
    fn a_pod_that_is_ended_with_its_job_says_nothing_of_its_own() {
        let execution: PipelineExecution = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "wknd-1", "namespace": "wknd", "uid": "run" },
            "spec": { "pipelineRef": { "name": "wknd" } },
        }))
        .unwrap();
        let read = r#"{"ok":{"metrics":[],"message":""}}"#;
        let facts = |phase: &str, condition: Option<&str>| {
            let owner = |uid: &str| serde_json::json!([{ "apiVersion": "", "kind": "", "name": "", "uid": uid, "controller": true }]);
            let conditions: Vec<_> = condition
                .map(|type_| serde_json::json!({ "type": type_, "status": "True", "reason": "DeadlineExceeded" }))
                .into_iter()
                .collect();
            let job = serde_json::json!({
                "metadata": { "uid": "job", "ownerReferences": owner("run") }, "status": { "conditions": conditions },
            });
            let container = |name: &str, code: i32, message: &str| {
                let ended = serde_json::json!({ "terminated": { "exitCode": code, "message": message } });
                serde_json::json!([{ "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": ended }])
            };
            let code = if phase == "Succeeded" { 0 } else { 137 };
            let pod = serde_json::json!({ "metadata": { "ownerReferences": owner("job") }, "status": {
                "phase": phase,
                "containerStatuses": container("test", code, ""),
                "initContainerStatuses": container("collect", 0, read),
            } });
            let pods = vec![serde_json::from_value(pod).unwrap()];
            let seen = Seen { job: Some(serde_json::from_value(job).unwrap()), pods };
            facts(seen, &execution, StepName::FunctionalTest, "")
        };
        let measured = |facts| matches!(facts, JobFacts::Ended { end: JobEnd::Measured { .. }, .. });
        assert!(measured(facts("Failed", None)), "its own end");
        assert!(matches!(facts("Failed", Some("FailureTarget")), JobFacts::Active { pod: JobPod::Stops { .. }, .. }));
        let JobFacts::Ended { end: JobEnd::Failed { reason, .. }, .. } = facts("Failed", Some("Failed")) else {
            panic!()
        };
        assert_eq!(reason, reasons::TIMED_OUT);
        assert!(measured(facts("Succeeded", Some("FailureTarget"))), "it passed in the last moment");
    }

    #[test]
    fn a_build_reports_digests_and_the_pipeline_names_the_repository() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let text = format!(
            r#"{{"ok":{{"release":"{digest}","aem":"{digest}","dispatcher":"{digest}","report":"{digest}"}}}}"#
        );
        let JobEnd::Built { release } = end("reg.example/images", StepName::BuildImage, 0, &text, None) else {
            panic!()
        };
        assert_eq!(release.release.to_string(), format!("reg.example/images@{digest}"));
    }

    #[test]
    fn what_a_worker_says_decides_whose_fault_it_is() {
        let failed = r#"{"failed":{"reason":"NoArtifacts","message":"no zip"}}"#;
        assert!(
            matches!(end("r", StepName::BuildImage, 1, failed, None), JobEnd::Failed { reason, .. } if reason == "NoArtifacts")
        );
        let error = r#"{"error":{"reason":"RegistryUnreachable","message":"no answer"}}"#;
        assert!(matches!(end("r", StepName::SmokeTest, 2, error, None), JobEnd::Error { .. }));
        for (code, text, reason) in [(0, "garbage", None), (139, "", None), (137, failed, Some("OOMKilled"))] {
            assert!(matches!(end("r", StepName::BuildImage, code, text, reason), JobEnd::Error { .. }), "{text}");
        }
    }
}
