//! The code quality Job with scanners: our own package checks first, which leave the packages for the scanners, then
//! these side by side, and the sidecar that reads what they leave.
//!
//! A scanner sees the packages and its own folder for reports, and no credentials; `docs/tests.md` is its contract.

use k8s_openapi::{
    api::core::v1::{Container, EmptyDirVolumeSource, EnvVar, Volume, VolumeMount},
    apimachinery::pkg::api::resource::Quantity,
};
use launchway_crds::{common::Span, digest::ImageRef, pipeline::Scanner};
use serde_json::{Value, json};

use super::{
    pod,
    test_job::{
        COLLECTOR, GRACE_SECONDS, Keep, Parts, REPORTS_LIMIT, REPORTS_PATH, destination, limits, own, resources,
    },
};
use crate::gate::TestKind;

/// Name of the container with the package checks, when others scan after it.
pub const CHECKS: &str = "code-quality";
/// Where the packages are, for scanners.
pub const PACKAGES_PATH: &str = "/packages";
/// Where the package checks leave what they found, for the report.
const FINDINGS_PATH: &str = "/findings";

/// What the request of the package checks says besides: where to leave what for whom. `target` is whether there is a
/// place for a report.
#[must_use]
pub fn outlets(scanners: &[Scanner], keep: Option<&Keep<'_>>) -> Value {
    if scanners.is_empty() {
        json!({ "report": keep.map(destination) })
    } else {
        json!({ "packages": PACKAGES_PATH, "findings": FINDINGS_PATH })
    }
}

/// The longest time of any scanner: they run side by side.
#[must_use]
pub fn longest(scanners: &[Scanner]) -> Span {
    scanners.iter().map(|scanner| scanner.timeout).max().unwrap_or(Span::from_secs(0))
}

/// Adds scanners to the Job of the package checks.
#[must_use]
pub fn with_scanners(
    checks: Parts,
    scanners: &[Scanner],
    artifact: &ImageRef,
    keep: Option<&Keep<'_>>,
    operator_image: &str,
) -> Parts {
    let Parts { containers, mut volumes, .. } = checks;
    let credentials: Vec<VolumeMount> = containers
        .iter()
        .flat_map(|one| one.volume_mounts.iter().flatten())
        .filter(|one| one.name == "target")
        .cloned()
        .collect();
    let (packages, findings) = (empty("packages", None), empty("findings", None));
    volumes.extend([packages, findings]);
    let leaves = [mount("packages", PACKAGES_PATH, false), mount("findings", FINDINGS_PATH, false)];
    let mut init_containers: Vec<Container> = containers
        .into_iter()
        .map(|mut checks| {
            checks.name = CHECKS.into();
            checks.volume_mounts.get_or_insert_default().extend(leaves.clone());
            checks
        })
        .collect();
    let mut reads = vec![mount("findings", FINDINGS_PATH, true)];
    let mut all = vec![];
    for scanner in scanners {
        let (volume, folder) = (format!("reports-{}", scanner.name), format!("{REPORTS_PATH}/{}", scanner.name));
        volumes.push(empty(&volume, Some(REPORTS_LIMIT)));
        reads.push(mount(&volume, &folder, true));
        let (scratch, mounts) = pod::writable(&format!("tmp-{}", scanner.name), &["/tmp".to_string()], Some("1Gi"));
        volumes.push(scratch);
        let own = [mount("packages", PACKAGES_PATH, true), mount(&volume, REPORTS_PATH, false)];
        all.push(container(scanner, artifact, mounts.into_iter().chain(own).collect()));
    }
    init_containers.push(collector(scanners, keep, operator_image, reads.into_iter().chain(credentials).collect()));
    Parts {
        init_containers,
        containers: all,
        volumes,
        grace_seconds: Some(GRACE_SECONDS),
        default_container: Some(CHECKS),
    }
}

fn container(scanner: &Scanner, artifact: &ImageRef, mounts: Vec<VolumeMount>) -> Container {
    let (cpu, memory) = limits(TestKind::Scan);
    let mut env: Vec<EnvVar> = scanner.variables.iter().map(|(name, value)| pod::env(name, value.clone())).collect();
    // The last of two of one name wins: names of ours do.
    env.extend([
        pod::env("LAUNCHWAY_PACKAGES", PACKAGES_PATH),
        pod::env("LAUNCHWAY_ARTIFACT", artifact.to_string()),
        pod::env("REPORTS_PATH", REPORTS_PATH),
    ]);
    Container {
        name: format!("scan-{}", scanner.name),
        image: Some(scanner.image.to_string()),
        env: Some(env),
        resources: Some(resources(Some(cpu), memory)),
        volume_mounts: Some(mounts),
        security_context: Some(pod::restricted()),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    }
}

