//! An Environment that is deleted while an execution has it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::{self, reasons, types},
    environment::Lock,
    names::FINALIZER,
};

use super::cluster::Cluster;
use crate::plan::environment::{Finalizer, next};

fn locked() -> Cluster {
    let mut cluster = Cluster::rolled("Production", 1, 1);
    let lock = Lock { execution: "wknd-2".into(), uid: "uid-2".into(), since: Time(cluster.world.now) };
    cluster.world.environment.status.as_mut().unwrap().lock = Some(lock);
    cluster
}

#[test]
fn the_finalizer_comes_with_the_first_lock_and_goes_with_the_environment() {
    let mut cluster = Cluster::rolled("Production", 1, 1);
    assert_eq!(next(&cluster.world).finalizer, Finalizer::Leave, "no execution ever had it");
    cluster = locked();
    assert_eq!(next(&cluster.world).finalizer, Finalizer::Add);
    cluster.world.environment.metadata.finalizers = Some(vec!["other".into(), FINALIZER.into()]);
    for holder_runs in [true, false] {
        cluster.world.lock_holder_runs = holder_runs;
        assert_eq!(next(&cluster.world).finalizer, Finalizer::Leave, "it serves the next execution, too");
    }
    cluster.world.environment.metadata.deletion_timestamp = Some(Time(cluster.world.now));
    assert_eq!(next(&cluster.world).finalizer, Finalizer::Remove);
    cluster.world.lock_holder_runs = true;
    assert_eq!(next(&cluster.world).finalizer, Finalizer::Leave, "the execution ends first");
    cluster.world.environment.metadata.finalizers = None;
    assert_eq!(next(&cluster.world).finalizer, Finalizer::Leave, "the apiserver takes none for what is being deleted");
}

#[test]
fn a_rollout_comes_to_its_end_before_the_environment_goes() {
    let mut cluster = locked();
    cluster.world.environment.metadata.finalizers = Some(vec![FINALIZER.into()]);
    cluster.target('2').round();
    cluster.world.environment.metadata.deletion_timestamp = Some(Time(cluster.world.now));
    cluster.play(|cluster| assert!(cluster.serving() >= 1));
    assert!(cluster.is_complete('2'));
    let status = cluster.world.environment.status.as_ref().unwrap();
    let told = conditions::get(&status.conditions, types::DELETING).unwrap();
    assert_eq!(told.reason, reasons::DELETION_WAITS);
    assert!(told.message.ends_with("kubectl launchway cancel wknd-2 --namespace wknd"), "{}", told.message);

    cluster.world.lock_holder_runs = false;
    cluster.world.environment.spec.publish.replicas = 3;
    let plan = next(&cluster.world);
    assert!(plan.changes.is_empty());
    assert_eq!(plan.finalizer, Finalizer::Remove);
}
