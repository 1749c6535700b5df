//! What is kept besides workloads, and what is said of changes by hand.

use launchway_crds::{
    conditions::{self, reasons, types},
    environment::Tier,
};
use serde_json::json;

use super::cluster::{Cluster, image};
use crate::plan::environment::{
    Change, ServiceName, next,
    objects::{Cause, Deviation, Further, Object, Side},
};

fn drifted(cluster: &Cluster) -> (String, String, String) {
    let status = cluster.world.environment.status.as_ref().unwrap();
    let condition = conditions::get(&status.conditions, types::DRIFTED).unwrap();
    (condition.status.clone(), condition.reason.clone(), condition.message.clone())
}

fn edited(object: Object, field: &str) -> Deviation {
    Deviation { object, cause: Cause::Edited(vec![field.into()]) }
}

#[test]
fn further_objects_are_there_before_pods_and_follow_the_spec() {
    let mut cluster = Cluster::new("Production", 2, 1);
    cluster.target('1');
    let changes = next(&cluster.world).changes;
    let workload = changes.iter().position(|change| matches!(change, Change::Workload { .. })).unwrap();
    let policies = changes.iter().rposition(|change| matches!(change, Change::Further(_))).unwrap();
    assert!(policies < workload, "{changes:?}");
    cluster.play(|_| ());
    let all = |cluster: &Cluster| cluster.world.further.iter().copied().collect::<Vec<_>>();
    let policies = [Tier::Author, Tier::Publish, Tier::Dispatcher].map(Further::Policy);
    assert_eq!(all(&cluster), [&[Further::Budget][..], &policies].concat());

    // A budget of one pair would hold up a drain for ever.
    cluster.world.environment.spec.publish.replicas = 1;
    cluster.world.environment.spec.route = Some(
        serde_json::from_value(json!({ "hosts": ["www.example.com"], "author": { "hosts": ["author.example.com"] } }))
            .unwrap(),
    );
    cluster.play(|_| ());
    let routes = [Further::Route(Side::Visitors), Further::Route(Side::Editors)];
    assert_eq!(all(&cluster), [&policies[..], &routes].concat());
    let urls = cluster.world.environment.status.as_ref().unwrap().urls.clone().unwrap();
    assert_eq!(
        (urls.site.as_deref(), urls.editors.as_deref()),
        (Some("http://www.example.com"), Some("http://author.example.com"))
    );

    cluster.world.environment.spec.route = None;
    cluster.world.environment.spec.network = serde_json::from_value(json!({ "policies": "Disabled" })).unwrap();
    cluster.play(|_| ());
    assert_eq!(all(&cluster), []);
    let urls = cluster.world.environment.status.as_ref().unwrap().urls.clone().unwrap();
    assert_eq!((urls.site, urls.editors), (None, None));
}

