//! Facts for the planner of an Environment.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Service};
use kube::{Api, ResourceExt};
use launchway_crds::{
    Environment,
    environment::{Deployed, Tier},
    names::FINALIZER,
};

use crate::{
    context::Context,
    error::{Error, bounded},
    plan::{
        bases,
        environment::{
            Aim, ServiceName, Templates, aim, next,
            objects::Deviation,
            rests_on_absence, watch,
            world::{Configurations, Content, Desired, DesiredRelease, Silent, World},
        },
        execution::world::Fault,
    },
    render::{
        Contracts, Release,
        configuration::Configuration,
        deviation,
        kept::{Kept, Source},
        workload,
    },
};

use super::{
    configuration::{self, Age, Whole},
    fresh,
    further::Found,
    lock, now, pods,
    sets::{Sets, facts, recovered},
    traffic,
};

/// Facts about an Environment, and what is needed to render its desired release.
#[derive(Clone, Debug)]
pub struct Observed {
    /// For the planner.
    pub world: World,
    /// For the builders: what the images of the desired release promise.
    pub contracts: Option<Contracts>,
    /// For the builders: the variables with their values, when they can be had.
    pub configuration: Option<Configuration>,
    /// For the builders: templates that are kept.
    pub kept: Kept,
    /// Where dispatchers say what they have counted, by ordinal.
    counters: BTreeMap<i32, Result<SocketAddr, Silent>>,
}

impl Observed {
    /// What workloads are made from on the way to this.
    #[must_use]
    pub fn source<'a>(&'a self, aim: &'a Aim) -> Source<'a> {
        let environment = &self.world.environment;
        let Aim { release, templates } = aim;
        let rendered = match templates {
            Templates::Kept => None,
            Templates::Rendered => self.contracts.as_ref().map(|contracts| Release {
                environment,
                content: &release.content,
                contracts,
                configuration: &release.configuration,
            }),
        };
        Source { environment, release, rendered, kept: &self.kept }
    }
}

/// Everything that decides what is done to an Environment; none when it is gone.
///
/// Where the decision would rest on something not being kept any more, everything is read once more, and that for sure.
/// Where it depends on what dispatchers have counted, they are asked.
///
/// # Errors
/// When the apiserver does not answer.
pub async fn observe(context: &Context, namespace: &str, name: &str) -> Result<Option<Observed>, Error> {
    let Some(mut observed) = read(context, namespace, name, Age::Any).await? else { return Ok(None) };
    let mut plan = next(&observed.world);
    if rests_on_absence(&observed.world, &plan) {
        let Some(newest) = read(context, namespace, name, Age::Newest).await? else { return Ok(None) };
        (plan, observed) = (next(&newest.world), newest);
    }
    if watch::is_on(&plan) {
        observed.world.counters = Some(traffic::counters(&observed.counters).await);
    }
    Ok(Some(observed))
}

/// The Environment itself. What is written because of it is refused if it has changed meanwhile.
async fn own(context: &Context, namespace: &str, name: &str, age: Age) -> Result<Option<Environment>, Error> {
    let doing = "read the environment";
    match age {
        Age::Any => fresh::get(context, doing, namespace, name).await,
        Age::Newest => {
            let environments: Api<Environment> = Api::namespaced(context.client.clone(), namespace);
            bounded(doing, environments.get_opt(name)).await
        }
    }
}

