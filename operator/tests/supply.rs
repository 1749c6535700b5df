//! The supply chain of a release, against a real registry: what is sent, what is attached, and that it can be proved.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../src/image/testzip.rs"]
#[allow(dead_code)]
mod testzip;

#[path = "support/counting.rs"]
mod counting;
mod support;

use std::path::{Path, PathBuf};

use counting::{Counting, Seen};
use launchway_crds::digest::{ImageRef, Sha256Digest};
use launchway_operator::artifact;
use launchway_operator::attest::provenance::{self, MAX_STATEMENT};
use launchway_operator::attest::{BUNDLE_TYPE, SBOM_TYPE, STATEMENT_TYPE};
use launchway_operator::build::attach::documents;
use launchway_operator::cli::registry::RegistryArgs;
use launchway_operator::cli::{End, image_build, verify};
use launchway_operator::image::manifest::{Descriptor, Document, LAYER_TAR, MANIFEST};
use launchway_operator::registry::{Client, Credentials, Location, Repository, Silent};
use launchway_operator::worker::build::{Bases, BuildRequest, Built, run};
use launchway_operator::worker::verdict::Verdict;
use serde_json::Value;
use support::{Registry, client, push_base, push_marked_base, request, write, write_layout};
use testzip::{file, link, package, package_items, zip};

fn dispatcher() -> Vec<u8> {
    zip(&[
        file("conf.d/available_vhosts/a.vhost", "<VirtualHost/>"),
        link("conf.d/enabled_vhosts/a.vhost", "../available_vhosts/a.vhost"),
        file("conf.dispatcher.d/available_farms/a.farm", "/a {}"),
        link("conf.dispatcher.d/enabled_farms/a.farm", "../available_farms/a.farm"),
        file("opt-in/USE_SOURCES_DIRECTLY", ""),
    ])
}

fn site(folder: &Path) {
    write(folder, "site.core-1.0.zip", &package("site:core:1.0", &[]));
    write(folder, "site.content-1.0.zip", &package("site:content:1.0", &[("dependencies", "site:core:[1.0,2.0)")]));
    let mut all = package_items("site:all:1.0", &[], "/apps/site-packages");
    all.push(file("jcr_root/apps/site-packages/application/install/x.zip", package("site:embedded:1.0", &[])));
    write(folder, "site.all-1.0.zip", &zip(&all));
    write(folder, "site.dispatcher-1.0.zip", &dispatcher());
}

/// A registry, a counter before it, bases and packages.
struct World {
    _registry: Registry,
    counting: Counting,
    bases: Bases,
    folder: tempfile::TempDir,
    artifact: ImageRef,
}

impl World {
    async fn new() -> Self {
        let registry = Registry::start(false);
        // The provider of TLS is installed by the first client.
        let _ = registry.client();
        let counting = Counting::before(&registry.host).await;
        let client = client(&[&counting.host], Credentials::none());
        let repository = |path: &str| Repository::parse(&format!("{}/{path}", counting.host)).unwrap();
        let bases = Bases {
            aem: push_base(&client, &repository("base/aem"), "aem").await,
            dispatcher: push_base(&client, &repository("base/dispatcher"), "dispatcher").await,
        };
        let folder = tempfile::tempdir().unwrap();
        site(folder.path());
        let target = Location::parse(&format!("{}/artifacts:latest", counting.host)).unwrap();
        let artifact = artifact::push(&client, &target, &[folder.path().to_owned()], &Silent).await.unwrap().image;
        counting.take();
        Self { _registry: registry, counting, bases, folder, artifact }
    }

    fn client(&self) -> Client {
        client(&[&self.counting.host], Credentials::none())
    }

    fn images(&self) -> Repository {
        Repository::parse(&format!("{}/images", self.counting.host)).unwrap()
    }

    async fn build_on(&self, bases: &Bases, sign_key: Option<PathBuf>) -> (Built, Vec<Seen>) {
        match self.outcome(bases, sign_key, false).await {
            (Verdict::Ok(built), seen) => (built, seen),
            other => panic!("{other:?}"),
        }
    }

    async fn outcome(&self, bases: &Bases, sign_key: Option<PathBuf>, web_tier: bool) -> (Verdict<Built>, Vec<Seen>) {
        let images = self.images().to_string();
        let request =
            BuildRequest { web_tier, sign_key, ..request(&self.counting.host, &self.artifact, &images, bases) };
        let spool = tempfile::tempdir().unwrap();
        self.counting.take();
        let verdict = run(&request, spool.path(), Path::new("/nonexistent")).await;
        (verdict, self.counting.take())
    }

