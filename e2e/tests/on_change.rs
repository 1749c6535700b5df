//! A push starts an execution: one on a source that two pipelines share, one more for five pushes during a run, at once
//! when a webhook says so; and nothing is written while nothing changes.

use std::{path::Path, time::Duration};

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use launchway_crds::conditions::reasons;
use launchway_e2e::{
    Outcome, artifacts,
    audit::Audit,
    changes,
    cluster::{call, until},
    failure::ensure,
    install, page,
    program::{Options, Program},
    scenario::{self, Scenario, measured},
};
use serde_json::{Value, json};

/// Far below the interval of the pipeline with a webhook.
const AT_ONCE: Duration = Duration::from_secs(10);
const QUIET: Duration = Duration::from_secs(60);
/// The pipeline that hears of changes by webhook alone.
const HOOKED: &str = "hooked";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn changes_start_what_they_should_and_nothing_else() -> Outcome {
    scenario::run("on-change", |scenario| async move {
        let program = scenario.program("", &Options::stand_in(1)).await?;
        let site = artifacts::site(1, None).await?;
        let push = async |number| push(&program, site.path(), number).await;
        changes::one_and_one_more(&scenario, &program, &source(&program), push).await?;
        quiet(&scenario, &program).await?;
        changes::only(&program, 2).await?;
        hooked(&scenario, &program, site.path()).await
    })
}

/// The artifacts of the program's own pipeline.
fn source(program: &Program) -> Value {
    program.pipeline(&program.images.tester)["spec"]["source"].clone()
}

/// While nothing changes, the source is asked and nothing is written.
async fn quiet(scenario: &Scenario, program: &Program) -> Outcome {
    tokio::time::sleep(Duration::from_secs(10)).await;
    let audit = Audit::from_now_on(&scenario.cluster)?;
    tokio::time::sleep(QUIET).await;
    let writes = audit.of_operator()?;
    let others: Vec<_> = writes.iter().filter(|write| write.namespace == program.namespace).collect();
    measured("writes in a minute of polling every 10 s", others.len());
    ensure(others.is_empty(), || format!("the operator wrote while nothing changed: {others:#?}"))
}

/// A webhook has the source asked at once; one that is forged or sent again does not.
async fn hooked(scenario: &Scenario, program: &Program, site: &Path) -> Outcome {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "webhook"}, "stringData": {"token": SECRET},
    });
    program.apply(&secret).await?;
    let mut pipeline = program.watching(HOOKED, "CodeQuality", source(program));
    pipeline["spec"]["onChange"] = json!({"interval": "1h", "webhook": {"secretRef": {"name": "webhook"}}});
    program.apply(&pipeline).await?;
    program.watched(HOOKED, reasons::WATCHED).await?;
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
        let all = program.all_started().await?;
        let found = all.iter().any(|one| one.pipeline == HOOKED && one.change == revision);
        Ok(if found { Ok(()) } else { Err("none is there".to_string()) })
    })
    .await?;
    measured("from webhook to execution", format!("{} ms", began.elapsed().as_millis()));
    Ok(())
}

/// Pushes the site with one more package, which is another one each time.
async fn push(program: &Program, site: &Path, number: u32) -> Outcome<String> {
    artifacts::wishes(site, &format!("push=\"{number}\""))?;
    Ok(program.push(site).await?.digest().to_string())
}
