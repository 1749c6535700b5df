//! In which order Environments are looked at: neighbours together.
//!
//! kube's scheduler takes what waits in any order. Of an operator that starts among a thousand Environments every one waits,
//! and lists for several of them can be shared only by those of one namespace (`observe/batch.rs`). So what is told of
//! Environments waits here first, each Environment once, and goes on in batches of one namespace; namespaces
//! take turns. One Environment that changes while nothing else waits goes on at once.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
    time::Duration,
};

use futures::{
    FutureExt, Stream, StreamExt,
    channel::mpsc::UnboundedReceiver,
    stream::{self, BoxStream, SelectAll},
};
use kube::runtime::{
    controller::{self, Action},
    reflector::ObjectRef,
};
use tokio::time::Sleep;

use crate::{context::Context, outline::EnvironmentOutline};

/// How many Environments go on together. Their names are part of an address, and what is listed for all of them is in memory.
const BATCH: usize = 16;
/// From so many on a list for all is worth it: fewer ask for themselves, and wait for nobody.
const CROWD: usize = 8;
/// How long the first is held back for watches that have not told what is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// An Environment.
type Environment = ObjectRef<EnvironmentOutline>;

/// What a watch tells.
#[derive(Debug)]
pub(super) enum Told {
    /// Something became of an Environment, or of what belongs to it.
    About(Environment),
    /// All that is there has been told.
    Listed,
}

/// The Environments to look at, as a stream: at most `at_once` of which `looked_at` has not said that they were.
pub(super) struct Turns {
    context: Arc<Context>,
    told: SelectAll<BoxStream<'static, Told>>,
    looked_at: UnboundedReceiver<Environment>,
    queue: Queue,
    opening: Option<Opening>,
}

/// Holds back the first until every watch has told what is there: an Environment that was looked at before would be looked at
/// again because of its own objects, which had been there all the time.
struct Opening {
    unheard: usize,
    patience: Pin<Box<Sleep>>,
}

impl Turns {
    /// Of what these watches tell, of which so many say when all that is there has been told.
    pub(super) fn new(
        context: Arc<Context>,
        told: impl IntoIterator<Item = BoxStream<'static, Told>>,
        watches: usize,
        looked_at: UnboundedReceiver<Environment>,
        at_once: usize,
    ) -> Self {
        let opening = Opening { unheard: watches, patience: Box::pin(tokio::time::sleep(PATIENCE)) };
        Self {
            context,
            told: stream::select_all(told),
            looked_at,
            queue: Queue { at_once, ..Queue::default() },
            opening: Some(opening),
        }
    }

    fn is_open(&mut self, task: &mut Task<'_>) -> bool {
        let Some(opening) = &mut self.opening else { return true };
        if opening.unheard > 0 && opening.patience.poll_unpin(task).is_pending() {
            return false;
        }
        if opening.unheard > 0 {
            tracing::warn!(watches = opening.unheard, "Environments are looked at although not all watches work");
        }
        self.opening = None;
        true
    }
}

impl Stream for Turns {
    type Item = Environment;

