//! What somebody deletes by a slip: an Environment that an execution has stays until that has ended, an author's volume
//! stays for the next Environment of the name, and a Pipeline leaves the record of what it did.

use std::time::{Duration, Instant};

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use launchway_crds::{
    Pipeline,
    conditions::{self, reasons, types},
    digest::ImageRef,
    names::labels,
};
use launchway_e2e::{
    Outcome, artifacts,
    cluster::{call, until},
    executions::told,
    failure::ensure,
    program::{DEVELOPER, Options, PIPELINE, PRODUCTION, Program, STAGE},
    scenario::{self, Scenario, measured},
    volume::{self, Volume},
};
use serde_json::json;

const LONG: Duration = Duration::from_secs(180);
const SOON: Duration = Duration::from_secs(30);
/// Long enough for the operator to do what it should not.
const MEANWHILE: Duration = Duration::from_secs(3);
/// A volume for stage's author, where nobody provides one.
const VOLUME: &str = "launchway-e2e-author";
const CLAIM: &str = "data-stage-author-0";
const SIZE: &str = "64Mi";
/// What an editor wrote, for all that the cluster knows.
const WRITTEN: &str = "/opt/launchway/data/written-by-an-editor";

#[test]
fn what_is_deleted_by_a_slip_waits_and_what_is_worth_keeping_stays() -> Outcome {
    scenario::run("deletion", |scenario| async move {
        let options = Options::stand_in(1);
        let program = scenario.program("", &options).await?;
        let volume = Volume { name: VOLUME, namespace: &program.namespace, claim: CLAIM, size: SIZE };
        volume.provide(&scenario.cluster).await?;
        let mut pipeline = program.pipeline(&program.images.tester);
        pipeline["spec"]["stage"]["tests"] = json!({});
        program.apply(&pipeline).await?;
        let production = program.environment_object(PRODUCTION, "Production", 1, &options);
        let mut stage = program.environment_object(STAGE, "Stage", 1, &options);
        stage["spec"]["author"]["storage"] = json!({"size": SIZE});

        // One that no execution has goes at once. It comes back with a volume, which cannot be added later.
        call(program.environments().delete(STAGE, &DeleteParams::default())).await.map(drop)?;
        gone(&program, STAGE).await?;
        program.apply(&stage).await?;

        let artifact = program.push(artifacts::site(1, None).await?.path()).await?;
        let claim = given_back(&scenario, &program, &artifact).await?;
        program.apply(&stage).await?;
        found_again(&scenario, &program, &artifact, &claim).await?;
        comes_to_its_end(&scenario, &program).await?;
        program.apply(&production).await?;
        the_record_stays(&scenario, &program, &artifact).await?;
        volume::remove(&scenario.cluster, VOLUME).await
    })
}

/// Stage is deleted while an execution has it: it serves until that is cancelled, and its volume stays. The claim's UID.
async fn given_back(scenario: &Scenario, program: &Program, artifact: &ImageRef) -> Outcome<String> {
    program.run("first", Some(artifact.digest())).await?;
    scenario.on_failure(program, "first", program.awaits_approval("first", LONG)).await?;
    on_author(program, &format!("echo kept > {WRITTEN}")).await?;
    let claim = claimed(program).await?;
    deleted_in_vain(program, STAGE, "first").await?;
    program.serves(STAGE, "Release 1").await?;
    scenario.types(program, DEVELOPER, &["cancel", "first", "--reason", "stage is to go"]).await?;
    let status = program.ended("first", SOON).await?;
    ensure(status.state == reasons::CANCELLED, || told(&status))?;
    gone(program, STAGE).await?;
    ensure(claimed(program).await? == claim, || format!("{CLAIM} is another one"))?;
    Ok(claim)
}

/// An Environment of the same name has the volume of the one before, with what was on it.
async fn found_again(scenario: &Scenario, program: &Program, artifact: &ImageRef, claim: &str) -> Outcome {
    program.run("second", Some(artifact.digest())).await?;
    scenario.on_failure(program, "second", program.awaits_approval("second", LONG)).await?;
    ensure(claimed(program).await? == claim, || format!("{CLAIM} is another one"))?;
    let found = on_author(program, &format!("cat {WRITTEN}")).await?;
    ensure(found.trim() == "kept", || format!("the volume has {found:?}"))
}

/// Production is deleted before the approval: what was approved is deployed all the same, and then it goes.
async fn comes_to_its_end(scenario: &Scenario, program: &Program) -> Outcome {
    deleted_in_vain(program, PRODUCTION, "second").await?;
    program.approve("second", &scenario.launchway).await?;
    scenario.on_failure(program, "second", program.succeeded("second", LONG)).await?;
    gone(program, PRODUCTION).await
}

