//! Facts for the planner of an execution.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, ResourceExt, api::ListParams};
use launchway_crds::{
    Environment, Pipeline, PipelineExecution, execution::Environments, pipeline::ArtifactSource,
    revision::PipelineRevision, step::StepName, web_tier,
};

use crate::{
    context::Context,
    error::{Error, bounded},
    outline::ExecutionOutline,
    plan::{
        execution::{
            needs, next, queue, revision, route, uses_job,
            world::{GitFacts, Guard, JobEnd, JobFacts, Needs, RevisionFacts, Siblings, World},
        },
        pipeline::rival,
    },
};

use super::{executions, flux, fresh, git, guard, job, now};

/// Everything that decides what an execution does next; none when it is gone.
///
/// `remembered` is the execution as it was seen last: what it refers to is read together with itself, and once more
/// only where it refers to something else by now. Nothing of it is believed.
///
/// # Errors
/// When the apiserver does not answer.
pub async fn world(context: &Context, remembered: &ExecutionOutline) -> Result<Option<World>, Error> {
    let client = &context.client;
    let (namespace, name) = (&*remembered.namespace().unwrap_or_default(), &*remembered.name_any());
    let api: Api<PipelineExecution> = Api::namespaced(client.clone(), namespace);
    let guessed = remembered.environments().cloned().unwrap_or_default();
    let (runs, at) = (remembered.runs(), remembered.works_at().filter(|step| uses_job(*step)));
    let (execution, guessed_pipeline, guessed_stage, guessed_production, guessed_kept, guessed_job) = tokio::try_join!(
        bounded("read the execution", api.get_opt(name)),
        pipeline(context, namespace, Some(&remembered.pipeline)),
        environment(context, namespace, guessed.tested()),
        environment(context, namespace, guessed.production.as_deref()),
        kept(context, namespace, runs),
        read_job(context, namespace, name, at),
    )?;
    let Some(execution) = execution else { return Ok(None) };
    let pipeline = if execution.spec.pipeline_ref.name == remembered.pipeline {
        guessed_pipeline
    } else {
        pipeline(context, namespace, Some(&execution.spec.pipeline_ref.name)).await?
    };
    let (pipeline, revision) =
        as_it_began(context, namespace, &execution, pipeline, runs.map(|runs| (runs, guessed_kept))).await?;
    let names = environments(&execution, pipeline.as_ref());
    let (stage, production) = if names == guessed {
        (guessed_stage, guessed_production)
    } else {
        tokio::try_join!(
            environment(context, namespace, names.tested()),
            environment(context, namespace, names.production.as_deref())
        )?
    };
    let source = pipeline.as_ref().and_then(|pipeline| pipeline.spec.source.pipeline.as_deref());
    let source_pipeline = self::pipeline(context, namespace, source).await?;
    let mut world = World {
        now: now(),
        execution,
        pipeline,
        revision,
        stage,
        production,
        source_pipeline,
        rival: None,
        ahead: None,
        siblings: Siblings::default(),
        artifact: None,
        git: GitFacts { builder: context.config.builder.clone(), ..GitFacts::default() },
        jobs: BTreeMap::new(),
        release: None,
        refused: vec![],
        denied: None,
        guard: Guard::NotLookedAt,
        web_tiers: None,
        default_runtime: context.config.default_runtime(),
    };
    let needs = needs(&world);
    if needs.queue || needs.siblings {
        let pipeline = &*world.execution.spec.pipeline_ref.name;
        let same = queue::siblings(&executions::running(context, namespace, Some(pipeline)).await?, &world);
        // Who waits for an older one of its pipeline waits for nobody else, and of all others there may be a thousand.
        if needs.queue && same.older.is_none() {
            let all = executions::running(context, namespace, None).await?;
            world.ahead = queue::ahead(&all, &world, &names);
        }
        world.siblings = if needs.siblings { same } else { Siblings::default() };
    }
    if needs.rival
        && let Some(pipeline) = &world.pipeline
    {
        world.rival = rival(pipeline, &pipelines(context, namespace).await?);
    }
    if needs.artifact
        && world.execution.status.as_ref().is_none_or(|status| status.artifact.is_none())
        && let Some(source) = world.pipeline.as_ref().and_then(|pipeline| pipeline.spec.source.artifact.clone())
    {
        artifact(context, namespace, &source, &mut world).await;
    }
    if let Some(step) = needs.job {
        look(context, &mut world, step, guessed_job.filter(|_| at == Some(step))).await?;
    }
    sources(context, namespace, &needs, &mut world).await;
    if needs.web_tiers {
        world.web_tiers = Some(web_tiers(context, namespace).await?);
    }
    if let Some(request) = needs.guard {
        world.guard = guard::look(client, &context.config.approval_policy, request).await?;
    }
    // Each look adds one of the steps' Jobs, or who has which dispatcher, so this ends.
    while let Some(step) = next(&world).look {
        look(context, &mut world, step, None).await?;
    }
    Ok(Some(world))
}

