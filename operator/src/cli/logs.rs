//! `launchway logs`: the log of the Job that does a step.

use std::{io::Write, time::Duration};

use clap::Args;
use futures::AsyncReadExt;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, LogParams},
};
use launchway_crds::{PipelineExecution, names::labels, step::StepName};

use super::{
    CliError, End, say,
    session::{Connection, Session, same_as},
};
use crate::{
    client::{CALL, CallError, within},
    plan::execution::uses_job,
    render::job::DEFAULT_CONTAINER,
    text::printable,
};

/// How long `-f` waits for a pod to start: a node may have to be added.
const START: Duration = Duration::from_secs(300);
const AGAIN: Duration = Duration::from_secs(1);
/// Without `-f` a log is an answer and has an end.
const WHOLE: Duration = Duration::from_secs(60);

/// Arguments of `logs`.
#[derive(Args, Debug)]
pub struct LogsArgs {
    /// Name of the execution
    pub name: String,
    /// Step, such as buildImage or smoke-test; default: the last one that had a Job
    #[arg(value_parser = step)]
    pub step: Option<StepName>,
    /// Container, where the Job has several, such as scan-pmd
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// Wait for the pod and follow its log until it ends
    #[arg(short, long)]
    pub follow: bool,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// Prints the log.
///
/// # Errors
/// When the step has no Job, its pods are gone, or the log cannot be read.
pub async fn run(args: LogsArgs) -> Result<End, CliError> {
    let session = Session::open(args.connection).await?;
    let execution = session.execution(&args.name).await?;
    let hint = session.plugin(&["status", &args.name]);
    let (step, selector) = job(&execution, args.step, &hint)?;
    if let Some(said) = without_job(&execution, step) {
        say(said)?;
        return Ok(End::Done);
    }
    let pods: Api<Pod> = Api::namespaced(session.client.clone(), &session.namespace);
    let pod = if args.follow {
        match tokio::time::timeout(START, started(&pods, &selector)).await {
            Ok(pod) => pod?,
            Err(_) => {
                return Err(CliError::said(format!(
                    "no pod of {} has started within {} s",
                    step.as_str(),
                    START.as_secs()
                )));
            }
        }
    } else {
        newest(&pods, &selector).await?.ok_or_else(|| gone(&execution, step, &hint))?
    };
    let name = pod.name_any();
    let container = container(&pod, args.container.as_deref())?;
    let mut words = vec!["logs", name.as_str()];
    words.extend(container.iter().flat_map(|container| ["-c", container.as_str()]));
    words.extend(args.follow.then_some("-f"));
    same_as(&session.kubectl(&words));
    let params = LogParams { follow: args.follow, container, ..LogParams::default() };
    if args.follow {
        let quiet: Api<Pod> = Api::namespaced(session.watch_client.clone(), &session.namespace);
        copy(&quiet, &name, &params).await?;
    } else {
        tokio::time::timeout(WHOLE, copy(&pods, &name, &params)).await.map_err(|_| CallError::TimedOut(WHOLE))??;
    }
    Ok(End::Done)
}

/// The step and the label selector of its pods; `hint` is the command that shows the execution.
fn job(execution: &PipelineExecution, wanted: Option<StepName>, hint: &str) -> Result<(StepName, String), CliError> {
    let name = execution.name_any();
    let status = execution.status.clone().unwrap_or_default();
    let with_child =
        status.steps.iter().rev().find(|step| step.child.as_ref().is_some_and(|child| child.kind == "Job"));
    let step = match wanted {
        Some(step) => step,
        None => with_child
            .map(|step| step.name)
            .ok_or_else(|| CliError::said(format!("{name} has had no Job yet: look where it is with `{hint}`")))?,
    };
    if !uses_job(step) {
        let others: Vec<&str> =
            StepName::ALL.into_iter().filter(|step| uses_job(*step)).map(StepName::as_str).collect();
        return Err(CliError::said(format!(
            "{} has no Job and so no log: these have one: {}; `{hint}` says what it did",
            step.as_str(),
            others.join(", ")
        )));
    }
    let child = status.steps.iter().find(|have| have.name == step).and_then(|step| step.child.as_ref());
    let selector = match child {
        // By UID: another Job of the same name is not the step's.
        Some(child) => format!("batch.kubernetes.io/controller-uid={}", child.uid),
        None => format!("{}={name},{} in ({},{})", labels::EXECUTION, labels::STEP, step.as_str(), step.dashed()),
    };
    Ok((step, selector))
}

/// What a step said that ended without a Job, as a build does that was done before: there is no log but this.
fn without_job(execution: &PipelineExecution, wanted: StepName) -> Option<String> {
    let steps = execution.status.iter().flat_map(|status| &status.steps);
    let step =
        steps.into_iter().find(|step| step.name == wanted && step.state.is_terminal() && step.child.is_none())?;
    let said = step.message.as_deref().or(step.reason.as_deref()).unwrap_or("it ended");
    Some(format!("{} had no Job: {}", wanted.as_str(), printable(said)))
}

/// The container that is meant: the one that is named, or the pod's own word; none when there is only one.
fn container(pod: &Pod, wanted: Option<&str>) -> Result<Option<String>, CliError> {
    let spec = pod.spec.clone().unwrap_or_default();
    let all: Vec<String> =
        spec.init_containers.into_iter().flatten().chain(spec.containers).map(|container| container.name).collect();
    match wanted {
        Some(wanted) if all.iter().any(|name| name == wanted) => Ok(Some(wanted.into())),
        Some(wanted) => Err(CliError::said(format!("this Job has no container {wanted}; it has {}", all.join(", ")))),
        None => Ok(speaker(pod)),
    }
}

/// The container that speaks for a pod: the one that it names, unless another one did not let that begin.
fn speaker(pod: &Pod) -> Option<String> {
    let named = pod.annotations().get(DEFAULT_CONTAINER)?;
    Some(if begun(pod, named) { named.clone() } else { broken(pod).unwrap_or_else(|| named.clone()) })
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| status.init_container_statuses.iter().chain(&status.container_statuses).flatten())
}

