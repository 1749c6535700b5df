//! Changes of a source, and the executions that they start.

use std::time::Duration;

use kube::{Api, ResourceExt, api::ListParams};
use launchway_crds::{
    Pipeline,
    conditions::{get, reasons, types},
    execution::Trigger,
    step::StepName,
};
use serde_json::{Value, json};

use crate::{
    Outcome,
    cluster::{call, until},
    executions::told,
    failure::ensure,
    install,
    program::{APPROVER, PIPELINE, Program, STAGE},
    scenario::Scenario,
};

/// Two intervals, and what a start takes.
const SOON: Duration = Duration::from_secs(45);
/// A build, and stage.
const LONG: Duration = Duration::from_secs(300);
/// The stage-only pipeline on the same source as the coupled one.
pub const FIRST: &str = "first-half";

/// An execution, and the change that started it.
#[derive(Clone, Debug)]
pub struct Started {
    /// Its pipeline.
    pub pipeline: String,
    /// The revision of the source; empty when a person started it.
    pub change: String,
    /// Its name.
    pub name: String,
}

impl Program {
    /// A pipeline of this type on a source, which it looks at every ten seconds.
    #[must_use]
    pub fn watching(&self, name: &str, type_: &str, source: Value) -> Value {
        let mut pipeline = self.pipeline(&self.images.tester);
        pipeline["metadata"]["name"] = json!(name);
        let spec = &mut pipeline["spec"];
        spec["type"] = json!(type_);
        spec["source"] = source;
        spec["trigger"] = json!("OnChange");
        spec["onChange"] = json!({"interval": "10s"});
        if type_ != "FullStack" {
            for field in ["production", "stage", "images"] {
                spec.as_object_mut().map(|spec| spec.remove(field));
            }
        }
        if type_ == "StageOnly" {
            let images = format!("{}/{}/images", self.cluster.registry, self.namespace);
            spec["images"] = json!({"repository": images, "plainHTTP": true});
            spec["stage"] = json!({"environment": STAGE, "approval": {"required": true, "timeout": "1h"}});
        }
        pipeline
    }

    /// A pipeline as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn pipeline_now(&self, name: &str) -> Outcome<Pipeline> {
        let api: Api<Pipeline> = Api::namespaced(self.cluster.client.clone(), &self.namespace);
        call(api.get(name)).await
    }

    /// Waits until a pipeline says this of its source, and has seen it if it watches it.
    ///
    /// # Errors
    /// When it says something else for too long.
    pub async fn watched(&self, name: &str, wanted: &str) -> Outcome {
        until(&format!("pipeline {name} says {wanted}"), SOON, || async {
            let status = self.pipeline_now(name).await?.status.unwrap_or_default();
            let said = get(&status.conditions, types::SOURCE_WATCHED).map(|condition| condition.reason.clone());
            let looked = wanted != reasons::WATCHED || status.source.is_some_and(|seen| seen.revision.is_some());
            Ok(if looked && said.as_deref() == Some(wanted) { Ok(()) } else { Err(format!("{said:?}")) })
        })
        .await
    }

    /// Every execution.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn all_started(&self) -> Outcome<Vec<Started>> {
        let all = call(self.executions().list(&ListParams::default())).await?.items;
        let started = |one: launchway_crds::PipelineExecution| Started {
            name: one.name_any(),
            pipeline: one.spec.pipeline_ref.name,
            change: one.spec.change.unwrap_or_default(),
        };
        Ok(all.into_iter().map(started).collect())
    }

    /// Waits for the execution of a pipeline that a change started, and gives its name.
    ///
    /// # Errors
    /// When there is none for too long.
    pub async fn started(&self, pipeline: &str, change: &str) -> Outcome<String> {
        until(&format!("a change starts pipeline {pipeline}"), SOON, || async {
            let all = self.all_started().await?;
            let found = all.iter().find(|one| one.pipeline == pipeline && one.change == change);
            Ok(found.map(|one| one.name.clone()).ok_or_else(|| format!("{all:?}")))
        })
        .await
    }
}

/// A coupled and a stage-only pipeline on one source: a push is one execution of the stage-only one, and five pushes while it
/// runs are one more, for the last. `push` gives the revision that it made.
///
/// # Errors
/// When there are others, or one does not come to its end.
pub async fn one_and_one_more(
    scenario: &Scenario,
    program: &Program,
    source: &Value,
    mut push: impl AsyncFnMut(u32) -> Outcome<String>,
) -> Outcome<[Started; 2]> {
    push(0).await?;
    program.apply(&program.watching(FIRST, "StageOnly", source.clone())).await?;
    program.watched(FIRST, reasons::WATCHED).await?;
    program.apply(&program.watching(PIPELINE, "FullStack", source.clone())).await?;
    program.watched(PIPELINE, reasons::STAGE_ONLY_WINS).await?;

    let one = push(1).await?;
    let first = program.started(FIRST, &one).await?;
    at_approval(scenario, program, &first).await?;
    let execution = program.execution(&first).await?;
    let status = execution.status.unwrap_or_default();
    ensure(status.trigger == Trigger::OnChange, || told(&status))?;
    let by = execution.spec.requested_by.unwrap_or_default();
    ensure(by == install::ACCOUNT, || format!("asked by {by}"))?;

    let mut last = String::new();
    for number in 2..=6 {
        last = push(number).await?;
    }
    until("the last push is due", SOON, || async {
        let seen = program.pipeline_now(FIRST).await?.status.and_then(|status| status.source);
        let due = seen.as_ref().is_some_and(|seen| seen.revision.as_ref() == Some(&last) && seen.due.is_some());
        Ok(if due { Ok(()) } else { Err(format!("{seen:?}")) })
    })
    .await?;
    only(program, 1).await?;
    end(scenario, program, &first).await?;
    let second = program.started(FIRST, &last).await?;
    only(program, 2).await?;
    end(scenario, program, &second).await?;
    let started = |name, change| Started { pipeline: FIRST.into(), change, name };
    Ok([started(first, one), started(second, last)])
}

/// Fails unless there are so many executions, all of the stage-only pipeline.
///
/// # Errors
/// What there is.
pub async fn only(program: &Program, count: usize) -> Outcome {
    let all = program.all_started().await?;
    ensure(all.len() == count && all.iter().all(|one| one.pipeline == FIRST), || format!("not {count}: {all:?}"))
}

async fn at_approval(scenario: &Scenario, program: &Program, name: &str) -> Outcome {
    let waits =
        program.wait(name, "waits for approval of stage", LONG, |status| status.step == Some(StepName::ApprovalStage));
    scenario.on_failure(program, name, waits).await.map(drop)
}

/// Lets an execution of the stage-only pipeline come to its end.
async fn end(scenario: &Scenario, program: &Program, name: &str) -> Outcome {
    at_approval(scenario, program, name).await?;
    scenario.types(program, APPROVER, &["approve", name, "--yes"]).await?;
    scenario.on_failure(program, name, program.succeeded(name, LONG)).await.map(drop)
}
