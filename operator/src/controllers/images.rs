//! After a round of a Pipeline: lets go of images whose executions are gone, and deletes what nobody needs of them.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use launchway_crds::{
    Pipeline,
    pipeline::{HistoryImages, PipelineType},
};

use crate::{
    context::Context,
    effects::images::{delete, let_go, remember},
    error::Error,
    observe::{self, images::refused, memory::Executions, now},
    plan::memory::images::{self, Found, Outcome},
    registry::{Client, ErrorKind, RegistryError, Repository},
};

/// How long builds are kept from beginning while images are deleted.
const TURN: Duration = Duration::from_secs(20);
/// How long builds are kept from beginning after a deletion was sent and not answered: it is over by then, or never comes.
const SETTLES: Duration = Duration::from_secs(5);
/// When it is looked again at images that somebody still needs, or that the registry refused to delete.
const LATER: SignedDuration = SignedDuration::from_mins(10);
/// The same while a build is in the way, or there were more than one sweep deletes.
const SOON: SignedDuration = SignedDuration::from_secs(30);

/// Whether a pipeline wants images to be deleted.
pub(super) fn deletes(pipeline: &Pipeline) -> bool {
    pipeline.spec.history.images == HistoryImages::Delete
}

/// What one turn came to.
struct Turn {
    pipeline: Pipeline,
    deleted: BTreeSet<String>,
    outcome: Outcome,
    soon: bool,
}

/// Lets go, and deletes; says when to look again.
pub(super) async fn tidy(
    context: &Context,
    executions: &Executions,
    namespace: &str,
    name: &str,
) -> Result<Option<Timestamp>, Error> {
    let Some(there) = observe::images::there(executions).await else { return Ok(None) };
    let Some(pipeline) = observe::images::pipeline(context, namespace, name).await? else { return Ok(None) };
    if !deletes(&pipeline) {
        return Ok(None);
    }
    if !images::has_work(&pipeline, &there) {
        return end(context, Turn::without(pipeline, Outcome::NothingLeft)).await;
    }
    let mut world = observe::images::world(context, pipeline, there.clone()).await?;
    let let_go_of = images::let_go(&world);
    if !let_go_of.is_empty() {
        let_go(context, &world.pipeline, &let_go_of).await?;
        // The record is written: from here on a new look decides.
        let Some(pipeline) = observe::images::pipeline(context, namespace, name).await? else { return Ok(None) };
        world = observe::images::world(context, pipeline, there).await?;
    }
    if images::due_releases(&world).is_empty() {
        return end(context, Turn::without(world.pipeline, Outcome::NothingLeft)).await;
    }
    let (client, repository) = match observe::images::registry(context, &world.pipeline).await {
        Ok(Some(registry)) => registry,
        Ok(None) => return Ok(None),
        Err(outcome) => return end(context, Turn::without(world.pipeline, outcome)).await,
    };
    match observe::images::found(&client, &repository, &world).await {
        Ok(found) => {
            let turn = turn(context, executions, (namespace, name), (&client, &repository), &found).await?;
            match turn {
                Some(turn) => end(context, turn).await,
                None => Ok(None),
            }
        }
        Err(error) => end(context, Turn::without(world.pipeline, refused(error))).await,
    }
}

impl Turn {
    const fn without(pipeline: Pipeline, outcome: Outcome) -> Self {
        Self { pipeline, deleted: BTreeSet::new(), outcome, soon: false }
    }
}

/// Looks once more, and deletes, while no build begins. None when there is nothing to delete any more.
async fn turn(
    context: &Context,
    executions: &Executions,
    (namespace, name): (&str, &str),
    (client, repository): (&Client, &Repository),
    found: &Found,
) -> Result<Option<Turn>, Error> {
    let _turn = context.builds.write().await;
    let ends = tokio::time::Instant::now() + TURN;
    let looked = tokio::time::timeout_at(ends, look(context, executions, (namespace, name), repository)).await;
    let looked = looked.map_err(|_| Error::TimedOut { doing: "look who needs images", limit: TURN })?;
    let Some(world) = looked? else { return Ok(None) };
    let sweep = images::sweep(&world, found);
    let mut deleted = BTreeSet::new();
    let deleting = async {
        for removal in &sweep.removals {
            delete(context, &world.pipeline, (client, repository), removal).await?;
            if removal.is_last {
                deleted.insert(removal.uid.clone());
            }
        }
        Ok::<(), RegistryError>(())
    };
    let (outcome, soon) = match tokio::time::timeout_at(ends, deleting).await {
        Ok(Ok(())) if sweep.waits.is_empty() => (Outcome::NothingLeft, false),
        Ok(Ok(())) => (Outcome::Waits(sweep.waits), sweep.soon),
        Ok(Err(error)) => {
            if error.kind == ErrorKind::Unreachable {
                tokio::time::sleep(SETTLES).await;
            }
            (refused(error), false)
        }
        Err(_) => {
            tokio::time::sleep(SETTLES).await;
            let left = sweep.removals.iter().filter(|removal| !deleted.contains(&removal.uid));
            let names = images::names(&world.pipeline, left.map(|removal| removal.uid.as_str()));
            (Outcome::Waits([names, sweep.waits].concat()), true)
        }
    };
    Ok(Some(Turn { pipeline: world.pipeline, deleted, outcome, soon }))
}

/// The facts as they are now. None when the pipeline is gone, or wants something else than what its registry was asked for.
async fn look(
    context: &Context,
    executions: &Executions,
    (namespace, name): (&str, &str),
    repository: &Repository,
) -> Result<Option<images::World>, Error> {
    let Some(there) = observe::images::there(executions).await else { return Ok(None) };
    let Some(pipeline) = observe::images::pipeline(context, namespace, name).await? else { return Ok(None) };
    let same = pipeline.spec.images.as_ref().is_some_and(|images| images.repository == repository.to_string());
    if !(same && deletes(&pipeline)) {
        return Ok(None);
    }
    observe::images::world(context, pipeline, there).await.map(Some)
}

/// Writes down what a turn came to; says when the next one is due.
async fn end(context: &Context, turn: Turn) -> Result<Option<Timestamp>, Error> {
    // It makes no images: those of its ledger are deleted by the pipeline that made them.
    if turn.pipeline.spec.type_ == PipelineType::ProductionOnly {
        return Ok(None);
    }
    remember(context, &turn.pipeline, &turn.deleted, &turn.outcome).await?;
    let pause = match (&turn.outcome, turn.soon) {
        (Outcome::NothingLeft, _) => return Ok(None),
        (_, true) => SOON,
        (Outcome::Waits(_) | Outcome::Refused { .. }, false) => LATER,
    };
    Ok(now().checked_add(pause).ok())
}

#[cfg(test)]
mod tests;
