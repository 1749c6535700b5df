//! Push, build and read back against a real registry.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../src/image/testzip.rs"]
#[allow(dead_code)]
mod testzip;

#[allow(dead_code)]
mod hostile;
mod support;

use std::path::Path;
use std::sync::Arc;

use launchway_crds::digest::ImageRef;
use launchway_operator::artifact;
use launchway_operator::image::Blob;
use launchway_operator::image::blob::Hasher;
use launchway_operator::image::contract::ImageTier;
use launchway_operator::image::layer::{Content, EPOCH, Layer, LayerEncoding, LayerEntry};
use launchway_operator::image::manifest::{Encoded, MANIFEST, canonical};
use launchway_operator::registry::{
    Authorities, ClientOptions, Credentials, ErrorKind, Listed, Location, Pushed, Silent,
};
use launchway_operator::release;
use launchway_operator::worker::build::{Bases, BuildRequest, run};
use launchway_operator::worker::report::Report;
use launchway_operator::worker::{build::Built, verdict::Verdict};
use support::{Registry, client, push_base, request, write};
use testzip::{Item, deflated, file, link, package, package_items, zip};

fn dispatcher_zip() -> Vec<u8> {
    zip(&[
        file("conf.d/available_vhosts/a.vhost", "<VirtualHost/>"),
        link("conf.d/enabled_vhosts/a.vhost", "../available_vhosts/a.vhost"),
        file("conf.d/dispatcher_vhost.conf", "changed"),
        file("conf.dispatcher.d/available_farms/a.farm", "/a {}"),
        link("conf.dispatcher.d/enabled_farms/a.farm", "../available_farms/a.farm"),
        file("opt-in/USE_SOURCES_DIRECTLY", ""),
    ])
}

fn site(folder: &Path) {
    write(folder, "site.core-1.0.zip", &package("site:core:1.0", &[]));
    write(folder, "site.content-1.0.zip", &package("site:content:1.0", &[("dependencies", "site:core:[1.0,2.0)")]));
    let nested: Vec<Item> = package_items("site:all:1.0", &[], "/apps/site-packages")
        .into_iter()
        .chain([
            deflated("jcr_root/apps/site-packages/application/install/x.zip", package("site:embedded:1.0", &[])),
            file("jcr_root/apps/site-packages/content/install.author/y.zip", package("site:author:1.0", &[])),
        ])
        .collect();
    write(folder, "site.all-1.0.zip", &zip(&nested));
    write(folder, "site.dispatcher-1.0.zip", &dispatcher_zip());
    write(folder, "ui.frontend.zip", &zip(&[file("package.json", "{}"), file("dist/a.js", "x")]));
}

struct Setup {
    registry: Registry,
    bases: Bases,
}

async fn setup() -> Setup {
    let registry = Registry::start(false);
    let client = registry.client();
    let bases = Bases {
        aem: push_base(&client, &registry.repository("base/aem"), "aem").await,
        dispatcher: push_base(&client, &registry.repository("base/dispatcher"), "dispatcher").await,
    };
    Setup { registry, bases }
}

impl Setup {
    async fn push(&self, folder: &Path, repository: &str) -> ImageRef {
        let target = Location::parse(&format!("{}/{repository}:latest", self.registry.host)).unwrap();
        artifact::push(&self.registry.client(), &target, &[folder.to_owned()], &Silent).await.unwrap().image
    }

    async fn build(&self, artifact: &ImageRef, target: &str) -> Verdict<Built> {
        let host = &self.registry.host;
        let request = BuildRequest {
            execution: format!("demo/{target}"),
            ..request(host, artifact, &format!("{host}/{target}"), &self.bases)
        };
        let spool = tempfile::tempdir().unwrap();
        run(&request, spool.path(), Path::new("/nonexistent")).await
    }

