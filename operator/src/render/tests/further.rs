//! Objects besides workloads and Services, compared with what was written down once.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use launchway_crds::{
    Environment,
    environment::{ReleaseImages, Tier},
};
use serde_json::{Value, json};

use super::{contract, deployed, image, rendered as workload};
use crate::{
    plan::environment::{
        objects::{Cause, Further, Side},
        world::{Content, DesiredRelease},
    },
    render::{
        Contracts, Release,
        compare::{mark, marked},
        deviation, further,
        kept::{Kept, Source},
        whole,
        workload::stateful_set,
    },
};

fn environment(spec: &Value) -> Environment {
    let mut whole = json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment",
        "metadata": { "name": "prod", "namespace": "wknd", "uid": "env-uid" },
        "spec": { "type": "Production", "publish": { "replicas": 3 } },
    });
    for (key, value) in spec.as_object().unwrap() {
        whole["spec"][key] = value.clone();
    }
    serde_json::from_value(whole).unwrap()
}

fn spec(environment: &Environment, object: Further) -> Value {
    let rendered = further::rendered(environment, object).unwrap();
    assert_eq!(rendered["metadata"]["ownerReferences"][0]["uid"], "env-uid");
    assert_eq!(rendered["metadata"]["name"], object.of("prod"));
    assert_eq!(rendered["kind"], object.kind());
    assert!(mark(&rendered).is_some_and(|mark| mark.len() == 8));
    rendered["spec"].clone()
}

#[test]
fn a_budget_lets_one_pair_go_at_a_time() {
    assert_eq!(
        spec(&environment(&json!({})), Further::Budget),
        json!({
            "minAvailable": 5,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {
                "matchLabels": { "launchway.dev/environment": "prod" },
                "matchExpressions": [{ "key": "launchway.dev/tier", "operator": "In", "values": ["publish", "dispatcher"] }],
            },
        })
    );
}

fn pods(tier: &str) -> Value {
    json!({ "podSelector": { "matchLabels": { "launchway.dev/environment": "prod", "launchway.dev/tier": tier } } })
}

#[test]
fn each_tier_lets_those_in_who_have_business_there() {
    let partner = json!({ "ipBlock": { "cidr": "10.0.0.0/8" } });
    let proxy = json!({ "namespaceSelector": { "matchLabels": { "team": "edge" } } });
    let closed = environment(&json!({ "network": {
        "authorFrom": [{ "cidr": "10.0.0.0/8" }], "publishFrom": [{ "namespaceLabels": { "team": "edge" } }],
    } }));
    let ports = json!([{ "port": "http", "protocol": "TCP" }]);
    let policy = |environment: &Environment, tier| {
        let spec = spec(environment, Further::Policy(tier));
        assert_eq!(spec["policyTypes"], json!(["Ingress"]));
        assert_eq!(spec["podSelector"], pods(tier.as_str())["podSelector"]);
        spec["ingress"].clone()
    };
    let pods_of_the_cluster = json!({ "namespaceSelector": {} });
    assert_eq!(
        policy(&closed, Tier::Dispatcher),
        json!([
            { "ports": ports },
            { "from": [pods_of_the_cluster], "ports": [{ "port": "metrics", "protocol": "TCP" }] },
        ])
    );
    assert_eq!(
        policy(&closed, Tier::Publish),
        json!([{ "from": [pods("dispatcher"), pods("author"), proxy], "ports": ports }])
    );
    let jobs = json!({ "podSelector": {
        "matchLabels": { "app.kubernetes.io/managed-by": "launchway" },
        "matchExpressions": [{ "key": "launchway.dev/tier", "operator": "DoesNotExist" }],
    } });
    assert_eq!(policy(&closed, Tier::Author), json!([{ "from": [jobs, partner], "ports": ports }]));
    let open = environment(&json!({ "route": { "hosts": ["a.b"], "author": { "hosts": ["c.d"] } } }));
    assert_eq!(policy(&open, Tier::Author), json!([{ "ports": ports }]));
}

#[test]
fn routes_lead_to_dispatchers_and_to_the_author() {
    let routed = environment(&json!({ "route": {
        "hosts": ["www.example.com", "*.example.com"], "tlsSecretName": "site-tls", "ingressClassName": "nginx",
        "annotations": { "example.com/timeout": "60" }, "author": { "hosts": ["author.example.com"] },
    } }));
    let rule = |host: &str, service: &str| {
        json!({ "host": host, "http": { "paths": [{ "path": "/", "pathType": "Prefix",
            "backend": { "service": { "name": service, "port": { "name": "http" } } } }] } })
    };
    assert_eq!(
        spec(&routed, Further::Route(Side::Visitors)),
        json!({
            "ingressClassName": "nginx",
            "tls": [{ "hosts": ["www.example.com", "*.example.com"], "secretName": "site-tls" }],
            "rules": [rule("www.example.com", "prod-dispatcher"), rule("*.example.com", "prod-dispatcher")],
        })
    );
    assert_eq!(
        spec(&routed, Further::Route(Side::Editors)),
        json!({ "ingressClassName": "nginx", "rules": [rule("author.example.com", "prod-author")] })
    );
    let ingress = further::rendered(&routed, Further::Route(Side::Visitors)).unwrap();
    assert_eq!(ingress["metadata"]["annotations"]["example.com/timeout"], "60");
    assert!(further::rendered(&environment(&json!({})), Further::Route(Side::Visitors)).is_none());
}

