//! Every step of every kind of pipeline comes to its end, and what one release of all of them writes.

use std::time::Duration;

use launchway_crds::{
    digest::ImageRef,
    execution::PipelineExecutionStatus,
    step::{StepName, StepState},
};
use launchway_e2e::{
    Outcome, artifacts,
    audit::{self, Audit},
    executions::{step, told},
    failure::ensure,
    people,
    pods::Member,
    process::Program as Process,
    program::{APPROVER, DEVELOPER, Options, PAGE, PRODUCTION, Program},
    scenario::{self, Scenario, measured},
};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(240);
/// Who chooses times.
const MANAGER: &str = "mary";
/// Who gives the go.
const SUPPORT: &str = "sam";
/// An Environment that leads nowhere else.
const DEVELOPMENT: &str = "dev";
/// As many may an execution with every step write, and one with the fewest.
const EVERY_STEP_MAX: usize = 60;
const FEWEST_MAX: usize = 40;

const GOOD: &str =
    r#"<testsuite name="browser" tests="2"><testcase name="opens"/><testcase name="closes"/></testsuite>"#;
const BAD: &str = r#"<testsuite name="browser" tests="1"><testcase name="opens"><failure/></testcase></testsuite>"#;
/// What a content audit finds.
const RATED: &str = r#"{"format":"launchway-metrics/1","metrics":[{"name":"accessibility","severity":"informational","comparator":"GTE","expected":80,"actual":90}]}"#;

#[test]
fn every_step_of_every_kind_of_pipeline_comes_to_its_end() -> Outcome {
    scenario::run("every-step", |scenario| async move {
        let options = Options::stand_in(1);
        let program = scenario.program("", &options).await?;
        for (who, role) in [(MANAGER, "launchway-deployment-manager"), (SUPPORT, "launchway-support")] {
            program.apply(&people::binding(who, role)).await?;
        }
        program.apply(&everything(&program)).await?;
        program.apply(&program.environment_object(DEVELOPMENT, "Development", 1, &options)).await?;
        let artifact = program.push(artifacts::site(1, None).await?.path()).await?;

        // The first release makes what later ones find.
        released(&scenario, &program, "first", &artifact).await?;
        let writes = released(&scenario, &program, "second", &artifact).await?;
        ensure(writes <= EVERY_STEP_MAX, || format!("{writes} writes, which may be {EVERY_STEP_MAX}"))?;
        reported(&scenario, &program, "second").await?;

        deployed(&scenario, &program, &artifact).await?;
        web_tier(&scenario, &program, &artifact).await
    })
}

/// A release through every step; how many writes of the operator it took.
async fn released(scenario: &Scenario, program: &Program, name: &str, artifact: &ImageRef) -> Outcome<usize> {
    let audit = Audit::from_now_on(&scenario.cluster)?;
    program.run(name, Some(artifact.digest())).await?;
    let status = scenario.on_failure(program, name, by_everybody(scenario, program, name)).await?;
    let unfinished = status.steps.iter().find(|step| step.state != StepState::Finished);
    ensure(unfinished.is_none() && status.steps.len() == StepName::ALL.len() - 1, || {
        format!("not every step is finished:\n{}", told(&status))
    })?;
    program.serves(PRODUCTION, "Release 1").await?;
    written(&audit, program, name)
}

/// Says what each step waits for.
async fn by_everybody(scenario: &Scenario, program: &Program, name: &str) -> Outcome<PipelineExecutionStatus> {
    for (waits, who, words) in [
        (StepName::ApprovalStage, APPROVER, ["approve", name, "--yes"].as_slice()),
        (StepName::ApprovalProduction, APPROVER, &["approve", name, "--yes"]),
        (StepName::Schedule, MANAGER, &["schedule", name, "now"]),
        (StepName::Managed, SUPPORT, &["managed-go", name, "--yes"]),
    ] {
        program.begins(name, waits, LONG).await?;
        scenario.types(program, who, words).await?;
    }
    program.succeeded(name, LONG).await
}

fn written(audit: &Audit, program: &Program, name: &str) -> Outcome<usize> {
    let writes = audit.of_operator()?;
    let counts = audit::counted(writes.iter().filter(|write| write.namespace == program.namespace));
    let all = counts.values().sum();
    measured(&format!("{name}: writes by the operator, Events apart"), all);
    counts.iter().for_each(|(what, count)| println!("    {count:4}  {what}"));
    Ok(all)
}

/// What the tests in a browser left is read by one command.
async fn reported(scenario: &Scenario, program: &Program, name: &str) -> Outcome {
    let said = Process::new(&scenario.launchway)
        .args(["report", name, "uiTest", "--plain-http", &program.cluster.registry])
        .args(["--namespace", &program.namespace])
        .env("KUBECONFIG", program.cluster.kubeconfig.clone())
        .env("no_proxy", "*")
        .run()
        .await?
        .stdout;
    ensure(said.contains("junit.xml"), || format!("the report of {name} has no junit.xml:\n{said}"))
}