/// The pipeline with the spec that the execution began with. `guessed` is what was found of a version that it may want.
async fn as_it_began(
    context: &Context,
    namespace: &str,
    execution: &PipelineExecution,
    pipeline: Option<Pipeline>,
    guessed: Option<(&PipelineRevision, Option<ControllerRevision>)>,
) -> Result<(Option<Pipeline>, RevisionFacts), Error> {
    let Some(pipeline) = pipeline else { return Ok((None, RevisionFacts::default())) };
    let wanted = revision::wanted(&pipeline, execution.status.as_ref());
    let found = match (&wanted, guessed) {
        (Some(wanted), Some((guessed, found))) if wanted.name == guessed.name => found,
        (wanted, _) => kept(context, namespace, wanted.as_ref()).await?,
    };
    let data = found.map(|found| found.data.map(|data| data.0).unwrap_or_default());
    let (pipeline, facts) = revision::apply(pipeline, wanted, data);
    Ok((Some(pipeline), facts))
}

/// What holds a version of a pipeline.
async fn kept(
    context: &Context,
    namespace: &str,
    version: Option<&PipelineRevision>,
) -> Result<Option<ControllerRevision>, Error> {
    let Some(version) = version else { return Ok(None) };
    let api: Api<ControllerRevision> = Api::namespaced(context.client.clone(), namespace);
    bounded("read the pipeline's kept version", api.get_opt(&version.name)).await
}

async fn read_job(
    context: &Context,
    namespace: &str,
    execution: &str,
    step: Option<StepName>,
) -> Result<Option<job::Seen>, Error> {
    let Some(step) = step else { return Ok(None) };
    job::read(context, namespace, execution, step).await.map(Some)
}

/// Which pipelines have the dispatcher image of which Environment to themselves.
async fn web_tiers(context: &Context, namespace: &str) -> Result<BTreeMap<String, String>, Error> {
    Ok(web_tier::owners(&pipelines(context, namespace).await?))
}

async fn pipelines(context: &Context, namespace: &str) -> Result<Vec<Pipeline>, Error> {
    fresh::list(context, "list pipelines", namespace, ListParams::default()).await
}

