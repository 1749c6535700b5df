//! An operator that is killed again and again does nothing twice, and no visitor notices.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use k8s_openapi::{
    api::{apps::v1::ControllerRevision, batch::v1::Job, coordination::v1::Lease, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use launchway_crds::{
    execution::PipelineExecutionStatus,
    names::labels,
    step::{StepName, StepState},
};
use launchway_e2e::{
    Failure, Outcome, artifacts,
    audit::{self, Audit},
    cluster::{Cluster, call, until},
    executions::{step, told},
    failure::ensure,
    install,
    program::{Options, PAGE, PRODUCTION, Program, STAGE},
    rollout::Witness,
    scenario::{self, Scenario},
    traffic::{self, Visitors},
};

const LONG: Duration = Duration::from_secs(900);
/// Pairs of production.
const PAIRS: i32 = 2;
/// Pods of both Environments: two authors, and two for each pair.
const PODS: usize = 8;
/// The phases of a rollout of two pairs, in their order.
const PHASES: [&str; 5] = ["Author", "Surge", "Pair 2", "Pair 1", "Settle"];
/// Who makes the pods of StatefulSets.
const STATEFUL_SETS: &str = "system:serviceaccount:kube-system:statefulset-controller";

#[test]
fn an_operator_killed_five_times_does_nothing_twice() -> Outcome {
    scenario::alone("restarts", |scenario| async move {
        let options = Options::stand_in(PAIRS);
        let program = scenario.program("", &options).await?;
        let artifact = program.push(artifacts::site(1, None).await?.path()).await?;
        let audit = Audit::from_now_on(&scenario.cluster)?;
        program.run("r1", Some(artifact.digest())).await?;
        let status = scenario.on_failure(&program, "r1", killed_five_times(&scenario, &program)).await?;
        once(&program, &audit, &status).await?;
        program.serves(PRODUCTION, "Release 1").await?;
        in_each_phase(&scenario, &program, options.surge).await?;
        install::rolled_out(&scenario.cluster).await
    })
}

/// A rollout with visitors, whose operator is killed in each phase.
async fn in_each_phase(scenario: &Scenario, program: &Program, surge: i32) -> Outcome {
    let artifact = program.push(artifacts::site(2, None).await?.path()).await?;
    program.run("r2", Some(artifact.digest())).await?;
    scenario.on_failure(program, "r2", program.awaits_approval("r2", LONG)).await?;
    let audit = Audit::from_now_on(&scenario.cluster)?;
    let witness = Witness::of(program, PRODUCTION).await?;
    let visitors = Visitors::come_often(&format!("{}{PAGE}", program.address(PRODUCTION).await?))?;
    program.approve("r2", &scenario.launchway).await?;
    let rolled = scenario.on_failure(program, "r2", async {
        for phase in PHASES {
            program.reaches(PRODUCTION, phase, LONG).await?;
            kill(&scenario.cluster, &format!("in the phase {phase}"), 500).await?;
        }
        program.succeeded("r2", LONG).await
    });
    let rolled = rolled.await;
    let judged = traffic::judge(&visitors.go().await, &["Release 1", "Release 2"]);
    let status = rolled?;
    judged?;
    // Each pod was made once, too.
    witness.seen().in_order(PAIRS, surge)?;
    let writes = audit.of_operator()?;
    audit::never_pods(&writes)?;
    let jobs = writes.iter().filter(|write| write.resource == "jobs").count();
    ensure(jobs == 0, || format!("{jobs} writes of Jobs after the approval"))?;
    at_rest(program, &status).await?;
    program.serves(PRODUCTION, "Release 2").await
}

async fn killed_five_times(scenario: &Scenario, program: &Program) -> Outcome<PipelineExecutionStatus> {
    // Each time in another part of the run; within it, at a moment that nobody chose.
    let cluster = &scenario.cluster;
    kill(cluster, "while it takes environments, resolves the artifact and builds", 3000).await?;
    program.wait("r1", "deploys to stage", LONG, |status| begun(status, StepName::DeployStage)).await?;
    kill(cluster, "while stage is deployed", 3000).await?;
    program.wait("r1", "tests stage", LONG, |status| begun(status, StepName::SmokeTest)).await?;
    kill(cluster, "while stage is tested", 3000).await?;
    program.awaits_approval("r1", LONG).await?;
    leader(cluster).await?;
    program.approve("r1", &scenario.launchway).await?;
    kill(cluster, "between the approval and the deployment", 200).await?;
    program.wait("r1", "deploys to production", LONG, |status| begun(status, StepName::DeployProduction)).await?;
    kill(cluster, "while production is deployed", 8000).await?;
    program.succeeded("r1", LONG).await
}

fn begun(status: &PipelineExecutionStatus, name: StepName) -> bool {
    step(status, name).is_ok_and(|step| step.state != StepState::NotStarted)
}

/// The pod that leads: killing another one would prove nothing.
async fn leader(cluster: &Cluster) -> Outcome<String> {
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), install::NAMESPACE);
    until("an operator leads", Duration::from_secs(90), || async {
        let holder = call(leases.get(install::RELEASE)).await?.spec.and_then(|spec| spec.holder_identity);
        let holder = holder.unwrap_or_default();
        let pods = install::pods(cluster).await?;
        let leader = pods.iter().map(ResourceExt::name_any).find(|pod| holder.starts_with(pod));
        Ok(leader.ok_or_else(|| format!("the Lease is held by '{holder}'")))
    })
    .await
}

