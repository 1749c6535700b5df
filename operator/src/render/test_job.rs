//! Containers of test Jobs: what a test image finds around it, and the sidecar that reads what it leaves.
//!
//! Variables, properties and limits are those of `aem-artifacts.md §4`; people read them in `docs/tests.md`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, ResourceRequirements, SecretKeySelector, Volume,
        VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use launchway_crds::digest::ImageRef;
use serde_json::json;

use super::pod;
use crate::gate::TestKind;

/// Name of the sidecar; its termination message is the result.
pub const COLLECTOR: &str = "collect";
/// Where a test writes its reports.
pub const REPORTS_PATH: &str = "/reports";
/// How long the sidecar may take to read and keep the reports when the test has ended: longer than
/// `worker::publish` waits for a registry.
pub const GRACE_SECONDS: i64 = 120;

pub(super) const REPORTS_LIMIT: &str = "512Mi";

/// Where the report of a test is kept, and with which Secret it is written.
#[derive(Clone, Copy, Debug)]
pub struct Keep<'a> {
    /// `REGISTRY/REPOSITORY`: the pipeline's images.
    pub repository: &'a str,
    /// Speak plain HTTP to it.
    pub plain_http: bool,
    /// Secret of type `kubernetes.io/dockerconfigjson`.
    pub secret: Option<&'a str>,
}

/// A test of somebody's image.
#[derive(Clone, Copy, Debug)]
pub struct ImageTest<'a> {
    /// What kind of test it is.
    pub kind: TestKind,
    /// The image.
    pub image: &'a ImageRef,
    /// Variables of the pipeline. Names of ours win; those of a login with `login` alone.
    pub variables: &'a BTreeMap<String, String>,
    /// Address of the dispatchers.
    pub publish: &'a str,
    /// Address of the author.
    pub author: &'a str,
    /// The release under test.
    pub release: &'a ImageRef,
    /// Secret with `username` and `password` of a user for tests.
    pub login: Option<&'a str>,
}

/// What a Job's pod consists of.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Sidecars.
    pub init_containers: Vec<Container>,
    /// The test.
    pub containers: Vec<Container>,
    /// Their volumes.
    pub volumes: Vec<Volume>,
    /// Grace period of the pod.
    pub grace_seconds: Option<i64>,
    /// The container whose log is meant when nobody names one; for pods with several.
    pub default_container: Option<&'static str>,
}

/// A test of somebody's image, with the sidecar that reads its reports.
///
/// The sidecar is an init container that is always restarted: the kubelet starts it first and stops it when the test
/// has ended, with any exit code (Kubernetes 1.29).
#[must_use]
pub fn image_test(test: &ImageTest<'_>, keep: &Keep<'_>, operator_image: &str) -> Parts {
    let reports = VolumeMount { name: "reports".into(), mount_path: REPORTS_PATH.into(), ..VolumeMount::default() };
    let (scratch, mut mounts) = pod::writable("tmp", &["/tmp".to_string()], Some("1Gi"));
    mounts.push(reports.clone());
    let (cpu, memory) = limits(test.kind);
    let container = Container {
        name: "test".into(),
        image: Some(test.image.to_string()),
        env: Some(variables(test)),
        resources: Some(resources(Some(cpu), memory)),
        volume_mounts: Some(mounts),
        security_context: Some(pod::restricted()),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    };
    let (secret, secret_mount) = push_secret(keep);
    let request = json!({ "kind": test.kind, "folder": REPORTS_PATH, "report": destination(keep) });
    let reports_read = VolumeMount { read_only: Some(true), ..reports };
    let collector = Container {
        name: COLLECTOR.into(),
        restart_policy: Some("Always".into()),
        volume_mounts: Some([reports_read].into_iter().chain(secret_mount).collect()),
        ..own(operator_image, "collect", "LAUNCHWAY_COLLECT", request.to_string())
    };
    let reports = Volume {
        name: "reports".into(),
        empty_dir: Some(EmptyDirVolumeSource { size_limit: Some(Quantity(REPORTS_LIMIT.into())), medium: None }),
        ..Volume::default()
    };
    Parts {
        init_containers: vec![collector],
        containers: vec![container],
        volumes: [scratch, reports].into_iter().chain(secret).collect(),
        grace_seconds: Some(GRACE_SECONDS),
        default_container: None,
    }
}

