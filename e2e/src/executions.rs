//! Executions: created by a person, waited for, approved by another one.

use std::{path::Path, time::Duration};

use kube::{Api, ResourceExt, api::PostParams};
use launchway_crds::{
    PipelineExecution,
    conditions::{self, types},
    digest::{ImageRef, Sha256Digest},
    execution::{PipelineExecutionStatus, Step},
    step::{StepName, StepState},
};
use serde_json::{Value, json};

use crate::{
    Failure, Outcome,
    cluster::{self, call, until},
    people,
    process::{Left, Program as Process},
    program::{APPROVER, DEVELOPER, PIPELINE, Program},
};

impl Program {
    /// Creates an execution of the Pipeline as the developer.
    ///
    /// # Errors
    /// When the apiserver refuses.
    pub async fn run(&self, name: &str, artifact: Option<Sha256Digest>) -> Outcome<PipelineExecution> {
        let artifact = artifact.map(|digest| json!({"digest": digest}));
        self.run_spec(name, json!({"pipelineRef": {"name": PIPELINE}, "artifact": artifact, "requestedBy": DEVELOPER}))
            .await
    }

    /// Creates an execution with this spec as the developer.
    ///
    /// # Errors
    /// When the apiserver refuses.
    pub async fn run_spec(&self, name: &str, spec: Value) -> Outcome<PipelineExecution> {
        let wanted: PipelineExecution = serde_json::from_value(json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
            "metadata": {"name": name}, "spec": spec,
        }))
        .map_err(|error| Failure::new(error.to_string()))?;
        let developer = cluster::client(&self.cluster.kubeconfig, Some(DEVELOPER)).await?;
        let api: Api<PipelineExecution> = Api::namespaced(developer, &self.namespace);
        call(api.create(&PostParams::default(), &wanted))
            .await
            .map_err(|failure| failure.during(&format!("create execution {name}")))
    }

    /// The execution as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn execution(&self, name: &str) -> Outcome<PipelineExecution> {
        call(self.executions().get(name)).await
    }

    /// Waits until the execution's status satisfies the test.
    ///
    /// # Errors
    /// After `limit`, or at once when the execution ended in another way.
    pub async fn wait(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        holds: impl Fn(&PipelineExecutionStatus) -> bool,
    ) -> Outcome<PipelineExecution> {
        until(&format!("execution {name} {what}"), limit, || async {
            let execution = self.execution(name).await?;
            let status = execution.status.clone().unwrap_or_default();
            Ok(if holds(&status) {
                Ok(Ok(execution))
            } else if status.completion_time.is_some() {
                Ok(Err(Failure::new(format!("execution {name} ended, but not as awaited ({what}): {}", told(&status)))))
            } else {
                Err(told(&status))
            })
        })
        .await?
    }

    /// Waits until a step has begun to work or to wait.
    ///
    /// # Errors
    /// After `limit`, or when the execution ended before.
    pub async fn begins(&self, name: &str, wanted: StepName, limit: Duration) -> Outcome<PipelineExecution> {
        self.wait(name, &format!("begins {}", wanted.as_str()), limit, |status| {
            step(status, wanted).is_ok_and(|step| matches!(step.state, StepState::Running | StepState::Waiting))
        })
        .await
    }

    /// Waits until a step says this reason.
    ///
    /// # Errors
    /// After `limit`, or when the execution ended in another way.
    pub async fn says_why(
        &self,
        name: &str,
        step: StepName,
        wanted: &str,
        limit: Duration,
    ) -> Outcome<PipelineExecutionStatus> {
        let what = format!("says {wanted} in {}", step.as_str());
        let execution = self.wait(name, &what, limit, |status| reason(status, step) == wanted).await?;
        execution.status.ok_or_else(|| Failure::new(format!("execution {name} has no status")))
    }

    /// Waits for the moment in which a person has to approve.
    ///
    /// # Errors
    /// After `limit`, or when the execution ended before.
    pub async fn awaits_approval(&self, name: &str, limit: Duration) -> Outcome<PipelineExecution> {
        self.wait(name, "waits for approval", limit, |status| {
            status.waiting_for.as_ref().is_some_and(|waiting| waiting.step == StepName::ApprovalProduction)
        })
        .await
    }

    /// Waits for the end, good or bad.
    ///
    /// # Errors
    /// After `limit`.
    pub async fn ended(&self, name: &str, limit: Duration) -> Outcome<PipelineExecutionStatus> {
        let execution = self.wait(name, "ends", limit, |status| status.completion_time.is_some()).await?;
        execution.status.ok_or_else(|| Failure::new(format!("execution {name} has no status")))
    }

    /// Waits for success.
    ///
    /// # Errors
    /// After `limit`, or when it ended in another way.
    pub async fn succeeded(&self, name: &str, limit: Duration) -> Outcome<PipelineExecutionStatus> {
        let execution = self.wait(name, "succeeds", limit, succeeded).await?;
        execution.status.ok_or_else(|| Failure::new(format!("execution {name} has no status")))
    }

    /// Approves as the approver, with the plugin that people use.
    ///
    /// # Errors
    /// When the plugin or the apiserver refuses.
    pub async fn approve(&self, name: &str, launchway: &Path) -> Outcome {
        self.types(launchway, APPROVER, &["approve", name, "--yes"]).await
    }

    /// Types a command of the plugin, as this person.
    ///
    /// # Errors
    /// When the plugin or the apiserver refuses.
    pub async fn types(&self, launchway: &Path, who: &str, words: &[&str]) -> Outcome {
        self.typed(launchway, who, words).await?.run().await.map(drop)
    }

    /// The same for a command whose exit code is an answer, too.
    ///
    /// # Errors
    /// When the plugin cannot be started, or does not end.
    pub async fn asks(&self, launchway: &Path, who: &str, words: &[&str]) -> Outcome<Left> {
        self.typed(launchway, who, words).await?.answer().await
    }

    async fn typed(&self, launchway: &Path, who: &str, words: &[&str]) -> Outcome<Process> {
        let kubeconfig = people::kubeconfig(&self.cluster, who).await?;
        let process = Process::new(launchway).args(words.iter().copied());
        Ok(process.args(["--namespace", &self.namespace]).env("KUBECONFIG", kubeconfig))
    }
}