/// Adds what the planner asks for at a step: its Job and what that left in the registry, or, where it deploys, who has which
/// dispatcher. `seen` is its Job, where that was read already.
async fn look(context: &Context, world: &mut World, step: StepName, seen: Option<job::Seen>) -> Result<(), Error> {
    let client = &context.client;
    let namespace = &*world.execution.namespace().unwrap_or_default();
    if !uses_job(step) {
        world.web_tiers = Some(web_tiers(context, namespace).await?);
        return Ok(());
    }
    let images = world.pipeline.as_ref().and_then(|pipeline| pipeline.spec.images.clone());
    let repository = images.as_ref().map_or("", |images| &images.repository);
    let seen = match seen {
        Some(seen) => seen,
        None => job::read(context, namespace, &world.execution.name_any(), step).await?,
    };
    let job = job::facts(seen, &world.execution, step, repository);
    match (&job, &images) {
        (JobFacts::Ended { end: JobEnd::Built { release }, .. }, Some(images)) => {
            world.release = Some(context.registry.release(client, namespace, images, release).await);
        }
        (JobFacts::Ended { end: JobEnd::Failed { report: Some(report), .. }, .. }, Some(images)) => {
            // Only adds detail to a failure that stands: without it the reason and message remain.
            world.refused = context.registry.refused(client, namespace, images, *report).await.unwrap_or_default();
        }
        _ => {}
    }
    world.jobs.insert(step, job);
    Ok(())
}

/// The packages that a pipeline is given. Where an object of Flux says which, it is asked first.
async fn artifact(context: &Context, namespace: &str, source: &ArtifactSource, world: &mut World) {
    if let Some(object) = &source.flux_ref {
        world.git.flux_artifact = Some(flux::artifact(&context.client, namespace, object).await);
    }
    let told = match &world.git.flux_artifact {
        Some(Err(_)) => return,
        Some(Ok(told)) => Some(told),
        None => None,
    };
    let choice = world.execution.spec.artifact.as_ref();
    world.artifact = Some(context.registry.artifact(&context.client, namespace, source, told, choice).await);
}

/// What only pipelines with `spec.source.git` need: the commit, and packages that were built, before or just now.
async fn sources(context: &Context, namespace: &str, needs: &Needs, world: &mut World) {
    let Some(spec) = world.pipeline.as_ref().map(|pipeline| pipeline.spec.clone()) else { return };
    if needs.commit
        && let Some(source) = &spec.source.git
    {
        match (source.remote(), &source.flux_ref) {
            (Some(remote), _) => {
                let commit = git::commit(&context.client, namespace, &remote, source.secret_ref.as_ref()).await;
                world.git.commit = Some(commit);
            }
            (None, Some(object)) => {
                world.git.flux_commit = Some(flux::commit(&context.client, namespace, object).await);
            }
            (None, None) => {}
        }
    }
    let Some(packages) = spec.packages(None).filter(|_| spec.source.git.is_some()) else { return };
    match (world.jobs.get(&StepName::Build), &needs.earlier) {
        (Some(JobFacts::Absent), Some(tag)) => {
            world.git.earlier = Some(context.registry.earlier(&context.client, namespace, &packages, tag).await);
        }
        (Some(JobFacts::Ended { end: JobEnd::Packed { artifact, .. }, .. }), _) => {
            let digest = artifact.to_string();
            world.artifact = Some(context.registry.packages(&context.client, namespace, &packages, &digest).await);
        }
        _ => {}
    }
}

/// The environments that the execution wrote down, or those that its pipeline names now.
fn environments(execution: &PipelineExecution, pipeline: Option<&Pipeline>) -> Environments {
    let recorded = execution.status.as_ref().and_then(|status| status.environments.clone());
    let named = || pipeline.map(|pipeline| route::environments(&pipeline.spec, &execution.spec));
    recorded.or_else(named).unwrap_or_default()
}

async fn pipeline(context: &Context, namespace: &str, name: Option<&str>) -> Result<Option<Pipeline>, Error> {
    let Some(name) = name else { return Ok(None) };
    let api: Api<Pipeline> = Api::namespaced(context.client.clone(), namespace);
    bounded("read a pipeline", api.get_opt(name)).await
}

async fn environment(context: &Context, namespace: &str, name: Option<&str>) -> Result<Option<Environment>, Error> {
    let Some(name) = name else { return Ok(None) };
    let api: Api<Environment> = Api::namespaced(context.client.clone(), namespace);
    bounded("read an environment", api.get_opt(name)).await
}
