//! Facts for the planner of an execution.

use kube::{Api, ResourceExt, api::ListParams};
use launchway_crds::{Environment, Pipeline, PipelineExecution, execution::Environments};

use crate::{
    context::Context,
    error::{Error, bounded},
    plan::execution::{
        needs,
        world::{Guard, JobEnd, JobFacts, World},
    },
};

use super::{guard, job, now};

/// Everything that decides what an execution does next; none when it is gone.
///
/// # Errors
/// When the apiserver does not answer.
pub async fn world(context: &Context, namespace: &str, name: &str) -> Result<Option<World>, Error> {
    let client = &context.client;
    let executions: Api<PipelineExecution> = Api::namespaced(client.clone(), namespace);
    let Some(execution) = bounded("read the execution", executions.get_opt(name)).await? else { return Ok(None) };
    let pipelines: Api<Pipeline> = Api::namespaced(client.clone(), namespace);
    let reference = &execution.spec.pipeline_ref.name;
    let pipeline = bounded("read the pipeline", pipelines.get_opt(reference)).await?;
    let environments = environments(&execution, pipeline.as_ref());
    let (stage, production) = match &environments {
        Some(names) => tokio::try_join!(
            environment(context, namespace, &names.stage),
            environment(context, namespace, &names.production)
        )?,
        None => (None, None),
    };
    let mut world = World {
        now: now(),
        execution,
        pipeline,
        stage,
        production,
        ahead: None,
        artifact: None,
        job: JobFacts::Absent,
        release: None,
        refused: vec![],
        guard: Guard::NotLookedAt,
        default_runtime: context.config.default_runtime(),
    };
    let needs = needs(&world);
    if needs.queue {
        world.ahead = ahead(&executions, &world, environments.as_ref()).await?;
    }
    if needs.artifact
        && world.execution.status.as_ref().is_none_or(|status| status.artifact.is_none())
        && let Some(pipeline) = &world.pipeline
    {
        let choice = world.execution.spec.artifact.as_ref();
        world.artifact = Some(context.registry.artifact(client, namespace, pipeline, choice).await);
    }
    if let Some(step) = needs.job {
        let repository = world.pipeline.as_ref().map_or("", |pipeline| &pipeline.spec.images.repository);
        world.job = job::facts(client, &world.execution, step, repository).await?;
        if let (JobFacts::Ended { end: JobEnd::Built { release }, .. }, Some(pipeline)) = (&world.job, &world.pipeline)
        {
            world.release = Some(context.registry.release(client, namespace, pipeline, release).await);
        }
        if let (JobFacts::Ended { end: JobEnd::Failed { report: Some(report), .. }, .. }, Some(pipeline)) =
            (&world.job, &world.pipeline)
        {
            // Only adds detail to a failure that stands: without it the reason and message remain.
            world.refused = context.registry.refused(client, namespace, pipeline, *report).await.unwrap_or_default();
        }
    }
    if needs.guard {
        world.guard = guard::look(client, &context.config.approval_policy).await?;
    }
    Ok(Some(world))
}

/// The environments that the execution wrote down, or those that its pipeline names now.
fn environments(execution: &PipelineExecution, pipeline: Option<&Pipeline>) -> Option<Environments> {
    execution.status.as_ref().and_then(|status| status.environments.clone()).or_else(|| {
        pipeline.map(|pipeline| Environments {
            stage: pipeline.spec.stage.environment.clone(),
            production: pipeline.spec.production.environment.clone(),
        })
    })
}

async fn environment(context: &Context, namespace: &str, name: &str) -> Result<Option<Environment>, Error> {
    let api: Api<Environment> = Api::namespaced(context.client.clone(), namespace);
    bounded("read an environment", api.get_opt(name)).await
}

/// The oldest other execution that waits for one of the same environments and was there first.
async fn ahead(
    executions: &Api<PipelineExecution>,
    world: &World,
    environments: Option<&Environments>,
) -> Result<Option<String>, Error> {
    let Some(wanted) = environments else { return Ok(None) };
    let all = bounded("list executions", executions.list(&ListParams::default())).await?;
    let order = |execution: &PipelineExecution| {
        (execution.metadata.creation_timestamp.as_ref().map(|time| time.0), execution.name_any())
    };
    let mine = order(&world.execution);
    Ok(all
        .items
        .iter()
        .filter(|other| other.metadata.uid != world.execution.metadata.uid && order(other) < mine)
        .filter(|other| {
            other.status.as_ref().is_some_and(|status| {
                status.completion_time.is_none()
                    && status.environments.as_ref().is_some_and(|theirs| {
                        [&theirs.stage, &theirs.production]
                            .iter()
                            .any(|name| [&wanted.stage, &wanted.production].contains(name))
                    })
            })
        })
        .min_by_key(|other| order(other))
        .map(ResourceExt::name_any))
}
