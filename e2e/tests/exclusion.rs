//! Executions that meet: two starts at once, a whole pipeline and its halves, and an object that a GitOps tool creates
//! again.

use std::time::Duration;

use kube::api::DeleteParams;
use launchway_crds::{
    conditions::reasons,
    digest::ImageRef,
    execution::PipelineExecutionStatus,
    step::{StepName, StepState},
};
use launchway_e2e::{
    Failure, Outcome, artifacts,
    audit::Audit,
    cluster::{call, until},
    executions::{reason, step, told},
    failure::ensure,
    program::{DEVELOPER, Options, PIPELINE, PRODUCTION, Program, STAGE},
    scenario::{self, Scenario},
};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(180);
const SOON: Duration = Duration::from_secs(30);
/// The stage-only pipeline beside the whole one.
const HALF: &str = "first-half";

#[test]
fn executions_that_meet_never_share_an_environment() -> Outcome {
    scenario::run("exclusion", |scenario| async move {
        let program = scenario.program("", &Options::stand_in(1)).await?;
        program.apply(&first_half(&program)).await?;
        let artifact = program.push(artifacts::site(1, None).await?.path()).await?;
        two_at_once(&scenario, &program, &artifact).await?;
        halves(&scenario, &program, &artifact).await?;
        created_again(&scenario, &program, &artifact).await
    })
}

fn spec(pipeline: &str, artifact: &ImageRef) -> Value {
    json!({"pipelineRef": {"name": pipeline}, "artifact": {"digest": artifact.digest()}, "requestedBy": DEVELOPER})
}

/// The first half, which waits on stage for a person.
fn first_half(program: &Program) -> Value {
    let mut pipeline = program.pipeline(&program.images.tester);
    pipeline["metadata"]["name"] = json!(HALF);
    pipeline["spec"]["type"] = json!("StageOnly");
    pipeline["spec"]["stage"]["approval"] = json!({"required": true});
    if let Some(spec) = pipeline["spec"].as_object_mut() {
        spec.remove("production");
    }
    pipeline
}

fn has_begun(status: &PipelineExecutionStatus) -> bool {
    step(status, StepName::Build).is_ok_and(|step| step.state != StepState::NotStarted)
}

/// Two executions are created in the same instant: one runs, and the other follows when it has ended.
async fn two_at_once(scenario: &Scenario, program: &Program, artifact: &ImageRef) -> Outcome {
    let (one, two) =
        tokio::join!(program.run("twin-a", Some(artifact.digest())), program.run("twin-b", Some(artifact.digest())));
    one.and(two)?;
    let first = until("one of the two waits for approval", LONG, || async {
        let (a, b) = tokio::try_join!(program.execution("twin-a"), program.execution("twin-b"))?;
        let both = [a.status.unwrap_or_default(), b.status.unwrap_or_default()];
        if both.iter().all(has_begun) {
            return Ok(Ok(Err(Failure::new(format!("both run:\n{}\n{}", told(&both[0]), told(&both[1]))))));
        }
        let waits = |status: &PipelineExecutionStatus| {
            status.waiting_for.as_ref().is_some_and(|waiting| waiting.step == StepName::ApprovalProduction)
        };
        let found = both.iter().position(waits).map(|index| ["twin-a", "twin-b"][index]);
        Ok(found.map(Ok).ok_or_else(|| format!("{}\n{}", told(&both[0]), told(&both[1]))))
    })
    .await??;
    let second = if first == "twin-a" { "twin-b" } else { "twin-a" };
    println!("  {first} runs, {second} waits");
    scenario.types(program, DEVELOPER, &["cancel", first, "--reason", "one is enough"]).await?;
    scenario.on_failure(program, second, program.awaits_approval(second, LONG)).await?;
    scenario.types(program, DEVELOPER, &["cancel", second, "--reason", "one is enough"]).await?;
    program.ended(second, SOON).await.map(drop)
}

