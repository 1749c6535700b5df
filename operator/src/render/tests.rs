//! Objects as they reach the apiserver.

use std::collections::BTreeMap;

use launchway_crds::{
    Environment, PipelineExecution,
    common::LocalName,
    deploy::{CacheFlush, Origin},
    digest::ImageRef,
    environment::{Deployed, Tier},
    pipeline::LayerEncoding,
    step::StepName,
};
use serde_json::{Value, json};

use crate::{
    image::contract::{Probe, RuntimeContract},
    plan::{
        environment::{ServiceName, world::Content},
        execution::action::{Registries, Site, Work},
    },
};

mod further;
mod test_jobs;

use super::{Contracts, Release, job, service, workload};

pub fn image(letter: char) -> ImageRef {
    format!("registry.example.com/wknd/images@sha256:{}", letter.to_string().repeat(64)).parse().unwrap()
}

pub fn environment() -> Environment {
    serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment",
        "metadata": { "name": "prod", "namespace": "wknd", "uid": "env-uid", "labels": { "owner": "team" } },
        "spec": {
            "type": "Production",
            "author": { "storage": { "size": "10Gi" } },
            "dispatcher": { "drainSeconds": 7, "warmUp": ["/", "/home.html"] },
            "variables": [{ "name": "API_URL", "value": "https://api", "services": ["publish"] }],
        },
    }))
    .unwrap()
}

pub fn contract(tier: &str, port: &str) -> RuntimeContract {
    let labels = json!({
        "dev.launchway.contract": "1",
        "dev.launchway.tier": tier,
        "dev.launchway.port": port,
        "dev.launchway.install-path": "/opt/launchway/install",
        "dev.launchway.index-path": "/opt/launchway/packages.json",
        "dev.launchway.data-path": "/opt/launchway/data",
        "dev.launchway.config-path": "/etc/httpd",
        "dev.launchway.writable-paths": "/tmp,/run",
        "dev.launchway.command.ready": "[\"/ready\"]",
        "dev.launchway.command.live": "[\"/live\"]",
        "dev.launchway.command.drain": if tier == "dispatcher" { "[\"/drain\"]" } else { "" },
        "dev.launchway.command.config-test": if tier == "dispatcher" { "[\"/config-test\"]" } else { "" },
    });
    RuntimeContract::from_config(&json!({ "config": { "User": "1000", "Labels": labels } })).unwrap()
}

pub fn deployed() -> Deployed {
    serde_json::from_value(json!({
        "execution": "wknd-1", "uid": "uid-1", "release": image('e'), "at": "2026-11-21T10:00:00Z",
        "images": { "aem": image('a'), "dispatcher": image('d') },
    }))
    .unwrap()
}

