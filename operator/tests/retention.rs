//! Images that a history let go of, in a real registry: what is read of it, what goes, what stays whole.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../src/image/testzip.rs"]
#[allow(dead_code)]
mod testzip;

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use launchway_crds::Pipeline;
use launchway_crds::digest::{ImageRef, Sha256Digest};
use launchway_crds::pipeline::ImagesState;
use launchway_operator::artifact;
use launchway_operator::image::manifest::{Descriptor, EMPTY_JSON, INDEX, referrer};
use launchway_operator::image::{Blob, blob::Hasher};
use launchway_operator::observe::images::{found, refused};
use launchway_operator::plan::memory::images::{Outcome, Sweep, There, World, sweep};
use launchway_operator::registry::{Client, ErrorKind, Location, RegistryError, Repository, Silent, fallback_tag};
use launchway_operator::release;
use launchway_operator::worker::build::{Bases, BuildRequest, Built, run};
use launchway_operator::worker::verdict::Verdict;
use serde_json::{Value, json};
use support::{Registry, push_base, request, write};
use testzip::package;

/// A registry with releases that a pipeline made.
struct Setup {
    registry: Registry,
    client: Client,
    bases: Bases,
    images: Repository,
}

impl Setup {
    async fn new(registry: Registry) -> Self {
        let client = registry.client();
        let bases = Bases {
            aem: push_base(&client, &registry.repository("base/aem"), "aem").await,
            dispatcher: push_base(&client, &registry.repository("base/dispatcher"), "dispatcher").await,
        };
        Self { images: registry.repository("site/images"), client, bases, registry }
    }

    /// Builds release `number`, or finds that it is there.
    async fn build(&self, number: u8) -> Built {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "site.zip", &package(&format!("site:site:{number}.0"), &[]));
        let target = Location::parse(&format!("{}/site/artifacts:latest", self.registry.host)).unwrap();
        let pushed = artifact::push(&self.client, &target, &[folder.path().to_owned()], &Silent).await.unwrap();
        let request = BuildRequest {
            execution: format!("demo/r{number}"),
            ..request(&self.registry.host, &pushed.image, &self.images.to_string(), &self.bases)
        };
        let spool = tempfile::tempdir().unwrap();
        match run(&request, spool.path(), Path::new("/nonexistent")).await {
            Verdict::Ok(built) => built,
            other => panic!("{other:?}"),
        }
    }

    fn image(&self, digest: Sha256Digest) -> ImageRef {
        ImageRef::new(&self.images.to_string(), digest).unwrap()
    }

    /// A pipeline that remembers these, newest first, in a cluster with nothing else in it.
    fn world(&self, ledger: &[(&str, &Built, Option<ImagesState>)]) -> World {
        let entry = |(name, built, state): &(&str, &Built, Option<ImagesState>)| {
            let images = json!({ "aem": self.image(built.aem), "dispatcher": self.image(built.dispatcher) });
            let mut entry = json!({
                "name": name, "uid": name, "specHash": "0", "result": "Finished", "at": "2026-11-21T10:00:00Z",
                "release": self.image(built.release), "images": images,
            });
            if let Some(state) = state {
                entry["imagesState"] = json!(state);
            }
            entry
        };
        let ledger: Vec<Value> = ledger.iter().map(entry).collect();
        let pipeline: Pipeline = serde_json::from_value(json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline", "metadata": { "name": "site", "namespace": "site" },
            "spec": {
                "type": "StageOnly", "source": { "artifact": { "repository": "registry.example.com/a" } },
                "images": { "repository": self.images.to_string() }, "history": { "images": "Delete" },
            },
            "status": { "ledger": ledger },
        }))
        .unwrap();
        World {
            pipelines: vec![pipeline.clone()],
            pipeline,
            environments: vec![],
            running: vec![],
            there: There::default(),
            builds: BTreeSet::new(),
            pods: BTreeSet::new(),
        }
    }

    /// Looks, decides and deletes, as the operator does.
    async fn sweep(&self, world: &World) -> Result<Sweep, RegistryError> {
        let sweep = sweep(world, &found(&self.client, &self.images, world).await?);
        for digest in sweep.removals.iter().flat_map(|removal| &removal.digests) {
            self.client.delete_manifest(&self.images, digest).await?;
        }
        Ok(sweep)
    }

    async fn has(&self, reference: &str) -> bool {
        self.client.head_manifest(&self.images, reference).await.unwrap().is_some()
    }

    /// Everything of a release is there: images, documents, tags.
    async fn is_whole(&self, built: &Built) -> bool {
        let verified =
            release::verify_release(&self.client, &self.image(built.release), built.aem, built.dispatcher).await;
        let attached = self.client.list_referrers(&self.images, &built.release, None).await.unwrap();
        let tag = self.has(&format!("release-{}", built.release.short())).await;
        let mut documents = attached.len() >= 2;
        for document in attached {
            documents &= self.has(&document.descriptor.digest.to_string()).await;
        }
        verified.is_ok() && tag && documents
    }

    async fn is_gone(&self, built: &Built) -> bool {
        let mut there = vec![];
        let tags = [format!("release-{}", built.release.short()), fallback_tag(&built.release)];
        for reference in [built.release, built.aem].map(|digest| digest.to_string()).iter().chain(&tags) {
            if self.has(reference).await {
                there.push(reference.clone());
            }
        }
        there.extend(
            self.client.list_referrers(&self.images, &built.release, None).await.unwrap().iter().map(|_| String::new()),
        );
        there.is_empty()
    }
}

