//! Images go with the history: those of removed executions are deleted from the registry, and what production runs, a way
//! back takes or a tag names stays whole.

use std::time::Duration;

use kube::{Api, ResourceExt, api::ListParams};
use launchway_crds::{
    Pipeline,
    conditions::{self, reasons, types},
    digest::{ImageRef, Sha256Digest},
    environment::ReleaseImages,
    execution::PipelineExecutionStatus,
    pipeline::{ImagesState, LedgerEntry},
    step::StepName,
};
use launchway_e2e::{
    Failure, Outcome,
    cluster::{call, until},
    executions::{reason, release, step, told},
    failure::ensure,
    program::{DEVELOPER, Options, PIPELINE, PRODUCTION, Program},
    scenario::{self, Scenario},
};
use launchway_operator::registry::{Client, ClientOptions, Repository, fallback_tag};
use serde_json::json;

const LONG: Duration = Duration::from_secs(180);
const SOON: Duration = Duration::from_secs(60);
/// What a person has named.
const TAG: &str = "the-fair-of-2026";

#[test]
fn images_go_with_the_history_and_what_is_needed_stays() -> Outcome {
    scenario::alone("retention", |scenario| async move {
        let program = scenario.program("", &Options::stand_in(1)).await?;
        let mut pipeline = program.pipeline(&program.images.tester);
        pipeline["spec"]["history"] = json!({"succeeded": 2, "failed": 1, "images": "Delete"});
        program.apply(&pipeline).await?;
        let registry = Images::of(&program)?;

        for number in 1..=2 {
            scenario.deploy(&program, &format!("r{number}"), number).await?;
        }
        let [first, second] = [entry(&program, "r1").await?, entry(&program, "r2").await?];
        registry.tag(&first, TAG).await?;
        for number in 3..=4 {
            scenario.deploy(&program, &format!("r{number}"), number).await?;
        }
        let [third, fourth] = [entry(&program, "r3").await?, entry(&program, "r4").await?];

        // r1 and r2 are beyond the limit; somebody has a tag on what r1 made.
        deleted(&program, "r2").await?;
        said(&program, reasons::STILL_NEEDED, "images of r1 stay").await?;
        ensure(executions(&program).await? == ["r3", "r4"], || "other executions are left".into())?;
        registry.is_gone(&second).await?;
        for kept in [&first, &third, &fourth] {
            registry.is_whole(kept).await?;
        }
        println!("  r2 is gone from the registry; r1 (a tag), r3 and r4 are whole");

        registry.tag(&third, TAG).await?;
        goes_back(&scenario, &program, &registry, &first, &third).await?;

        // The packages of r1 once more: the same digests, built and pushed anew.
        scenario.deploy(&program, "r1-anew", 1).await?;
        let anew = entry(&program, "r1-anew").await?;
        ensure(anew.release == first.release, || "the same packages made another release".into())?;
        deleted(&program, "r3").await?;
        deleted(&program, "r4").await?;
        said(&program, reasons::NOTHING_LEFT, "is deleted").await?;
        ensure(executions(&program).await? == ["back", "r1-anew"], || "other executions are left".into())?;
        registry.is_gone(&fourth).await?;
        for kept in [&anew, &third] {
            registry.is_whole(kept).await?;
        }
        println!("  r4 is gone; what r1-anew made again and what back went to are whole");
        keeps_again(&program, pipeline).await
    })
}

/// What is let go of cannot be gone back to; the oldest that is kept can.
async fn goes_back(
    scenario: &Scenario,
    program: &Program,
    registry: &Images,
    first: &LedgerEntry,
    third: &LedgerEntry,
) -> Outcome {
    let back = |to: &str| json!({"pipelineRef": {"name": PIPELINE}, "rollBackTo": to, "requestedBy": DEVELOPER});
    program.run_spec("too-far", back("r1")).await?;
    let status = program.ended("too-far", SOON).await?;
    let message = step(&status, StepName::Validate)?.message.clone().unwrap_or_default();
    let refused = reason(&status, StepName::Validate) == reasons::SOURCE_REFUSED;
    ensure(refused && message.contains("let go of its images") && message.contains("r4, r3"), || told(&status))?;
    println!("  too-far: {message}");
    // Its end is an occasion to look: the tag has moved, and nothing keeps what r1 made any more.
    deleted(program, "r1").await?;
    said(program, reasons::NOTHING_LEFT, "is deleted").await?;
    registry.is_gone(first).await?;

    program.run_spec("back", back("r3")).await?;
    let status: PipelineExecutionStatus = scenario.on_failure(program, "back", program.succeeded("back", LONG)).await?;
    ensure(Some(release(&status)?) == third.release.as_ref().map(ImageRef::digest), || told(&status))?;
    program.serves(PRODUCTION, "Release 3").await
}