/// A release on an Environment, with variables in every tier.
pub fn with_release<T>(then: impl FnOnce(&Release<'_>) -> T) -> T {
    with(&environment(), &deployed(), &hashes("0123456789"), then)
}

fn hashes(hash: &str) -> BTreeMap<Tier, String> {
    Tier::ALL.into_iter().map(|tier| (tier, hash.to_owned())).collect()
}

fn with<T>(
    environment: &Environment,
    deployed: &Deployed,
    configuration: &BTreeMap<Tier, String>,
    then: impl FnOnce(&Release<'_>) -> T,
) -> T {
    let contracts = Contracts { aem: contract("aem", "8080"), dispatcher: contract("dispatcher", "80") };
    let content = Content::Release(Box::new(deployed.clone()));
    then(&Release { environment, content: &content, contracts: &contracts, configuration })
}

fn set(deployed: &Deployed, tier: Tier) -> Value {
    with(&environment(), deployed, &hashes("0123456789"), |release| {
        serde_json::to_value(workload::stateful_set(release, tier, 3, 2)).unwrap()
    })
}

pub fn rendered(tier: Tier) -> Value {
    set(&deployed(), tier)
}

fn variable<'a>(set: &'a Value, name: &str) -> &'a str {
    let all = set["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    all.iter().find(|env| env["name"] == name).and_then(|env| env["value"].as_str()).unwrap_or_default()
}

/// Pod Security "restricted": what the apiserver would enforce in a namespace that asks for it.
fn assert_restricted(pod: &Value) {
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let containers =
        ["containers", "initContainers"].iter().flat_map(|kind| pod[*kind].as_array().cloned().unwrap_or_default());
    for container in containers {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
    }
}

#[test]
fn workloads_are_restricted_and_pinned_and_belong_to_their_environment() {
    for tier in Tier::ALL {
        let set = rendered(tier);
        let pod = &set["spec"]["template"]["spec"];
        assert_restricted(pod);
        assert_eq!(set["metadata"]["ownerReferences"][0]["uid"], "env-uid");
        assert!(set["metadata"]["labels"].get("owner").is_none(), "labels of users' objects are not copied");
        assert_eq!(set["spec"]["updateStrategy"]["rollingUpdate"]["partition"], 2);
        assert_eq!(set["spec"]["podManagementPolicy"], "Parallel");
        let expected = if tier == Tier::Dispatcher { image('d') } else { image('a') };
        assert_eq!(pod["containers"][0]["image"], expected.to_string());
        assert_eq!(set["metadata"]["annotations"]["launchway.dev/release"], image('e').to_string());
    }
}

/// A dispatcher's pod whose image has another contract than the usual one.
pub fn dispatcher_pod(change: impl FnOnce(&mut RuntimeContract)) -> Value {
    let mut dispatcher = contract("dispatcher", "8080");
    change(&mut dispatcher);
    let contracts = Contracts { aem: contract("aem", "8080"), dispatcher };
    let (environment, content, configuration) =
        (environment(), Content::Release(Box::new(deployed())), hashes("0123456789"));
    let release =
        Release { environment: &environment, content: &content, contracts: &contracts, configuration: &configuration };
    let set = serde_json::to_value(workload::stateful_set(&release, Tier::Dispatcher, 1, 0)).unwrap();
    set["spec"]["template"]["spec"].clone()
}

#[test]
fn low_ports_are_allowed_for_counters_and_probes_as_for_visitors() {
    let live = |port| Some(Probe::Http { path: "/live".into(), port });
    for (metrics, live, allowed) in [
        (Some(180), None, true),
        (Some(9180), None, false),
        (None, None, false),
        (None, live(181), true),
        (None, live(9181), false),
    ] {
        let pod = dispatcher_pod(|contract| {
            contract.metrics_port = metrics;
            contract.probes.live.clone_from(&live);
        });
        let sysctls = &pod["securityContext"]["sysctls"];
        assert_eq!(sysctls.is_array(), allowed, "{metrics:?} {live:?}: {sysctls}");
    }
}

#[test]
fn a_dispatcher_reaches_its_own_publish_on_its_own_revision() {
    let (set, publish) = (rendered(Tier::Dispatcher), rendered(Tier::Publish));
    let revision = publish["metadata"]["labels"]["launchway.dev/revision"].as_str().unwrap();
    assert_eq!(variable(&set, "AEM_HOST"), format!("prod-pair-$(LAUNCHWAY_ORDINAL)-{revision}"));
    assert_eq!(variable(&set, "ENVIRONMENT_TYPE"), "prod");
    assert_eq!(variable(&set, "LAUNCHWAY_DRAIN_SECONDS"), "7");
    assert_eq!(variable(&set, "LAUNCHWAY_WARM_UP"), "/ /home.html");
    assert_eq!(variable(&set, "LAUNCHWAY_WARM_UP_SECONDS"), "960", "a minute more than the ready time-out");
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["initContainers"][0]["command"], json!(["/config-test"]));
    assert_eq!(pod["securityContext"]["sysctls"][0]["name"], "net.ipv4.ip_unprivileged_port_start");
    assert!(pod["terminationGracePeriodSeconds"].as_i64().unwrap() > 7);

    let pair =
        serde_json::to_value(service::service(&environment(), &ServiceName::Pair { ordinal: 1 }, revision)).unwrap();
    assert_eq!(pair["metadata"]["name"], format!("prod-pair-1-{revision}"));
    assert_eq!(pair["spec"]["selector"]["apps.kubernetes.io/pod-index"], "1");
    assert_eq!(pair["spec"]["selector"]["launchway.dev/revision"], revision);
}

