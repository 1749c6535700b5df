//! What it costs to watch fifty repositories.

use std::time::Duration;

use kube::{Api, api::ListParams};
use launchway_crds::Pipeline;
use launchway_e2e::{
    Outcome,
    audit::Audit,
    cluster::{call, until},
    failure::ensure,
    git_ground::Ground,
    git_server::Checkout,
    metrics,
    scenario::{self, measured},
};
use serde_json::json;

const PIPELINES: usize = 50;
const SEEN: Duration = Duration::from_secs(120);
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn fifty_pipelines_ask_one_server() -> Outcome {
    scenario::alone("git-polls", |scenario| async move { polled(&Ground::prepare(scenario).await?).await })
}

async fn polled(ground: &Ground) -> Outcome {
    let Ground { scenario, program, images, server } = ground;
    Checkout::empty(server, "small.git")?.push()?;
    for number in 0..PIPELINES {
        let git = json!({ "url": server.url("small.git"), "branch": "main", "builder": { "image": images.builder } });
        let trigger = json!({ "trigger": "OnChange", "onChange": { "interval": "30s" } });
        ground.code_quality(&format!("polls-{number}"), git, trigger).await?;
    }
    let pipelines: Api<Pipeline> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    until("every pipeline has seen its source", SEEN, || async {
        let all = call(pipelines.list(&ListParams::default())).await?.items;
        let seen = |one: &&Pipeline| one.status.as_ref().is_some_and(|status| status.source.is_some());
        let count = all.iter().filter(seen).count();
        Ok(if count >= PIPELINES { Ok(()) } else { Err(format!("{count} of {PIPELINES} have")) })
    })
    .await?;
    let asked = server.requests(program).await?;
    let (busy, audit) = (metrics::operator_cpu(), Audit::from_now_on(&scenario.cluster)?);
    tokio::time::sleep(MINUTE).await;
    let (asked, busy) = (server.requests(program).await? - asked, metrics::operator_cpu().zip(busy));
    measured("requests to the Git server in a minute, 50 pipelines, every 30 s", asked);
    if let Some((after, before)) = busy {
        measured(
            "CPU of the operator in that minute, for whatever it did",
            format!("{} ms", (after - before).as_millis()),
        );
    }
    let written = audit.of_operator()?.into_iter().filter(|write| write.namespace == program.namespace).count();
    measured("writes in that minute", written);
    ensure(written == 0, || "the operator wrote while nothing changed".into())?;
    // Two requests a question. Pipelines that were applied together are asked together for a while: a minute may hold one
    // turn of them, or three.
    ensure((100..=300).contains(&asked), || format!("{asked} requests, not about 200"))
}