    async fn built(&self, artifact: &ImageRef, target: &str) -> Built {
        match self.build(artifact, target).await {
            Verdict::Ok(built) => built,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn push_build_and_read_back() {
    let setup = setup().await;
    let folder = tempfile::tempdir().unwrap();
    site(folder.path());
    let artifact = setup.push(folder.path(), "site/artifacts").await;
    let built = setup.built(&artifact, "site/images").await;

    // The same again, from another artifact repository into another target: the same digests.
    let other = setup.push(folder.path(), "elsewhere/artifacts").await;
    assert_eq!(other.digest(), artifact.digest());
    let again = setup.built(&other, "elsewhere/images").await;
    assert_eq!(
        (again.release, again.aem, again.dispatcher, again.report),
        (built.release, built.aem, built.dispatcher, built.report)
    );
    assert_eq!(setup.built(&artifact, "site/images").await, built);

    let client = setup.registry.client();
    let images = setup.registry.repository("site/images");
    let release = ImageRef::new(&images.to_string(), built.release).unwrap();
    release::verify_release(&client, &release, built.aem, built.dispatcher).await.unwrap();
    assert!(release::verify_release(&client, &release, built.dispatcher, built.aem).await.is_err());
    let contract = release::runtime_contract(&client, &release).await.unwrap();
    assert_eq!(
        (contract.aem.contract.tier, contract.dispatcher.contract.tier),
        (ImageTier::Aem, ImageTier::Dispatcher)
    );
    assert_eq!(contract.aem.image.digest(), built.aem);
    let aem = ImageRef::new(&images.to_string(), built.aem).unwrap();
    let (manifest, config) = release::image_config(&client, &aem).await.unwrap();
    // One layer of the base, three packages, the index.
    assert_eq!(manifest.layers.len(), 5);
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 5);
    assert_eq!(config["unknown"]["kept"], true);
    assert_eq!(config["config"]["Env"][0], "A=b");

    let report = report(&setup, "site/images", &built.report.to_string()).await;
    assert_eq!(
        report.order,
        ["site:all:1.0", "site:author:1.0", "site:core:1.0", "site:content:1.0", "site:embedded:1.0"]
    );
    assert_eq!(report.files.len(), 5);
    assert_eq!(report.release, Some(built.release));
    assert!(
        report.findings.iter().any(|finding| finding.message.contains("kept the base's file")),
        "{:?}",
        report.findings
    );
}

async fn report(setup: &Setup, repository: &str, digest: &str) -> Report {
    let client = setup.registry.client();
    let repository = setup.registry.repository(repository);
    let manifest = client.need_manifest(&repository, digest).await.unwrap();
    let value: serde_json::Value = serde_json::from_slice(&manifest.bytes).unwrap();
    let blob = value["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    serde_json::from_slice(&client.get_blob(&repository, &blob, 1 << 20).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_artifacts() {
    let setup = setup().await;
    let only = |name: &'static str, bytes: Vec<u8>| {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), name, &bytes);
        folder
    };
    let folder = only("a.zip", package("g:a:1", &[]));
    let built = setup.built(&setup.push(folder.path(), "p/a").await, "p/images").await;
    assert_eq!(built.dispatcher, setup.bases.dispatcher.digest());
    let release = ImageRef::new(&setup.registry.repository("p/images").to_string(), built.release).unwrap();
    release::verify_release(&setup.registry.client(), &release, built.aem, built.dispatcher).await.unwrap();

    let folder = only("d.zip", dispatcher_zip());
    let built = setup.built(&setup.push(folder.path(), "p/d").await, "p/images").await;
    assert_ne!(built.dispatcher, setup.bases.dispatcher.digest());

    for (name, bytes, reason) in [
        ("n.zip", zip(&[file("package.json", "{}")]), "NoArtifacts"),
        ("bad.zip", b"not a zip".to_vec(), "NotAZip"),
        ("u.zip", package("g:a:1", &[("dependencies", "g:none:[1,2)")]), "UnresolvedDependency"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), name, &bytes);
        let artifact = setup.push(folder.path(), "p/x").await;
        match setup.build(&artifact, "p/images").await {
            Verdict::Failed(problem) => {
                assert_eq!(problem.reason, reason, "{problem:?}");
                let report = report(&setup, "p/images", &problem.report.unwrap().to_string()).await;
                assert!(report.failure.unwrap().contains(reason));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Digests of the blobs that a repository has, with their sizes.
fn blobs(registry: &Registry, repository: &str) -> Vec<(String, u64)> {
    let links = registry.data().join("repositories").join(repository).join("_layers/sha256");
    let names = std::fs::read_dir(links).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .map(|hex| {
            let data = registry.data().join("blobs/sha256").join(&hex[..2]).join(&hex).join("data");
            (hex, std::fs::metadata(data).unwrap().len())
        })
        .collect()
}

/// Every eighth archive, without the empty one, which cannot even be pushed: what is refused differs, the way out of the build does not.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_refused_build_is_pushed_but_its_report() {
    let setup = setup().await;
    let mut builds = 0;
    let cases = hostile::all().into_iter().filter(|case| case.limits.is_none());
    for case in cases.filter(|case| matches!(case.expect, hostile::Expect::Refused(_))).skip(1).step_by(8) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "good.zip", &package("good:good:1", &[]));
        write(folder.path(), "case.zip", &case.bytes);
        let artifact = setup.push(folder.path(), "hostile/artifacts").await;
        let hostile::Expect::Refused(reasons) = case.expect else { continue };
        match setup.build(&artifact, "hostile/images").await {
            Verdict::Failed(problem) => {
                assert!(reasons.iter().any(|reason| reason.as_str() == problem.reason), "{}: {problem:?}", case.name);
                builds += 1;
            }
            other => panic!("{}: {other:?}", case.name),
        }
    }
    assert!(builds > 10, "{builds}");
    // Reports, and the empty configuration that their manifests name.
    let blobs = blobs(&setup.registry, "hostile/images");
    assert!(blobs.len() <= builds + 1, "{blobs:?}");
    assert!(blobs.iter().all(|(_, size)| *size < 16 << 10), "{blobs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn platform_errors_are_not_the_customers() {
    let setup = setup().await;
    let folder = tempfile::tempdir().unwrap();
    site(folder.path());
    let artifact = setup.push(folder.path(), "e/artifacts").await;
    let missing = ImageRef::new(artifact.repository(), Hasher::of(b"other")).unwrap();
    match setup.build(&missing, "e/images").await {
        Verdict::Error(problem) => assert_eq!(problem.reason, "RegistryNotFound", "{problem:?}"),
        other => panic!("{other:?}"),
    }
    // An image is not an artifact: the customer's mistake.
    let setup2 = Setup {
        bases: Bases { aem: setup.bases.dispatcher.clone(), dispatcher: setup.bases.aem.clone() },
        registry: setup.registry,
    };
    match setup2.build(&artifact, "e/images").await {
        Verdict::Failed(problem) => assert_eq!(problem.reason, "BaseContract", "{problem:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_asked_for_and_used() {
    let registry = Registry::start(true);
    let repository = registry.repository("a/b");
    let blob = Blob::from_bytes(vec![1; 300_000]);
    let digest = blob.digest().unwrap();
    let push = |client: launchway_operator::registry::Client, blob: Blob| {
        let repository = repository.clone();
        async move { client.push_blob(&repository, &digest, Arc::new(blob), None, (&Silent, "")).await }
    };
    let error = push(registry.client(), blob.clone()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("a/b") && error.message.contains("dockerconfigjson"), "{error}");
    let with = |password: &str| {
        let json = format!(r#"{{"auths":{{"{}":{{"username":"user","password":"{password}"}}}}}}"#, registry.host);
        client(&[&registry.host], Credentials::from_docker_config(&json).unwrap())
    };
    assert_eq!(push(with("wrong"), blob.clone()).await.unwrap_err().kind, ErrorKind::Refused);
    assert_eq!(push(with("password"), blob.clone()).await.unwrap(), Pushed::Uploaded);
    assert_eq!(push(with("password"), blob).await.unwrap(), Pushed::Existed);
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_round_trip() {
    let registry = Registry::start(false);
    let client = registry.client();
    let (one, two) = (registry.repository("one"), registry.repository("two/deep"));
    let blob = Blob::from_bytes((0..3_000_000_u32).map(|n| (n % 251) as u8).collect());
    let digest = blob.digest().unwrap();
    assert_eq!(client.head_blob(&one, &digest).await.unwrap(), None);
    assert_eq!(client.get_blob(&one, &digest, 10).await.unwrap_err().kind, ErrorKind::NotFound);
    assert!(!client.mount_blob(&two, &digest, &one).await.unwrap());
    assert_eq!(
        client.push_blob(&one, &digest, Arc::new(blob.clone()), None, (&Silent, "")).await.unwrap(),
        Pushed::Uploaded
    );
    assert_eq!(
        client.push_blob(&two, &digest, Arc::new(blob.clone()), Some(&one), (&Silent, "")).await.unwrap(),
        Pushed::Mounted
    );
    assert_eq!(client.get_blob(&one, &digest, 10).await.unwrap_err().kind, ErrorKind::Invalid);
    let mut file = tempfile::tempfile().unwrap();
    client.download(&two, &digest, blob.len(), &mut file, (&Silent, "")).await.unwrap();
    assert_eq!(Blob::from_file(file).unwrap().digest().unwrap(), digest);
    let mut file = tempfile::tempfile().unwrap();
    assert_eq!(client.download(&two, &digest, 5, &mut file, (&Silent, "")).await.unwrap_err().kind, ErrorKind::Invalid);
    // Content that is not what its name says.
    let lie = Hasher::of(b"something else");
    assert_eq!(
        client.push_blob(&one, &lie, Arc::new(blob), None, (&Silent, "")).await.unwrap_err().kind,
        ErrorKind::Invalid
    );
    assert_eq!(client.head_manifest(&one, "none").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn private_authorities_are_trusted_when_named_and_only_then() {
    let (registry, authority) = Registry::start_with_tls();
    let repository = registry.repository("a");
    let with = |authorities: Authorities| {
        launchway_operator::registry::Client::new(ClientOptions { authorities, ..ClientOptions::default() }).unwrap()
    };
    let named = with(Authorities::from_pem(&authority).unwrap());
    let digest = Hasher::of(b"content");
    assert_eq!(named.push_bytes(&repository, &digest, b"content").await.unwrap(), Pushed::Uploaded);
    assert_eq!(named.get_blob(&repository, &digest, 100).await.unwrap(), b"content");
    let error = with(Authorities::default()).head_blob(&repository, &digest).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.message.contains("ca.crt"), "{error}");
    for bad in ["", "text", "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n"] {
        assert!(Authorities::from_pem(bad).is_err(), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_sent_before_their_digest_is_known_are_the_same_blobs() {
    let registry = Registry::start(false);
    let (client, repository) = (registry.client(), registry.repository("layers"));
    for size in [0, 1, 65_000, 5_000_000] {
        let content = Content::File(Blob::from_bytes(noise(size)), 0o444);
        let layer =
            Layer::new(vec![LayerEntry { path: format!("f{size}"), content, mtime: EPOCH }], LayerEncoding::Gzip)
                .unwrap();
        let described = client.push_layer(&repository, &layer, (&Silent, "")).await.unwrap();
        assert_eq!(described, layer.describe().unwrap());
        let pushed = client.push_blob(&repository, &described.digest, Arc::new(layer), None, (&Silent, "")).await;
        assert_eq!(pushed.unwrap(), Pushed::Existed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_are_found_from_their_subject() {
    let registry = Registry::start(false);
    let (client, repository) = (registry.client(), registry.repository("r"));
    client.push_bytes(&repository, &Hasher::of(b"{}"), b"{}").await.unwrap();
    let subject = Hasher::of(b"subject");
    let document = |kind: &str| {
        let empty = serde_json::json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": Hasher::of(b"{}").to_string(), "size": 2});
        let bytes = canonical(&serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": empty, "layers": [empty],
            "subject": {"mediaType": MANIFEST, "digest": subject.to_string(), "size": 7}, "annotations": {"kind": kind},
        }));
        Encoded { digest: Hasher::of(&bytes), bytes, media_type: MANIFEST }
    };
    assert!(client.list_referrers(&repository, &subject, None).await.unwrap().is_empty());
    let documents: Vec<Encoded> = (0..5).map(|number| document(&format!("a/{number}"))).collect();
    // All at once: none may lose its place in the index.
    let pushed =
        futures::future::join_all(documents.iter().map(|document| client.push_referrer(&repository, document)));
    for listed in pushed.await {
        assert_eq!(listed.unwrap(), Listed::UnderTag);
    }
    client.push_referrer(&repository, &documents[0]).await.unwrap();
    let found = client.list_referrers(&repository, &subject, None).await.unwrap();
    assert_eq!(found.len(), 5);
    let typed = client.list_referrers(&repository, &subject, Some("a/3")).await.unwrap();
    assert_eq!(typed.len(), 1);
    assert_eq!(typed[0].descriptor.digest, documents[3].digest);
    assert_eq!(typed[0].descriptor.annotations["kind"], "a/3");
}

/// The worker itself, when the next test starts this test binary again with a request; else nothing.
#[test]
fn worker_process() {
    if std::env::var_os("LAUNCHWAY_BUILD").is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = runtime.block_on(launchway_operator::worker::build::main());
    }
}

/// Bytes that do not compress, the same every time.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(size);
    while out.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(size);
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_the_worker_is_small() {
    let setup = setup().await;
    let folder = tempfile::tempdir().unwrap();
    let mut items = package_items("site:big:1.0", &[], "/apps/big-packages");
    let mut inner = package_items("site:inner:1.0", &[], "/apps/inner");
    inner.push(file("jcr_root/apps/inner/x.bin", noise(40 << 20)));
    items.push(deflated("jcr_root/apps/big-packages/application/install/inner.zip", zip(&inner)));
    items.push(file("jcr_root/apps/big-packages/y.bin", noise(69 << 20)));
    write(folder.path(), "big.zip", &zip(&items));
    drop((items, inner));
    let artifact = setup.push(folder.path(), "m/artifacts").await;
    let spool = tempfile::tempdir().unwrap();
    let log = spool.path().join("termination-log");
    let request = serde_json::json!({
        "artifact": artifact, "target": format!("{}/m/images", setup.registry.host), "base": setup.bases,
        "execution": "demo/m", "plainHttp": [setup.registry.host],
    });
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker_process", "--nocapture", "--test-threads=1"])
        .env("LAUNCHWAY_BUILD", request.to_string())
        .env("LAUNCHWAY_SPOOL", spool.path())
        .env("LAUNCHWAY_TERMINATION_LOG", &log)
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0_u64;
    let started = std::time::Instant::now();
    let exit = loop {
        if let Some(exit) = child.try_wait().unwrap() {
            break exit;
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("VmHWM:"));
        let now = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        peak = peak.max(now.unwrap_or_default());
        assert!(started.elapsed().as_secs() < 120, "the worker hangs");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert!(exit.success());
    let outcome = Verdict::<Built>::parse(&std::fs::read_to_string(&log).unwrap()).unwrap();
    assert!(matches!(outcome, Verdict::Ok(_)), "{outcome:?}");
    println!("peak memory {peak} KiB, {:?}", started.elapsed());
    assert!(peak > 0 && peak < 64 << 10, "{peak} KiB");
}