#[test]
fn variables_and_volumes_go_to_the_services_that_they_are_for() {
    let (author, publish) = (rendered(Tier::Author), rendered(Tier::Publish));
    for (set, name, both) in
        [(&author, "author", true), (&publish, "publish", true), (&rendered(Tier::Dispatcher), "dispatcher", false)]
    {
        let name = format!("prod-{name}-variables-0123456789");
        let mut expected = vec![json!({ "configMapRef": { "name": name } })];
        expected.extend(both.then(|| json!({ "secretRef": { "name": name } })));
        let pod = &set["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["envFrom"], json!(expected));
        if !both {
            assert_eq!(
                pod["initContainers"][0]["envFrom"],
                json!(expected),
                "the configuration is tested with its variables"
            );
        }
    }
    assert_eq!(variable(&author, "LAUNCHWAY_RUN_MODES"), "author,prod");
    assert_eq!(author["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"], "10Gi");
    assert!(
        publish["spec"].get("volumeClaimTemplates").is_none(),
        "publish keeps its repository only as long as its pod"
    );
}

#[test]
fn the_volume_of_the_author_outlives_the_environment_unless_its_owner_says_otherwise() {
    let policy = |set: &Value| set["spec"]["persistentVolumeClaimRetentionPolicy"].clone();
    assert_eq!(policy(&rendered(Tier::Author)), json!({ "whenDeleted": "Retain", "whenScaled": "Retain" }));
    assert_eq!(policy(&rendered(Tier::Publish)), Value::Null);
}

#[test]
fn a_revision_follows_what_reaches_a_pod_and_nothing_else() {
    type Edit = dyn Fn(&mut Environment, &mut Deployed);
    let revisions = |edit: &Edit| {
        let (mut environment, mut deployed) = (environment(), deployed());
        edit(&mut environment, &mut deployed);
        with(&environment, &deployed, &hashes("h1"), |release| release.revisions())
    };
    let same = revisions(&|_, _| ());
    let nothing: [&Edit; 5] = [
        &|environment, _| environment.spec.variables.clear(),
        &|environment, _| environment.spec.author.storage.as_mut().unwrap().retain = false,
        &|environment, _| environment.spec.publish.replicas = 9,
        &|environment, _| environment.spec.rollout.surge = 0,
        &|_, deployed| deployed.execution = "wknd-2".into(),
    ];
    for edit in nothing {
        assert_eq!(revisions(edit), same);
    }
    let dispatchers: [&Edit; 4] = [
        &|environment, _| environment.spec.dispatcher.drain_seconds = 9,
        &|_, deployed| deployed.images.dispatcher = image('7'),
        &|_, deployed| deployed.cache = Some(flush()),
        &|_, deployed| deployed.web_tier = Some(web_tier()),
    ];
    for edit in dispatchers {
        let other = revisions(edit);
        assert_eq!(other.aem, same.aem);
        assert_ne!(other.dispatcher, same.dispatcher);
    }
    let all: [&Edit; 2] =
        [&|_, deployed| deployed.images.aem = image('7'), &|_, deployed| deployed.release = image('7')];
    for edit in all {
        let other = revisions(edit);
        assert!(
            other.aem != same.aem && other.dispatcher != same.dispatcher,
            "a dispatcher names its publish by revision"
        );
    }
}

#[test]
fn probes_by_command_are_hashed_where_they_stood_before_there_were_others() {
    let mut contract = contract("dispatcher", "8080");
    let before = json!({
        "tier": "dispatcher", "port": 8080, "user": 1000, "configPath": "/etc/httpd", "writablePaths": ["/tmp", "/run"],
        "commands": { "ready": ["/ready"], "live": ["/live"], "drain": ["/drain"], "configTest": ["/config-test"] },
    });
    assert_eq!(super::contract_parts(&contract), before);

    contract.probes.live = Some(Probe::Http { path: "/live".into(), port: 8081 });
    let parts = super::contract_parts(&contract);
    assert_eq!(parts["commands"]["ready"], json!(["/ready"]));
    assert_eq!(parts["probes"], json!({ "live": { "http": { "path": "/live", "port": 8081 } } }));
}

fn flush() -> CacheFlush {
    serde_json::from_value(json!({
        "uid": "uid-1", "invalidatePaths": ["/content/wknd", "/content/other"], "flushPaths": ["/content/dam/logo.png"],
    }))
    .unwrap()
}

fn web_tier() -> Origin {
    Origin { execution: "web-1".into(), uid: "uid-7".into(), release: image('7') }
}

#[test]
fn the_same_release_by_another_execution_is_the_same_template() {
    let again = Deployed { execution: "wknd-2".into(), uid: "uid-2".into(), ..deployed() };
    for tier in Tier::ALL {
        assert_eq!(set(&again, tier)["spec"]["template"], rendered(tier)["spec"]["template"]);
    }
    assert_eq!(set(&again, Tier::Publish)["metadata"]["annotations"]["launchway.dev/execution"], "wknd-2 uid-2");
}

#[test]
fn dispatchers_get_what_they_drop_from_their_caches_and_workloads_tell_of_it() {
    let set = set(&Deployed { cache: Some(flush()), ..deployed() }, Tier::Dispatcher);
    assert_eq!(variable(&set, "LAUNCHWAY_INVALIDATE"), "/content/wknd /content/other");
    assert_eq!(variable(&set, "LAUNCHWAY_FLUSH"), "/content/dam/logo.png");
    let told = set["metadata"]["annotations"]["launchway.dev/cache"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<CacheFlush>(told).unwrap(), flush());
}

#[test]
fn tiers_name_the_deployments_that_their_images_came_with() {
    let deployed = Deployed { web_tier: Some(web_tier()), ..deployed() };
    let mark = |tier, key: &str| set(&deployed, tier)["metadata"]["annotations"][key].clone();
    assert_eq!(mark(Tier::Publish, "launchway.dev/release"), image('e').to_string());
    assert_eq!(mark(Tier::Dispatcher, "launchway.dev/release"), image('7').to_string());
    assert_eq!(mark(Tier::Dispatcher, "launchway.dev/execution"), "web-1 uid-7");
    assert_eq!(variable(&set(&deployed, Tier::Dispatcher), "LAUNCHWAY_RELEASE"), image('7').digest().to_string());
}

/// The Job of a step of execution `wknd-1`.
fn rendered_job(step: StepName, work: &Work) -> Value {
    let execution: PipelineExecution = serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
        "metadata": { "name": "wknd-1", "namespace": "wknd", "uid": "uid-1" },
        "spec": { "pipelineRef": { "name": "wknd" } },
    }))
    .unwrap();
    let installation = job::Installation {
        image: "registry.example.com/launchway@sha256:1".into(),
        build_memory: "256Mi".into(),
        builder: None,
    };
    serde_json::to_value(job::job(&execution, step, work, &installation)).unwrap()
}