#[test]
fn what_somebody_changed_is_put_back_and_told_once() {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    assert_eq!(drifted(&cluster), ("False".into(), reasons::AS_DEPLOYED.into(), String::new()));
    let image = "spec.template.spec.containers[name=main].image is evil, should be good";
    cluster.world.deviations = vec![
        edited(Object::Workload(Tier::Publish), image),
        edited(Object::Service(ServiceName::Dispatcher), "spec.ports[name=http].port is 81, should be 80"),
        edited(Object::Further(Further::Budget), "spec.minAvailable is 0, should be 3"),
    ];
    let plan = next(&cluster.world);
    assert_eq!(
        plan.changes,
        [
            Change::Workload { tier: Tier::Publish, replicas: 2, partition: 0 },
            Change::Service(ServiceName::Dispatcher),
            Change::Further(Further::Budget),
        ]
    );
    cluster.round();
    let (status, reason, message) = drifted(&cluster);
    assert_eq!((status.as_str(), reason.as_str()), ("True", reasons::EDITED));
    for part in
        ["StatefulSet prod-publish: spec.template", "Service prod-dispatcher: ", "PodDisruptionBudget prod-pairs: "]
    {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    assert_eq!(cluster.ready_reason(), reasons::READY, "what serves goes on");

    cluster.world.deviations.clear();
    cluster.round();
    let (status, reason, message) = drifted(&cluster);
    assert_eq!((status.as_str(), reason.as_str()), ("False", reasons::PUT_BACK));
    assert!(message.contains("prod-publish"), "{message}");
    // At rest nothing is written.
    let plan = next(&cluster.world);
    assert!(plan.changes.is_empty() && Some(&plan.status) == cluster.world.environment.status.as_ref());
}

#[test]
fn what_an_older_operator_rendered_is_renewed_without_a_word_and_workloads_are_left_alone() {
    let mut cluster = Cluster::rolled("Production", 2, 1);
    let outdated = |object| Deviation { object, cause: Cause::Outdated };
    cluster.world.deviations = vec![
        outdated(Object::Workload(Tier::Author)),
        outdated(Object::Service(ServiceName::Author)),
        outdated(Object::Further(Further::Policy(Tier::Publish))),
    ];
    let plan = next(&cluster.world);
    assert_eq!(plan.changes, [Change::Service(ServiceName::Author), Change::Further(Further::Policy(Tier::Publish))]);
    cluster.round();
    assert_eq!(drifted(&cluster).1, reasons::AS_DEPLOYED);
}

#[test]
fn numbers_that_somebody_gave_a_workload_are_put_back_and_told() {
    for tier in [Tier::Publish, Tier::Dispatcher] {
        let mut cluster = Cluster::rolled("Production", 2, 1);
        cluster.slot(tier).as_mut().unwrap().replicas = 5;
        cluster.round();
        let (status, reason, message) = drifted(&cluster);
        assert_eq!((status.as_str(), reason.as_str()), ("True", reasons::EDITED));
        assert!(message.contains("spec.replicas is 5, should be 2"), "{message}");
        cluster.play(|_| ());
        assert!(cluster.is_complete('1'), "{:?}", cluster.world.pods);
        assert_eq!(drifted(&cluster).1, reasons::PUT_BACK);
    }
    let mut cluster = Cluster::rolled("Production", 2, 1);
    cluster.slot(Tier::Publish).as_mut().unwrap().partition = 1;
    cluster.round();
    assert!(drifted(&cluster).2.contains("partition is 1, should be 0"), "{}", drifted(&cluster).2);
    cluster.play(|_| ());
    assert!(cluster.is_complete('1'));
}

#[test]
fn a_pod_that_runs_something_else_is_told_and_left_alone() {
    let mut cluster = Cluster::rolled("Production", 1, 1);
    for pod in &mut cluster.world.pods {
        pod.asks = if pod.tier == Tier::Dispatcher { image('d') } else { image('a') }.to_string();
        pod.runs = pod.asks.clone();
    }
    cluster.round();
    assert_eq!(drifted(&cluster).0, "False");

    let publish = cluster.world.pods.iter().position(|pod| pod.tier == Tier::Publish).unwrap();
    for (asks, runs, part) in [
        (image('e').to_string(), image('e').to_string(), "asks for image"),
        (image('a').to_string(), image('e').to_string(), "runs image sha256:eeee"),
    ] {
        (cluster.world.pods[publish].asks, cluster.world.pods[publish].runs) = (asks, runs);
        let plan = next(&cluster.world);
        assert!(plan.changes.is_empty(), "the operator never writes pods");
        cluster.round();
        let (status, reason, message) = drifted(&cluster);
        assert_eq!((status.as_str(), reason.as_str()), ("True", reasons::NOT_OURS));
        assert!(
            message.contains(part) && message.contains("kubectl delete pod prod-publish-0 --namespace wknd"),
            "{message}"
        );
    }
    cluster.world.pods[publish].runs = image('a').to_string();
    cluster.round();
    assert_eq!(drifted(&cluster).1, reasons::AS_DEPLOYED);
}

#[test]
fn what_others_added_to_a_workload_is_told_with_the_remedy() {
    let mut cluster = Cluster::rolled("Production", 1, 1);
    let fields = (0..9).map(|number| format!("spec.template.spec.field{number}")).collect();
    cluster.world.deviations =
        vec![Deviation { object: Object::Workload(Tier::Author), cause: Cause::NotOurs(fields) }];
    cluster.round();
    let (status, _, message) = drifted(&cluster);
    assert_eq!(status, "True");
    assert!(
        message.contains("field3 and 5 more") && message.contains("kubectl edit statefulset prod-author"),
        "{message}"
    );
    assert!(next(&cluster.world).changes.is_empty());
}
