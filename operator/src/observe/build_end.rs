//! How the pod of a build ended: each of its containers may be the one that says it.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use launchway_crds::{
    conditions::{reasons, truncate},
    step::StepName,
};

use crate::{
    plan::execution::world::JobEnd,
    render::build_job::{BUILD, FETCH, PACK, RESOLVE, TOOLS},
    text::one_line,
    worker::{
        pack::{End, Packed},
        resolve::Resolved,
        verdict::{Reason, Verdict},
    },
};

const WORDS_MAX: usize = 300;

/// How the pod of a build, or of the question for a commit, ended; none while it works.
pub(super) fn build_end(step: StepName, pod: &Pod) -> Option<JobEnd> {
    let status = pod.status.as_ref()?;
    if status.reason.as_deref() == Some("Evicted") {
        return Some(evicted(status.message.as_deref().unwrap_or_default()));
    }
    let all = || status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let end = all().find_map(|one| outcome(step, one, terminated(one)?));
    // A command may die of the limit without its shell: then the shell tells of an exit code, and the kubelet of the rest.
    let starved = all().any(|one| one.name == BUILD && terminated(one).is_some_and(out_of_memory_said));
    // A kubelet takes an init container for failed that was "OOMKilled", with exit code 0, too, and never goes on; of the pod
    // it says nothing then, and the Job waits for its deadline.
    let pack_began = all().any(|one| one.name == PACK && one.started == Some(true));
    let end = match end {
        Some(JobEnd::Unfit { reason, .. }) if starved && reason == reasons::BUILD_FAILED => Some(out_of_memory(BUILD)),
        None if starved && !pack_began => Some(out_of_memory(BUILD)),
        other => other,
    };
    // A pod that is being deleted was stopped from outside, most often at its deadline: the Job says why.
    end.filter(|end| pod.metadata.deletion_timestamp.is_none() || matches!(end, JobEnd::Packed { .. }))
}

fn out_of_memory_said(end: &ContainerStateTerminated) -> bool {
    end.reason.as_deref() == Some("OOMKilled")
}

fn terminated(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref()?.terminated.as_ref()
}

/// What the end of one container means; none when the next one goes on.
fn outcome(step: StepName, status: &ContainerStatus, end: &ContainerStateTerminated) -> Option<JobEnd> {
    let text = end.message.as_deref().unwrap_or_default().trim();
    let name = status.name.as_str();
    if out_of_memory_said(end) && end.exit_code != 0 {
        return Some(out_of_memory(name));
    }
    match name {
        PACK => Some(packed(end.exit_code, text)),
        RESOLVE => Some(Verdict::<Resolved>::parse(text).map_or_else(
            |_| lost(name, end.exit_code, text),
            |verdict| match verdict {
                Verdict::Ok(found) => JobEnd::Resolved { commit: found.commit },
                Verdict::Failed(reason) => failed(reason),
                Verdict::Error(reason) => error(reason),
            },
        )),
        FETCH | TOOLS if end.exit_code != 0 => Some(Verdict::<()>::parse(text).map_or_else(
            |_| lost(name, end.exit_code, text),
            |verdict| match verdict {
                Verdict::Ok(()) => lost(name, end.exit_code, text),
                Verdict::Failed(reason) => failed(reason),
                Verdict::Error(reason) => error(reason),
            },
        )),
        // The commands themselves end well, whatever became of them: only the shell cannot have begun, or was killed.
        BUILD if end.exit_code != 0 => Some(JobEnd::Failed {
            reason: reasons::BUILD_FAILED.into(),
            message: format!(
                "the commands could not be run to their end in the image of the builder, which needs /bin/sh: exit code {}{}",
                end.exit_code,
                if text.is_empty() { String::new() } else { format!(", {}", words(text)) }
            ),
            report: None,
        }),
        _ if step == StepName::Build && end.exit_code == 0 => None,
        _ => (end.exit_code != 0).then(|| lost(name, end.exit_code, text)),
    }
}

fn packed(code: i32, text: &str) -> JobEnd {
    match Verdict::<Packed>::parse(text) {
        Ok(Verdict::Ok(Packed { end, measured })) => match end {
            End::Packages(artifact) => {
                JobEnd::Packed { artifact, metrics: measured.metrics, message: measured.message }
            }
            End::Unfit(reason) => JobEnd::Unfit {
                metrics: measured.metrics,
                reason: truncate(&one_line(&reason), 64),
                message: measured.message,
            },
        },
        Ok(Verdict::Failed(reason)) => failed(reason),
        Ok(Verdict::Error(reason)) => error(reason),
        Err(_) => lost(PACK, code, text),
    }
}

fn failed(Reason { reason, message, report }: Reason) -> JobEnd {
    JobEnd::Failed { reason, message, report }
}

fn error(Reason { reason, message, report: _ }: Reason) -> JobEnd {
    JobEnd::Error { reason, message }
}

fn lost(container: &str, code: i32, text: &str) -> JobEnd {
    let said = words(text);
    JobEnd::Error {
        reason: reasons::JOB_FAILED.into(),
        message: format!("container {container} exited with {code} and left no result: {said}"),
    }
}

fn out_of_memory(container: &str) -> JobEnd {
    let remedy = match container {
        BUILD => "raise spec.source.git.builder.resources.limits.memory of the pipeline, or let the build need less",
        PACK => "what was built needs more than the operator expects: raise job.memory of the chart",
        _ => {
            "the repository has more files than Git can check out in that: keep less in it, or clone a smaller one in \
             spec.source.git.builder.commands"
        }
    };
    JobEnd::Failed {
        reason: reasons::OUT_OF_MEMORY.into(),
        message: format!("container {container} was killed because it used more memory than its limit: {remedy}"),
        report: None,
    }
}