/// With `Keep` nothing is deleted, and nothing said.
async fn keeps_again(program: &Program, mut pipeline: serde_json::Value) -> Outcome {
    pipeline["spec"]["history"]["images"] = json!("Keep");
    program.apply(&pipeline).await?;
    until("the condition is taken away", SOON, || async {
        let status = own(program).await?.status.unwrap_or_default();
        let said = conditions::get(&status.conditions, types::IMAGES_DELETED);
        Ok(said.map_or(Ok(()), |said| Err(said.message.clone())))
    })
    .await
}

async fn own(program: &Program) -> Outcome<Pipeline> {
    let pipelines: Api<Pipeline> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    call(pipelines.get(PIPELINE)).await
}

/// What the pipeline remembers of an execution.
async fn entry(program: &Program, name: &str) -> Outcome<LedgerEntry> {
    let ledger = own(program).await?.status.unwrap_or_default().ledger;
    let found = ledger.into_iter().find(|entry| entry.name == name);
    found.ok_or_else(|| Failure::new(format!("the ledger does not tell of {name}")))
}

/// Waits until the ledger says that the images of an execution are deleted.
async fn deleted(program: &Program, name: &str) -> Outcome {
    // Other scenarios build images at the same time: nothing is deleted meanwhile.
    until(&format!("the images of {name} are deleted"), LONG, || async {
        let state = entry(program, name).await?.images_state;
        Ok(if state == Some(ImagesState::Deleted) { Ok(()) } else { Err(format!("{state:?}")) })
    })
    .await
}

/// Waits until the pipeline says this of its images.
async fn said(program: &Program, reason: &str, words: &str) -> Outcome {
    until(&format!("the pipeline says {reason} of its images"), LONG, || async {
        let status = own(program).await?.status.unwrap_or_default();
        Ok(match conditions::get(&status.conditions, types::IMAGES_DELETED) {
            Some(said) if said.reason == reason && said.message.contains(words) => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await
}

/// Names of the executions that are there and succeeded.
async fn executions(program: &Program) -> Outcome<Vec<String>> {
    let all = call(program.executions().list(&ListParams::default())).await?.items;
    let ended = |state: &str| state == reasons::FINISHED;
    let mut names: Vec<String> = all
        .iter()
        .filter(|one| one.status.as_ref().is_some_and(|status| ended(&status.state)))
        .map(ResourceExt::name_any)
        .collect();
    names.sort();
    Ok(names)
}

/// The repository of the pipeline's images, as anybody sees it.
struct Images {
    client: Client,
    repository: Repository,
}

impl Images {
    fn of(program: &Program) -> Outcome<Self> {
        let options =
            ClientOptions { plain_http: [program.cluster.registry.clone()].into(), ..ClientOptions::default() };
        let failed = |error: launchway_operator::registry::RegistryError| Failure::new(error.to_string());
        Ok(Self {
            client: Client::new(options).map_err(failed)?,
            repository: Repository::parse(&format!("{}/{}/images", program.cluster.registry, program.namespace))
                .map_err(failed)?,
        })
    }

    /// The manifests of a release, and what is attached to it.
    async fn manifests(&self, entry: &LedgerEntry) -> Outcome<Vec<(String, Option<Sha256Digest>)>> {
        let (Some(release), Some(ReleaseImages { aem, dispatcher })) = (&entry.release, &entry.images) else {
            return Err(Failure::new(format!("{} has no release", entry.name)));
        };
        let own = [release, aem, dispatcher].map(|image| image.digest().to_string());
        let mut found = vec![];
        for reference in own.into_iter().chain([fallback_tag(&release.digest())]) {
            let there = self.client.head_manifest(&self.repository, &reference).await;
            found.push((reference, there.map_err(|error| Failure::new(error.to_string()))?));
        }
        Ok(found)
    }

    async fn is_whole(&self, entry: &LedgerEntry) -> Outcome {
        let all = self.manifests(entry).await?;
        ensure(all.iter().all(|(_, there)| there.is_some()), || format!("parts of {} are gone: {all:?}", entry.name))
    }

    async fn is_gone(&self, entry: &LedgerEntry) -> Outcome {
        let all = self.manifests(entry).await?;
        ensure(all.iter().all(|(_, there)| there.is_none()), || format!("parts of {} are there: {all:?}", entry.name))
    }

    /// Gives a release a tag, or moves it there: registries of this kind take none away.
    async fn tag(&self, entry: &LedgerEntry, tag: &str) -> Outcome {
        let failed = |error: launchway_operator::registry::RegistryError| Failure::new(error.to_string());
        let release = entry.release.as_ref().ok_or("it has no release")?.digest().to_string();
        let found = self.client.need_manifest(&self.repository, &release).await.map_err(failed)?;
        let put = self.client.put_manifest(&self.repository, tag, &found.media_type, &found.bytes).await;
        put.map_err(failed)
    }
}
