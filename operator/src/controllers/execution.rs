//! A round of an execution: observe, plan, act, and write down what became of it.

use std::sync::Arc;

use jiff::Timestamp;
use kube::{
    ResourceExt,
    core::DeserializeGuard,
    runtime::reflector::{ObjectRef, Store},
};
use launchway_crds::{Pipeline, execution::Environments, step::StepName};

use crate::{
    context::Context,
    effects::{events, execution::perform_all, status},
    error::Error,
    observe,
    outline::{EnvironmentOutline, ExecutionOutline, Progress},
    plan::execution::{after_record, next, revision},
};

/// An execution goes through all of its steps in far fewer rounds: more mean that effects have none.
const ROUNDS: usize = 40;

/// Moves an execution on as far as it goes now; says when to look again.
pub(super) async fn reconcile(
    context: Arc<Context>,
    mut remembered: Arc<ExecutionOutline>,
) -> Result<Option<Timestamp>, Error> {
    let mut recorded = None;
    for _ in 0..ROUNDS {
        let world = match recorded.take() {
            Some(world) => world,
            None => match observe::execution::world(&context, &remembered).await? {
                Some(world) => world,
                None => return Ok(None),
            },
        };
        let plan = next(&world);
        if plan.look.is_some() {
            remembered = Arc::new(ExecutionOutline::of(&world.execution));
            continue;
        }
        if !plan.actions.is_empty() {
            remembered = Arc::new(ExecutionOutline::of(&world.execution));
            recorded = perform_all(&context, world, &plan.actions).await?;
            continue;
        }
        let old = world.execution.status.clone().unwrap_or_default();
        let news = !plan.status.untold.is_empty();
        let changed = plan.status != old;
        let mut execution = world.execution.clone();
        if changed {
            execution.status = Some(plan.status);
            execution = status::replace(&context, &execution).await?;
            // Nothing waits for an Event: the next step begins meanwhile.
            let (context, written) = (context.clone(), execution.clone());
            tokio::spawn(async move { events::tell(&context, &written, &old).await });
        }
        // After the record: what was not told before a restart is found here, too.
        if news {
            context.notifier.tell(&execution.namespace().unwrap_or_default(), &execution.name_any());
        }
        if !(changed && plan.again) {
            return Ok(plan.wake);
        }
        remembered = Arc::new(ExecutionOutline::of(&execution));
        recorded = after_record(world, execution);
    }
    Err(Error::NoProgress(ROUNDS))
}

/// Whether nothing is left to do for an execution: it ended, everybody was told, and no Environment is locked by it.
///
/// That is said from memory alone: after a start there are thousands of them. Each of it is true for ever once it is
/// true, but the lock; an Environment takes that away itself some time after its holder ended.
pub(super) async fn has_settled(execution: &ExecutionOutline, environments: &Store<EnvironmentOutline>) -> bool {
    if execution.ended().is_none() || !execution.is_told() || environments.wait_until_ready().await.is_err() {
        return false;
    }
    let (uid, namespace) = (execution.uid().unwrap_or_default(), execution.namespace().unwrap_or_default());
    let names = execution.environments().into_iter().flat_map(Environments::all);
    let mut found = names.filter_map(|name| environments.get(&ObjectRef::new(name).within(&namespace)));
    !found.any(|environment| environment.is_held_by(&uid))
}

/// Executions of a namespace in memory that are chosen.
fn chosen(
    store: &Store<ExecutionOutline>,
    namespace: Option<&str>,
    choose: impl Fn(&ExecutionOutline) -> bool,
) -> Vec<ObjectRef<ExecutionOutline>> {
    store
        .state_filter(|object| object.metadata.namespace.as_deref() == namespace && choose(object))
        .iter()
        .map(|object| ObjectRef::from_obj(object.as_ref()))
        .collect()
}

/// Executions that a change of an Environment may move on: those that run or wait and go there.
pub(super) fn concerned(
    store: &Store<ExecutionOutline>,
    changed: &EnvironmentOutline,
) -> Vec<ObjectRef<ExecutionOutline>> {
    let environment = changed.metadata.name.as_deref().unwrap_or_default();
    chosen(store, changed.metadata.namespace.as_deref(), |execution| {
        execution.ended().is_none()
            && execution.environments().is_none_or(|names| names.all().any(|name| name == environment))
    })
}

/// Executions that wait for this one to be over: those of its pipeline, which a new one may also replace, and those that queue
/// for one of its Environments. It is over when it ended or is gone, and for the latter when its pipeline is suspended.
pub(super) fn siblings(
    store: &Store<ExecutionOutline>,
    changed: &ExecutionOutline,
) -> Vec<ObjectRef<ExecutionOutline>> {
    let is_there = store.get(&ObjectRef::from_obj(changed)).is_some();
    let goes_on = is_there && changed.progress.is_some() && changed.ended().is_none();
    let steps_back = changed.progress.as_ref().is_some_and(|progress| progress.suspended);
    // In between nothing that it does concerns the others: with a thousand that wait, each write would wake them all.
    if goes_on && !steps_back {
        return vec![];
    }
    chosen(store, changed.metadata.namespace.as_deref(), |other| {
        let same = !goes_on && other.pipeline == changed.pipeline;
        other.metadata.uid != changed.metadata.uid
            && other.progress.as_ref().is_some_and(|progress| progress.ended.is_none())
            && (same || queues_behind(other, changed))
    })
}

