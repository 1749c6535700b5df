//! Production of one, two and four pairs is rolled under 100 requests a second: no visitor notices, and watches of pods
//! and endpoints saw every pair detached, replaced and attached before the next one.

use std::time::{Duration, Instant};

use launchway_e2e::{
    Outcome, artifacts,
    failure::ensure,
    program::{Options, PAGE, PRODUCTION, Program, STAGE},
    rollout::Witness,
    scenario::{self, Scenario, measured},
    traffic::{self, Visitors},
};
use serde_json::json;

const ROLL: Duration = Duration::from_secs(420);

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
            }
            program.let_go().await?;
        }
        Ok(())
    })
}

async fn visitors(program: &Program) -> Outcome<Visitors> {
    Visitors::come_often(&format!("{}{PAGE}", program.address(PRODUCTION).await?))
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
    let (visitors, witness) = (visitors(program).await?, Witness::of(program, PRODUCTION).await?);
    program.approve("r2", &scenario.launchway).await?;
    let began = Instant::now();
    let rolled = scenario.on_failure(program, "r2", program.succeeded("r2", ROLL)).await;
    measured(&format!("rollout of {pairs} pairs"), format!("{} s", began.elapsed().as_secs()));
    let judged = traffic::judge(&visitors.go().await, &["Release 1", "Release 2"]);
    rolled?;
    judged?;
    witness.seen().in_order(pairs, surge)?;
    program.serves(PRODUCTION, "Release 2").await
}

/// The same with no pair beside those that serve: the others serve for the one that is away.
async fn without_surge(program: &Program, pairs: i32) -> Outcome {
    let options = Options { surge: 0, ..Options::stand_in(pairs) };
    program.apply(&program.environment_object(PRODUCTION, "Production", pairs, &options)).await?;
    let (visitors, witness) = (visitors(program).await?, Witness::of(program, PRODUCTION).await?);
    let began = Instant::now();
    let rolled = program.greets(PRODUCTION, "Greetings without a pair to spare", ROLL).await;
    measured(&format!("rollout of {pairs} pairs without surge"), format!("{} s", began.elapsed().as_secs()));
    let judged = traffic::judge(&visitors.go().await, &["Release 2"]);
    rolled?;
    judged?;
    witness.seen().in_order(pairs, 0)
}