const LET_GO: Option<ImagesState> = Some(ImagesState::LetGo);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_let_go_of_goes_and_comes_back_with_the_same_packages() {
    let setup = Setup::new(Registry::start(false)).await;
    let [one, two] = [setup.build(1).await, setup.build(2).await];
    assert_eq!(one.dispatcher, two.dispatcher, "without configuration the dispatcher is the base as it is");
    let documents = setup.client.list_referrers(&setup.images, &one.release, None).await.unwrap();

    let world = setup.world(&[("r2", &two, None), ("r1", &one, LET_GO)]);
    let swept = setup.sweep(&world).await.unwrap();
    assert!(swept.waits.is_empty() && swept.removals[0].is_last, "{swept:?}");
    assert!(setup.is_gone(&one).await && setup.is_whole(&two).await);
    for document in &documents {
        assert!(!setup.has(&document.descriptor.digest.to_string()).await, "{document:?}");
    }
    // The report stays: executions of other pipelines may name the same.
    assert!(setup.has(&one.report.to_string()).await);
    // Done again, as after a crash: nothing is missed, nothing more goes.
    assert_eq!(setup.sweep(&world).await.unwrap().removals[0].digests[..2], [one.release, one.aem]);
    assert!(setup.is_whole(&two).await);

    assert_eq!(setup.build(1).await, one);
    assert!(setup.is_whole(&one).await && setup.is_whole(&two).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tag_of_a_person_names_stays_and_so_does_what_others_attached() {
    let setup = Setup::new(Registry::start(false)).await;
    let all = [setup.build(1).await, setup.build(2).await, setup.build(3).await];
    let [one, two, three] = &all;
    let tag = async |reference: Sha256Digest, name: &str| {
        let found = setup.client.need_manifest(&setup.images, &reference.to_string()).await.unwrap();
        setup.client.put_manifest(&setup.images, name, &found.media_type, &found.bytes).await.unwrap();
    };
    tag(one.release, "fair-2026").await;
    tag(two.aem, "just-the-author").await;
    // Somebody scanned the third release.
    let index = setup.client.need_manifest(&setup.images, &three.release.to_string()).await.unwrap();
    let subject = Descriptor::new(INDEX, three.release, index.bytes.len() as u64);
    let empty = Hasher::of(EMPTY_JSON);
    let blob = std::sync::Arc::new(Blob::from_bytes(EMPTY_JSON.to_vec()));
    setup.client.push_blob(&setup.images, &empty, blob, None, (&Silent, "")).await.unwrap();
    let layer = Descriptor::new("application/vnd.oci.empty.v1+json", empty, EMPTY_JSON.len() as u64);
    let scan = referrer(&subject, "application/vnd.example.scan", &[layer], &std::collections::BTreeMap::new());
    setup.client.push_referrer(&setup.images, &scan).await.unwrap();

    let world = setup.world(&[("r3", three, LET_GO), ("r2", two, LET_GO), ("r1", one, LET_GO)]);
    let swept = setup.sweep(&world).await.unwrap();
    assert!(setup.is_whole(one).await, "{swept:?}");
    assert!(!setup.has(&two.release.to_string()).await && setup.has(&two.aem.to_string()).await);
    assert!(!setup.has(&three.release.to_string()).await && !setup.has(&three.aem.to_string()).await);
    assert!(setup.has(&scan.digest.to_string()).await && setup.has(&fallback_tag(&three.release)).await);
    assert_eq!(swept.waits, ["r1", "r2"], "the dispatcher that the third one has too is the first one's to remember");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_deletes_nothing_is_told_apart() {
    let setup = Setup::new(Registry::start_without_deletion()).await;
    let one = setup.build(1).await;
    let error = setup.sweep(&setup.world(&[("r1", &one, LET_GO)])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    assert!(setup.is_whole(&one).await);
    let Outcome::Refused { reason, message } = refused(error) else { panic!() };
    assert_eq!(reason, launchway_crds::conditions::reasons::REGISTRY_CANNOT_DELETE);
    assert!(message.contains("REGISTRY_STORAGE_DELETE_ENABLED=true"), "{message}");
}