/// A pipeline to development: JUnit XML decides, not the exit code; and a release with the fewest steps.
async fn deployed(scenario: &Scenario, program: &Program, artifact: &ImageRef) -> Outcome {
    program.apply(&to_development(program, "development", "Deployment", &json!({"ui": ui(program, BAD, 0)}))).await?;
    run(program, "failing", "development", artifact).await?;
    let status = scenario.on_failure(program, "failing", program.ended("failing", LONG)).await?;
    let ui = step(&status, StepName::UiTest)?;
    ensure(ui.state == StepState::Failed, || format!("a failing case is no failure:\n{}", told(&status)))?;
    println!("  a failing case with exit code 0: {}", ui.message.clone().unwrap_or_default());

    program.apply(&to_development(program, "development", "Deployment", &json!({}))).await?;
    let audit = Audit::from_now_on(&scenario.cluster)?;
    run(program, "fewest", "development", artifact).await?;
    scenario.on_failure(program, "fewest", program.succeeded("fewest", LONG)).await?;
    program.serves(DEVELOPMENT, "Release 1").await?;
    let writes = written(&audit, program, "fewest")?;
    ensure(writes <= FEWEST_MAX, || format!("{writes} writes, which may be {FEWEST_MAX}"))
}

/// Dispatchers get an image of their own and nobody else is touched; a release of everything leaves them alone then.
async fn web_tier(scenario: &Scenario, program: &Program, artifact: &ImageRef) -> Outcome {
    let before = program.members(DEVELOPMENT).await?;
    let second = program.push(artifacts::site(2, None).await?.path()).await?;
    program.apply(&to_development(program, "web-tier", "WebTier", &json!({}))).await?;
    run(program, "dispatchers", "web-tier", &second).await?;
    scenario.on_failure(program, "dispatchers", program.succeeded("dispatchers", LONG)).await?;
    let after = program.members(DEVELOPMENT).await?;
    let of = |all: &[Member], dispatchers: bool| {
        let some = all.iter().filter(|member| (member.tier == "dispatcher") == dispatchers);
        some.map(|member| (member.name.clone(), member.uid.clone(), member.image)).collect::<Vec<_>>()
    };
    ensure(of(&before, false) == of(&after, false), || format!("before {before:?}, after {after:?}"))?;
    ensure(of(&before, true) != of(&after, true), || format!("the dispatchers are as they were: {after:?}"))?;

    run(program, "beside", "development", artifact).await?;
    scenario.on_failure(program, "beside", program.succeeded("beside", LONG)).await?;
    let left = program.members(DEVELOPMENT).await?;
    ensure(of(&after, true) == of(&left, true), || format!("dispatchers: {after:?} before, {left:?} after"))
}

async fn run(program: &Program, name: &str, pipeline: &str, artifact: &ImageRef) -> Outcome {
    let artifact = json!({"digest": artifact.digest()});
    let spec = json!({"pipelineRef": {"name": pipeline}, "artifact": artifact, "requestedBy": DEVELOPER});
    program.run_spec(name, spec).await.map(drop)
}

/// Tests in a browser that leave this XML and end with this code.
fn ui(program: &Program, xml: &str, exit: u8) -> Value {
    json!({
        "image": program.images.tester,
        "variables": {"LAUNCHWAY_TEST_JUNIT": xml, "LAUNCHWAY_TEST_EXIT": exit.to_string()},
    })
}

/// The demo's pipeline with all that a pipeline can have.
fn everything(program: &Program) -> Value {
    let mut pipeline = program.pipeline(&program.images.tester);
    let spec = &mut pipeline["spec"];
    spec["stage"]["approval"] = json!({"required": true});
    let page = json!({"image": program.images.tester, "variables": {"LAUNCHWAY_TEST_PATH": PAGE}});
    let tests = &mut spec["stage"]["tests"];
    // The open stand-in of a dispatcher has no filter, and these three find that out.
    let open = ["dispatcher_filter_bypass", "sling_post_servlet", "sling_referrer_filter"];
    tests["security"] = json!({"skip": open});
    tests["performance"] = json!({
        "pages": [{"name": "popular", "weight": 100, "paths": [PAGE]}],
        "duration": "10s", "visitors": 2, "pagesPerMinute": 300, "thresholds": {"pagesPerMinute": 60},
    });
    tests["product"] = page;
    tests["audit"] = json!({"image": program.images.tester, "variables": {"LAUNCHWAY_TEST_METRICS": RATED}});
    // Its cases pass, so that its exit code says nothing.
    tests["ui"] = ui(program, GOOD, 1);
    spec["production"]["schedule"] = json!({"required": true});
    spec["production"]["managed"] = json!({"required": true});
    pipeline
}

fn to_development(program: &Program, name: &str, type_: &str, tests: &Value) -> Value {
    let mut pipeline = program.pipeline(&program.images.tester);
    pipeline["metadata"]["name"] = json!(name);
    let spec = &mut pipeline["spec"];
    spec["type"] = json!(type_);
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("stage");
        spec.remove("production");
    }
    spec["deployment"] = json!({"environment": DEVELOPMENT, "tests": tests});
    pipeline
}