async fn read(context: &Context, namespace: &str, name: &str, age: Age) -> Result<Option<Observed>, Error> {
    let (environment, workloads, pods, services, mut found, revisions, present) = tokio::try_join!(
        own(context, namespace, name, age),
        fresh::of_environment::<StatefulSet>(context, "list workloads", namespace, name),
        pods::of_environment(context, namespace, name),
        fresh::of_environment::<Service>(context, "list services", namespace, name),
        Found::read(context, namespace, name),
        configuration::revisions(context, namespace, name, age),
        configuration::present(context, namespace, name, age),
    )?;
    let Some(mut environment) = environment else { return Ok(None) };
    let keeps = environment.finalizers().iter().any(|name| name == FINALIZER);
    if environment.metadata.deletion_timestamp.is_some() && !keeps {
        return Ok(None);
    }
    let (lock_holder_runs, (), resolved) = tokio::try_join!(
        lock::holder_runs(context, namespace, &environment),
        found.read_routes(context, namespace, &environment),
        configuration::resolve(&context.client, namespace, &environment),
    )?;
    let of = |tier| workloads.iter().find(|set| set.name_any() == workload::name(name, tier)).cloned();
    let sets = Sets { author: of(Tier::Author), publish: of(Tier::Publish), dispatcher: of(Tier::Dispatcher) };
    // What cannot be had now leaves in force what the pods have.
    let hashes = match &resolved {
        Ok(variables) => variables.hashes().clone(),
        Err(_) => sets.configuration(name),
    };
    let all: Vec<&StatefulSet> = sets.all().map(|(_, set)| set).collect();
    let kept = Kept::of(&all, revisions);
    let Whole { present, replaced } =
        configuration::whole(&context.client, namespace, &environment, &present, &hashes).await?;
    let pods::Found { facts: pods, mut referred, counters } = pods;
    referred.extend(kept.configurations());
    let (variables, missing) = match resolved {
        Ok(variables) => (Some(variables), None),
        Err(why) => (None, Some(why)),
    };
    let content = wanted(context, &mut environment, &sets);
    let (desired, contracts) = match content {
        Ok(None) => (Desired::Nothing, None),
        Err(why) => (Desired::Unknown(why), None),
        Ok(Some(content)) => contracts(context, namespace, &environment, &sets, content, hashes).await,
    };
    let world = World {
        now: now(),
        environment,
        desired: configured(desired, &sets, missing.as_ref()),
        author: sets.author.as_ref().map(facts),
        publish: sets.publish.as_ref().map(facts),
        dispatcher: sets.dispatcher.as_ref().map(facts),
        services: services.iter().map(ResourceExt::name_any).collect::<BTreeSet<String>>(),
        pods,
        further: found.names(),
        deviations: vec![],
        lock_holder_runs,
        kept: kept.names(),
        configurations: Configurations { present, referred, missing },
        counters: None,
    };
    let mut observed = Observed { world, contracts, configuration: variables, kept, counters };
    if let Some(aim) = aim(&observed.world) {
        observed.world.deviations = deviations(&observed.source(&aim), &sets, &services, &found);
        observed.world.deviations.extend(replaced);
    }
    Ok(Some(observed))
}

/// Asks the registry what the images promise.
async fn contracts(
    context: &Context,
    namespace: &str,
    environment: &Environment,
    sets: &Sets,
    content: Content,
    configuration: BTreeMap<Tier, String>,
) -> (Desired, Option<Contracts>) {
    let secrets = environment.spec.runtime.clone().unwrap_or_default().image_pull_secrets;
    match context.registry.contracts(&context.client, namespace, content.images(), &secrets).await {
        Err(Fault::Absent(why) | Fault::Refused(why) | Fault::Unreachable(why)) => (Desired::Unknown(why), None),
        Ok(contracts) => {
            let release =
                Release { environment, content: &content, contracts: &contracts, configuration: &configuration };
            let revisions = release.revisions();
            let content = sets.as_brought(content, &revisions);
            (Desired::Release(Box::new(DesiredRelease { content, revisions, configuration })), Some(contracts))
        }
    }
}

/// Without its variables nothing is rolled out, and what runs goes on.
fn configured(desired: Desired, sets: &Sets, missing: Option<&String>) -> Desired {
    match (&desired, missing) {
        (Desired::Release(release), Some(why)) if !sets.are_on(&release.revisions) => {
            Desired::Unconfigured(why.clone())
        }
        (_, _) => desired,
    }
}

/// Objects that are there and are not what they should be.
fn deviations(source: &Source<'_>, sets: &Sets, services: &[Service], found: &Found) -> Vec<Deviation> {
    let (environment, revision) = (source.environment, &source.release.revisions.aem);
    let name = environment.name_any();
    let mut all: Vec<Deviation> =
        sets.all().flat_map(|(tier, set)| deviation::of_workload(source, tier, set)).collect();
    let wanted = ServiceName::all(environment.spec.publish.replicas);
    all.extend(wanted.filter_map(|wanted| {
        let same = services.iter().find(|service| service.name_any() == wanted.of(&name, revision))?;
        deviation::of_service(environment, &wanted, revision, same)
    }));
    all.extend(found.deviations(environment));
    all
}

/// What should run: what an execution asked for, else what was deployed; where a restored backup lost both, what the
/// workloads themselves say; and where nothing ever was deployed, the base images.
fn wanted(context: &Context, environment: &mut Environment, sets: &Sets) -> Result<Option<Content>, String> {
    if let Some(deployed) = release(environment, sets)? {
        return Ok(Some(Content::Release(Box::new(deployed))));
    }
    let images = bases::images(&environment.spec, &context.config.default_runtime());
    Ok(images.map(Content::Bare))
}

