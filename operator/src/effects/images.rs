//! Effects on images that a history let go of: what the ledger says of them, and their deletion from the registry.

use std::{collections::BTreeSet, time::Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use launchway_crds::{Pipeline, pipeline::ImagesState};

use crate::{
    context::Context,
    error::Error,
    observe::now,
    plan::memory::images::{Outcome, Removal, mark, tell},
    registry::{Client, RegistryError, Repository},
};

use super::status;

/// Writes down that the history of a pipeline lets go of the images of these executions.
///
/// # Errors
/// When the apiserver does not answer, or the pipeline changed since it was read: it is decided anew.
pub async fn let_go(context: &Context, pipeline: &Pipeline, uids: &BTreeSet<String>) -> Result<(), Error> {
    let mut changed = pipeline.clone();
    if mark(changed.status.get_or_insert_default(), uids, ImagesState::LetGo) {
        status::replace(context, &changed).await?;
    }
    Ok(())
}

/// Writes down whose images are deleted, and what became of the others.
///
/// # Errors
/// As [`let_go`]: what is deleted is then found to be gone.
pub async fn remember(
    context: &Context,
    pipeline: &Pipeline,
    deleted: &BTreeSet<String>,
    outcome: &Outcome,
) -> Result<(), Error> {
    let mut changed = pipeline.clone();
    let status = changed.status.get_or_insert_default();
    let marked = mark(status, deleted, ImagesState::Deleted);
    if tell(status, &Time(now()), pipeline.metadata.generation, outcome) || marked {
        status::replace(context, &changed).await?;
    }
    Ok(())
}

/// Deletes the manifests of one execution. Doing it again changes nothing.
///
/// # Errors
/// What the registry refuses; what comes behind it stays.
pub async fn delete(
    context: &Context,
    pipeline: &Pipeline,
    (client, repository): (&Client, &Repository),
    removal: &Removal,
) -> Result<(), RegistryError> {
    for digest in &removal.digests {
        let (begun, pipeline) = (Instant::now(), pipeline.name_any());
        tracing::info!(pipeline, image = %repository.at(*digest), "Deleting what history let go of");
        let result = client.delete_manifest(repository, digest).await;
        let label = result.as_ref().map_or("registry", |()| "ok");
        context.metrics.effect("delete_image", label, begun.elapsed().as_secs_f64());
        result?;
    }
    Ok(())
}
