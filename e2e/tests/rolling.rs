//! Production of one, two and four pairs is rolled under 100 requests a second, and others for a page that takes its time:
//! no visitor notices, and watches of pods and endpoints saw every pair detached, replaced and attached before the next
//! one. What somebody edits in a released workload is put back.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use launchway_crds::conditions::{self, reasons, types};
use launchway_e2e::{
    Outcome, artifacts,
    cluster::{call, until},
    failure::ensure,
    metrics,
    program::{Options, PAGE, PRODUCTION, Program, STAGE},
    rollout::Witness,
    scenario::{self, Scenario, measured},
    traffic::{self, Seen, Visitors},
};
use serde_json::json;

const ROLL: Duration = Duration::from_secs(420);
/// Until what was changed by hand is put back and told.
const BACK: Duration = Duration::from_secs(30);
/// Seconds that the slow page takes.
const SLOW: u32 = 3;

#[test]
fn pairs_are_replaced_without_a_failed_request() -> Outcome {
    scenario::run("rolling", |scenario| async move {
        for pairs in [1, 2, 4] {
            let options = Options::stand_in(pairs);
            let program = scenario.program(&format!("of-{pairs}"), &options).await?;
            scenario.deploy(&program, "r1", 1).await?;
            // Of the three, one has a stage whose dispatchers stay while publishes are replaced.
            tested(&scenario, &program, pairs != 2).await?;
            rolled(&scenario, &program, pairs, options.surge).await?;
            if pairs == 2 {
                without_surge(&program, pairs).await?;
                put_back(&program).await?;
            }
            program.let_go().await?;
        }
        Ok(())
    })
}

/// Those who come often, and those who are always in the middle of a request.
struct Crowd {
    often: Visitors,
    slowly: Visitors,
}

impl Crowd {
    async fn come(program: &Program) -> Outcome<Self> {
        let page = format!("{}{PAGE}", program.address(PRODUCTION).await?);
        let slow = format!("{page}?standin-seconds={SLOW}");
        Ok(Self { often: Visitors::come_often(&page)?, slowly: Visitors::come_slowly(&slow)? })
    }

    /// Sends all of them home; fails when one saw anything else than these pages. What the slow ones saw.
    async fn go(self, pages: &[&str]) -> Outcome<Vec<(&'static str, Seen)>> {
        let (often, slowly) = tokio::join!(self.often.go(), self.slowly.go());
        let judged = (traffic::judge(&often, pages), traffic::judge(&slowly, pages));
        judged.0.and(judged.1)?;
        Ok(slowly)
    }
}

/// Of the pair that is replaced last nobody else serves the old release any more: an answer of that release is this
/// dispatcher's, and it had the request when it was told to end.
fn finished(slowly: &[(&'static str, Seen)], told: Timestamp) -> Outcome {
    let caught = traffic::under_way(slowly, "Release 1", told);
    measured("requests under way when the last dispatcher was told to end, all answered", caught);
    ensure(caught > 0, || format!("no request was under way at {told}, so none shows that it is finished"))
}

/// Brings release 2 as far as the approval; stage replaces everything at once, with or without detaching its dispatchers.
async fn tested(scenario: &Scenario, program: &Program, detach: bool) -> Outcome {
    let mut pipeline = program.pipeline(&program.images.tester);
    pipeline["spec"]["stage"]["deploy"] = json!({"detach": detach});
    program.apply(&pipeline).await?;
    let artifact = program.push(artifacts::site(2, None).await?.path()).await?;
    let witness = Witness::of(program, STAGE).await?;
    program.run("r2", Some(artifact.digest())).await?;
    scenario.on_failure(program, "r2", program.awaits_approval("r2", ROLL)).await?;
    let detached = witness.seen().detached(0)?;
    println!("  stage with detach: {detach}: its dispatcher was away before its publish ended: {detached}");
    ensure(detached == detach, || format!("{:?}", witness.seen()))
}

async fn rolled(scenario: &Scenario, program: &Program, pairs: i32, surge: i32) -> Outcome {
    let (crowd, witness) = (Crowd::come(program).await?, Witness::of(program, PRODUCTION).await?);
    program.approve("r2", &scenario.launchway).await?;
    let began = Instant::now();
    let rolled = scenario.on_failure(program, "r2", program.succeeded("r2", ROLL)).await;
    measured(&format!("rollout of {pairs} pairs"), format!("{} s", began.elapsed().as_secs()));
    let judged = crowd.go(&["Release 1", "Release 2"]).await;
    rolled?;
    let (slowly, seen) = (judged?, witness.seen());
    seen.in_order(pairs, surge)?;
    finished(&slowly, seen.told(0)?)?;
    program.serves(PRODUCTION, "Release 2").await
}

/// The same with no pair beside those that serve: the others serve for the one that is away.
async fn without_surge(program: &Program, pairs: i32) -> Outcome {
    let options = Options { surge: 0, ..Options::stand_in(pairs) };
    program.apply(&program.environment_object(PRODUCTION, "Production", pairs, &options)).await?;
    let (crowd, witness) = (Crowd::come(program).await?, Witness::of(program, PRODUCTION).await?);
    let began = Instant::now();
    let rolled = program.greets(PRODUCTION, "Greetings without a pair to spare", ROLL).await;
    measured(&format!("rollout of {pairs} pairs without surge"), format!("{} s", began.elapsed().as_secs()));
    let judged = crowd.go(&["Release 2"]).await;
    rolled?;
    judged?;
    witness.seen().in_order(pairs, 0)
}

/// Somebody edits the template of a workload that runs a release.
async fn put_back(program: &Program) -> Outcome {
    let sets: Api<StatefulSet> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    let name = format!("{PRODUCTION}-author");
    let seconds = |set: &StatefulSet| set.spec.as_ref()?.template.spec.as_ref()?.termination_grace_period_seconds;
    let before = seconds(&call(sets.get(&name)).await?);
    let counted = edits(program).await?;
    let by_hand = PatchParams { field_manager: Some("somebody".into()), ..PatchParams::default() };
    let template = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}});
    let edited = call(sets.patch(&name, &by_hand, &Patch::Merge(&template))).await?;
    ensure(seconds(&edited) == Some(7) && before != Some(7), || format!("nothing was edited: {before:?}"))?;
    until("the template is put back and told of", BACK, || async {
        let now = seconds(&call(sets.get(&name)).await?);
        let status = program.environment(PRODUCTION).await?.status.unwrap_or_default();
        let drifted = conditions::get(&status.conditions, types::DRIFTED).cloned();
        let told =
            drifted.as_ref().is_some_and(|said| said.reason == reasons::PUT_BACK && said.message.contains(&name));
        Ok(if now == before && told { Ok(()) } else { Err(format!("{now:?}: {drifted:?}")) })
    })
    .await?;
    let since = edits(program).await?;
    ensure(since > counted, || format!("launchway_drift_total was {counted} and is {since}"))
}

/// How often the operator found something edited.
async fn edits(program: &Program) -> Outcome<u64> {
    metrics::operator_counter(&program.cluster, "launchway_drift_total{reason=\"Edited\"}").await
}