fn release(environment: &mut Environment, sets: &Sets) -> Result<Option<Deployed>, String> {
    let status = environment.status.get_or_insert_default();
    if let Some(target) = &status.target {
        return Ok(Some(target.reached(status.deployed.as_ref(), target.since.clone())));
    }
    if status.deployed.is_none() {
        status.deployed = recovered(sets)?;
    }
    Ok(status.deployed.clone())
}

#[cfg(test)]
mod tests {
    use launchway_crds::deploy::{CacheFlush, CachePaths};

    use super::{
        super::sets::tests::{contracts, release, sets},
        *,
    };
    use crate::{
        plan::environment::{objects::Cause, world::Revisions},
        render::{
            compare::marked,
            tests::{deployed, environment},
        },
    };

    #[test]
    fn drift_is_seen_after_another_execution_deployed_the_same_release_or_dispatchers_alone() {
        let paths = CachePaths { flush_paths: vec!["/a".into()], ..CachePaths::default() };
        let again = Deployed { execution: "wknd-2".into(), uid: "uid-2".into(), ..deployed() };
        let flushed = Deployed { cache: Some(CacheFlush { uid: "uid-2".into(), paths }), ..again.clone() };
        for (now, dispatchers_of) in [(again, deployed()), (flushed.clone(), flushed)] {
            // Author and publish stay as the first execution brought them.
            let found = Sets { dispatcher: sets(dispatchers_of).dispatcher, ..sets(deployed()) };
            let (environment, contracts, content) = (environment(), contracts(), Content::Release(Box::new(now)));
            let revisions = release(&content, &environment, &contracts).revisions();
            let content = found.as_brought(content, &revisions);
            let rendered = release(&content, &environment, &contracts);
            assert_eq!(rendered.revisions(), revisions);
            let all: Vec<&StatefulSet> = found.all().map(|(_, set)| set).collect();
            let kept = Kept::of(&all, vec![]);
            let desired = DesiredRelease { content: content.clone(), revisions, configuration: BTreeMap::new() };
            let source = Source { environment: &environment, release: &desired, rendered: Some(rendered), kept: &kept };
            for (tier, set) in found.all() {
                assert_eq!(deviation::of_workload(&source, tier, set), []);
                let mut set = set.clone();
                set.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers[0].image = Some("evil".into());
                let seen = deviation::of_workload(&source, tier, &set);
                assert!(matches!(seen.as_slice(), [Deviation { cause: Cause::Edited(_), .. }]), "{tier:?}: {seen:?}");
            }
        }
    }

    #[test]
    fn what_came_back_is_compared_with_the_template_that_was_kept() {
        let found = sets(deployed());
        let all: Vec<&StatefulSet> = found.all().map(|(_, set)| set).collect();
        let kept = Kept::of(&all, vec![]);
        let (environment, contracts, content) = (environment(), contracts(), Content::Release(Box::new(deployed())));
        let revisions = release(&content, &environment, &contracts).revisions();
        let desired = DesiredRelease { content, revisions, configuration: BTreeMap::new() };
        let source = Source { environment: &environment, release: &desired, rendered: None, kept: &kept };
        let back = marked(&source.workload(Tier::Publish, 3, 1).unwrap()).unwrap();
        let mut back: StatefulSet = serde_json::from_value(back).unwrap();
        assert_eq!(deviation::of_workload(&source, Tier::Publish, &back), []);
        back.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers[0].image = Some("evil".into());
        let seen = deviation::of_workload(&source, Tier::Publish, &back);
        assert!(matches!(seen.as_slice(), [Deviation { cause: Cause::Edited(_), .. }]), "{seen:?}");
        // Tiers that the way back has not come to are on the release that failed: they are nobody's edit.
        let other = Revisions { aem: "failed".into(), dispatcher: "failed".into() };
        let elsewhere = DesiredRelease { revisions: other, ..desired.clone() };
        let source = Source { release: &elsewhere, ..source };
        assert_eq!(deviation::of_workload(&source, Tier::Publish, &back), []);
    }

    #[test]
    fn a_missing_secret_holds_what_is_new_and_leaves_what_runs() {
        let found = sets(deployed());
        let (environment, contracts, content) = (environment(), contracts(), Content::Release(Box::new(deployed())));
        let revisions = release(&content, &environment, &contracts).revisions();
        let desired = Desired::Release(Box::new(DesiredRelease { content, revisions, configuration: BTreeMap::new() }));
        let why = "Secret api does not exist".to_owned();
        assert_eq!(configured(desired.clone(), &found, None), desired);
        assert_eq!(configured(desired.clone(), &found, Some(&why)), desired);
        assert_eq!(configured(desired, &Sets::default(), Some(&why)), Desired::Unconfigured(why));
    }
}
