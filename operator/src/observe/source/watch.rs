//! Asks every watched source when it is time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use launchway_crds::pipeline::Source;
use tokio::sync::mpsc;

use super::{Key, Sources, ask, counted};
use crate::context::Context;

/// How many sources are asked at once.
const AT_ONCE: usize = 8;
/// The longest pause in which nobody looks at the clock.
const IDLE: Duration = Duration::from_secs(3600);

/// Asks sources for ever; tells of each pipeline whose source is not what it was.
pub async fn run(context: Arc<Context>, changed: mpsc::UnboundedSender<Key>) {
    let mut asking = FuturesUnordered::new();
    loop {
        let next = context.sources.take(AT_ONCE - asking.len());
        asking.extend(next.ready.into_iter().map(|(key, source)| question(&context, &changed, key, source)));
        // With all hands full only an answer makes room.
        let pause = if asking.len() < AT_ONCE { next.pause } else { IDLE };
        tokio::select! {
            Some(()) = asking.next(), if !asking.is_empty() => {}
            () = context.sources.bell.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn question(context: &Context, changed: &mpsc::UnboundedSender<Key>, key: Key, source: Source) {
    let known = context.sources.revision(&key);
    let answer = ask::ask(&context.client, &context.registry, &key.namespace, &source, known.as_deref()).await;
    counted(&context.metrics, &source, &answer, known.as_deref());
    if let Err(fault) = &answer {
        tracing::debug!(pipeline = %key, ?fault, "Source cannot be asked");
    }
    let before = context.sources.last(&key);
    if context.sources.store(&key, &source, answer) != before {
        // Nobody listens any more when the operator ends.
        let _ = changed.send(key);
    }
}

/// Sources whose time has come, and the time until the next one's.
struct Next {
    ready: Vec<(Key, Source)>,
    pause: Duration,
}

impl Sources {
    /// Takes at most so many sources whose time has come; they are not taken again while they are asked.
    fn take(&self, room: usize) -> Next {
        let mut all = self.lock();
        let now = Instant::now();
        let mut due: Vec<(Instant, Key)> =
            all.iter().filter(|(_, known)| known.next <= now).map(|(key, known)| (known.next, key.clone())).collect();
        due.sort();
        let mut ready = vec![];
        for (_, key) in due.into_iter().take(room) {
            if let Some(known) = all.get_mut(&key) {
                // Its answer plans the next time; an answer that never comes would leave it here.
                known.rung = false;
                known.next = now + known.interval.max(Duration::from_secs(60));
                ready.push((key, known.source.clone()));
            }
        }
        let earliest = all.values().map(|known| known.next).min();
        let pause = earliest.map_or(IDLE, |at| at.saturating_duration_since(now));
        Next { ready, pause }
    }
}