#[test]
fn jobs_are_restricted_run_once_and_get_credentials_as_files() {
    let registries = Registries {
        target: Some("registry.example.com/wknd/images".into()),
        plain_http: vec![],
        source_secret: Some(LocalName { name: "pull".into() }),
        target_secret: None,
    };
    let build = Work::BuildImage {
        artifact: image('f'),
        aem: image('1'),
        dispatcher: image('2'),
        web_tier: false,
        provided: vec!["day/cq60/product".into()],
        layer_encoding: LayerEncoding::Tar,
        signing: Some(LocalName { name: "signer".into() }),
        registries: registries.clone(),
        timeout: launchway_crds::common::Span::from_secs(1800),
    };
    let test = Work::ImageTest {
        test: serde_json::from_value(json!({ "image": image('7'), "variables": { "LAUNCHWAY_TEST_PATH": "/" } }))
            .unwrap(),
        url: "http://stage".into(),
        author: "http://author".into(),
        release: image('e'),
        login: None,
        registries: registries.clone(),
    };
    let smoke = Work::SmokeTest { site: Site { url: "http://stage".into(), host: None }, checks: vec![] };
    for (step, work) in [(StepName::BuildImage, build), (StepName::FunctionalTest, test), (StepName::SmokeTest, smoke)]
    {
        let rendered = rendered_job(step, &work);
        assert_eq!(rendered["spec"]["backoffLimit"], 0);
        assert!(rendered["spec"]["activeDeadlineSeconds"].as_i64().unwrap() > 0);
        assert_eq!(rendered["metadata"]["name"], format!("wknd-1-{}", step.dashed()));
        assert_restricted(&rendered["spec"]["template"]["spec"]);
        if step == StepName::BuildImage {
            let pod = &rendered["spec"]["template"]["spec"];
            let sources = &pod["volumes"][1]["projected"]["sources"];
            let source = |number: usize| {
                let secret = &sources[number]["secret"];
                assert_eq!(secret["name"], "pull");
                (secret["items"][0]["key"].clone(), secret["optional"].as_bool())
            };
            assert_eq!(source(0), (json!(".dockerconfigjson"), None));
            assert_eq!(source(1), (json!("ca.crt"), Some(true)));
            let request: Value =
                serde_json::from_str(pod["containers"][0]["env"][0]["value"].as_str().unwrap()).unwrap();
            assert_eq!(request["provided"], json!(["day/cq60/product"]));
            let request: crate::worker::build::BuildRequest = serde_json::from_value(request).unwrap();
            let key = request.sign_key.unwrap();
            let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
            let mount = mounts.iter().find(|mount| mount["name"] == "signing").unwrap();
            assert_eq!(key, std::path::Path::new(mount["mountPath"].as_str().unwrap()).join("key.pem"));
            assert_eq!(mount["readOnly"], true);
            let volume = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "signing").unwrap();
            assert_eq!(volume["secret"]["secretName"], "signer");
            assert_eq!(volume["secret"]["items"], json!([{ "key": "key.pem", "path": "key.pem" }]));
            // A Secret that is missing is told by the worker, not by a pod that never starts.
            assert_eq!(volume["secret"]["optional"], true);
        }
    }
}