/// The Pipeline is deleted under an execution: that one ends and says so, and all of them are there with what they did.
async fn the_record_stays(scenario: &Scenario, program: &Program, artifact: &ImageRef) -> Outcome {
    program.run("third", Some(artifact.digest())).await?;
    scenario.on_failure(program, "third", program.awaits_approval("third", LONG)).await?;
    let pipelines: Api<Pipeline> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    let began = Instant::now();
    call(pipelines.delete(PIPELINE, &DeleteParams::default())).await.map(drop)?;
    let status = scenario.on_failure(program, "third", program.ended("third", SOON)).await?;
    measured("an execution ended after its Pipeline's deletion within", format!("{} ms", began.elapsed().as_millis()));
    ensure(told(&status).contains(reasons::PIPELINE_DELETED), || told(&status))?;
    tokio::time::sleep(MEANWHILE).await;
    let release = program.execution("second").await?.status.unwrap_or_default().release;
    ensure(release.is_some(), || "the record of second has no release".into())?;
    for (name, state) in [("first", reasons::CANCELLED), ("second", reasons::FINISHED), ("third", reasons::ERROR)] {
        let status = program.execution(name).await?.status.unwrap_or_default();
        ensure(status.state == state, || format!("{name} is not {state}:\n{}", told(&status)))?;
    }
    program.serves(STAGE, "Release 1").await
}

/// Deletes an Environment that an execution has, and sees that it says so and stays as it is.
async fn deleted_in_vain(program: &Program, name: &str, holder: &str) -> Outcome {
    let pods = pods(program, name).await?;
    // It would take the pods away before the execution ends: before a deletion that waits, and after it.
    refused_in_the_foreground(program, name, holder).await?;
    call(program.environments().delete(name, &DeleteParams::default())).await.map(drop)?;
    refused_in_the_foreground(program, name, holder).await?;
    let message = until(&format!("{name} says what its deletion waits for"), SOON, || async {
        let status = program.environment(name).await?.status.unwrap_or_default();
        let found = conditions::get(&status.conditions, types::DELETING);
        Ok(match found.filter(|condition| condition.reason == reasons::DELETION_WAITS) {
            Some(condition) => Ok(condition.message.clone()),
            None => Err(format!("{:?}", status.conditions)),
        })
    })
    .await?;
    println!("  {name}: {message}");
    ensure(message.contains(&format!("kubectl launchway cancel {holder} ")), || message.clone())?;
    tokio::time::sleep(MEANWHILE).await;
    let environment = program.environment(name).await?;
    ensure(environment.metadata.deletion_timestamp.is_some(), || format!("{name} is not being deleted"))?;
    let now = self::pods(program, name).await?;
    ensure(now == pods, || format!("the pods of {name} were {pods:?} and are {now:?}"))
}

async fn refused_in_the_foreground(program: &Program, name: &str, holder: &str) -> Outcome {
    let refused = call(program.environments().delete(name, &DeleteParams::foreground())).await.map(drop);
    let said = refused.err().map(|failure| failure.to_string()).unwrap_or_default();
    ensure(said.contains("cannot be deleted in the foreground") && said.contains(&format!("cancel {holder} ")), || {
        format!("the apiserver says {said:?}")
    })
}

/// Identities of an Environment's pods.
async fn pods(program: &Program, environment: &str) -> Outcome<Vec<(String, String)>> {
    let mut all: Vec<_> =
        program.members(environment).await?.into_iter().map(|member| (member.name, member.uid)).collect();
    all.sort();
    Ok(all)
}

/// Waits until an Environment is gone with its StatefulSets.
async fn gone(program: &Program, name: &str) -> Outcome {
    let began = Instant::now();
    let sets: Api<StatefulSet> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    let of_it = ListParams::default().labels(&format!("{}={name}", labels::ENVIRONMENT));
    until(&format!("{name} is gone"), SOON, || async {
        if let Some(left) = call(program.environments().get_opt(name)).await? {
            return Ok(Err(format!("{:?}", left.metadata.finalizers)));
        }
        let left: Vec<_> = call(sets.list(&of_it)).await?.items.iter().map(ResourceExt::name_any).collect();
        Ok(if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) })
    })
    .await?;
    measured(&format!("{name} was gone after"), format!("{} ms", began.elapsed().as_millis()));
    Ok(())
}

/// The UID of the author's claim, which is bound.
async fn claimed(program: &Program) -> Outcome<String> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    let claim = call(claims.get(CLAIM)).await?;
    let phase = claim.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    ensure(phase == "Bound" && claim.metadata.deletion_timestamp.is_none(), || format!("{CLAIM} is {phase}"))?;
    claim.uid().ok_or_else(|| "a claim without a UID".into())
}

/// Runs a command in stage's author, as somebody who looks into it would.
async fn on_author(program: &Program, command: &str) -> Outcome<String> {
    let words = ["exec", "stage-author-0", "--namespace", &program.namespace, "--container", "main", "--"];
    let left = program.cluster.program("kubectl").args(words).args(["sh", "-c", command]).run().await?;
    Ok(left.stdout)
}