/// The whole pipeline keeps stage from its first half, and the other way round.
async fn halves(scenario: &Scenario, program: &Program, artifact: &ImageRef) -> Outcome {
    program.run("whole", Some(artifact.digest())).await?;
    scenario.on_failure(program, "whole", program.awaits_approval("whole", LONG)).await?;
    program.run_spec("half", spec(HALF, artifact)).await?;
    excluded(scenario, program, "half", "whole").await?;
    scenario.types(program, DEVELOPER, &["cancel", "whole", "--reason", "for its half"]).await?;
    let asks = program.says_why("half", StepName::ApprovalStage, reasons::AWAITING_APPROVAL, LONG);
    scenario.on_failure(program, "half", asks).await?;

    program.run("whole-again", Some(artifact.digest())).await?;
    excluded(scenario, program, "whole-again", "half").await?;
    scenario.types(program, DEVELOPER, &["cancel", "half", "--reason", "for the whole"]).await?;
    scenario.on_failure(program, "whole-again", program.awaits_approval("whole-again", LONG)).await?;
    scenario.types(program, DEVELOPER, &["cancel", "whole-again", "--reason", "seen enough"]).await?;
    program.ended("whole-again", SOON).await.map(drop)
}

/// It waits for the lock, and says who has it.
async fn excluded(scenario: &Scenario, program: &Program, name: &str, by: &str) -> Outcome {
    let locked = program.says_why(name, StepName::Validate, reasons::ENVIRONMENT_LOCKED, SOON);
    let status = scenario.on_failure(program, name, locked).await?;
    let waiting = status.waiting_for.clone().ok_or("it waits for nothing")?;
    ensure(waiting.why.contains(by) && waiting.why.contains(STAGE), || format!("{waiting:?}"))?;
    println!("  {name} waits: {}", waiting.why);
    // Two looks later it still does.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = program.execution(name).await?.status.unwrap_or_default();
    ensure(!has_begun(&status), || format!("{name} runs beside {by}:\n{}", told(&status)))
}

/// What a GitOps tool does with an object that is in its repository: deleted by somebody, it is there again.
async fn created_again(scenario: &Scenario, program: &Program, artifact: &ImageRef) -> Outcome {
    scenario.deploy(program, "kept", 1).await?;
    let audit = Audit::from_now_on(&scenario.cluster)?;
    deleted(program, "kept").await?;
    program.run("kept", Some(artifact.digest())).await?;
    let status = scenario.on_failure(program, "kept", program.ended("kept", SOON)).await?;
    ensure(status.state == reasons::ALREADY_EXECUTED, || told(&status))?;
    let writes = audit.of_operator()?;
    let touched: Vec<_> = writes
        .iter()
        .filter(|write| [STAGE, PRODUCTION].iter().any(|name| write.of_workloads(&program.namespace, name)))
        .collect();
    ensure(touched.is_empty(), || format!("it was deployed once more: {touched:?}"))?;

    deleted(program, "kept").await?;
    let other = program.push(artifacts::site(2, None).await?.path()).await?;
    program.run("kept", Some(other.digest())).await?;
    let status = scenario.on_failure(program, "kept", program.ended("kept", SOON)).await?;
    ensure(
        status.state == reasons::NAME_REUSED || reason(&status, StepName::Validate) == reasons::NAME_REUSED,
        || told(&status),
    )?;
    program.serves(PRODUCTION, "Release 1").await?;

    // One that has not ended is another matter: its place is free at once, and the new one runs.
    program.run("moved", Some(other.digest())).await?;
    scenario.on_failure(program, "moved", program.awaits_approval("moved", LONG)).await?;
    deleted(program, "moved").await?;
    program.run_spec("moved", spec(PIPELINE, &other)).await?;
    scenario
        .on_failure(program, "moved", async {
            program.awaits_approval("moved", LONG).await?;
            program.approve("moved", &scenario.launchway).await?;
            program.succeeded("moved", LONG).await
        })
        .await?;
    program.serves(PRODUCTION, "Release 2").await
}

async fn deleted(program: &Program, name: &str) -> Outcome {
    call(program.executions().delete(name, &DeleteParams::default())).await.map(drop)?;
    until(&format!("execution {name} is gone"), SOON, || async {
        let left = call(program.executions().get_opt(name)).await?;
        Ok(if left.is_none() { Ok(()) } else { Err("it is still there".into()) })
    })
    .await
}
