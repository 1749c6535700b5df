//! Many executions at once: what they cost in memory, in requests, and when the operator starts.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use launchway_crds::{
    PipelineExecution,
    execution::{PipelineExecutionSpec, PipelineExecutionStatus},
};
use launchway_e2e::{
    Failure, Outcome, artifacts,
    audit::Audit,
    cluster::{Cluster, call, until},
    images::Images,
    install, metrics,
    program::{Options, Program},
    scenario::measured,
};
use serde_json::json;

use crate::{SCENARIO, megabytes};

const LONG: Duration = Duration::from_secs(300);
/// How long nothing may happen before it is quiet.
pub const QUIET: Duration = Duration::from_secs(10);
/// How long a crowd that waits is watched.
const WATCHED: Duration = Duration::from_secs(300);
/// Pipelines that share the executions.
const PIPELINES: usize = 50;
/// Requests that are under way while objects are made.
const AT_ONCE: usize = 16;

/// Executions that wait for a person: their pipelines are suspended.
///
/// # Errors
/// When the cluster fails.
pub async fn waiting(cluster: &Cluster, images: &Images, count: usize) -> Outcome {
    println!("\nwaiting: {count} executions of {PIPELINES} suspended pipelines (about 7 minutes)");
    let program = Program::set_up(cluster, images, "e2e-bench-waiting", &Options::stand_in(1).of(SCENARIO)).await?;
    for number in 0..PIPELINES {
        let mut pipeline = program.pipeline(&images.tester);
        pipeline["metadata"]["name"] = json!(format!("p{number}"));
        pipeline["spec"]["suspend"] = json!(true);
        program.apply(&pipeline).await?;
    }
    let audit = Audit::from_now_on(cluster)?;
    made(&program, count, None).await?;
    quiet(cluster, &audit).await?;
    let audit = Audit::from_now_on(cluster)?;
    restarted(cluster).await?;
    let settled = quiet(cluster, &audit).await?;
    measured(&format!("{count} waiting: start to settled"), format!("{:.1} s", settled.as_secs_f64()));
    measured(&format!("{count} waiting: memory"), megabytes(metrics::operator_memory(cluster).await?));
    left_alone(cluster, &format!("{count} waiting")).await?;
    program.remove().await
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
    made(&program, count, Some(&status)).await?;
    let audit = Audit::from_now_on(cluster)?;
    scaled(cluster, 1).await?;
    install::rolled_out(cluster).await?;
    let settled = quiet(cluster, &audit).await?;
    measured(&format!("{count} finished: Lease to settled"), format!("{:.1} s", settled.as_secs_f64()));
    measured(&format!("{count} finished: memory"), megabytes(metrics::operator_memory(cluster).await?));
    program.remove().await
}

/// Makes executions, of the suspended pipelines or, with a status, of the usual one.
async fn made(program: &Program, count: usize, status: Option<&PipelineExecutionStatus>) -> Outcome {
    let began = Instant::now();
    let api = program.executions();
    stream::iter(0..count)
        .map(|number| {
            let api = api.clone();
            async move {
                let pipeline = if status.is_some() { "demo".to_string() } else { format!("p{}", number % PIPELINES) };
                let spec: PipelineExecutionSpec = serde_json::from_value(json!({
                    "pipelineRef": {"name": pipeline}, "artifact": {"tag": "main"},
                }))
                .map_err(|error| Failure::new(error.to_string()))?;
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
