//! What others are to be told: written down with the status that makes it true, taken away when it was told.
//!
//! So nothing is lost when the operator dies between the two, and nothing is written while nothing happens.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::reasons,
    execution::{PipelineExecutionStatus, WaitingFor},
    notification::{Happening, UNTOLD_MAX, Untold},
};

use super::world::World;

/// Adds what became true with a new status, if the pipeline has anybody who wants to know.
pub(super) fn fill(world: &World, new: &mut PipelineExecutionStatus) {
    let fresh = PipelineExecutionStatus::default();
    let old = world.execution.status.as_ref().unwrap_or(&fresh);
    let sinks = world.pipeline.as_ref().map_or(&[][..], |pipeline| pipeline.spec.notifications.as_slice());
    if sinks.is_empty() || old == new {
        return;
    }
    let wanted = |untold: &Untold| sinks.iter().any(|sink| sink.events.contains(&untold.event));
    let news: Vec<Untold> = happened(world, old, new).into_iter().flatten().filter(wanted).collect();
    new.untold.extend(news);
    bound(&mut new.untold);
}

/// Where nobody takes what is told, the oldest waits go: they are over, and the start, the end and what is waited for now are
/// worth more.
fn bound(untold: &mut Vec<Untold>) {
    let mut over = untold.len().saturating_sub(UNTOLD_MAX);
    untold.retain(|told| {
        let goes = match told.event {
            Happening::Waiting | Happening::Expiring => over > 0,
            Happening::Started | Happening::Ended => false,
        };
        over -= usize::from(goes);
        !goes
    });
}

fn happened(world: &World, old: &PipelineExecutionStatus, new: &PipelineExecutionStatus) -> [Option<Untold>; 4] {
    // One that only says that it ran before is no news, however often a tool creates it again.
    if [reasons::ALREADY_EXECUTED, reasons::NAME_REUSED].contains(&new.state.as_str()) {
        return [const { None }; 4];
    }
    let now = || Time(world.now);
    let untold = |event, step| Some(Untold { event, step, at: now() });
    let waits = new.waiting_for.as_ref().filter(|waiting| waiting.who.is_some());
    let before = old.waiting_for.as_ref().filter(|waiting| waiting.who.is_some());
    let same = |waiting: &&WaitingFor| before.is_some_and(|before| before.step == waiting.step);
    let warned = |waiting: Option<&WaitingFor>| waiting.and_then(|waiting| waiting.expiring_since.clone());
    [
        old.start_time.is_none().then(|| untold(Happening::Started, None)).flatten(),
        waits.filter(|waiting| !same(waiting)).and_then(|waiting| untold(Happening::Waiting, Some(waiting.step))),
        waits
            .filter(|_| warned(waits).is_some() && warned(waits) != warned(before))
            .and_then(|waiting| untold(Happening::Expiring, Some(waiting.step))),
        (old.completion_time.is_none() && new.completion_time.is_some())
            .then(|| untold(Happening::Ended, new.step))
            .flatten(),
    ]
}