/// Whether one that has not begun wants an Environment that the other wants, too.
fn queues_behind(one: &ExecutionOutline, other: &ExecutionOutline) -> bool {
    let waits = |progress: &Progress| progress.step == Some(StepName::Validate) && !progress.suspended;
    let mut wanted = other.environments().into_iter().flat_map(Environments::all);
    one.progress.as_ref().is_some_and(waits)
        && wanted.any(|name| one.environments().is_none_or(|mine| mine.all().any(|own| own == name)))
}

/// Executions of a pipeline that changed: those that have not begun for good, and those that do not tell yet that they
/// run another version of it.
pub(super) fn of_pipeline(
    store: &Store<ExecutionOutline>,
    changed: &DeserializeGuard<Pipeline>,
) -> Vec<ObjectRef<ExecutionOutline>> {
    let name = changed.name_any();
    let version = changed.0.as_ref().ok().map(revision::of);
    chosen(store, changed.namespace().as_deref(), |execution| {
        execution.pipeline == name
            && execution.progress.as_ref().is_none_or(|progress| {
                (progress.step == Some(StepName::Validate) && progress.ended.is_none())
                    || version.as_ref().is_some_and(|version| revision::is_news(progress, version))
            })
    })
}

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    use super::*;

    fn execution(name: &str, status: &serde_json::Value) -> ExecutionOutline {
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "wknd", "uid": format!("uid-{name}") },
            "spec": { "pipelineRef": { "name": "wknd" } }, "status": status,
        }))
        .unwrap()
    }

    fn running() -> serde_json::Value {
        json!({ "state": "Running", "step": "build", "environments": { "stage": "stage", "production": "prod" } })
    }

    fn ended() -> serde_json::Value {
        let mut status = running();
        (status["state"], status["completionTime"]) = (json!("Finished"), json!("2026-11-21T10:00:00Z"));
        status
    }

    fn environment(name: &str, holder: &str) -> EnvironmentOutline {
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "wknd" }, "status": { "lock": { "uid": format!("uid-{holder}") } },
        }))
        .unwrap()
    }

    fn store<K: kube::Resource<DynamicType = ()> + Clone + 'static>(all: Vec<K>) -> Store<K> {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        all.into_iter().for_each(|one| writer.apply_watcher_event(&Event::InitApply(one)));
        writer.apply_watcher_event(&Event::InitDone);
        store
    }

    #[tokio::test]
    async fn one_that_ended_is_looked_at_while_it_holds_an_environment_or_has_something_to_tell() {
        let free = store(vec![environment("stage", "b"), environment("prod", "b")]);
        let held = store(vec![environment("stage", "b"), environment("prod", "a")]);
        let mut untold = ended();
        untold["untold"] = json!([{ "event": "Ended", "at": "2026-11-21T10:00:00Z" }]);
        assert!(has_settled(&execution("a", &ended()), &free).await);
        assert!(!has_settled(&execution("a", &ended()), &held).await);
        assert!(!has_settled(&execution("a", &untold), &free).await);
        assert!(!has_settled(&execution("a", &running()), &free).await);
    }

    #[test]
    fn who_ended_or_is_gone_wakes_those_that_wait_for_it() {
        let names = |changed: &ExecutionOutline, all: &[ExecutionOutline]| {
            siblings(&store(all.to_vec()), changed).into_iter().map(|found| found.name).collect::<Vec<_>>()
        };
        let (goes_on, waits) = (execution("a", &running()), execution("b", &running()));
        assert!(names(&goes_on, &[goes_on.clone(), waits.clone()]).is_empty());
        assert_eq!(names(&goes_on, std::slice::from_ref(&waits)), ["b"], "it was deleted");
        let over = execution("a", &ended());
        assert_eq!(names(&over, &[over.clone(), waits.clone()]), ["b"]);
        assert_eq!(names(&execution("c", &json!(null)), &[waits]), ["b"], "a new one may take its place");
    }

    /// It may never have had the Environment, so that no change of that tells of its end.
    #[test]
    fn who_is_over_wakes_those_of_other_pipelines_that_queue_for_its_environments() {
        let queued = |name: &str, environment: &str| {
            let mut waits = execution(
                name,
                &json!({ "state": "Running", "step": "validate", "environments": { "production": environment } }),
            );
            waits.pipeline = "other".into();
            waits
        };
        let all = [queued("b", "prod"), queued("c", "prod2"), execution("d", &running())];
        let names = |changed: &ExecutionOutline, gone: bool| {
            let there = all.iter().chain((!gone).then_some(changed));
            let mut names: Vec<_> =
                siblings(&store(there.cloned().collect()), changed).into_iter().map(|found| found.name).collect();
            names.sort();
            names
        };
        assert_eq!(names(&execution("a", &ended()), false), ["b", "d"]);
        assert_eq!(names(&execution("a", &running()), true), ["b", "d"]);
        assert!(names(&execution("a", &running()), false).is_empty());
        let mut suspended = execution("a", &running());
        suspended.progress.as_mut().unwrap().suspended = true;
        assert_eq!(names(&suspended, false), ["b"], "nobody waits for it any more but its own pipeline");
    }
}
