//! An Environment that nothing was ever deployed to: its bare base images run, so that it exists and answers.
//!
//! A new program is often created and run in one go. Its first execution would then fight for the nodes with base images
//! that it replaces a minute later, so they give it a head start; both waits are bounded.

use jiff::{SignedDuration, Timestamp};

use super::world::{Content, DesiredRelease, World};

/// How long a new Environment waits for a first execution.
const HEAD_START: SignedDuration = SignedDuration::from_secs(60);
/// How long an execution that has taken the Environment may take until it deploys.
const PATIENCE: SignedDuration = SignedDuration::from_mins(15);

/// Until when the base images are not started yet, if there is nothing at all and a first release may be on its way.
pub(super) fn waits(world: &World, desired: &DesiredRelease) -> Option<Timestamp> {
    let nothing = world.author.is_none() && world.publish.is_none() && world.dispatcher.is_none();
    if !matches!(desired.content, Content::Bare(_)) || !nothing {
        return None;
    }
    let created = world.environment.metadata.creation_timestamp.as_ref();
    let locked = world.environment.status.as_ref().and_then(|status| status.lock.as_ref());
    let taken = locked.filter(|_| world.lock_holder_runs);
    let head_start = created.and_then(|created| created.0.saturating_add(HEAD_START).ok());
    let patience = taken.and_then(|lock| lock.since.0.saturating_add(PATIENCE).ok());
    head_start.into_iter().chain(patience).max().filter(|until| world.now < *until)
}

/// Whether nothing that is worth anything serves: no release was ever complete here.
pub(super) fn serves_nothing(world: &World) -> bool {
    world.environment.status.as_ref().is_none_or(|status| status.deployed.is_none())
}