fn begun(pod: &Pod, name: &str) -> bool {
    let state = statuses(pod).find(|one| one.name == name).and_then(|one| one.state.as_ref());
    state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
}

/// The container that ended badly.
fn broken(pod: &Pod) -> Option<String> {
    let ended = |one: &&ContainerStatus| {
        let end = one.state.as_ref().and_then(|state| state.terminated.as_ref());
        end.is_some_and(|end| end.exit_code != 0)
    };
    statuses(pod).find(ended).map(|one| one.name.clone())
}

/// Whether the container that people want to hear has begun, in a pod whose other containers come first or last.
fn speaks(pod: &Pod) -> bool {
    let named = pod.annotations().get(DEFAULT_CONTAINER);
    named.is_some_and(|named| begun(pod, named) || broken(pod).is_some())
}

async fn newest(pods: &Api<Pod>, selector: &str) -> Result<Option<Pod>, CallError> {
    let found = within(CALL, pods.list(&ListParams::default().labels(selector))).await?;
    Ok(found.items.into_iter().max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0)))
}

/// The newest pod, once its container has begun.
async fn started(pods: &Api<Pod>, selector: &str) -> Result<Pod, CallError> {
    loop {
        if let Some(pod) = newest(pods, selector).await? {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            if !matches!(phase, None | Some("Pending")) || speaks(&pod) {
                return Ok(pod);
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn gone(execution: &PipelineExecution, step: StepName, hint: &str) -> CliError {
    let name = execution.name_any();
    let state = execution.status.as_ref().and_then(|status| status.steps.iter().find(|have| have.name == step));
    match state {
        Some(step) if step.state.is_terminal() && step.child.is_some() => CliError::said(format!(
            "the pod of {} of {name} is gone, and its log with it: the result is in `{hint}`",
            step.name.as_str()
        )),
        _ => CliError::said(format!("{} of {name} has no pod yet: -f waits for it", step.as_str())),
    }
}

/// Bytes as they are: a log is not ours to change.
async fn copy(pods: &Api<Pod>, name: &str, params: &LogParams) -> Result<(), CliError> {
    let log = pods.log_stream(name, params).await.map_err(CallError::Kube)?;
    let mut log = std::pin::pin!(log);
    let mut out = std::io::stdout();
    let mut block = vec![0; 16 * 1024];
    loop {
        let read = log.as_mut().read(&mut block).await?;
        if read == 0 {
            return Ok(());
        }
        out.write_all(&block[..read])?;
        out.flush()?;
    }
}

/// A step by either spelling.
pub(super) fn step(text: &str) -> Result<StepName, String> {
    StepName::ALL
        .into_iter()
        .find(|step| step.as_str().eq_ignore_ascii_case(text) || step.dashed() == text)
        .ok_or_else(|| format!("`{text}` is no step; there are {}", StepName::ALL.map(StepName::as_str).join(", ")))
}

#[cfg(test)]
mod tests {
    use launchway_crds::{execution::Child, step::StepState};

    use super::*;
    use crate::cli::samples;

    #[test]
    fn the_pods_are_those_of_the_very_job() {
        let mut execution = samples::waiting();
        let error = job(&execution, None, "status").unwrap_err().to_string();
        assert!(error.starts_with("wknd-42 has had no Job yet"), "{error}");
        let child = Child { kind: "Job".into(), name: "wknd-42-build-image".into(), uid: "u-7".into() };
        execution.status.as_mut().unwrap().steps[2].child = Some(child);
        let by_uid = "batch.kubernetes.io/controller-uid=u-7".to_string();
        assert_eq!(job(&execution, None, "status").unwrap(), (StepName::BuildImage, by_uid));
        assert_eq!(
            job(&execution, Some(StepName::SmokeTest), "status").unwrap().1,
            "launchway.dev/execution=wknd-42,launchway.dev/step in (smokeTest,smoke-test)"
        );
        assert!(job(&execution, Some(StepName::DeployStage), "status").unwrap_err().to_string().contains("has no Job"));
    }

    #[test]
    fn a_step_that_ended_without_a_job_says_itself_why() {
        let mut execution = samples::waiting();
        let step = &mut execution.status.as_mut().unwrap().steps[1];
        (step.name, step.state, step.child) = (StepName::Build, StepState::Running, None);
        step.message = Some("built before by wknd/wknd-41: uses r/a@sha256:1".into());
        assert_eq!(without_job(&execution, StepName::Build), None, "its Job may still come");
        execution.status.as_mut().unwrap().steps[1].state = StepState::Finished;
        let said = without_job(&execution, StepName::Build).unwrap();
        assert_eq!(said, "build had no Job: built before by wknd/wknd-41: uses r/a@sha256:1");
        let child = Child { kind: "Job".into(), name: "wknd-42-build".into(), uid: "u-7".into() };
        execution.status.as_mut().unwrap().steps[1].child = Some(child);
        assert_eq!(without_job(&execution, StepName::Build), None, "its Job has a log");
    }

    #[test]
    fn a_job_of_several_containers_says_whose_log_is_meant() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"annotations": {DEFAULT_CONTAINER: "code-quality"}},
            "spec": {"initContainers": [{"name": "code-quality"}], "containers": [{"name": "scan-pmd"}]},
        }))
        .unwrap();
        assert_eq!(container(&pod, None).unwrap().as_deref(), Some("code-quality"));
        assert_eq!(container(&pod, Some("scan-pmd")).unwrap().as_deref(), Some("scan-pmd"));
        let error = container(&pod, Some("pmd")).unwrap_err().to_string();
        assert_eq!(error, "this Job has no container pmd; it has code-quality, scan-pmd");
        assert_eq!(container(&Pod::default(), None).unwrap(), None);
    }

    #[test]
    fn what_did_not_let_a_build_begin_speaks_for_it() {
        let pod = |init: serde_json::Value| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": {"annotations": {DEFAULT_CONTAINER: "build"}}, "status": {"initContainerStatuses": init},
            }))
            .unwrap()
        };
        let one = |name: &str, state: serde_json::Value| serde_json::json!({"name": name, "image": "i", "imageID": "i", "ready": false, "restartCount": 0, "state": state});
        let (waiting, running) = (serde_json::json!({"waiting": {}}), serde_json::json!({"running": {}}));
        let ended = |code: i32| serde_json::json!({"terminated": {"exitCode": code}});
        let fetching = pod(serde_json::json!([one("fetch", running.clone()), one("build", waiting.clone())]));
        assert_eq!((speaks(&fetching), speaker(&fetching).as_deref()), (false, Some("build")));
        let building = pod(serde_json::json!([one("fetch", ended(0)), one("build", running)]));
        assert_eq!((speaks(&building), speaker(&building).as_deref()), (true, Some("build")));
        let refused = pod(serde_json::json!([one("fetch", ended(1)), one("build", waiting)]));
        assert_eq!((speaks(&refused), speaker(&refused).as_deref()), (true, Some("fetch")));
    }

    #[test]
    fn steps_have_two_spellings() {
        assert_eq!(step("smokeTest"), Ok(StepName::SmokeTest));
        assert_eq!(step("smoke-test"), Ok(StepName::SmokeTest));
        assert!(step("test").unwrap_err().contains("functionalTest"));
    }
}
