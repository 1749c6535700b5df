//! `launchway cache invalidate`: the next build of a pipeline begins with an empty cache.

use clap::{Args, Subcommand};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use launchway_crds::{Pipeline, names::requests::INVALIDATE_CACHE};

use super::{
    CliError, End, say,
    session::{Connection, Session, same_as},
};
use crate::{
    client::{CALL, within},
    observe::now,
};

/// Arguments of `cache`.
#[derive(Args, Debug)]
pub struct CacheArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: What,
}

/// What can be done to caches.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Let the next build begin with an empty cache
    Invalidate {
        /// Name of the Pipeline
        pipeline: String,
        /// Which cluster.
        #[command(flatten)]
        connection: Connection,
    },
}

/// Sets the annotation that the next build looks at.
///
/// # Errors
/// When there is no such pipeline, it has no cache, or the apiserver refuses.
pub async fn run(args: CacheArgs) -> Result<End, CliError> {
    let What::Invalidate { pipeline, connection } = args.what;
    let session = Session::open(connection).await?;
    let pipelines: Api<Pipeline> = Api::namespaced(session.client.clone(), &session.namespace);
    let found = within(CALL, pipelines.get(&pipeline)).await?;
    if found.spec.source.git.is_none_or(|git| git.builder.cache.is_none()) {
        return Err(CliError::said(format!(
            "Pipeline {pipeline} has no cache: spec.source.git.builder.cache is not set"
        )));
    }
    let value = now().to_string();
    let annotation = format!("{INVALIDATE_CACHE}={value}");
    same_as(&session.kubectl(&["annotate", "--overwrite", "pipeline", &pipeline, &annotation]));
    let patch = serde_json::json!({ "metadata": { "annotations": { INVALIDATE_CACHE: value } } });
    within(CALL, pipelines.patch(&pipeline, &PatchParams::default(), &Patch::Merge(&patch))).await?;
    say(format!("the next build of {pipeline} begins with an empty cache"))?;
    Ok(End::Done)
}
