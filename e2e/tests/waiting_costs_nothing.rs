//! An execution that waits for a person makes no writes at all.

use std::time::Duration;

use launchway_e2e::{
    Outcome, artifacts,
    audit::Audit,
    failure::ensure,
    metrics,
    program::Options,
    scenario::{self, measured},
};

const LONG: Duration = Duration::from_secs(600);
/// What happens around the last transition is over by then: Events, the last probes.
const SETTLE: Duration = Duration::from_secs(20);
const WAIT: Duration = Duration::from_secs(120);

#[test]
fn two_minutes_of_waiting_cost_no_write() -> Outcome {
    scenario::alone("waiting", |scenario| async move {
        let options = Options::stand_in(1);
        let program = scenario.program("", &options).await?;
        let artifact = program.push(artifacts::site(1, None).await?.path()).await?;
        program.run("r1", Some(artifact.digest())).await?;
        let before = scenario.on_failure(&program, "r1", program.awaits_approval("r1", LONG)).await?;
        tokio::time::sleep(SETTLE).await;
        let audit = Audit::from_now_on(&scenario.cluster)?;
        println!("  waiting for {} s", WAIT.as_secs());
        tokio::time::sleep(WAIT).await;
        let all = audit.of_operator()?;
        let leases = all.iter().filter(|write| write.resource == "leases").count();
        let others: Vec<_> = all.iter().filter(|write| write.resource != "leases").collect();
        measured("writes in two minutes of waiting", format!("{} of the Lease, {} others", leases, others.len()));
        measured(
            "resident memory of the operator while waiting",
            format!("{:.1} MB", metrics::operator_memory(&scenario.cluster).await? as f64 / 1e6),
        );
        ensure(leases > 0, || "not even the Lease was renewed: is this the right log?".into())?;
        ensure(others.is_empty(), || format!("the operator wrote while nothing happened: {others:#?}"))?;
        let after = program.execution("r1").await?;
        ensure(before.metadata.generation == after.metadata.generation, || "somebody changed the execution".into())
    })
}
