//! Production of one, two and four pairs is rolled under 100 requests a second: no visitor notices.

use std::time::{Duration, Instant};

use launchway_e2e::{
    Outcome, artifacts,
    program::{Options, PAGE, PRODUCTION},
    scenario::{self, Scenario, measured},
    traffic::{self, Visitors},
};

const ROLL: Duration = Duration::from_secs(420);

#[test]
fn pairs_are_replaced_without_a_failed_request() -> Outcome {
    scenario::run("rolling", |scenario| async move {
        for pairs in [1, 2, 4] {
            rolled(&scenario, pairs).await?;
        }
        Ok(())
    })
}

async fn rolled(scenario: &Scenario, pairs: i32) -> Outcome {
    let program = scenario.program(&format!("of-{pairs}"), &Options::stand_in(pairs)).await?;
    scenario.deploy(&program, "r1", 1).await?;
    let artifact = program.push(artifacts::site(2, None).await?.path()).await?;
    program.run("r2", Some(artifact.digest())).await?;
    scenario.on_failure(&program, "r2", program.awaits_approval("r2", ROLL)).await?;
    let visitors = Visitors::come_often(&format!("{}{PAGE}", program.address(PRODUCTION).await?))?;
    program.approve("r2", &scenario.launchway).await?;
    let began = Instant::now();
    let rolled = scenario.on_failure(&program, "r2", program.succeeded("r2", ROLL)).await;
    measured(&format!("rollout of {pairs} pairs"), format!("{} s", began.elapsed().as_secs()));
    let judged = traffic::judge(&visitors.go().await, &["Release 1", "Release 2"]);
    rolled?;
    judged?;
    program.serves(PRODUCTION, "Release 2").await?;
    program.let_go().await
}