/// A test of our own: `subcommand` of the worker with its request in `variable`.
///
/// `login` names a Secret with `username` and `password` that pages ask for.
#[must_use]
pub fn own_test(
    operator_image: &str,
    subcommand: &str,
    (variable, request): (&str, String),
    login: Option<&str>,
    keep: &Keep<'_>,
) -> Parts {
    let (secret, mount) = push_secret(keep);
    let mut container = own(operator_image, subcommand, variable, request);
    container.volume_mounts = Some(mount.into_iter().collect());
    if let (Some(secret), Some(env)) = (login, &mut container.env) {
        env.extend([
            of_secret("LAUNCHWAY_TEST_USERNAME", secret, "username"),
            of_secret("LAUNCHWAY_TEST_PASSWORD", secret, "password"),
        ]);
    }
    Parts { containers: vec![container], volumes: secret.into_iter().collect(), ..Parts::default() }
}

/// Where a worker keeps its report, as its request says it.
#[must_use]
pub fn destination(keep: &Keep<'_>) -> serde_json::Value {
    json!({ "repository": keep.repository, "plainHttp": keep.plain_http })
}

pub(super) fn own(image: &str, subcommand: &str, variable: &str, request: String) -> Container {
    Container {
        name: subcommand.into(),
        image: Some(image.into()),
        args: Some(vec!["worker".into(), subcommand.into()]),
        env: Some(vec![pod::env(variable, request)]),
        resources: Some(resources(None, "256Mi")),
        security_context: Some(pod::restricted()),
        ..Container::default()
    }
}

/// CPU and memory of a test's container.
pub(super) const fn limits(kind: TestKind) -> (&'static str, &'static str) {
    match kind {
        TestKind::Product | TestKind::Functional => ("500m", "512Mi"),
        TestKind::Ui | TestKind::Audit | TestKind::Scan => ("2", "1Gi"),
    }
}

pub(super) fn resources(cpu: Option<&str>, memory: &str) -> ResourceRequirements {
    let quantity = |name: &str, value: &str| (name.to_string(), Quantity(value.into()));
    let requests = [quantity("cpu", "50m"), quantity("memory", "64Mi")].into();
    let limits = cpu.map(|cpu| quantity("cpu", cpu)).into_iter().chain([quantity("memory", memory)]).collect();
    ResourceRequirements { requests: Some(requests), limits: Some(limits), claims: None }
}

/// The environment of a test's container: the pipeline's variables, then ours; the last of two of one name wins. The login
/// is empty only where neither a Secret nor the pipeline has one.
fn variables(test: &ImageTest<'_>) -> Vec<EnvVar> {
    let mut all: Vec<EnvVar> = test.variables.iter().map(|(name, value)| pod::env(name, value.clone())).collect();
    all.extend([
        pod::env("LAUNCHWAY_TEST_URL", test.publish),
        pod::env("LAUNCHWAY_AUTHOR_URL", test.author),
        pod::env("LAUNCHWAY_RELEASE", test.release.to_string()),
        pod::env("AEM_AUTHOR_URL", test.author),
        pod::env("AEM_PUBLISH_URL", test.publish),
        pod::env("REPORTS_PATH", REPORTS_PATH),
    ]);
    for tier in ["AUTHOR", "PUBLISH"] {
        for (part, key) in [("USERNAME", "username"), ("PASSWORD", "password")] {
            let name = format!("AEM_{tier}_{part}");
            match test.login {
                Some(secret) => all.push(of_secret(&name, secret, key)),
                None if test.variables.contains_key(&name) => {}
                None => all.push(pod::env(&name, "")),
            }
        }
    }
    all.push(pod::env("LAUNCHWAY_JAVA_OPTIONS", java_options()));
    all
}

