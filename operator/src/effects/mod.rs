//! Writes, and nothing else: the only code that changes anything in the cluster.
//!
//! Every effect is bounded in time, counted, and can be repeated: what it makes has a name that
//! follows from what it is for, what it changes is compared with what is there, and what belongs to
//! somebody else is left alone. No effect touches a pod: there is no code for it, and no right.

mod build;
pub mod drift;
pub mod environment;
pub mod events;
pub mod execution;
pub mod images;
pub mod memory;
pub mod pipeline;
pub mod status;
pub mod untold;

#[cfg(test)]
pub(crate) mod wire;

use std::time::Instant;

use crate::{context::Context, error::Error};

/// Runs an effect, counts it and logs what it did.
async fn counted<T>(
    context: &Context,
    category: &'static str,
    effect: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let begun = Instant::now();
    let result = effect.await;
    let label = result.as_ref().map_or_else(Error::category, |_| "ok");
    context.metrics.effect(category, label, begun.elapsed().as_secs_f64());
    result
}