/// Ends the process that leads without a chance to tidy up, some time within the given span.
async fn kill(cluster: &Cluster, when: &str, milliseconds: u64) -> Outcome {
    let leader = leader(cluster).await?;
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    tokio::time::sleep(Duration::from_millis(milliseconds).mul_f64(f64::from(nanos / 1000 % 1000) / 1000.0)).await;
    println!("  {} UTC: killing {leader} {when}", jiff::Timestamp::now().strftime("%H:%M:%S%.3f"));
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), install::NAMESPACE);
    call(api.delete(&leader, &DeleteParams::default().grace_period(0))).await.map(drop)
}

/// One build, one test of each kind, one deployment of each Environment.
async fn once(program: &Program, audit: &Audit, status: &PipelineExecutionStatus) -> Outcome {
    let jobs: Api<Job> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    let mut by_step: BTreeMap<String, usize> = BTreeMap::new();
    for job in call(jobs.list(&ListParams::default())).await? {
        *by_step.entry(job.labels().get(labels::STEP).cloned().unwrap_or_default()).or_default() += 1;
    }
    let steps = [StepName::CodeQuality, StepName::BuildImage, StepName::SmokeTest, StepName::FunctionalTest];
    let wanted: BTreeMap<String, usize> = steps.iter().map(|step| (step.dashed().to_string(), 1)).collect();
    ensure(by_step == wanted, || format!("Jobs by step: {by_step:?}"))?;

    let writes = audit.of_operator()?;
    audit::never_pods(&writes)?;
    let made = writes.iter().filter(|write| write.resource == "jobs" && write.code == 201).count();
    ensure(made == steps.len(), || format!("{made} Jobs were created"))?;
    let deleted = writes.iter().filter(|write| write.verb.starts_with("delete")).count();
    ensure(deleted == 0, || format!("{deleted} objects were deleted"))?;

    // A second deployment would leave a second revision of a StatefulSet, or make a pod a second time.
    let revisions: Api<ControllerRevision> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    // The pipeline's version that the execution keeps is one, too.
    let of_set = |owner: &OwnerReference| owner.kind == "StatefulSet";
    let revisions = call(revisions.list(&ListParams::default())).await?.items;
    let revisions = revisions.iter().filter(|revision| revision.owner_references().iter().any(of_set)).count();
    ensure(revisions == 6, || format!("6 StatefulSets have {revisions} revisions"))?;
    let pods = audit.writes(Some(STATEFUL_SETS))?;
    let of_program = |verb: &str| {
        pods.iter()
            .filter(|write| {
                write.namespace == program.namespace
                    && write.resource == "pods"
                    && write.verb == verb
                    && write.code < 300
            })
            .count()
    };
    ensure(of_program("create") == PODS && of_program("delete") == 0, || {
        format!(
            "{} pods were made and {} deleted, for {PODS} of two Environments",
            of_program("create"),
            of_program("delete")
        )
    })?;

    at_rest(program, status).await?;
    println!("  one Job for each step, one revision of each StatefulSet, each pod made once");
    Ok(())
}

/// Both Environments have the execution's release, and nobody holds them.
async fn at_rest(program: &Program, status: &PipelineExecutionStatus) -> Outcome {
    let release = status.release.as_ref().ok_or_else(|| Failure::new(told(status)))?;
    for name in [STAGE, PRODUCTION] {
        let environment = program.environment(name).await?.status.unwrap_or_default();
        let deployed = environment.deployed.as_ref().map(|deployed| &deployed.release);
        ensure(deployed == Some(release) && environment.target.is_none() && environment.lock.is_none(), || {
            format!("{name} is not at rest on {release}: {environment:?}")
        })?;
    }
    Ok(())
}
