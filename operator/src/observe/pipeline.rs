//! Facts for the planner of a pipeline.

use std::collections::BTreeMap;

use kube::{Api, api::ListParams};
use launchway_crds::{Environment, Pipeline, PipelineExecution};

use crate::{
    context::Context,
    error::{Error, bounded},
    plan::pipeline::{
        environments, needs, rival, stage_only,
        world::{Look, LookFor, World},
    },
};

use super::{now, source::Key};

/// Everything that decides what is said of a pipeline and whether it starts an execution; none when it is gone.
///
/// # Errors
/// When the apiserver does not answer.
pub async fn world(context: &Context, namespace: &str, name: &str) -> Result<Option<World>, Error> {
    let client = &context.client;
    let pipelines: Api<Pipeline> = Api::namespaced(client.clone(), namespace);
    let Some(pipeline) = bounded("read the pipeline", pipelines.get_opt(name)).await? else { return Ok(None) };
    let source_pipeline = match &pipeline.spec.source.pipeline {
        Some(name) => bounded("read the source pipeline", pipelines.get_opt(name)).await?,
        None => None,
    };
    let api: Api<Environment> = Api::namespaced(client.clone(), namespace);
    let mut found = BTreeMap::new();
    for name in environments(&pipeline.spec) {
        if let Some(environment) = bounded("read an environment", api.get_opt(name)).await? {
            found.insert(name.to_string(), environment);
        }
    }
    // Who deploys nowhere is in nobody's way.
    let others = if environments(&pipeline.spec).next().is_some() {
        bounded("list pipelines", pipelines.list(&ListParams::default())).await?.items
    } else {
        vec![]
    };
    let mut world = World {
        now: now(),
        stage_only: stage_only(&pipeline, &others),
        older: rival(&pipeline, &others),
        pipeline,
        environments: found,
        source_pipeline,
        executions: vec![],
        look: Look::NotYet,
    };
    if needs(&world).executions {
        let api: Api<PipelineExecution> = Api::namespaced(client.clone(), namespace);
        let own = ListParams::default().fields(&format!("spec.pipelineRef.name={name}"));
        world.executions = bounded("list executions", api.list(&own)).await?.items;
    }
    let key = Key::new(namespace, name);
    world.look = match needs(&world).look {
        LookFor::Nothing => Look::NotYet,
        LookFor::Last => context.sources.last(&key),
        LookFor::Now => context.sources.look(context, &key, &world.pipeline).await,
    };
    Ok(Some(world))
}
