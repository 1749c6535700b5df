//! Waits that time ends: a schedule in another zone, an approval that nobody gives, a window that is closed, and a
//! person who says no; and one that the cluster's administrator ends.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::api::{core::v1::ResourceQuota, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use launchway_crds::{
    conditions::reasons,
    digest::ImageRef,
    execution::PipelineExecutionStatus,
    step::{StepName, StepState},
};
use launchway_e2e::{
    Outcome, artifacts,
    cluster::{call, until},
    executions::{reason, step, told},
    failure::ensure,
    people,
    program::{APPROVER, DEVELOPER, Options, PAGE, PIPELINE, PRODUCTION, Program},
    scenario::{self, Scenario, measured},
};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(180);
const SOON: Duration = Duration::from_secs(30);
/// Who chooses times and judges metrics.
const MANAGER: &str = "mary";
/// A zone whose clocks no machine of ours shows, and that is not whole hours away.
const ZONE: &str = "Asia/Kathmandu";

#[test]
fn times_windows_and_a_no_end_waits_as_they_say() -> Outcome {
    scenario::run("times", |scenario| async move {
        let program = scenario.program("", &Options::stand_in(1)).await?;
        program.apply(&people::binding(MANAGER, "launchway-deployment-manager")).await?;
        let artifact = program.push(artifacts::site(1, None).await?.path()).await?;
        no_room(&scenario, &program, &artifact).await?;
        nobody_approves(&scenario, &program, &artifact).await?;
        nobody_accepts_the_metrics(&scenario, &program, &artifact).await?;
        scheduled(&scenario, &program, &artifact).await?;
        frozen(&scenario, &program).await
    })
}

async fn pipeline(program: &Program, change: impl FnOnce(&mut Value)) -> Outcome {
    let mut pipeline = program.pipeline(&program.images.tester);
    change(&mut pipeline["spec"]);
    program.apply(&pipeline).await
}

fn message(status: &PipelineExecutionStatus, name: StepName) -> String {
    step(status, name).ok().and_then(|step| step.message.clone()).unwrap_or_default()
}

/// Quotas leave no room for the version of the pipeline, for Jobs, and for their pods: the execution says so each time, can be
/// cancelled, and goes on when there is room.
async fn no_room(scenario: &Scenario, program: &Program, artifact: &ImageRef) -> Outcome {
    const NO_VERSIONS: &str = "no-versions";
    const NO_JOBS: &str = "no-jobs";
    const NO_PODS: &str = "no-pods";
    let quota = |name: &str, of: &str| {
        json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": {of: "0"}},
        })
    };
    let quotas: Api<ResourceQuota> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    program.apply(&quota(NO_VERSIONS, "count/controllerrevisions.apps")).await?;
    program.run("unkept", Some(artifact.digest())).await?;
    let refused = program.says_why("unkept", StepName::Validate, reasons::CHANGE_REFUSED, SOON);
    let status = scenario.on_failure(program, "unkept", refused).await?;
    let why = message(&status, StepName::Validate);
    ensure(why.contains(NO_VERSIONS) && why.contains("ControllerRevision"), || why.clone())?;
    println!("  unkept waits: {why}");
    program.apply(&quota(NO_JOBS, "count/jobs.batch")).await?;
    call(quotas.delete(NO_VERSIONS, &DeleteParams::default())).await?;
    let goes_on = program.says_why("unkept", StepName::CodeQuality, reasons::JOB_REFUSED, LONG);
    scenario.on_failure(program, "unkept", goes_on).await?;
    scenario.types(program, DEVELOPER, &["cancel", "unkept", "--reason", "seen enough"]).await?;
    program.ended("unkept", SOON).await?;
    for name in ["never", "later"] {
        program.run(name, Some(artifact.digest())).await?;
        let refused = program.says_why(name, StepName::CodeQuality, reasons::JOB_REFUSED, SOON);
        let status = scenario.on_failure(program, name, refused).await?;
        let why = message(&status, StepName::CodeQuality);
        ensure(why.contains(NO_JOBS) && why.contains(&format!("Job {name}-code-quality")), || why.clone())?;
        println!("  {name} waits: {why}");
        if name == "never" {
            scenario.types(program, DEVELOPER, &["cancel", name, "--reason", "no room"]).await?;
            let status = scenario.on_failure(program, name, program.ended(name, SOON)).await?;
            ensure(step(&status, StepName::CodeQuality)?.state == StepState::Cancelled, || told(&status))?;
        }
    }
    program.apply(&quota(NO_PODS, "pods")).await?;
    call(quotas.delete(NO_JOBS, &DeleteParams::default())).await?;
    let podless = program.wait("later", "says that its Job has no pod", LONG, |status| {
        message(status, StepName::CodeQuality).contains("kubectl describe job later-code-quality")
    });
    scenario.on_failure(program, "later", podless).await?;
    call(quotas.delete(NO_PODS, &DeleteParams::default())).await?;
    scenario.on_failure(program, "later", program.awaits_approval("later", LONG)).await?;
    scenario.types(program, DEVELOPER, &["cancel", "later", "--reason", "seen enough"]).await?;
    program.ended("later", SOON).await.map(drop)
}

