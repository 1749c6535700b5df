//! A push starts an execution: one on a source that two pipelines share, one more for five pushes during a run, at once
//! when a webhook says so; and nothing is written while nothing changes.

use std::{path::Path, time::Duration};

use k8s_openapi::api::core::v1::Service;
use kube::{Api, ResourceExt, api::ListParams};
use launchway_crds::{
    Pipeline, PipelineExecution,
    conditions::{get, reasons, types},
    execution::Trigger,
    step::StepName,
};
use launchway_e2e::{
    Outcome, artifacts,
    audit::Audit,
    cluster::{call, until},
    executions::told,
    failure::ensure,
    install, page,
    program::{APPROVER, Options, PIPELINE, Program, STAGE},
    scenario::{self, Scenario, measured},
};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(300);
/// Two intervals, and what a start takes.
const SOON: Duration = Duration::from_secs(45);
/// Far below the interval of the pipeline with a webhook.
const AT_ONCE: Duration = Duration::from_secs(10);
const QUIET: Duration = Duration::from_secs(60);
/// The stage-only pipeline on the same source as the coupled one.
const FIRST: &str = "first-half";
/// The pipeline that hears of changes by webhook alone.
const HOOKED: &str = "hooked";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn changes_start_what_they_should_and_nothing_else() -> Outcome {
    scenario::run("on-change", |scenario| async move {
        let program = scenario.program("", &Options::stand_in(1)).await?;
        let site = artifacts::site(1, None).await?;
        push(&program, site.path(), 0).await?;
        program.apply(&pipeline(&program, FIRST, "StageOnly")).await?;
        watched(&program, FIRST, reasons::WATCHED).await?;
        program.apply(&pipeline(&program, PIPELINE, "FullStack")).await?;
        watched(&program, PIPELINE, reasons::STAGE_ONLY_WINS).await?;

        // Two pipelines on one source: one execution.
        let one = push(&program, site.path(), 1).await?;
        let name = started(&program, &one).await?;
        let waits = program
            .wait(&name, "waits for approval of stage", LONG, |status| status.step == Some(StepName::ApprovalStage));
        let execution = scenario.on_failure(&program, &name, waits).await?;
        let status = execution.status.clone().unwrap_or_default();
        ensure(status.trigger == Trigger::OnChange, || told(&status))?;
        let by = execution.spec.requested_by.clone().unwrap_or_default();
        ensure(by == install::ACCOUNT, || format!("asked by {by}"))?;

        // Five pushes while it runs: one more, for the last.
        let mut last = String::new();
        for number in 2..=6 {
            last = push(&program, site.path(), number).await?;
        }
        until("the last push is due", SOON, || async {
            let seen = of(&program, FIRST).await?.status.and_then(|status| status.source);
            let due = seen.as_ref().is_some_and(|seen| seen.revision.as_ref() == Some(&last) && seen.due.is_some());
            Ok(if due { Ok(()) } else { Err(format!("{seen:?}")) })
        })
        .await?;
        ensure(executions(&program).await?.len() == 1, || "another one runs already".into())?;
        end(&scenario, &program, &name).await?;
        let second = started(&program, &last).await?;
        end(&scenario, &program, &second).await?;

        quiet(&scenario).await?;
        let all = executions(&program).await?;
        ensure(all.len() == 2, || format!("{all:?}"))?;
        hooked(&scenario, &program, site.path()).await
    })
}

/// While nothing changes, the source is asked and nothing is written.
async fn quiet(scenario: &Scenario) -> Outcome {
    tokio::time::sleep(Duration::from_secs(10)).await;
    let audit = Audit::from_now_on(&scenario.cluster)?;
    tokio::time::sleep(QUIET).await;
    let writes = audit.of_operator()?;
    let others: Vec<_> = writes.iter().filter(|write| write.resource != "leases").collect();
    measured("writes in a minute of polling every 10 s", format!("{} besides the Lease", others.len()));
    ensure(others.is_empty(), || format!("the operator wrote while nothing changed: {others:#?}"))
}

