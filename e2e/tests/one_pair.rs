//! Production with a single pair: the surge pair makes a rollout that no visitor notices.

use std::time::Duration;

use launchway_e2e::{
    Outcome, artifacts,
    program::{Options, PAGE, PRODUCTION},
    scenario,
    traffic::{self, Visitors},
};

const ROLL: Duration = Duration::from_secs(600);

#[test]
fn one_pair_is_replaced_without_a_failed_request() -> Outcome {
    scenario::run("one-pair", |scenario| async move {
        let program = scenario.program("", &Options::stand_in(1)).await?;
        scenario.deploy(&program, "r1", 1).await?;
        let artifact = program.push(artifacts::site(2, None).await?.path()).await?;
        program.run("r2", Some(artifact.digest())).await?;
        scenario.on_failure(&program, "r2", program.awaits_approval("r2", ROLL)).await?;
        let visitors = Visitors::come(&format!("{}{PAGE}", program.address(PRODUCTION).await?))?;
        program.approve("r2", &scenario.launchway).await?;
        let rolled = scenario.on_failure(&program, "r2", program.succeeded("r2", ROLL)).await;
        let judged = traffic::judge(&visitors.go().await, &["Release 1", "Release 2"]);
        rolled?;
        judged?;
        program.serves(PRODUCTION, "Release 2").await
    })
}