/// The system properties of functional tests, for `java $LAUNCHWAY_JAVA_OPTIONS -jar …`. The kubelet puts in the
/// values: no password is in the Job.
fn java_options() -> String {
    let mut all = vec!["-Dsling.it.instances=2".to_string()];
    for (number, tier) in [(1, "author"), (2, "publish")] {
        let upper = tier.to_uppercase();
        all.extend([
            format!("-Dsling.it.instance.url.{number}=$(AEM_{upper}_URL)"),
            format!("-Dsling.it.instance.runmode.{number}={tier}"),
            format!("-Dsling.it.instance.adminUser.{number}=$(AEM_{upper}_USERNAME)"),
            format!("-Dsling.it.instance.adminPassword.{number}=$(AEM_{upper}_PASSWORD)"),
        ]);
    }
    all.push("-Dsling.it.configure.default.replication.agents=false".into());
    all.push("-Dit.logintokenauth=true".into());
    all.join(" ")
}

fn of_secret(name: &str, secret: &str, key: &str) -> EnvVar {
    let selector = SecretKeySelector { name: secret.into(), key: key.into(), optional: None };
    EnvVar {
        name: name.into(),
        value: None,
        value_from: Some(EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() }),
    }
}

fn push_secret(keep: &Keep<'_>) -> (Option<Volume>, Option<VolumeMount>) {
    keep.secret.map(|secret| pod::credentials("target", secret)).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "reg.example/it@sha256:1111111111111111111111111111111111111111111111111111111111111111";

    fn parts(kind: TestKind, login: Option<&str>) -> Parts {
        let image: ImageRef = IMAGE.parse().unwrap();
        let variables = [("MY", "own"), ("REPORTS_PATH", "/etc"), ("AEM_AUTHOR_PASSWORD", "mine")];
        let variables = variables.map(|(name, value)| (name.to_string(), value.to_string())).into();
        let (publish, author) = ("http://dispatcher", "http://author");
        let test = ImageTest { kind, image: &image, variables: &variables, publish, author, release: &image, login };
        let keep = Keep { repository: "reg.example/images", plain_http: false, secret: Some("push") };
        image_test(&test, &keep, "launchway:1")
    }

    /// What the container sees: the last of two of one name.
    fn seen<'a>(container: &'a Container, name: &str) -> &'a EnvVar {
        container.env.as_ref().unwrap().iter().rfind(|env| env.name == name).unwrap()
    }

    #[test]
    fn names_of_ours_win_over_the_pipelines() {
        let parts = parts(TestKind::Ui, Some("test-user"));
        let test = &parts.containers[0];
        assert_eq!(seen(test, "REPORTS_PATH").value.as_deref(), Some("/reports"));
        assert_eq!(seen(test, "MY").value.as_deref(), Some("own"));
        assert_eq!(seen(test, "AEM_PUBLISH_URL").value.as_deref(), Some("http://dispatcher"));
        for (name, key) in [
            ("AEM_AUTHOR_USERNAME", "username"),
            ("AEM_AUTHOR_PASSWORD", "password"),
            ("AEM_PUBLISH_USERNAME", "username"),
            ("AEM_PUBLISH_PASSWORD", "password"),
        ] {
            let selector = seen(test, name).value_from.clone().unwrap().secret_key_ref.unwrap();
            assert_eq!((selector.name.as_str(), selector.key.as_str(), selector.optional), ("test-user", key, None));
        }
    }

    #[test]
    fn a_login_of_the_pipelines_own_stays_where_there_is_no_secret() {
        let parts = parts(TestKind::Functional, None);
        let test = &parts.containers[0];
        assert_eq!(seen(test, "AEM_AUTHOR_PASSWORD").value.as_deref(), Some("mine"));
        assert_eq!(seen(test, "AEM_AUTHOR_USERNAME").value.as_deref(), Some(""));
        assert_eq!(seen(test, "REPORTS_PATH").value.as_deref(), Some("/reports"));
    }

    #[test]
    fn properties_name_both_instances_and_no_password() {
        let options = seen(&parts(TestKind::Functional, Some("test-user")).containers[0], "LAUNCHWAY_JAVA_OPTIONS")
            .value
            .clone()
            .unwrap();
        for wanted in [
            "-Dsling.it.instances=2",
            "-Dsling.it.instance.url.1=$(AEM_AUTHOR_URL)",
            "-Dsling.it.instance.runmode.2=publish",
            "-Dsling.it.instance.adminPassword.2=$(AEM_PUBLISH_PASSWORD)",
            "-Dit.logintokenauth=true",
        ] {
            assert!(options.split(' ').any(|option| option == wanted), "{wanted}");
        }
    }

    /// The kubelet puts `$(NAME)` in only for names that are defined before.
    #[test]
    fn every_reference_is_to_a_name_before_it() {
        for login in [None, Some("test-user")] {
            let parts = parts(TestKind::Functional, login);
            let env = parts.containers[0].env.as_ref().unwrap();
            let at = env.iter().position(|env| env.name == "LAUNCHWAY_JAVA_OPTIONS").unwrap();
            for reference in java_options().split("$(").skip(1) {
                let name = reference.split(')').next().unwrap();
                assert!(env[..at].iter().any(|env| env.name == name), "{name}");
            }
        }
    }

    #[test]
    fn the_collector_is_a_sidecar_that_only_reads() {
        let parts = parts(TestKind::Ui, None);
        let [collector] = parts.init_containers.as_slice() else { panic!("one sidecar") };
        assert_eq!((collector.name.as_str(), collector.restart_policy.as_deref()), ("collect", Some("Always")));
        let mounts = collector.volume_mounts.as_ref().unwrap();
        assert!(mounts.iter().all(|mount| mount.read_only == Some(true)));
        // A registry with a private authority takes reports too.
        let target = parts.volumes.iter().find(|volume| volume.name == "target").unwrap();
        let sources = target.projected.as_ref().unwrap().sources.as_ref().unwrap();
        let keys: Vec<&str> = sources
            .iter()
            .map(|source| source.secret.as_ref().unwrap().items.as_ref().unwrap()[0].key.as_str())
            .collect();
        assert_eq!(keys, [".dockerconfigjson", "ca.crt"]);
        // The test itself never sees the Secret that the report is written with.
        let mounts = parts.containers[0].volume_mounts.as_ref().unwrap();
        assert!(mounts.iter().all(|mount| mount.name != "target"));
        let request = seen(collector, "LAUNCHWAY_COLLECT").value.clone().unwrap();
        let request: crate::worker::collect::Request = serde_json::from_str(&request).unwrap();
        assert_eq!(request.kind, TestKind::Ui);
        assert_eq!(request.report.unwrap().repository, "reg.example/images");
    }

    #[test]
    fn limits_are_the_documented_ones() {
        for (kind, cpu, memory) in
            [(TestKind::Functional, "500m", "512Mi"), (TestKind::Product, "500m", "512Mi"), (TestKind::Ui, "2", "1Gi")]
        {
            let parts = parts(kind, None);
            let limits = parts.containers[0].resources.clone().unwrap().limits.unwrap();
            assert_eq!((limits["cpu"].0.as_str(), limits["memory"].0.as_str()), (cpu, memory));
        }
    }

    #[test]
    fn every_container_is_restricted() {
        let keep = Keep { repository: "reg.example/images", plain_http: true, secret: None };
        let request = ("LAUNCHWAY_SECURITY", "{}".to_string());
        let mut own = own_test("launchway:1", "security-test", request, Some("visitor"), &keep);
        own.containers.extend(parts(TestKind::Audit, None).containers);
        own.containers.extend(parts(TestKind::Audit, None).init_containers);
        for container in &own.containers {
            let context = container.security_context.as_ref().unwrap();
            assert_eq!(context.allow_privilege_escalation, Some(false), "{}", container.name);
            assert_eq!(context.read_only_root_filesystem, Some(true), "{}", container.name);
        }
        assert!(seen(&own.containers[0], "LAUNCHWAY_TEST_PASSWORD").value_from.is_some());
    }
}
