//! What the sources of pipelines are now: asked on a schedule, in memory, without a word to the apiserver while nothing
//! changes (a Secret that a source needs is read each time).
//!
//! [`Sources`] knows what to watch and what was seen last; [`watch`] asks when it is time and says which pipelines are to
//! be looked at; a round of the pipeline's controller decides what that means, and asks once more before it starts
//! anything.

mod ask;
#[cfg(test)]
mod tests;
pub mod watch;

use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use launchway_crds::{Pipeline, pipeline::Source};
use tokio::sync::Notify;

use crate::{
    context::Context,
    metrics::Metrics,
    plan::{
        execution::world::Fault,
        pipeline::{Watch, world::Look},
    },
};

/// A source that is known is not asked at once when the operator starts: a thousand of them come one by one.
const SPREAD: Duration = Duration::from_secs(15);
/// Least time between two questions, however often somebody rings.
const LEAST: Duration = Duration::from_secs(2);
/// Pause after a source that did not answer, doubled each time up to the interval.
const AFTER_FAILURE: Duration = Duration::from_secs(15);
/// From so many failures in a row on it is told that a source does not answer.
const LASTING: u32 = 3;

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// Of a pipeline.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A source that is watched.
struct Watched {
    source: Source,
    interval: Duration,
    next: Instant,
    asked: Option<Instant>,
    /// Somebody rang while it was being asked: that answer may be too old.
    rung: bool,
    /// How often it was asked: no two of its pauses are alike.
    count: u64,
    failures: u32,
    last: Look,
}

/// What is watched, and what was seen last.
#[derive(Default)]
pub struct Sources {
    watched: Mutex<HashMap<Key, Watched>>,
    /// Something has to be asked earlier than was planned.
    bell: Notify,
}

impl Sources {
    /// Watches the source of a pipeline, or leaves it alone.
    pub fn set(&self, key: &Key, source: &Source, watch: Option<Watch>) {
        let mut all = self.lock();
        let Some(watch) = watch else {
            all.remove(key);
            return;
        };
        let now = Instant::now();
        let interval = Duration::from(watch.interval);
        let spread = if watch.soon { Duration::ZERO } else { part(key, 0, interval.min(SPREAD)) };
        let fresh = || Watched {
            source: source.clone(),
            interval,
            next: now + spread,
            asked: None,
            rung: false,
            count: 0,
            failures: 0,
            last: Look::NotYet,
        };
        let known = all.entry(key.clone()).or_insert_with(fresh);
        if known.source != *source {
            *known = fresh();
        }
        if known.interval != interval {
            known.interval = interval;
            known.next = known.next.min(now + interval);
        }
        drop(all);
        self.bell.notify_one();
    }

    /// Has a source asked at once; says whether it is watched at all.
    pub fn ring(&self, key: &Key) -> bool {
        let mut all = self.lock();
        let Some(known) = all.get_mut(key) else { return false };
        let earliest = known.asked.map_or_else(Instant::now, |asked| asked + LEAST);
        known.next = known.next.min(earliest.max(Instant::now()));
        known.rung = true;
        drop(all);
        self.bell.notify_one();
        true
    }

    /// What was seen of a pipeline's source last.
    #[must_use]
    pub fn last(&self, key: &Key) -> Look {
        self.lock().get(key).map(|known| known.last.clone()).unwrap_or_default()
    }

    /// Asks the source of a pipeline now.
    pub async fn look(&self, context: &Context, key: &Key, pipeline: &Pipeline) -> Look {
        let source = &pipeline.spec.source;
        let known = self.revision(key);
        let answer = ask::ask(&context.client, &context.registry, &key.namespace, source, known.as_deref()).await;
        counted(&context.metrics, source, &answer, known.as_deref());
        match self.store(key, source, answer) {
            Look::Seen { revision, .. } => Look::Seen { revision, fresh: true },
            other => other,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn revision(&self, key: &Key) -> Option<String> {
        match &self.lock().get(key)?.last {
            Look::Seen { revision, .. } => revision.clone(),
            Look::NotYet | Look::Failed { .. } => None,
        }
    }

    /// Keeps an answer and plans the next question; gives back what is to be made of it.
    fn store(&self, key: &Key, source: &Source, answer: Result<Option<String>, Fault>) -> Look {
        let mut all = self.lock();
        // It may be watched no more, or another source by now.
        let Some(known) = all.get_mut(key).filter(|known| known.source == *source) else { return seen(answer, 1) };
        let now = Instant::now();
        known.asked = Some(now);
        known.count += 1;
        known.failures = if answer.is_ok() { 0 } else { known.failures.saturating_add(1) };
        let pause = match known.failures {
            0 => known.interval,
            failures => known.interval.min(AFTER_FAILURE.saturating_mul(1 << (failures - 1).min(10))),
        };
        // Give or take a tenth, so that pipelines that began together do not stay together.
        known.next = now + pause.mul_f64(0.9) + part(key, known.count, pause.mul_f64(0.2));
        if std::mem::take(&mut known.rung) {
            known.next = now + LEAST;
        }
        known.last = seen(answer, known.failures);
        known.last.clone()
    }
}

/// What an answer is to the planner.
fn seen(answer: Result<Option<String>, Fault>, failures: u32) -> Look {
    match answer {
        Ok(revision) => Look::Seen { revision, fresh: false },
        Err(fault) => {
            let lasting = !matches!(fault, Fault::Unreachable(_)) || failures >= LASTING;
            Look::Failed { fault, lasting }
        }
    }
}

/// A part of a time that is another one for each pipeline and turn, and the same for the same ones.
fn part(key: &Key, turn: u64, whole: Duration) -> Duration {
    // One that mixes well: of the hash that tells names apart, a last digit changes little of the first half.
    let mut hasher = DefaultHasher::new();
    (key, turn).hash(&mut hasher);
    let [first, second, third, fourth, ..] = hasher.finish().to_be_bytes();
    let hash = u32::from_be_bytes([first, second, third, fourth]);
    whole.mul_f64(f64::from(hash) / f64::from(u32::MAX))
}

/// Counts a question by what came of it.
fn counted(metrics: &Metrics, source: &Source, answer: &Result<Option<String>, Fault>, known: Option<&str>) {
    let result = match answer {
        Ok(None) => "absent",
        Ok(Some(revision)) if Some(revision.as_str()) == known => "unchanged",
        Ok(Some(_)) => "changed",
        Err(Fault::Absent(_)) => "not_found",
        Err(Fault::Refused(_)) => "refused",
        Err(Fault::Unreachable(_)) => "unreachable",
    };
    metrics.poll(ask::kind(source), result);
}