/// The time for an approval is over: to the second, and the execution says so. Another one is rejected.
async fn nobody_approves(scenario: &Scenario, program: &Program, artifact: &ImageRef) -> Outcome {
    pipeline(program, |spec| spec["production"]["approval"]["timeout"] = json!("10s")).await?;
    program.run("late", Some(artifact.digest())).await?;
    let status = scenario.on_failure(program, "late", program.ended("late", LONG)).await?;
    let ended = step(&status, StepName::ApprovalProduction)?;
    ensure(ended.state == StepState::Cancelled && ended.reason.as_deref() == Some(reasons::TIMED_OUT), || {
        told(&status)
    })?;
    let waited = ended.started_at.as_ref().zip(ended.finished_at.as_ref());
    let waited = waited.map(|(from, to)| to.0.duration_since(from.0).as_secs()).unwrap_or_default();
    ensure((10..=12).contains(&waited), || format!("it waited {waited} s for 10 s"))?;
    println!("  nobody approved: {}", message(&status, StepName::ApprovalProduction));
    told_once(program, "late", StepName::ApprovalProduction).await?;

    pipeline(program, |_| {}).await?;
    program.run("refused", Some(artifact.digest())).await?;
    scenario.on_failure(program, "refused", program.awaits_approval("refused", LONG)).await?;
    scenario.types(program, APPROVER, &["reject", "refused", "--reason", "prices are wrong"]).await?;
    let status = scenario.on_failure(program, "refused", program.ended("refused", SOON)).await?;
    let why = message(&status, StepName::ApprovalProduction);
    ensure(reason(&status, StepName::ApprovalProduction) == reasons::REJECTED && why.contains("alex: prices"), || {
        told(&status)
    })
}

/// Events tell that the time of a wait runs out and that it is over: each once, in this order.
async fn told_once(program: &Program, name: &str, step: StepName) -> Outcome {
    const EXPIRING: &str = "WaitExpiring";
    const EXPIRED: &str = "WaitExpired";
    let api: Api<Event> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    let mut events = until(&format!("Events tell that {name} has waited too long"), SOON, || async {
        let mut all = call(api.list(&ListParams::default())).await?.items;
        all.retain(|event| {
            event.regarding.as_ref().is_some_and(|about| about.name.as_deref() == Some(name))
                && [EXPIRING, EXPIRED].contains(&event.reason.as_deref().unwrap_or_default())
        });
        // It is written last.
        let over = all.iter().any(|event| event.reason.as_deref() == Some(EXPIRED));
        Ok(if over { Ok(all) } else { Err(format!("{all:?}")) })
    })
    .await?;
    events.sort_by_key(|event| event.event_time.as_ref().map(|at| at.0));
    let reasons: Vec<&str> = events.iter().filter_map(|event| event.reason.as_deref()).collect();
    // One that is written again is counted in a series.
    let once = events.iter().all(|event| event.series.is_none() && event.action.as_deref() == Some(step.as_str()));
    ensure(reasons == [EXPIRING, EXPIRED] && once, || format!("{events:?}"))?;
    let command = format!("kubectl launchway approve {name} --namespace {}", program.namespace);
    let note = events.first().and_then(|event| event.note.clone()).unwrap_or_default();
    ensure(note.contains(&command), || format!("{EXPIRING} does not say what to do: {note}"))?;
    println!("  {EXPIRING}: {note}");
    Ok(())
}