fn collector(scanners: &[Scanner], keep: Option<&Keep<'_>>, image: &str, mounts: Vec<VolumeMount>) -> Container {
    let names: Vec<&str> = scanners.iter().map(|scanner| scanner.name.as_str()).collect();
    let request = json!({
        "kind": TestKind::Scan,
        "folder": REPORTS_PATH,
        "report": keep.map(destination),
        "scanners": names,
        "findings": FINDINGS_PATH,
    });
    Container {
        name: COLLECTOR.into(),
        restart_policy: Some("Always".into()),
        volume_mounts: Some(mounts),
        ..own(image, "collect", "LAUNCHWAY_COLLECT", request.to_string())
    }
}

fn empty(name: &str, limit: Option<&str>) -> Volume {
    Volume {
        name: name.into(),
        empty_dir: Some(EmptyDirVolumeSource { size_limit: limit.map(|limit| Quantity(limit.into())), medium: None }),
        ..Volume::default()
    }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "reg.example/pmd@sha256:1111111111111111111111111111111111111111111111111111111111111111";

    fn scanner(name: &str, timeout: u64) -> Scanner {
        let variables = [("REPORTS_PATH", "/etc"), ("RULES", "strict")];
        Scanner {
            name: name.into(),
            image: IMAGE.parse().unwrap(),
            variables: variables.map(|(name, value)| (name.to_string(), value.to_string())).into(),
            timeout: Span::from_secs(timeout),
        }
    }

    fn parts() -> Parts {
        let checks = Container {
            name: "code-quality".into(),
            volume_mounts: Some(vec![mount("source", "/source", true), mount("target", "/target", true)]),
            security_context: Some(pod::restricted()),
            ..Container::default()
        };
        let checks = Parts { containers: vec![checks], volumes: vec![empty("spool", None)], ..Parts::default() };
        let keep = Keep { repository: "reg.example/images", plain_http: false, secret: Some("push") };
        let scanners = [scanner("pmd", 60), scanner("trivy", 600)];
        with_scanners(checks, &scanners, &IMAGE.parse().unwrap(), Some(&keep), "launchway:1")
    }

    fn places(container: &Container) -> Vec<(&str, &str, bool)> {
        let mounts = container.volume_mounts.iter().flatten();
        mounts.map(|one| (one.name.as_str(), one.mount_path.as_str(), one.read_only == Some(true))).collect()
    }

    #[test]
    fn a_scanner_sees_packages_and_its_own_folder_and_no_credentials() {
        let parts = parts();
        let [pmd, trivy] = parts.containers.as_slice() else { panic!("one container a scanner") };
        assert_eq!((pmd.name.as_str(), trivy.name.as_str()), ("scan-pmd", "scan-trivy"));
        assert_eq!(
            places(pmd),
            [("tmp-pmd", "/tmp", false), ("packages", "/packages", true), ("reports-pmd", "/reports", false)]
        );
        let seen = |name: &str| pmd.env.iter().flatten().rfind(|env| env.name == name).unwrap().value.clone().unwrap();
        assert_eq!((seen("REPORTS_PATH").as_str(), seen("RULES").as_str()), ("/reports", "strict"));
        assert_eq!((seen("LAUNCHWAY_PACKAGES").as_str(), seen("LAUNCHWAY_ARTIFACT").as_str()), ("/packages", IMAGE));
        for container in parts.containers.iter().chain(&parts.init_containers) {
            let context = container.security_context.as_ref().unwrap();
            assert_eq!(context.allow_privilege_escalation, Some(false), "{}", container.name);
            assert_eq!(context.read_only_root_filesystem, Some(true), "{}", container.name);
            for (volume, _, _) in places(container) {
                let known = ["source", "target"].contains(&volume);
                assert!(known || parts.volumes.iter().any(|one| one.name == volume), "{volume} is no volume");
            }
        }
    }

    #[test]
    fn checks_come_first_and_the_sidecar_reads_every_scanner() {
        let parts = parts();
        let [checks, collector] = parts.init_containers.as_slice() else { panic!("checks and sidecar") };
        assert_eq!((checks.name.as_str(), checks.restart_policy.as_deref()), (CHECKS, None));
        assert!(places(checks).contains(&("packages", "/packages", false)));
        assert_eq!((collector.name.as_str(), collector.restart_policy.as_deref()), (COLLECTOR, Some("Always")));
        assert_eq!(
            places(collector),
            [
                ("findings", "/findings", true),
                ("reports-pmd", "/reports/pmd", true),
                ("reports-trivy", "/reports/trivy", true),
                ("target", "/target", true)
            ]
        );
        let request = collector.env.as_ref().unwrap()[0].value.clone().unwrap();
        let request: crate::worker::collect::Request = serde_json::from_str(&request).unwrap();
        assert_eq!(request.scanners, ["pmd", "trivy"]);
        assert_eq!(request.report.unwrap().repository, "reg.example/images");
    }

    #[test]
    fn the_longest_scanner_counts() {
        assert_eq!(longest(&[scanner("a", 60), scanner("b", 600)]), Span::from_secs(600));
        assert_eq!(longest(&[]), Span::from_secs(0));
    }
}