/// The kubelet evicts a pod that fills its disk, or when the node itself has no more of something.
fn evicted(message: &str) -> JobEnd {
    let said = words(message);
    if message.contains("EmptyDir") || message.contains("ephemeral") {
        return JobEnd::Failed {
            reason: reasons::TOO_LARGE.into(),
            message: format!(
                "the checkout and what the build wrote need more than spec.source.git.builder.disk: {said}: raise it, or keep less"
            ),
            report: None,
        };
    }
    JobEnd::Error { reason: reasons::JOB_FAILED.into(), message: format!("the node evicted the pod: {said}") }
}

fn words(text: &str) -> String {
    truncate(&one_line(text), WORDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn ended(name: &str, code: i32, reason: Option<&str>, message: &str) -> Value {
        json!({"name": name, "image": "i", "imageID": "i", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "reason": reason, "message": message}}})
    }

    fn pod(init: &[Value], main: &[Value]) -> Pod {
        serde_json::from_value(json!({"status": {"initContainerStatuses": init, "containerStatuses": main}})).unwrap()
    }

    fn reason(end: Option<JobEnd>) -> String {
        match end {
            Some(JobEnd::Failed { reason, .. } | JobEnd::Error { reason, .. } | JobEnd::Unfit { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_is_said_while_a_container_is_to_come() {
        let fine = [ended(TOOLS, 0, None, ""), ended(FETCH, 0, None, ""), ended(BUILD, 0, None, "")];
        assert_eq!(build_end(StepName::Build, &pod(&fine, &[])), None);
    }

    #[test]
    fn the_container_that_broke_says_why() {
        let said = r#"{"failed":{"reason":"CommitNotFound","message":"gone"}}"#;
        assert_eq!(reason(build_end(StepName::Build, &pod(&[ended(FETCH, 1, None, said)], &[]))), "CommitNotFound");
        let killed = ended(BUILD, 137, Some("OOMKilled"), "");
        assert_eq!(reason(build_end(StepName::Build, &pod(&[killed], &[]))), "OutOfMemory");
        let pod_of = |code| {
            let unfit = r#"{"ok":{"end":{"unfit":"BuildFailed"},"measured":{"metrics":[],"message":"command 1 exited with 137"}}}"#;
            pod(&[ended(BUILD, code, Some("OOMKilled"), "")], &[ended(PACK, 0, None, unfit)])
        };
        assert_eq!(reason(build_end(StepName::Build, &pod_of(0))), "OutOfMemory", "the shell outlived its command");
        let stuck = pod(&[ended(BUILD, 0, Some("OOMKilled"), "")], &[]);
        assert_eq!(reason(build_end(StepName::Build, &stuck)), "OutOfMemory", "the kubelet does not go on");
        let no_shell = ended(BUILD, 128, Some("StartError"), "exec: /bin/sh: no such file");
        assert_eq!(reason(build_end(StepName::Build, &pod(&[no_shell], &[]))), "BuildFailed");
        assert_eq!(reason(build_end(StepName::Build, &pod(&[ended(FETCH, 2, None, "panic")], &[]))), "JobFailed");
    }

    #[test]
    fn a_full_disk_is_told_from_a_full_node() {
        let mut evicted = pod(&[], &[]);
        let status = evicted.status.get_or_insert_default();
        status.reason = Some("Evicted".into());
        status.message = Some("Usage of EmptyDir volume \"work\" exceeds the limit \"8Gi\".".into());
        assert_eq!(reason(build_end(StepName::Build, &evicted)), "TooLarge");
        evicted.status.get_or_insert_default().message = Some("The node was low on resource: memory.".into());
        assert_eq!(reason(build_end(StepName::Build, &evicted)), "JobFailed");
    }

    #[test]
    fn what_was_stopped_from_outside_is_for_the_job_to_say() {
        let mut stopped = pod(&[ended(BUILD, 137, Some("Error"), "")], &[]);
        assert!(build_end(StepName::Build, &stopped).is_some());
        stopped.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-11-27T10:00:00Z".parse().unwrap()));
        assert_eq!(build_end(StepName::Build, &stopped), None);
    }

    #[test]
    fn packages_and_counts_come_back() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let good = format!(
            r#"{{"ok":{{"end":{{"packages":"{digest}"}},"measured":{{"metrics":[["tests","critical","GT","0","3"]],"message":"3 tests"}}}}}}"#
        );
        let Some(JobEnd::Packed { artifact, metrics, .. }) =
            build_end(StepName::Build, &pod(&[], &[ended(PACK, 0, None, &good)]))
        else {
            panic!("no packages")
        };
        assert_eq!((artifact.to_string(), metrics.len()), (digest, 1));
        let bad = r#"{"ok":{"end":{"unfit":"UnitTestsFailed"},"measured":{"metrics":[["test_failures","critical","EQ","0","1"]],"message":"1 failed"}}}"#;
        assert_eq!(reason(build_end(StepName::Build, &pod(&[], &[ended(PACK, 0, None, bad)]))), "UnitTestsFailed");
        let commit = "a".repeat(40);
        let found = format!(r#"{{"ok":{{"commit":"{commit}"}}}}"#);
        let end = build_end(StepName::Validate, &pod(&[], &[ended(RESOLVE, 0, None, &found)]));
        assert_eq!(end, Some(JobEnd::Resolved { commit }));
    }
}