#[test]
fn pairs_are_spread_over_zones_and_nodes_where_there_are_any() {
    for tier in [Tier::Publish, Tier::Dispatcher] {
        let constraints = &workload(tier)["spec"]["template"]["spec"]["topologySpreadConstraints"];
        for (number, key) in ["topology.kubernetes.io/zone", "kubernetes.io/hostname"].iter().enumerate() {
            assert_eq!(constraints[number]["topologyKey"], *key);
            assert_eq!(constraints[number]["whenUnsatisfiable"], "ScheduleAnyway");
            assert_eq!(constraints[number]["labelSelector"], pods(tier.as_str())["podSelector"]);
        }
    }
    assert!(workload(Tier::Author)["spec"]["template"]["spec"].get("topologySpreadConstraints").is_none());
}

fn with_release<T>(environment: &Environment, content: &Content, look: impl Fn(&Release<'_>) -> T) -> T {
    let contracts = Contracts { aem: contract("aem", "8080"), dispatcher: contract("dispatcher", "80") };
    look(&Release { environment, content, contracts: &contracts, configuration: &BTreeMap::new() })
}

#[test]
fn base_images_are_marked_as_such() {
    let images = ReleaseImages { aem: image('a'), dispatcher: image('d') };
    let set = with_release(&environment(&json!({})), &Content::Bare(images), |release| {
        serde_json::to_value(stateful_set(release, Tier::Publish, 3, 0)).unwrap()
    });
    let template = &set["spec"]["template"];
    assert_eq!(template["metadata"]["annotations"]["launchway.dev/release"], "bare");
    assert_eq!(template["metadata"]["labels"]["launchway.dev/release"], "bare");
}

#[test]
fn a_changed_workload_is_told_field_by_field_and_one_of_another_version_is_not_compared() {
    let (environment, content) = (environment(&json!({})), Content::Release(Box::new(deployed())));
    with_release(&environment, &content, |release| {
        let found = marked(&stateful_set(release, Tier::Publish, 3, 1)).unwrap();
        let desired = DesiredRelease {
            content: release.content.clone(),
            revisions: release.revisions(),
            configuration: BTreeMap::new(),
        };
        let look = |found: &Value| {
            let found: StatefulSet = serde_json::from_value(found.clone()).unwrap();
            let kept = Kept::of(&[&found], vec![]);
            let (environment, rendered) = (release.environment, Some(*release));
            let source = Source { environment, release: &desired, rendered, kept: &kept };
            deviation::of_workload(&source, Tier::Publish, &found)
        };
        assert_eq!(look(&found), [], "numbers of pods are the planner's");

        let mut changed = found.clone();
        changed["spec"]["template"]["spec"]["containers"][0]["image"] = "evil".into();
        let Cause::Edited(fields) = &look(&changed)[0].cause else { panic!("{changed}") };
        assert!(
            fields[0].starts_with("spec.template.spec.containers[name=main].image is evil, should be "),
            "{fields:?}"
        );

        let mut added = found.clone();
        added["metadata"]["managedFields"] = json!([{ "manager": "kubectl-rollout", "operation": "Update", "fieldsV1": {
            "f:spec": { "f:template": { "f:metadata": { "f:annotations": { "f:kubectl.kubernetes.io/restartedAt": {} } } } } } }]);
        let fields = vec!["spec.template.metadata.annotations.kubectl.kubernetes.io/restartedAt".to_string()];
        assert_eq!(look(&added)[0].cause, Cause::NotOurs(fields));

        let mut older = changed;
        older["metadata"]["annotations"]["launchway.dev/rendered"] = "00000000".into();
        assert_eq!(look(&older), []);
    });
}

#[test]
fn a_changed_policy_is_drift_and_one_of_an_older_spec_is_out_of_date() {
    let now = environment(&json!({}));
    let object = Further::Policy(Tier::Author);
    let found = further::rendered(&now, object).unwrap();
    assert_eq!(deviation::of_further(&now, object, &found), None);
    let mut changed = found.clone();
    changed["spec"]["ingress"] = json!([{}]);
    let cause = deviation::of_further(&now, object, &changed).unwrap().cause;
    assert!(matches!(&cause, Cause::Edited(fields) if fields[0].starts_with("spec.ingress[0].")), "{cause:?}");
    let opened = environment(&json!({ "route": { "hosts": ["a.b"], "author": { "hosts": ["c.d"] } } }));
    assert_eq!(deviation::of_further(&opened, object, &found).unwrap().cause, Cause::Outdated);
}

#[test]
fn the_whole_of_an_environment_is_rendered_for_a_plan() {
    let names = with_release(&environment(&json!({})), &Content::Release(Box::new(deployed())), |release| {
        let revision = release.revisions().aem;
        let all = whole::objects(release);
        all.iter()
            .map(|object| {
                let (kind, name) = whole::identity(object);
                format!("{kind} {}", name.replace(&revision, "REV"))
            })
            .collect::<Vec<_>>()
    });
    assert_eq!(
        names,
        [
            "PodDisruptionBudget prod-pairs",
            "NetworkPolicy prod-author",
            "NetworkPolicy prod-publish",
            "NetworkPolicy prod-dispatcher",
            "Service prod-author-pods",
            "Service prod-publish-pods",
            "Service prod-dispatcher-pods",
            "Service prod-author",
            "Service prod-dispatcher",
            "Service prod-pair-0-REV",
            "Service prod-pair-1-REV",
            "Service prod-pair-2-REV",
            "StatefulSet prod-author",
            "StatefulSet prod-publish",
            "StatefulSet prod-dispatcher",
        ]
    );
}