/// A gate asks, and the manager says no; the next execution asks nobody in time.
async fn nobody_accepts_the_metrics(scenario: &Scenario, program: &Program, artifact: &ImageRef) -> Outcome {
    let gate = StepName::ReportPerformanceTest;
    let asks = |timeout: &'static str| {
        move |spec: &mut Value| {
            spec["gates"] = json!({"importantFailures": "Ask", "timeout": timeout});
            spec["stage"]["tests"]["performance"] = json!({
                "pages": [{"name": "popular", "weight": 100, "paths": [PAGE]}],
                "duration": "10s", "visitors": 1, "pagesPerMinute": 60,
                "thresholds": {"pagesPerMinute": 60000},
            });
        }
    };
    pipeline(program, asks("1h")).await?;
    program.run("too-slow", Some(artifact.digest())).await?;
    let waits = program.says_why("too-slow", gate, reasons::AWAITING_OVERRIDE, LONG);
    scenario.on_failure(program, "too-slow", waits).await?;
    scenario.types(program, MANAGER, &["reject", "too-slow", "--reason", "too slow for a sale"]).await?;
    let status = scenario.on_failure(program, "too-slow", program.ended("too-slow", SOON)).await?;
    ensure(reason(&status, gate) == reasons::REJECTED, || told(&status))?;

    pipeline(program, asks("5s")).await?;
    program.run("unanswered", Some(artifact.digest())).await?;
    let status = scenario.on_failure(program, "unanswered", program.ended("unanswered", LONG)).await?;
    ensure(reason(&status, gate) == reasons::TIMED_OUT, || told(&status))?;
    println!("  nobody accepted the metrics: {}", message(&status, gate));
    pipeline(program, |_| {}).await
}

/// A time on the clocks of Kathmandu: production is touched at that moment and not before.
async fn scheduled(scenario: &Scenario, program: &Program, artifact: &ImageRef) -> Outcome {
    pipeline(program, |spec| spec["production"]["schedule"] = json!({"required": true, "timeout": "1h"})).await?;
    program.run("planned", Some(artifact.digest())).await?;
    let work = async {
        program.awaits_approval("planned", LONG).await?;
        program.approve("planned", &scenario.launchway).await?;
        program.says_why("planned", StepName::Schedule, reasons::AWAITING_SCHEDULE, SOON).await?;
        let zone = TimeZone::get(ZONE).map_err(|error| error.to_string())?;
        let at = Timestamp::now().checked_add(SignedDuration::from_secs(20)).map_err(|error| error.to_string())?;
        let there = at.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S").to_string();
        scenario.types(program, MANAGER, &["schedule", "planned", &there, "--time-zone", ZONE]).await?;
        let waiting = program.says_why("planned", StepName::Schedule, reasons::SCHEDULED, SOON).await?;
        let until = waiting.waiting_for.as_ref().and_then(|waiting| waiting.until.clone());
        ensure(until.is_some_and(|until| until.0.as_second() == at.as_second()), || told(&waiting))?;
        println!("  scheduled for {there} in {ZONE}");
        Ok((at, program.succeeded("planned", LONG).await?))
    };
    let (at, status) = scenario.on_failure(program, "planned", work).await?;
    let began = step(&status, StepName::DeployProduction)?.started_at.clone().ok_or("no deployment is recorded")?;
    let late = began.0.as_second() - at.as_second();
    measured("from the chosen time to the deployment", format!("{late} s"));
    ensure((0..=2).contains(&late), || format!("the deployment began {late} s after its time"))?;
    pipeline(program, |_| {}).await
}

/// A freeze: the deployment waits, says until when, and goes on as soon as the window is taken away.
async fn frozen(scenario: &Scenario, program: &Program) -> Outcome {
    let artifact = program.push(artifacts::site(2, None).await?.path()).await?;
    let window = |environment: &mut Value| {
        environment["spec"]["windows"] = json!([
            {"kind": "Deny", "schedule": "0 0 * * *", "duration": "24h", "timeZone": ZONE, "reason": "the sale"}
        ]);
    };
    production(program, window).await?;
    program.run_spec(
        "frozen",
        json!({"pipelineRef": {"name": PIPELINE}, "artifact": {"digest": artifact.digest()}, "requestedBy": DEVELOPER}),
    )
    .await?;
    let work = async {
        program.awaits_approval("frozen", LONG).await?;
        program.approve("frozen", &scenario.launchway).await?;
        let step = StepName::DeployProduction;
        let status = program.says_why("frozen", step, reasons::WINDOW_CLOSED, SOON).await?;
        let waiting = status.waiting_for.clone().ok_or("it waits for nothing")?;
        ensure(waiting.why.contains("the sale") && waiting.until.is_some(), || format!("{waiting:?}"))?;
        println!("  frozen: {}", waiting.why);
        program.serves(PRODUCTION, "Release 1").await?;
        production(program, |_| {}).await?;
        program.succeeded("frozen", LONG).await
    };
    scenario.on_failure(program, "frozen", work).await?;
    program.serves(PRODUCTION, "Release 2").await
}

async fn production(program: &Program, change: impl FnOnce(&mut Value)) -> Outcome {
    let mut environment = program.environment_object(PRODUCTION, "Production", 1, &Options::stand_in(1));
    change(&mut environment);
    program.apply(&environment).await
}