    async fn build(&self) -> (Built, Vec<Seen>) {
        self.build_on(&self.bases, None).await
    }

    async fn documents(&self, release: &Sha256Digest, kind: &str) -> Vec<Vec<u8>> {
        let found = documents(&self.client(), &self.images(), release, kind, MAX_STATEMENT).await.unwrap();
        found.into_iter().map(Result::unwrap).collect()
    }

    fn registry_args(&self) -> RegistryArgs {
        RegistryArgs { plain_http: vec![self.counting.host.clone()], ..RegistryArgs::default() }
    }

    async fn verify(&self, release: &Sha256Digest, key: Option<PathBuf>) -> (End, Value) {
        let args = verify::VerifyArgs {
            release: self.images().at(*release),
            paths: Vec::new(),
            artifact: None,
            base: image_build::BaseArgs { base_aem: None, base_dispatcher: None },
            key,
            output: "json".to_owned(),
            registry: self.registry_args(),
        };
        let mut out = Vec::new();
        let end = verify::run(&args, &mut out).await.unwrap();
        (end, serde_json::from_slice(&out).unwrap())
    }

    fn build_args(&self, dry_run: bool) -> image_build::BuildArgs {
        image_build::BuildArgs {
            paths: vec![self.folder.path().to_owned()],
            to: Some(format!("{}/by-hand:mine", self.counting.host)),
            base: image_build::BaseArgs {
                base_aem: Some(self.bases.aem.to_string()),
                base_dispatcher: Some(self.bases.dispatcher.to_string()),
            },
            dry_run,
            web_tier: false,
            provided: Vec::new(),
            tar_layers: false,
            platform: "linux/amd64".to_owned(),
            sign_key: None,
            output: "json".to_owned(),
            registry: self.registry_args(),
        }
    }
}

fn sent(seen: &[Seen]) -> usize {
    seen.iter().map(|request| request.sent).sum()
}

fn differing(report: &Value) -> Vec<&str> {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().filter(|check| check["same"] == false).map(|check| check["what"].as_str().unwrap()).collect()
}

