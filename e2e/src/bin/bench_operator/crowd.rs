//! Many executions at once: what they cost in memory, in requests, and when the operator starts.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use launchway_crds::{
    PipelineExecution,
    execution::{PipelineExecutionSpec, PipelineExecutionStatus},
    step::StepName,
};
use launchway_e2e::{
    Failure, Outcome, artifacts,
    audit::Audit,
    cluster::{Cluster, call, until},
    failure::ensure,
    images::Images,
    install, metrics,
    program::{DEVELOPER, Options, PIPELINE, Program},
    scenario::measured,
};
use serde_json::{Value, json};

use crate::{SCENARIO, megabytes};

const LONG: Duration = Duration::from_secs(300);
/// How long nothing may happen before it is quiet.
pub const QUIET: Duration = Duration::from_secs(10);
/// How long a crowd that waits is watched.
const WATCHED: Duration = Duration::from_secs(300);
/// Pipelines that share the executions that wait.
const PIPELINES: usize = 50;
/// The pipeline whose release all of them take, and the execution that tested it.
const TESTED: &str = "tested";
/// Requests that are under way while objects are made.
const AT_ONCE: usize = 16;

/// Executions that wait: of each pipeline the first one for its approval, the others in the queue for the one before them.
///
/// An Environment has one pipeline of a type, so each has one of its own, on which nothing runs yet. The release that they
/// take was built and tested for real.
///
/// # Errors
/// When the cluster fails, or they wait for anything else.
pub async fn waiting(cluster: &Cluster, images: &Images, count: usize) -> Outcome {
    println!("\nwaiting: {count} executions of {PIPELINES} pipelines to production (about 10 minutes)");
    let options = Options::stand_in(1).of(SCENARIO);
    let program = Program::set_up(cluster, images, "e2e-bench-waiting", &options).await?;
    tested(&program).await?;
    for number in 0..PIPELINES {
        let place = format!("prod-{number}");
        program.apply(&program.environment_object(&place, "Production", 1, &options)).await?;
        program.apply(&second_half(number, &place)).await?;
    }
    let audit = Audit::from_now_on(cluster)?;
    made(&program, count, queued, None).await?;
    quiet(cluster, &audit).await?;
    wait(&program, count).await?;
    let audit = Audit::from_now_on(cluster)?;
    restarted(cluster).await?;
    let settled = quiet(cluster, &audit).await?;
    measured(&format!("{count} waiting: start to settled"), format!("{:.1} s", settled.as_secs_f64()));
    measured(&format!("{count} waiting: memory"), megabytes(metrics::operator_memory(cluster).await?));
    left_alone(cluster, &format!("{count} waiting")).await?;
    wait(&program, count).await?;
    program.remove().await
}

/// A release that passed stage, by a pipeline that ends there.
async fn tested(program: &Program) -> Outcome {
    let mut pipeline = program.pipeline(&program.images.tester);
    pipeline["metadata"]["name"] = json!(TESTED);
    pipeline["spec"]["type"] = json!("StageOnly");
    pipeline["spec"].as_object_mut().ok_or("a pipeline without spec")?.remove("production");
    program.apply(&pipeline).await?;
    let artifact = program.push(artifacts::site(1, None).await?.path()).await?;
    let asks = json!({
        "pipelineRef": {"name": TESTED}, "artifact": {"digest": artifact.digest()}, "requestedBy": DEVELOPER,
    });
    program.run_spec(TESTED, asks).await?;
    program.succeeded(TESTED, LONG).await.map(drop)
}

/// A pipeline that takes a tested release to an Environment, if a person approves.
fn second_half(number: usize, place: &str) -> Value {
    json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline", "metadata": {"name": format!("p{number}")},
        "spec": {
            "type": "ProductionOnly", "concurrency": "Queue", "source": {"pipeline": TESTED},
            "production": {"environment": place, "approval": {"required": true, "timeout": "336h"}},
        },
    })
}

/// What one of those that wait is asked to do.
fn queued(number: usize) -> Value {
    json!({"pipelineRef": {"name": format!("p{}", number % PIPELINES)}, "sourceExecution": TESTED})
}

/// Fails unless one execution of each pipeline waits for its approval, and all others for their turn.
async fn wait(program: &Program, count: usize) -> Outcome {
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    let all = call(program.executions().list(&ListParams::default())).await?.items;
    for execution in all.into_iter().filter(|execution| execution.name_any() != TESTED) {
        let waits = execution.status.and_then(|status| status.waiting_for);
        *found.entry(waits.map_or("nothing", |waits| waits.step.as_str())).or_default() += 1;
    }
    let first = (StepName::ApprovalProduction.as_str(), PIPELINES);
    let others = (StepName::Validate.as_str(), count.saturating_sub(PIPELINES));
    ensure(found == BTreeMap::from([first, others]), || format!("of {count} executions these many wait at: {found:?}"))
}

/// Counts what the operator asks for while nothing happens.
///
/// # Errors
/// When the audit log cannot be read.
pub async fn left_alone(cluster: &Cluster, what: &str) -> Outcome {
    let audit = Audit::from_now_on(cluster)?;
    tokio::time::sleep(WATCHED).await;
    let asked = audit.requests(install::ACCOUNT)?;
    let (leases, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(_, what)| what.ends_with(" leases"));
    // A watch ends every few minutes by itself and is opened again: the apiserver's doing.
    let (watches, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, what)| what.starts_with("watch "));
    measured(
        &format!("{what}: requests in {} s", WATCHED.as_secs()),
        format!("{} of the Lease, {} watches that ended, {} others", leases.len(), watches.len(), others.len()),
    );
    others.iter().take(5).for_each(|(at, what)| println!("    {at} {what}"));
    Ok(())
}

