//! The code quality Job with scanners, as the kubelet would run it: the containers of the very Job that is rendered, a real
//! registry, and folders of this machine in place of volumes.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../src/image/testzip.rs"]
#[allow(dead_code)]
mod testzip;

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use k8s_openapi::api::{batch::v1::Job, core::v1::Container};
use launchway_crds::{PipelineExecution, common::Span, digest::ImageRef, pipeline::Scanner, step::StepName};
use launchway_operator::{
    artifact,
    cli::report::read,
    observe::{scan_end::scan_end, test_end::TestEnd},
    plan::execution::action::{Registries, Work},
    registry::{Location, Silent},
    render::job::{Installation, job},
};
use serde_json::{Value, json};
use support::{Registry, write};

const SARIF: &str = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"pmd"}},"results":[
    {"ruleId":"R1","level":"error","message":{"text":"a password"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"site.zip"},"region":{"startLine":3}}}]}]}]}"#;
const METRICS: &str = r#"{"format":"launchway-metrics/1","metrics":[{"name":"coverage","severity":"important","comparator":"GTE","expected":50,"actual":61}]}"#;

/// Folders in place of volumes.
struct Node {
    root: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["packages", "findings", "reports/pmd", "reports/tests", "spool", "credentials"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn log(&self, container: &str) -> PathBuf {
        self.path(&format!("{container}.termination"))
    }

    /// Starts a container of our own image. What its request says of volumes is said of folders here.
    fn start(&self, container: &Container) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_launchway"));
        command.args(container.args.as_ref().unwrap());
        for env in container.env.iter().flatten() {
            let mut value = env.value.clone().unwrap_or_default();
            for volume in ["/packages", "/findings", "/reports"] {
                let here = format!("\"{}\"", self.root.path().join(&volume[1..]).display());
                value = value.replace(&format!("\"{volume}\""), &here);
            }
            command.env(&env.name, value);
        }
        command
            .env("LAUNCHWAY_SPOOL", self.path("spool"))
            .env("LAUNCHWAY_CREDENTIALS", self.path("credentials"))
            .env("LAUNCHWAY_TERMINATION_LOG", self.log(&container.name))
            .spawn()
            .unwrap()
    }

    /// The state of a container that ended, as a pod's status has it.
    fn ended(&self, name: &str, second: u8) -> Value {
        let message = fs::read_to_string(self.log(name)).unwrap_or_default();
        let end = json!({"exitCode": 0, "message": message, "finishedAt": format!("2026-11-27T10:00:{second:02}Z")});
        json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": end}})
    }
}

fn wait(mut child: Child) -> bool {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        assert!(began.elapsed() < Duration::from_secs(60), "a container does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn rendered(artifact: &ImageRef, registry: &Registry) -> Job {
    let execution: PipelineExecution = serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
        "metadata": {"name": "wknd-1", "namespace": "wknd", "uid": "uid-1"},
        "spec": {"pipelineRef": {"name": "wknd"}},
    }))
    .unwrap();
    let scanner = |name: &str| Scanner {
        name: name.into(),
        image: format!("reg.example/{name}@sha256:{}", "1".repeat(64)).parse().unwrap(),
        variables: [].into(),
        timeout: Span::from_secs(60),
    };
    let work = Work::CodeQuality {
        artifact: artifact.clone(),
        provided: vec![],
        refuse: false,
        registries: Registries {
            target: Some(format!("{}/wknd/images", registry.host)),
            plain_http: vec![registry.host.clone()],
            ..Registries::default()
        },
        timeout: Span::from_secs(60),
        scanners: vec![scanner("pmd"), scanner("tests")],
    };
    let installation = Installation { image: "launchway:1".into(), build_memory: "256Mi".into(), builder: None };
    job(&execution, StepName::CodeQuality, &work, &installation)
}

/// What two scanners do with what they find.
fn scan(node: &Node, packages: &Path) {
    let found: Vec<String> =
        fs::read_dir(packages).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, ["site.zip"], "a scanner finds the packages under their names");
    fs::write(node.path("reports/pmd/a.sarif"), SARIF).unwrap();
    fs::write(node.path("reports/tests/metrics.json"), METRICS).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_and_scanners_are_one_result_and_one_report() {
    let (registry, node, zips) = (Registry::start(false), Node::new(), tempfile::tempdir().unwrap());
    // Its root belongs to the product: the package checks find that.
    let items = testzip::package_items("site:all:1.0", &[], "/libs/site");
    write(zips.path(), "site.zip", &testzip::zip(&items));
    let target = Location::parse(&format!("{}/wknd/artifacts:latest", registry.host)).unwrap();
    let pushed = artifact::push(&registry.client(), &target, &[zips.path().to_owned()], &Silent).await.unwrap();
    let job = rendered(&pushed.image, &registry);
    let pod = job.spec.unwrap().template.spec.unwrap();
    let [checks, collector] = pod.init_containers.as_deref().unwrap() else { panic!("checks and sidecar") };

    assert!(wait(node.start(checks)), "{}", fs::read_to_string(node.log(&checks.name)).unwrap_or_default());
    let sidecar = node.start(collector);
    scan(&node, &node.path("packages"));
    // It has to hear the signal that tells it that the scanners have ended.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(Command::new("kill").arg(sidecar.id().to_string()).status().unwrap().success());
    assert!(wait(sidecar));

    let containers: Vec<Value> = pod.containers.iter().map(|one| node.ended(&one.name, 5)).collect();
    let status = json!({
        "spec": {"containers": [], "initContainers": [{"name": checks.name}, {"name": collector.name}]},
        "status": {
            "phase": "Succeeded",
            "initContainerStatuses": [node.ended(&checks.name, 1), node.ended(&collector.name, 9)],
            "containerStatuses": containers,
        },
    });
    let end = scan_end(&serde_json::from_value(status).unwrap());
    let Some(TestEnd::Measured { metrics, report: Some(report), message }) = end else { panic!("{end:?}") };
    let of = |name: &str| metrics.iter().find(|metric| metric.name == name).map(|metric| metric.actual.as_str());
    assert_eq!((of("pmd.sarif_errors"), of("coverage")), (Some("1"), Some("61")), "{metrics:?}");
    assert!(of("open_issues").is_some_and(|count| count != "0"), "the package checks are there too: {metrics:?}");
    assert!(message.contains("findings in 1 files"), "{message}");

    let reference = ImageRef::new(&format!("{}/wknd/images", registry.host), report).unwrap();
    let contents = read::fetch(&registry.client(), &reference, false).await.unwrap();
    let titles: Vec<&str> = contents.iter().map(|content| content.file.title.as_str()).collect();
    assert_eq!(titles, ["findings.json", "pmd/a.sarif", "tests/metrics.json"]);
    let (lines, unread) = read::findings(&contents);
    assert!(unread.is_empty(), "{unread:?}");
    assert!(lines.iter().any(|line| line.source == "packages" && line.place.starts_with("site.zip")), "{lines:?}");
    assert!(lines.iter().any(|line| line.source == "pmd" && line.place == "site.zip:3"), "{lines:?}");
}