/// Whether an execution succeeded.
#[must_use]
pub fn succeeded(status: &PipelineExecutionStatus) -> bool {
    conditions::get(&status.conditions, types::SUCCEEDED).is_some_and(|condition| condition.status == "True")
}

/// The record of a step.
///
/// # Errors
/// When the status has none.
pub fn step(status: &PipelineExecutionStatus, name: StepName) -> Outcome<&Step> {
    let found = status.steps.iter().find(|step| step.name == name);
    found.ok_or_else(|| Failure::new(format!("the status has no step {}", name.as_str())))
}

/// The reason of a step, or nothing.
#[must_use]
pub fn reason(status: &PipelineExecutionStatus, name: StepName) -> &str {
    step(status, name).ok().and_then(|step| step.reason.as_deref()).unwrap_or_default()
}

/// The release of an execution.
///
/// # Errors
/// When it has none.
pub fn release(status: &PipelineExecutionStatus) -> Outcome<Sha256Digest> {
    let release = status.release.as_ref().map(ImageRef::digest);
    release.ok_or_else(|| Failure::new("the execution has no release").seen(&told(status)))
}

/// One line for each step, and the conditions: for whoever reads a failure.
#[must_use]
pub fn told(status: &PipelineExecutionStatus) -> String {
    let mut lines: Vec<String> = status
        .steps
        .iter()
        .filter(|step| step.state != StepState::NotStarted)
        .map(|step| {
            let text = |part: &Option<String>| part.clone().unwrap_or_default();
            format!("{} {:?} {} {}", step.name.as_str(), step.state, text(&step.reason), text(&step.message))
        })
        .collect();
    lines.extend(
        status
            .conditions
            .iter()
            .filter(|condition| condition.status != "False" || condition.type_ == types::SUCCEEDED)
            .map(|condition| {
                format!("{}={} {} {}", condition.type_, condition.status, condition.reason, condition.message)
            }),
    );
    if lines.is_empty() { "no operator has seen it".into() } else { lines.join("\n") }
}

/// Seconds that a step took.
#[must_use]
pub fn seconds(step: &Step) -> Option<i64> {
    let (begun, ended) = (step.started_at.as_ref()?, step.finished_at.as_ref()?);
    Some(ended.0.duration_since(begun.0).as_secs())
}

/// Name of an execution.
#[must_use]
pub fn name(execution: &PipelineExecution) -> String {
    execution.name_any()
}