/// A key pair as files, made by openssl as a user would.
fn keys(folder: &Path) -> (PathBuf, PathBuf) {
    let (private, public) = (folder.join("key.pem"), folder.join("key.pub"));
    let run = |args: &[&str]| {
        let done = std::process::Command::new("openssl").args(args).output().expect("openssl must be on PATH");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let (private_text, public_text) = (private.to_str().unwrap(), public.to_str().unwrap());
    run(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private_text]);
    run(&["pkey", "-in", private_text, "-pubout", "-out", public_text]);
    (private, public)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_rebuild_sends_nothing_and_asks_little() {
    let world = World::new().await;
    let (built, first) = world.build().await;
    assert!(sent(&first) > 10_000, "the first build sends its layers: {first:?}");
    let (again, second) = world.build().await;
    assert_eq!(again, built);
    let writes: Vec<&Seen> = second.iter().filter(|request| request.writes()).collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(sent(&second), 0);
    // Read: the artifact and its 4 files, 2 bases with their configurations. Asked: 2 images, 3 tags or lists.
    println!("unchanged: {} requests", second.len());
    assert!(second.len() <= 16, "{} requests: {second:#?}", second.len());
}

/// Content that does not compress, other content for another seed.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_layer_is_hashed_while_it_is_sent_and_sent_once() {
    const LARGE: usize = 1_500_000;
    let mut world = World::new().await;
    let large = |id: &str, seed| {
        let mut items = package_items(id, &[], "/content/dam/site");
        items.push(file("jcr_root/content/dam/site/picture.png", noise(seed, LARGE)));
        zip(&items)
    };
    let target = Location::parse(&format!("{}/artifacts:large", world.counting.host)).unwrap();
    let streamed = |seen: &[Seen]| -> Vec<(String, usize)> {
        let large = seen.iter().filter(|request| request.sent >= LARGE);
        large.map(|request| (request.method.clone(), request.sent)).collect()
    };
    write(world.folder.path(), "site.one-1.0.zip", &large("site:one:1.0", 1));
    write(world.folder.path(), "site.two-1.0.zip", &large("site:two:1.0", 2));
    let files = [world.folder.path().to_owned()];
    world.artifact = artifact::push(&world.client(), &target, &files, &Silent).await.unwrap().image;

    let (built, seen) = world.build().await;
    let sent = streamed(&seen);
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert!(sent.iter().all(|(method, _)| method == "PATCH"), "{sent:?}");
    // Hashed before and hashed meanwhile is the same: verification hashes alone.
    let (end, report) = world.verify(&built.release, None).await;
    assert_eq!((end, differing(&report)), (End::Done, vec![]), "{report}");

    let (again, seen) = world.build().await;
    assert_eq!(again, built);
    assert!(!seen.iter().any(Seen::writes), "{seen:#?}");

    let repository = Repository::of(&world.bases.aem);
    let aem = push_marked_base(&world.client(), &repository, "aem", "newer").await;
    let (rebased, seen) = world.build_on(&Bases { aem, ..world.bases.clone() }, None).await;
    assert_ne!(rebased.aem, built.aem);
    assert_eq!(streamed(&seen), [], "a changed base");

    write(world.folder.path(), "site.two-1.0.zip", &large("site:two:1.0", 3));
    world.artifact = artifact::push(&world.client(), &target, &files, &Silent).await.unwrap().image;
    let (changed, seen) = world.build().await;
    assert_eq!(streamed(&seen).len(), 1, "one package of two");
    let (end, report) = world.verify(&changed.release, None).await;
    assert_eq!((end, differing(&report)), (End::Done, vec![]), "{report}");

    // A repository that remembers nothing gets the same release.
    let mut out = Vec::new();
    assert_eq!(image_build::run(&world.build_args(false), &mut out).await.unwrap(), End::Done);
    assert_eq!(streamed(&world.counting.take()).len(), 2);
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap()["release"], changed.release.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_are_plain_tars_are_hashed_once_and_verified_as_such() {
    let world = World::new().await;
    let mut large = package_items("site:large:1.0", &[], "/content/dam/site");
    large.push(file("jcr_root/content/dam/site/picture.png", noise(1, 1_500_000)));
    write(world.folder.path(), "site.large-1.0.zip", &zip(&large));
    let mut releases = Vec::new();
    for tar_layers in [false, true] {
        let mut out = Vec::new();
        let args =
            image_build::BuildArgs { tar_layers, to: Some(world.images().to_string()), ..world.build_args(false) };
        assert_eq!(image_build::run(&args, &mut out).await.unwrap(), End::Done);
        releases.push(serde_json::from_slice::<Value>(&out).unwrap());
    }
    assert_ne!(releases[0]["release"], releases[1]["release"], "another encoding is another release");

    let client = world.client();
    let digest = releases[1]["aem"].as_str().unwrap();
    let manifest = client.need_manifest(&world.images(), digest).await.unwrap();
    let Document::Manifest(manifest) = Document::parse(&manifest.bytes).unwrap() else { panic!("an index") };
    let own: Vec<_> = manifest.layers.iter().filter(|layer| layer.media_type == LAYER_TAR).collect();
    assert_eq!(own.len(), 5, "four packages and their list: {manifest:?}");
    let config = client.get_blob(&world.images(), &manifest.config.digest, 1 << 20).await.unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    for layer in own {
        assert!(diff_ids.iter().any(|id| *id == layer.digest.to_string()), "{} is its own tar", layer.digest);
    }

    let release = releases[1]["release"].as_str().unwrap().parse().unwrap();
    let args = verify::VerifyArgs {
        release: world.images().at(release),
        paths: vec![world.folder.path().to_owned()],
        artifact: None,
        base: image_build::BaseArgs { base_aem: None, base_dispatcher: None },
        key: None,
        output: "json".to_owned(),
        registry: world.registry_args(),
    };
    let mut out = Vec::new();
    let end = verify::run(&args, &mut out).await.unwrap();
    let report: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((end, differing(&report)), (End::Done, vec![]), "{report}");
}

/// `cloud-manager.md` §1.2: a web-tier pipeline takes the dispatcher configuration alone, and leaves AEM as it runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_the_dispatcher_alone_names_the_aem_image_that_runs_and_can_be_verified() {
    let world = World::new().await;
    let (full, _) = world.build().await;
    let running = Bases { aem: world.images().at(full.aem).parse().unwrap(), ..world.bases.clone() };
    let (Verdict::Ok(web), seen) = world.outcome(&running, None, true).await else { panic!("refused") };
    assert_eq!(web.aem, full.aem, "the image of author and publish is the one that runs");
    assert_eq!(web.dispatcher, full.dispatcher, "the same configuration on the same base");
    assert_eq!(web.release, full.release, "a release is its images");
    assert_eq!(seen.iter().filter(|request| request.writes() && request.sent > 20_000).count(), 0, "{seen:#?}");

    let statements = world.documents(&web.release, STATEMENT_TYPE).await;
    let parameters = statements.iter().map(|bytes| provenance::parse(bytes).unwrap().parameters);
    let own: Vec<_> = parameters.filter(|parameters| parameters.web_tier).collect();
    assert_eq!(own.len(), 1, "it says how it was built");
    assert_eq!(own[0].base.aem, running.aem.to_string());

    // Another AEM image beside the same dispatcher is another release.
    let other = push_marked_base(&world.client(), &Repository::of(&world.bases.aem), "aem", "newer").await;
    let running = Bases { aem: other.clone(), ..world.bases.clone() };
    let (Verdict::Ok(beside), _) = world.outcome(&running, None, true).await else { panic!("refused") };
    assert_eq!((beside.aem, beside.dispatcher), (other.digest(), web.dispatcher));
    assert_ne!(beside.release, web.release);
    let (end, report) = world.verify(&beside.release, None).await;
    assert_eq!((end, differing(&report)), (End::Done, vec![]), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_the_dispatcher_alone_needs_a_dispatcher_configuration() {
    let mut world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "site.core-1.0.zip", &package("site:core:1.0", &[]));
    let target = Location::parse(&format!("{}/artifacts:content", world.counting.host)).unwrap();
    world.artifact =
        artifact::push(&world.client(), &target, &[folder.path().to_owned()], &Silent).await.unwrap().image;
    let (verdict, _) = world.outcome(&world.bases, None, true).await;
    let Verdict::Failed(reason) = verdict else { panic!("{verdict:?}") };
    assert_eq!(reason.reason, "NoArtifacts");
    assert!(reason.message.contains("dispatcher module"), "{}", reason.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_base_sends_no_layer() {
    let world = World::new().await;
    let (before, _) = world.build().await;
    let repository = Repository::of(&world.bases.aem);
    let aem = push_marked_base(&world.client(), &repository, "aem", "newer").await;
    assert_ne!(aem.digest(), world.bases.aem.digest());
    let (after, seen) = world.build_on(&Bases { aem, ..world.bases.clone() }, None).await;
    assert_ne!(after.aem, before.aem);
    assert_eq!(after.dispatcher, before.dispatcher);
    let client = world.client();
    let manifest = client.need_manifest(&world.images(), &after.aem.to_string()).await.unwrap();
    let Document::Manifest(manifest) = Document::parse(&manifest.bytes).unwrap() else { panic!("an index") };
    let blobs: Vec<&Seen> =
        seen.iter().filter(|request| request.sent > 0 && request.path.contains("/blobs/")).collect();
    for layer in &manifest.layers {
        let digest = layer.digest.to_string();
        assert!(!blobs.iter().any(|blob| blob.path.contains(&digest.replace(':', "%3A"))), "{digest} was sent");
    }
    // The configuration of the image, and the documents about the new release.
    println!("changed base: {} requests, {} blobs, {} bytes", seen.len(), blobs.len(), sent(&seen));
    assert_eq!(blobs.len(), 4, "{blobs:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn provenance_and_materials_are_found_from_the_release_and_do_not_change() {
    let world = World::new().await;
    let (built, _) = world.build().await;
    let statements = world.documents(&built.release, STATEMENT_TYPE).await;
    assert_eq!(statements.len(), 1);
    let claim = provenance::parse(&statements[0]).unwrap();
    assert_eq!(claim.subjects.release, built.release);
    assert_eq!((claim.subjects.aem, claim.subjects.dispatcher), (built.aem, built.dispatcher));
    assert_eq!(claim.parameters.artifact.as_ref(), Some(&world.artifact));
    let value: Value = serde_json::from_slice(&statements[0]).unwrap();
    let materials = value["predicate"]["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
    let names: Vec<&str> = materials.iter().map(|material| material["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "base-aem",
            "base-dispatcher",
            "site.all-1.0.zip",
            "site.content-1.0.zip",
            "site.core-1.0.zip",
            "site.dispatcher-1.0.zip"
        ]
    );
    let boms = world.documents(&built.release, SBOM_TYPE).await;
    let bom: Value = serde_json::from_slice(&boms[0]).unwrap();
    let named: Vec<&str> =
        bom["components"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert!(["all", "content", "core", "site.dispatcher-1.0.zip"].iter().all(|name| named.contains(name)), "{named:?}");

    assert!(world.documents(&built.release, BUNDLE_TYPE).await.is_empty(), "nobody signed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_made_once_and_only_its_key_verifies() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (private, public) = keys(folder.path());
    let (built, _) = world.build_on(&world.bases, Some(private.clone())).await;
    let (_, second) = world.build_on(&world.bases, Some(private)).await;
    assert_eq!(sent(&second), 0, "the release is signed already");
    assert_eq!(world.documents(&built.release, BUNDLE_TYPE).await.len(), 1);
    let (end, report) = world.verify(&built.release, Some(public)).await;
    assert_eq!(end, End::Done, "{report:#}");
    let other = tempfile::tempdir().unwrap();
    let (other_private, other_public) = keys(other.path());
    let (end, report) = world.verify(&built.release, Some(other_public)).await;
    assert_eq!((end, differing(&report)), (End::Failed, vec!["signature"]));
    // A second key vouches too.
    world.build_on(&world.bases, Some(other_private)).await;
    assert_eq!(world.documents(&built.release, BUNDLE_TYPE).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_builds_again_and_says_what_differs() {
    let world = World::new().await;
    let (built, _) = world.build().await;
    let (end, report) = world.verify(&built.release, None).await;
    assert_eq!(end, End::Done, "{report:#}");
    assert_eq!(report["checks"].as_array().unwrap().len(), 6);

    // A release whose image is not what its provenance says: the index names another image.
    let client = world.client();
    let entry = |digest| {
        let mut entry = Descriptor::new(MANIFEST, digest, 1);
        entry.platform = Some(("linux".to_owned(), "amd64".to_owned()));
        entry
    };
    let forged = launchway_operator::image::manifest::release(&entry(built.dispatcher), &entry(built.dispatcher));
    let images = world.images();
    client.put_manifest(&images, &forged.digest.to_string(), forged.media_type, &forged.bytes).await.unwrap();
    let (end, report) = world.verify(&forged.digest, None).await;
    assert_eq!((end, differing(&report)), (End::Failed, vec!["provenance"]), "it has none");
    let statement = world.documents(&built.release, STATEMENT_TYPE).await.remove(0);
    let lie = String::from_utf8(statement).unwrap().replace(&built.release.hex(), &forged.digest.hex());
    let lie = launchway_operator::build::attach::Document::about(
        &forged.descriptor(),
        STATEMENT_TYPE,
        "provenance.json",
        lie.into_bytes(),
        &std::collections::BTreeMap::new(),
    );
    let digest = launchway_operator::image::Hasher::of(&lie.content);
    client.push_bytes(&images, &digest, &lie.content).await.unwrap();
    client.push_referrer(&images, &lie.manifest).await.unwrap();
    let (end, report) = world.verify(&forged.digest, None).await;
    assert_eq!((end, differing(&report)), (End::Failed, vec!["aem", "release", "sbom", "provenance"]), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn building_by_hand_gives_the_digests_of_the_job() {
    let world = World::new().await;
    let (built, _) = world.build().await;
    let by_hand = |args: image_build::BuildArgs| async move {
        let mut out = Vec::new();
        assert_eq!(image_build::run(&args, &mut out).await.unwrap(), End::Done);
        serde_json::from_slice::<Value>(&out).unwrap()
    };
    let digests = |value: &Value| ["release", "aem", "dispatcher"].map(|key| value[key].as_str().unwrap().to_owned());
    let expected = [built.release, built.aem, built.dispatcher].map(|digest| digest.to_string());

    world.counting.take();
    let dry = by_hand(world.build_args(true)).await;
    assert_eq!(digests(&dry), expected);
    assert!(!world.counting.take().iter().any(Seen::writes), "a dry run writes nothing");

    // Bases from folders: no request at all.
    let layouts = tempfile::tempdir().unwrap();
    for tier in ["aem", "dispatcher"] {
        write_layout(&layouts.path().join(tier), tier);
    }
    let mut args = world.build_args(true);
    args.base.base_aem = Some(format!("oci:{}", layouts.path().join("aem").display()));
    args.base.base_dispatcher = Some(format!("oci:{}:img", layouts.path().join("dispatcher").display()));
    assert_eq!(digests(&by_hand(args).await), expected);
    assert!(world.counting.take().is_empty());

    let written = by_hand(world.build_args(false)).await;
    assert_eq!(digests(&written), expected);
    let repository = Repository::parse(&format!("{}/by-hand", world.counting.host)).unwrap();
    let tagged = world.client().head_manifest(&repository, "mine").await.unwrap();
    assert_eq!(tagged, Some(built.release));
    assert_eq!(written["report"], built.report.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_packages_are_no_release() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "bad.zip", b"not a zip");
    let args = image_build::BuildArgs { paths: vec![folder.path().to_owned()], ..world.build_args(false) };
    world.counting.take();
    let mut out = Vec::new();
    assert_eq!(image_build::run(&args, &mut out).await.unwrap(), End::Failed);
    assert!(out.is_empty() && !world.counting.take().iter().any(Seen::writes));
}
