//! Facts for the planner of an Environment.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::{apps::v1::StatefulSet, core::v1::Service},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{Api, ResourceExt, api::ListParams};
use launchway_crds::{
    Environment, PipelineExecution,
    environment::{Deployed, ReleaseImages, Tier},
    names::{annotations, labels},
};

use crate::{
    context::Context,
    error::{Error, bounded},
    plan::{
        environment::world::{Desired, DesiredRelease, Workload, World},
        execution::world::Fault,
    },
    render::{Contracts, Release, workload},
};

use super::{now, pods};

/// Facts about an Environment, and what is needed to render its desired release.
#[derive(Clone, Debug)]
pub struct Observed {
    /// For the planner.
    pub world: World,
    /// For the builders: what the images of the desired release promise.
    pub contracts: Option<Contracts>,
    /// For the builders: who deploys it.
    pub execution: String,
}

/// The StatefulSets of an Environment.
#[derive(Clone, Debug, Default)]
struct Sets {
    author: Option<StatefulSet>,
    publish: Option<StatefulSet>,
    dispatcher: Option<StatefulSet>,
}

/// Everything that decides what is done to an Environment; none when it is gone.
///
/// # Errors
/// When the apiserver does not answer.
pub async fn observe(context: &Context, namespace: &str, name: &str) -> Result<Option<Observed>, Error> {
    let client = &context.client;
    let environments: Api<Environment> = Api::namespaced(client.clone(), namespace);
    let Some(mut environment) = bounded("read the environment", environments.get_opt(name)).await? else {
        return Ok(None);
    };
    if environment.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    let workloads: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let read = async |tier| bounded("read a workload", workloads.get_opt(&workload::name(name, tier))).await;
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let own = ListParams::default().labels(&format!("{}={name}", labels::ENVIRONMENT));
    let (author, publish, dispatcher, pods, services, lock_holder_runs) = tokio::try_join!(
        read(Tier::Author),
        read(Tier::Publish),
        read(Tier::Dispatcher),
        pods::of_environment(client, namespace, name),
        bounded("list services", services.list(&own)),
        lock_holder_runs(context, namespace, &environment),
    )?;
    let sets = Sets { author, publish, dispatcher };
    let services: BTreeSet<String> = services.iter().map(ResourceExt::name_any).collect();

    let wanted = wanted(&mut environment, &sets);
    let (desired, contracts, execution) = match wanted {
        Ok(None) => (Desired::Nothing, None, String::new()),
        Err(why) => (Desired::Unknown(why), None, String::new()),
        Ok(Some(deployed)) => {
            let secrets = environment.spec.runtime.clone().unwrap_or_default().image_pull_secrets;
            match context.registry.contracts(client, namespace, &deployed.images, &secrets).await {
                Err(Fault::Absent(why) | Fault::Refused(why) | Fault::Unreachable(why)) => {
                    (Desired::Unknown(why), None, String::new())
                }
                Ok(contracts) => {
                    let execution = format!("{} {}", deployed.execution, deployed.uid);
                    let release = Release {
                        environment: &environment,
                        reference: &deployed.release,
                        images: &deployed.images,
                        contracts: &contracts,
                        execution: &execution,
                    };
                    let revision = release.revision();
                    let desired =
                        DesiredRelease { release: deployed.release.clone(), images: deployed.images.clone(), revision };
                    (Desired::Release(Box::new(desired)), Some(contracts), execution)
                }
            }
        }
    };
    let world = World {
        now: now(),
        environment,
        desired,
        author: sets.author.as_ref().map(facts),
        publish: sets.publish.as_ref().map(facts),
        dispatcher: sets.dispatcher.as_ref().map(facts),
        services,
        pods,
        lock_holder_runs,
    };
    Ok(Some(Observed { world, contracts, execution }))
}

fn facts(set: &StatefulSet) -> Workload {
    let spec = set.spec.as_ref();
    let partition = spec
        .and_then(|spec| spec.update_strategy.as_ref())
        .and_then(|strategy| strategy.rolling_update.as_ref())
        .and_then(|rolling| rolling.partition);
    Workload {
        revision: set.labels().get(labels::REVISION).cloned().unwrap_or_default(),
        replicas: spec.and_then(|spec| spec.replicas).unwrap_or(1),
        partition: partition.unwrap_or(0),
    }
}

/// The release that should run: what an execution asked for, else what was deployed; and where a
/// restored backup lost both, what the workloads themselves say.
fn wanted(environment: &mut Environment, sets: &Sets) -> Result<Option<Deployed>, String> {
    let status = environment.status.get_or_insert_default();
    if let Some(target) = status.target.clone() {
        return Ok(Some(Deployed {
            execution: target.execution,
            uid: target.uid,
            release: target.release,
            images: target.images,
            made_at: target.made_at,
            at: target.since,
        }));
    }
    if status.deployed.is_none() {
        status.deployed = recovered(sets)?;
    }
    Ok(status.deployed.clone())
}

fn recovered(sets: &Sets) -> Result<Option<Deployed>, String> {
    let (Some(author), Some(publish), Some(dispatcher)) = (&sets.author, &sets.publish, &sets.dispatcher) else {
        return Ok(None);
    };
    let all = [author, publish, dispatcher];
    let first = facts(publish).revision;
    if all.iter().any(|set| facts(set).partition != 0 || facts(set).revision != first) {
        return Err(
            "status was lost in the middle of a rollout: what runs is left alone until an execution deploys again"
                .into(),
        );
    }
    let image =
        |set: &StatefulSet| set.spec.as_ref()?.template.spec.as_ref()?.containers.first()?.image.as_ref()?.parse().ok();
    let marks = publish.annotations();
    let found = || {
        let (execution, uid) = marks.get(annotations::EXECUTION)?.split_once(' ')?;
        Some(Deployed {
            execution: execution.into(),
            uid: uid.into(),
            release: marks.get(annotations::RELEASE)?.parse().ok()?,
            images: ReleaseImages { aem: image(publish)?, dispatcher: image(dispatcher)? },
            made_at: None,
            at: publish.metadata.creation_timestamp.clone().unwrap_or(Time(now())),
        })
    };
    found().map(Some).ok_or_else(|| {
        "status was lost and the workloads do not say what they run: run a pipeline that deploys here".into()
    })
}

/// Whether the execution that holds the lock still exists and has not ended.
async fn lock_holder_runs(context: &Context, namespace: &str, environment: &Environment) -> Result<bool, Error> {
    let Some(lock) = environment.status.as_ref().and_then(|status| status.lock.as_ref()) else { return Ok(true) };
    let executions: Api<PipelineExecution> = Api::namespaced(context.client.clone(), namespace);
    let holder = bounded("read the lock's holder", executions.get_opt(&lock.execution)).await?;
    Ok(holder.is_some_and(|holder| {
        holder.metadata.uid.as_ref() == Some(&lock.uid)
            && holder.status.is_none_or(|status| status.completion_time.is_none())
    }))
}