    fn poll_next(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Environment>> {
        let this = self.get_mut();
        while let Poll::Ready(Some(environment)) = this.looked_at.poll_next_unpin(task) {
            this.context.batches.close(environment.namespace.as_deref().unwrap_or_default(), &environment.name);
            this.queue.looked_at(&environment);
        }
        loop {
            match this.told.poll_next_unpin(task) {
                Poll::Ready(Some(Told::About(environment))) => this.queue.add(environment),
                Poll::Ready(Some(Told::Listed)) => {
                    if let Some(opening) = &mut this.opening {
                        opening.unheard = opening.unheard.saturating_sub(1);
                    }
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => break,
            }
        }
        if !this.is_open(task) {
            return Poll::Pending;
        }
        let Some((next, begins)) = this.queue.next() else { return Poll::Pending };
        if begins.len() >= CROWD {
            this.context.batches.open(next.namespace.as_deref().unwrap_or_default(), begins);
        }
        Poll::Ready(Some(next))
    }
}

/// Who waits, and who is looked at.
#[derive(Debug, Default)]
struct Queue {
    at_once: usize,
    /// Those who wait for their namespace's turn, in the order in which they came.
    waiting: HashMap<String, VecDeque<Environment>>,
    /// Namespaces of those, the next one first.
    turns: VecDeque<String>,
    /// Those whose turn it is.
    batch: VecDeque<Environment>,
    /// Everybody in `waiting` and `batch`.
    known: HashSet<Environment>,
    under_way: HashSet<Environment>,
}

impl Queue {
    /// Puts an Environment at the end, unless it waits already.
    fn add(&mut self, environment: Environment) {
        if !self.known.insert(environment.clone()) {
            return;
        }
        let namespace = environment.namespace.clone().unwrap_or_default();
        let neighbours = self.waiting.entry(namespace.clone()).or_default();
        if neighbours.is_empty() {
            self.turns.push_back(namespace);
        }
        neighbours.push_back(environment);
    }

    /// Makes room for another.
    fn looked_at(&mut self, environment: &Environment) {
        self.under_way.remove(environment);
    }

    /// Who is looked at next, where there is room, and the names of the batch that begins with it, if one does.
    fn next(&mut self) -> Option<(Environment, Vec<String>)> {
        if self.under_way.len() >= self.at_once {
            return None;
        }
        let begins = if self.batch.is_empty() { self.begin() } else { vec![] };
        let next = self.batch.pop_front()?;
        self.known.remove(&next);
        self.under_way.insert(next.clone());
        Some((next, begins))
    }

    /// The turn of the next namespace; where more wait than go together, the rest waits for another.
    fn begin(&mut self) -> Vec<String> {
        let Some(namespace) = self.turns.pop_front() else { return vec![] };
        let mut neighbours = self.waiting.remove(&namespace).unwrap_or_default();
        let later = neighbours.split_off(neighbours.len().min(BATCH));
        self.batch = neighbours;
        if !later.is_empty() {
            self.waiting.insert(namespace.clone(), later);
            self.turns.push_back(namespace);
        }
        self.batch.iter().map(|environment| environment.name.clone()).collect()
    }
}

/// The Environment that a controller has dealt with, whatever came of it.
pub(super) fn dealt_with<E, Q>(result: Result<(Environment, Action), controller::Error<E, Q>>) -> Option<Environment>
where
    E: std::error::Error + 'static,
    Q: std::error::Error + 'static,
{
    match result {
        Ok((environment, _)) => Some(environment),
        Err(controller::Error::ObjectNotFound(gone) | controller::Error::ReconcilerFailed(_, gone)) => {
            let environment = ObjectRef::new(&gone.name);
            Some(match gone.namespace.as_deref() {
                Some(namespace) => environment.within(namespace),
                None => environment,
            })
        }
        Err(controller::Error::QueueError(_) | controller::Error::RunnerError(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc::{UnboundedSender, unbounded};

    use super::*;
    use crate::effects::wire::apiserver;

    fn environment(namespace: &str, number: usize) -> Environment {
        ObjectRef::new(&format!("env-{number}")).within(namespace)
    }

    /// Turns of one watch: what it tells, and the end of those who were looked at.
    fn turns(at_once: usize) -> (Turns, UnboundedSender<Told>, UnboundedSender<Environment>, Arc<Context>) {
        let context = Arc::new(apiserver(vec![]).0);
        let ((tell, told), (ends, ended)) = (unbounded(), unbounded());
        (Turns::new(context.clone(), [told.boxed()], 1, ended, at_once), tell, ends, context)
    }

    /// Everybody who goes on at once.
    fn go_on(turns: &mut Turns) -> Vec<Environment> {
        std::iter::from_fn(|| turns.next().now_or_never().flatten()).collect()
    }

    #[tokio::test]
    async fn neighbours_go_together_and_namespaces_take_turns() {
        let (mut turns, tell, ends, context) = turns(1);
        let about = |environment| tell.unbounded_send(Told::About(environment)).unwrap();
        for number in 0..40 {
            about(environment("a", number));
            about(environment("b", number));
            about(environment("a", number));
        }
        about(environment("c", 0));
        tell.unbounded_send(Told::Listed).unwrap();
        let mut order = vec![];
        while let [next] = go_on(&mut turns).as_slice() {
            let namespace = next.namespace.clone().unwrap();
            let together = context.batches.has(&namespace, &next.name);
            order.push((namespace, together));
            ends.unbounded_send(next.clone()).unwrap();
        }
        let runs: Vec<(&str, bool, usize)> =
            order.chunk_by(|one, next| one == next).map(|run| (run[0].0.as_str(), run[0].1, run.len())).collect();
        let whole = [
            ("a", true, 16),
            ("b", true, 16),
            ("c", false, 1),
            ("a", true, 16),
            ("b", true, 16),
            ("a", true, 8),
            ("b", true, 8),
        ];
        assert_eq!(runs, whole, "each once, and one that waits alone asks for itself");
        assert!(!context.batches.has("a", "env-0"), "nothing is left of a batch");
    }

    #[tokio::test]
    async fn one_that_changes_goes_on_at_once_and_again_when_it_changes_meanwhile() {
        let (mut turns, tell, ends, context) = turns(8);
        tell.unbounded_send(Told::Listed).unwrap();
        for _ in 0..2 {
            tell.unbounded_send(Told::About(environment("a", 0))).unwrap();
            assert_eq!(go_on(&mut turns), [environment("a", 0)]);
        }
        assert!(!context.batches.has("a", "env-0"));
        for number in 1..20 {
            tell.unbounded_send(Told::About(environment("a", number))).unwrap();
        }
        assert_eq!(go_on(&mut turns).len(), 7, "no more than so many are looked at");
        ends.unbounded_send(environment("a", 0)).unwrap();
        ends.unbounded_send(environment("a", 1)).unwrap();
        assert_eq!(go_on(&mut turns), [environment("a", 8), environment("a", 9)]);
    }

    #[tokio::test]
    async fn the_first_waits_for_all_watches_but_not_for_ever() {
        let (mut turns, tell, _ends, _) = turns(8);
        tell.unbounded_send(Told::About(environment("a", 0))).unwrap();
        assert_eq!(go_on(&mut turns), []);
        let soon = tokio::time::Instant::now() + Duration::from_millis(20);
        turns.opening.as_mut().unwrap().patience.as_mut().reset(soon);
        assert_eq!(turns.next().await, Some(environment("a", 0)));
        tell.unbounded_send(Told::About(environment("a", 1))).unwrap();
        assert_eq!(go_on(&mut turns), [environment("a", 1)]);
    }

    #[test]
    fn every_end_of_a_round_makes_room() {
        type Ended = Result<(Environment, Action), controller::Error<std::fmt::Error, std::fmt::Error>>;
        let one = environment("a", 0);
        let other = || Box::new(one.clone().erase());
        let ends: [Ended; 4] = [
            Ok((one.clone(), Action::await_change())),
            Err(controller::Error::ObjectNotFound(other())),
            Err(controller::Error::ReconcilerFailed(std::fmt::Error, other())),
            Err(controller::Error::QueueError(std::fmt::Error)),
        ];
        let dealt_with = ends.map(dealt_with);
        assert_eq!(dealt_with, [Some(one.clone()), Some(one.clone()), Some(one), None]);
    }
}
