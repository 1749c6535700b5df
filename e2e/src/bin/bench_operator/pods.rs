//! What lies between pods of Jobs, and how long they are there, by what a watch saw.

use std::time::Duration;

use jiff::Timestamp;
use launchway_e2e::{
    Failure, Outcome,
    cluster::until,
    lives::{Life, Lives},
    watched::Moment,
};

/// From the end of a step to the next pod, as a watch sees both.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// Since its first container ended: of a test that is the one of the test, and the one that fetches its report goes on.
    pub first: Duration,
    /// Since its last container ended.
    pub last: Duration,
}

/// What lies between each step's end and the next pod of the execution; what a person said between them left out.
///
/// # Errors
/// When not all of its five Jobs were seen.
pub fn gaps(lives: Vec<Life>, execution: &str, said: Timestamp) -> Outcome<Vec<Gap>> {
    let mut own: Vec<Life> = lives.into_iter().filter(|life| life.name.starts_with(execution)).collect();
    own.sort_by_key(|life| life.made);
    if own.len() < 5 {
        return Err(Failure::new(format!("{} of 5 Jobs were seen", own.len())));
    }
    let gap = |pair: &[Life]| {
        let (ended, over, made) = (pair[0].ended?, pair[0].over?, pair[1].made?);
        let since = |moment: Moment| Duration::try_from(made.at.duration_since(moment.at)).ok();
        let waited = ended.at < said && said < made.at;
        (!waited).then_some(Gap { first: since(ended)?, last: since(over)? })
    };
    Ok(own.windows(2).filter_map(gap).collect())
}

/// The pod of a Job, and how long it was there before its container ended.
///
/// # Errors
/// When that takes longer than `limit`.
pub async fn took(lives: &Lives, job: &str, limit: Duration) -> Outcome<(String, Duration)> {
    until(&format!("a pod of {job} ends"), limit, || async {
        let seen = lives.seen();
        let found = seen.iter().find(|life| life.name.starts_with(job));
        let ended = found.and_then(|life| Some((life.name.clone(), life.ended?.at.duration_since(life.made?.at))));
        let took = ended.and_then(|(name, took)| Some((name, Duration::try_from(took).ok()?)));
        Ok(took.ok_or_else(|| format!("{seen:?}")))
    })
    .await
}