/// Executions that are over, with the status that a real one left.
///
/// # Errors
/// When the cluster fails.
pub async fn finished(cluster: &Cluster, images: &Images, count: usize) -> Outcome {
    println!("\nfinished: {count} executions (about {} s)", 90 + count / 40);
    let program = Program::set_up(cluster, images, "e2e-bench-finished", &Options::stand_in(1).of(SCENARIO)).await?;
    let mut pipeline = program.pipeline(&images.tester);
    pipeline["spec"]["production"]["approval"] = json!({"required": false});
    program.apply(&pipeline).await?;
    let artifact = program.push(artifacts::site(1, None).await?.path()).await?;
    program.run("real", Some(artifact.digest())).await?;
    let status = program.succeeded("real", LONG).await?;
    let bytes = serde_json::to_vec(&program.execution("real").await?).map_err(|error| error.to_string())?.len();
    measured("JSON of a finished execution", format!("{bytes} bytes"));
    // Nobody looks while they are made: each is finished before the operator sees it.
    scaled(cluster, 0).await?;
    made(&program, count, usual, Some(&status)).await?;
    let audit = Audit::from_now_on(cluster)?;
    scaled(cluster, 1).await?;
    install::rolled_out(cluster).await?;
    let settled = quiet(cluster, &audit).await?;
    measured(&format!("{count} finished: Lease to settled"), format!("{:.1} s", settled.as_secs_f64()));
    measured(&format!("{count} finished: memory"), megabytes(metrics::operator_memory(cluster).await?));
    program.remove().await
}

/// What one of those that are over was asked to do.
fn usual(_: usize) -> Value {
    json!({"pipelineRef": {"name": PIPELINE}, "artifact": {"tag": "main"}})
}

/// Makes executions of what each is asked to do, with a status if they are over.
async fn made(
    program: &Program,
    count: usize,
    asks: fn(usize) -> Value,
    status: Option<&PipelineExecutionStatus>,
) -> Outcome {
    let began = Instant::now();
    let api = program.executions();
    stream::iter(0..count)
        .map(|number| {
            let api = api.clone();
            async move {
                let spec: PipelineExecutionSpec =
                    serde_json::from_value(asks(number)).map_err(|error| Failure::new(error.to_string()))?;
                let name = format!("of-a-crowd-{number}");
                let wanted = PipelineExecution {
                    metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
                    spec,
                    status: None,
                };
                call(api.create(&PostParams::default(), &wanted)).await.map(drop)?;
                if let Some(status) = status {
                    let patch = json!({ "status": status });
                    call(api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch))).await.map(drop)?;
                }
                Ok::<(), Failure>(())
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    println!("    {count} executions were made in {} s", began.elapsed().as_secs());
    Ok(())
}

async fn scaled(cluster: &Cluster, replicas: i32) -> Outcome {
    cluster
        .program("kubectl")
        .args(["--namespace", install::NAMESPACE, "scale", "deployment", install::RELEASE])
        .args([format!("--replicas={replicas}")])
        .run()
        .await?;
    if replicas > 0 {
        return Ok(());
    }
    until("the operator is gone", Duration::from_secs(90), || async {
        let left = install::pods(cluster).await?.len();
        Ok(if left == 0 { Ok(()) } else { Err(format!("{left} pods")) })
    })
    .await
}

/// Another process of the operator.
///
/// # Errors
/// When it does not lead in time.
pub async fn restarted(cluster: &Cluster) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), install::NAMESPACE);
    for pod in install::pods(cluster).await? {
        call(pods.delete(&pod.name_any(), &DeleteParams::default())).await.map(drop)?;
    }
    until("the old operator is gone", Duration::from_secs(90), || async {
        let pods = install::pods(cluster).await?;
        let ready = pods.len() == 1
            && pods[0]
                .status
                .as_ref()
                .is_some_and(|status| status.container_statuses.iter().flatten().all(|container| container.ready));
        Ok(if ready { Ok(()) } else { Err(format!("{} pods", pods.len())) })
    })
    .await?;
    install::rolled_out(cluster).await
}

/// Waits until the operator asks for nothing but its Lease for a while; from the Lease to its last request.
///
/// # Errors
/// When it does not come to rest in time.
pub async fn quiet(cluster: &Cluster, audit: &Audit) -> Outcome<Duration> {
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), install::NAMESPACE);
    let taken = call(leases.get(install::RELEASE)).await?.spec.and_then(|spec| spec.acquire_time);
    let taken = taken.map_or_else(Timestamp::now, |time| time.0);
    let deadline = Instant::now() + LONG;
    loop {
        let asked = audit.requests(install::ACCOUNT)?;
        let work = |what: &str| !what.ends_with(" leases") && !what.starts_with("watch ");
        let last = asked.iter().rfind(|(at, what)| *at >= taken && work(what)).map_or(taken, |(at, _)| *at);
        let rest = Duration::try_from(Timestamp::now().duration_since(last)).unwrap_or_default();
        if rest >= QUIET {
            return Ok(Duration::try_from(last.duration_since(taken)).unwrap_or_default());
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(format!("the operator did not come to rest within {} s", LONG.as_secs())));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
