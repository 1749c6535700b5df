//! Many Environments with all of their objects, and no container: no node has the memory that their pods ask for, and what
//! a kubelet would say of them is written by this program.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use launchway_crds::{conditions, names::labels};
use launchway_e2e::{
    Failure, Outcome,
    audit::Audit,
    cluster::{Cluster, call, until},
    images::Images,
    install, metrics,
    program::{self, Options, Program},
    scenario::measured,
};
use serde_json::{Value, json};

use crate::{SCENARIO, crowd, megabytes};

/// Environments of one namespace.
const NEIGHBOURS: usize = 100;
/// Requests that are under way while objects are made.
const AT_ONCE: usize = 16;
/// Until the operator has made every object of every Environment.
const BUILT: Duration = Duration::from_secs(1200);
/// Between two looks at what was built.
const PAUSE: Duration = Duration::from_secs(3);
/// Until a change is acted on.
const ACTED: Duration = Duration::from_secs(20);

/// Makes a fleet, and measures what it costs while nothing happens, when the operator starts, and when one changes.
///
/// # Errors
/// When the cluster fails.
pub async fn measure(cluster: &Cluster, images: &Images, count: usize) -> Outcome {
    println!("\nenvironments: {count}, each with three StatefulSets (about 20 minutes)");
    let mut namespaces = vec![];
    for number in 0..count.div_ceil(NEIGHBOURS) {
        namespaces.push(Program::empty(cluster, images, &format!("e2e-bench-fleet-{number}"), Some(SCENARIO)).await?);
    }
    let began = Instant::now();
    stream::iter(0..count)
        .map(|number| place(&namespaces[number / NEIGHBOURS], number))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    built(&namespaces, count).await?;
    println!("    {count} Environments were built in {} s", began.elapsed().as_secs());
    let audit = Audit::from_now_on(cluster)?;
    crowd::quiet(cluster, &audit).await?;
    let audit = Audit::from_now_on(cluster)?;
    crowd::restarted(cluster).await?;
    let settled = crowd::quiet(cluster, &audit).await?;
    measured(&format!("{count} Environments: Lease to settled"), format!("{:.1} s", settled.as_secs_f64()));
    measured(&format!("{count} Environments: memory"), megabytes(metrics::operator_memory(cluster).await?));
    // Before any is changed: one that rolls asks again and again whether pods that no node takes are ready.
    crowd::left_alone(cluster, &format!("{count} Environments")).await?;
    for number in [0, count / 2, count - 1] {
        let acted = changed(&namespaces[number / NEIGHBOURS], number).await?;
        measured(&format!("{count} Environments: one changed, to the first write (ms)"), format!("{:.0}", acted * 1e3));
    }
    stream::iter(&namespaces)
        .map(|namespace| program::remove(cluster, &namespace.namespace))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await
        .map(drop)
}

fn name(number: usize) -> String {
    format!("env-{number}")
}

/// An Environment whose pods stay where they are.
async fn place(program: &Program, number: usize) -> Outcome {
    let mut object = program.environment_object(&name(number), "Development", 1, &Options::stand_in(1));
    object["spec"]["runtime"]["bare"] = json!("Enabled");
    for tier in ["author", "publish", "dispatcher"] {
        object["spec"][tier]["resources"] = json!({"requests": {"memory": "64Ti"}, "limits": {"memory": "64Ti"}});
    }
    object["spec"]["rollout"]["readyTimeout"] = json!("1h");
    program.apply(&object).await
}

/// Says of every pod that it runs, until every Environment is ready.
async fn built(namespaces: &[Program], count: usize) -> Outcome {
    until("every Environment is ready", BUILT, || async {
        // What is listed here is taken from those who build.
        tokio::time::sleep(PAUSE).await;
        let mut ready = 0;
        for program in namespaces {
            let pods: Api<Pod> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
            let all = call(pods.list(&ListParams::default().labels(labels::ENVIRONMENT))).await?.items;
            let starting = all
                .iter()
                .filter(|pod| pod.status.as_ref().is_none_or(|status| status.phase.as_deref() != Some("Running")));
            stream::iter(starting)
                .map(|pod| runs(&pods, pod))
                .buffer_unordered(AT_ONCE)
                .try_collect::<Vec<()>>()
                .await?;
            let environments = call(program.environments().list(&ListParams::default())).await?.items;
            ready += environments
                .iter()
                .filter_map(|environment| conditions::get(&environment.status.as_ref()?.conditions, "Ready"))
                .filter(|condition| condition.status == "True")
                .count();
        }
        Ok(if ready == count { Ok(()) } else { Err(format!("{ready} of {count} are")) })
    })
    .await
}

/// What a kubelet says of a pod that serves.
async fn runs(pods: &Api<Pod>, pod: &Pod) -> Outcome {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let statuses: Vec<Value> = containers
        .map(|container| {
            let image = container.image.clone().unwrap_or_default();
            json!({
                "name": container.name, "image": image, "imageID": image, "ready": true, "started": true,
                "restartCount": 0, "state": {"running": {"startedAt": Timestamp::now()}},
            })
        })
        .collect();
    let condition = |type_: &str| json!({"type": type_, "status": "True", "lastTransitionTime": Timestamp::now()});
    let status = json!({"status": {
        "phase": "Running", "containerStatuses": statuses,
        "conditions": [condition("Ready"), condition("ContainersReady"), condition("Initialized")],
    }});
    call(pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&status))).await.map(drop)
}

/// Changes one Environment; from the moment that the apiserver stored it to the operator's first write, in seconds.
async fn changed(program: &Program, number: usize) -> Outcome<f64> {
    let audit = Audit::from_now_on(&program.cluster)?;
    let change = json!({"spec": {"variables": [{"name": "DEMO_GREETING", "value": "Hello"}]}});
    call(program.environments().patch(&name(number), &PatchParams::default(), &Patch::Merge(&change)))
        .await
        .map(drop)?;
    let deadline = Instant::now() + ACTED;
    loop {
        let writes = audit.writes(None)?;
        let own = |namespace: &str| namespace == program.namespace;
        let asked = writes.iter().find(|write| own(&write.namespace) && write.resource == "environments");
        let acted = asked.and_then(|asked| {
            writes
                .iter()
                .find(|write| {
                    own(&write.namespace)
                        && write.user == install::ACCOUNT
                        && write.at >= asked.done
                        && write.resource != "events"
                })
                .map(|acted| acted.at.duration_since(asked.done).as_secs_f64())
        });
        if let Some(acted) = acted {
            return Ok(acted);
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(format!("nothing was done about {} within {} s", name(number), ACTED.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