/// A webhook has the source asked at once; one that is forged or sent again does not.
async fn hooked(scenario: &Scenario, program: &Program, site: &Path) -> Outcome {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "webhook"}, "stringData": {"token": SECRET},
    });
    program.apply(&secret).await?;
    let mut pipeline = pipeline(program, HOOKED, "CodeQuality");
    pipeline["spec"]["onChange"] = json!({"interval": "1h", "webhook": {"secretRef": {"name": "webhook"}}});
    program.apply(&pipeline).await?;
    watched(program, HOOKED, reasons::WATCHED).await?;
    let services: Api<Service> = Api::namespaced(scenario.cluster.client.clone(), install::NAMESPACE);
    let service = call(services.get("launchway-webhooks")).await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip).ok_or("the webhooks' Service has no address")?;
    let url = format!("http://{address}/hooks/{}/{HOOKED}", program.namespace);
    let client = page::client()?;
    let send = async |token: &str| -> Outcome<u16> {
        let request = client.post(&url).header("X-Gitlab-Token", token).body("{}");
        Ok(request.send().await.map_err(|error| format!("POST {url}: {error:?}"))?.status().as_u16())
    };
    let revision = push(program, site, 7).await?;
    ensure(send("forged-0123456789abcdef").await? == 401, || "a forged webhook was taken".into())?;
    let began = std::time::Instant::now();
    ensure(send(SECRET).await? == 202, || "the webhook was not taken".into())?;
    until("the webhook starts an execution", AT_ONCE, || async {
        let found = executions(program)
            .await?
            .into_iter()
            .any(|(pipeline, change, _)| pipeline == HOOKED && change == revision);
        Ok(if found { Ok(()) } else { Err("none is there".to_string()) })
    })
    .await?;
    measured("from webhook to execution", format!("{} ms", began.elapsed().as_millis()));
    Ok(())
}

/// A pipeline on the shared source that looks for changes every ten seconds.
fn pipeline(program: &Program, name: &str, type_: &str) -> Value {
    let mut pipeline = program.pipeline(&program.images.tester);
    pipeline["metadata"]["name"] = json!(name);
    let spec = &mut pipeline["spec"];
    spec["type"] = json!(type_);
    spec["trigger"] = json!("OnChange");
    spec["onChange"] = json!({"interval": "10s"});
    if type_ != "FullStack" {
        for field in ["production", "stage", "images"] {
            spec.as_object_mut().map(|spec| spec.remove(field));
        }
    }
    if type_ == "StageOnly" {
        spec["images"] = json!({"repository": format!("{}/{}/images", program.cluster.registry, program.namespace), "plainHTTP": true});
        spec["stage"] = json!({"environment": STAGE, "approval": {"required": true, "timeout": "1h"}});
    }
    pipeline
}

/// Pushes the site with one more package, which is another one each time.
async fn push(program: &Program, site: &Path, number: u32) -> Outcome<String> {
    artifacts::wishes(site, &format!("push=\"{number}\""))?;
    Ok(program.push(site).await?.digest().to_string())
}

async fn of(program: &Program, name: &str) -> Outcome<Pipeline> {
    let api: Api<Pipeline> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    call(api.get(name)).await
}

/// Waits until a pipeline says this of its source.
async fn watched(program: &Program, name: &str, wanted: &str) -> Outcome {
    until(&format!("pipeline {name} says {wanted}"), SOON, || async {
        let status = of(program, name).await?.status.unwrap_or_default();
        let said = get(&status.conditions, types::SOURCE_WATCHED).map(|condition| condition.reason.clone());
        let looked = wanted != reasons::WATCHED || status.source.is_some();
        Ok(if looked && said.as_deref() == Some(wanted) { Ok(()) } else { Err(format!("{said:?}")) })
    })
    .await
}

/// Pipeline, change and name of every execution.
async fn executions(program: &Program) -> Outcome<Vec<(String, String, String)>> {
    let api: Api<PipelineExecution> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    let all = call(api.list(&ListParams::default())).await?.items;
    let told = |execution: PipelineExecution| {
        let name = execution.name_any();
        (execution.spec.pipeline_ref.name, execution.spec.change.unwrap_or_default(), name)
    };
    Ok(all.into_iter().map(told).collect())
}

/// Waits for the execution that a change of the shared source started.
async fn started(program: &Program, revision: &str) -> Outcome<String> {
    until("a push starts an execution", SOON, || async {
        let all = executions(program).await?;
        let stray = all.iter().find(|(pipeline, ..)| pipeline != FIRST);
        ensure(stray.is_none(), || format!("another pipeline than {FIRST} started: {stray:?}"))?;
        let found = all.iter().find(|(_, change, _)| change == revision).map(|(.., name)| name.clone());
        Ok(found.ok_or_else(|| format!("{all:?}")))
    })
    .await
}

/// Lets an execution of the stage-only pipeline come to its end.
async fn end(scenario: &Scenario, program: &Program, name: &str) -> Outcome {
    let waits =
        program.wait(name, "waits for approval of stage", LONG, |status| status.step == Some(StepName::ApprovalStage));
    scenario.on_failure(program, name, waits).await?;
    scenario.types(program, APPROVER, &["approve", name, "--yes"]).await?;
    scenario.on_failure(program, name, program.succeeded(name, LONG)).await.map(drop)
}
