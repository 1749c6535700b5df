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
        bases,
        environment::{
            ServiceName,
            objects::Deviation,
            world::{Content, Desired, DesiredRelease, Workload, World},
        },
        execution::world::Fault,
    },
    render::{Contracts, Release, deviation, workload},
};

use super::{further::Found, now, pods};

/// Facts about an Environment, and what is needed to render its desired release.
#[derive(Clone, Debug)]
pub struct Observed {
    /// For the planner.
    pub world: World,
    /// For the builders: what the images of the desired release promise.
    pub contracts: Option<Contracts>,
    /// For the builders: who deploys it; empty for base images.
    pub execution: String,
}

/// The StatefulSets of an Environment.
#[derive(Clone, Debug, Default)]
struct Sets {
    author: Option<StatefulSet>,
    publish: Option<StatefulSet>,
    dispatcher: Option<StatefulSet>,
}

impl Sets {
    /// The execution that brought a revision, where it is in a workload already. A later one of the same release takes
    /// nothing's place: its name in a template would replace pods for nothing, at the next change of their number.
    fn brought_by(&self, revision: &str) -> Option<String> {
        let mut all = [&self.author, &self.publish, &self.dispatcher].into_iter().flatten();
        let set = all.find(|set| facts(set).revision == revision)?;
        set.spec.as_ref()?.template.metadata.as_ref()?.annotations.as_ref()?.get(annotations::EXECUTION).cloned()
    }
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
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let own = ListParams::default().labels(&format!("{}={name}", labels::ENVIRONMENT));
    let (workloads, pods, services, found, lock_holder_runs) = tokio::try_join!(
        bounded("list workloads", workloads.list(&own)),
        pods::of_environment(client, namespace, name),
        bounded("list services", services.list(&own)),
        Found::read(client, namespace, &environment),
        lock_holder_runs(context, namespace, &environment),
    )?;
    let of = |tier| workloads.items.iter().find(|set| set.name_any() == workload::name(name, tier)).cloned();
    let sets = Sets { author: of(Tier::Author), publish: of(Tier::Publish), dispatcher: of(Tier::Dispatcher) };
    let runs = wanted(context, &mut environment, &sets);
    let (desired, known) = match runs {
        Ok(None) => (Desired::Nothing, None),
        Err(why) => (Desired::Unknown(why), None),
        Ok(Some(runs)) => contracts(context, namespace, &environment, &sets, runs).await,
    };
    let (contracts, execution) = known.unzip();
    let execution = execution.unwrap_or_default();
    let deviations = match (&desired, &contracts) {
        (Desired::Release(desired), Some(contracts)) => {
            let release = Release {
                environment: &environment,
                content: &desired.content,
                images: &desired.images,
                contracts,
                execution: &execution,
            };
            deviations(&release, &sets, &services.items, &found)
        }
        _ => vec![],
    };
    let world = World {
        now: now(),
        environment,
        desired,
        author: sets.author.as_ref().map(facts),
        publish: sets.publish.as_ref().map(facts),
        dispatcher: sets.dispatcher.as_ref().map(facts),
        services: services.iter().map(ResourceExt::name_any).collect::<BTreeSet<String>>(),
        pods,
        further: found.names(),
        deviations,
        lock_holder_runs,
    };
    Ok(Some(Observed { world, contracts, execution }))
}

/// What should run, and who deploys it, before it is known what its images promise.
struct Runs {
    content: Content,
    images: ReleaseImages,
    execution: String,
}

impl From<Deployed> for Runs {
    fn from(deployed: Deployed) -> Self {
        Self {
            content: Content::Release(deployed.release),
            images: deployed.images,
            execution: format!("{} {}", deployed.execution, deployed.uid),
        }
    }
}

/// Asks the registry what the images promise.
async fn contracts(
    context: &Context,
    namespace: &str,
    environment: &Environment,
    sets: &Sets,
    runs: Runs,
) -> (Desired, Option<(Contracts, String)>) {
    let secrets = environment.spec.runtime.clone().unwrap_or_default().image_pull_secrets;
    let Runs { content, images, execution } = runs;
    match context.registry.contracts(&context.client, namespace, &images, &secrets).await {
        Err(Fault::Absent(why) | Fault::Refused(why) | Fault::Unreachable(why)) => (Desired::Unknown(why), None),
        Ok(contracts) => {
            let release = Release {
                environment,
                content: &content,
                images: &images,
                contracts: &contracts,
                execution: &execution,
            };
            let revision = release.revision();
            let execution = sets.brought_by(&revision).unwrap_or(execution);
            let desired = DesiredRelease { content, images, revision };
            (Desired::Release(Box::new(desired)), Some((contracts, execution)))
        }
    }
}

/// Objects that are there and are not what they should be.
fn deviations(release: &Release<'_>, sets: &Sets, services: &[Service], found: &Found) -> Vec<Deviation> {
    let environment = release.environment;
    let (name, revision) = (environment.name_any(), release.revision());
    let workloads =
        [(Tier::Author, &sets.author), (Tier::Publish, &sets.publish), (Tier::Dispatcher, &sets.dispatcher)];
    let mut all: Vec<Deviation> = workloads
        .into_iter()
        .filter_map(|(tier, set)| Some(deviation::of_workload(release, tier, set.as_ref()?)))
        .flatten()
        .collect();
    let wanted = ServiceName::all(environment.spec.publish.replicas);
    all.extend(wanted.filter_map(|wanted| {
        let same = services.iter().find(|service| service.name_any() == wanted.of(&name, &revision))?;
        deviation::of_service(environment, &wanted, &revision, same)
    }));
    all.extend(found.deviations(environment));
    all
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

/// What should run: what an execution asked for, else what was deployed; where a restored backup lost both, what the
/// workloads themselves say; and where nothing ever was deployed, the base images.
fn wanted(context: &Context, environment: &mut Environment, sets: &Sets) -> Result<Option<Runs>, String> {
    if let Some(deployed) = release(environment, sets)? {
        return Ok(Some(deployed.into()));
    }
    let images = bases::images(&environment.spec, &context.config.default_runtime());
    Ok(images.map(|images| Runs { content: Content::Bare, images, execution: String::new() }))
}

fn release(environment: &mut Environment, sets: &Sets) -> Result<Option<Deployed>, String> {
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
    if all.iter().all(|set| set.annotations().get(annotations::RELEASE).is_some_and(|mark| Content::is_bare(mark))) {
        return Ok(None);
    }
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
