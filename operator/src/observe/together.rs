//! Lists of several Environments of a namespace that are one request when many are asked for at once.
//!
//! An operator that starts looks at every Environment, and each look is a handful of lists. What an apiserver charges for is the
//! request, so those who ask for a kind in one namespace while others' requests are under way wait for one of them to end,
//! and are answered together by the next.
//!
//! # What is promised
//!
//! The request that answers somebody begins after they asked: what they get is as new as if they had asked alone. Nobody waits for
//! more than the requests under way and their own. Where a request for several fails, or whoever made it went away,
//! the others ask for themselves: one Environment's end is never another's.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{ConfigMap, Pod, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{ResourceExt, api::PartialObjectMeta};
use launchway_crds::names::labels;
use tokio::sync::oneshot;

use crate::error::Error;

/// Requests for one kind in one namespace that may be under way before others are put together: with a few
/// Environments at work nobody waits for anybody.
const UNDER_WAY: usize = 2;
/// Environments that one request is for: their names are part of its address.
const MOST: usize = 32;

/// What is listed for each Environment in every round.
#[derive(Debug, Default)]
pub struct Together {
    pub(super) workloads: Lists<StatefulSet>,
    pub(super) pods: Lists<Pod>,
    pub(super) services: Lists<Service>,
    pub(super) budgets: Lists<PodDisruptionBudget>,
    pub(super) policies: Lists<NetworkPolicy>,
    pub(super) revisions: Lists<ControllerRevision>,
    pub(super) configurations: Lists<PartialObjectMeta<ConfigMap>>,
}

/// Lists of one kind, by namespace.
#[derive(Debug)]
pub(super) struct Lists<K>(Mutex<HashMap<String, Queue<K>>>);

#[derive(Debug)]
struct Queue<K> {
    under_way: usize,
    waiting: Vec<Waiting<K>>,
}

#[derive(Debug)]
struct Waiting<K> {
    environment: String,
    turn: oneshot::Sender<Turn<K>>,
}

/// What somebody who waited is told.
#[derive(Debug)]
enum Turn<K> {
    /// To ask for oneself and for these.
    Ask(Vec<Waiting<K>>),
    /// What one asked for.
    Answer(Vec<K>),
}

impl<K> Default for Lists<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: ResourceExt> Lists<K> {
    /// The objects of an Environment, by `ask`, which gets a selector of one Environment or of several.
    ///
    /// # Errors
    /// Those of `ask`.
    pub(super) async fn of<F>(
        &self,
        namespace: &str,
        environment: &str,
        ask: impl FnOnce(String) -> F,
    ) -> Result<Vec<K>, Error>
    where
        F: Future<Output = Result<Vec<K>, Error>>,
    {
        let others = match self.join(namespace, environment) {
            Ok(()) => vec![],
            Err(turn) => match turn.await {
                Ok(Turn::Ask(others)) => others,
                Ok(Turn::Answer(own)) => return Ok(own),
                // Whoever asked for us failed, or is gone.
                Err(_) => return ask(selector(&[environment])).await,
            },
        };
        let _place = Place { lists: self, namespace };
        let names: Vec<&str> =
            std::iter::once(environment).chain(others.iter().map(|other| other.environment.as_str())).collect();
        let mut found: HashMap<String, Vec<K>> = HashMap::new();
        for object in ask(selector(&names)).await? {
            let Some(owner) = object.labels().get(labels::ENVIRONMENT).cloned() else { continue };
            found.entry(owner).or_default().push(object);
        }
        let own = found.remove(environment).unwrap_or_default();
        for other in others {
            let answer = found.remove(&other.environment).unwrap_or_default();
            // One whose round was given up waits for nothing.
            drop(other.turn.send(Turn::Answer(answer)));
        }
        Ok(own)
    }

    /// Takes a place among the requests under way, or waits for one.
    fn join(&self, namespace: &str, environment: &str) -> Result<(), oneshot::Receiver<Turn<K>>> {
        let mut queues = self.queues();
        let queue = queues.entry(namespace.to_owned()).or_insert_with(|| Queue { under_way: 0, waiting: vec![] });
        if queue.under_way < UNDER_WAY {
            queue.under_way += 1;
            return Ok(());
        }
        let (turn, told) = oneshot::channel();
        queue.waiting.push(Waiting { environment: environment.to_owned(), turn });
        Err(told)
    }

    /// Gives a place to the first of those who wait, with the others in its care.
    fn leave(&self, namespace: &str) {
        let mut queues = self.queues();
        let Some(queue) = queues.get_mut(namespace) else { return };
        while !queue.waiting.is_empty() {
            let first = queue.waiting.remove(0);
            if first.turn.is_closed() {
                continue;
            }
            // Of one Environment two may ask: its round, and what looks at it from elsewhere. Each gets an answer of its own.
            let (others, later) = std::mem::take(&mut queue.waiting).into_iter().fold(
                (Vec::<Waiting<K>>::new(), vec![]),
                |(mut others, mut later), next| {
                    let twice = next.environment == first.environment
                        || others.iter().any(|other| other.environment == next.environment);
                    if twice || others.len() + 1 >= MOST {
                        later.push(next);
                    } else {
                        others.push(next);
                    }
                    (others, later)
                },
            );
            queue.waiting = later;
            match first.turn.send(Turn::Ask(others)) {
                Ok(()) => return,
                // It went away just now: those in its care wait on.
                Err(Turn::Ask(others)) => queue.waiting.splice(0..0, others).for_each(drop),
                Err(Turn::Answer(_)) => {}
            }
        }
        queue.under_way -= 1;
        if queue.under_way == 0 {
            queues.remove(namespace);
        }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<String, Queue<K>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the requests under way: left when the request ends, or whoever made it.
struct Place<'a, K: ResourceExt> {
    lists: &'a Lists<K>,
    namespace: &'a str,
}

impl<K: ResourceExt> Drop for Place<'_, K> {
    fn drop(&mut self) {
        self.lists.leave(self.namespace);
    }
}

/// Selects what belongs to these Environments.
pub(super) fn selector(environments: &[&str]) -> String {
    match environments {
        [one] => format!("{}={one}", labels::ENVIRONMENT),
        several => format!("{} in ({})", labels::ENVIRONMENT, several.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use kube::core::ObjectMeta;
    use tokio::{sync::Semaphore, task::LocalSet};

    use super::*;

    /// An apiserver of one kind: keeps what it is asked, and answers when it is let, or when told to fails.
    struct Apiserver {
        asked: RefCell<Vec<String>>,
        answers: Semaphore,
        fails: RefCell<Vec<usize>>,
    }

    impl Apiserver {
        fn new() -> Rc<Self> {
            Rc::new(Self { asked: RefCell::default(), answers: Semaphore::new(0), fails: RefCell::default() })
        }

        async fn list(&self, selector: String) -> Result<Vec<ConfigMap>, Error> {
            let number = self.asked.borrow().len();
            self.asked.borrow_mut().push(selector.clone());
            self.answers.acquire().await.unwrap().forget();
            if self.fails.borrow().contains(&number) {
                return Err(Error::NoProgress(7));
            }
            let names = selector.split_once('=').map(|(_, one)| one);
            let names = names.or_else(|| selector.split_once('(')?.1.strip_suffix(')')).unwrap();
            Ok(names.split(',').flat_map(|name| [named(name, "a"), named(name, "b")]).collect())
        }
    }

    fn named(environment: &str, suffix: &str) -> ConfigMap {
        let labels = [(labels::ENVIRONMENT.to_string(), environment.to_string())];
        let name = Some(format!("{environment}-{suffix}"));
        ConfigMap {
            metadata: ObjectMeta { name, labels: Some(labels.into()), ..ObjectMeta::default() },
            ..ConfigMap::default()
        }
    }

    type Asked = tokio::task::JoinHandle<Result<Vec<String>, Error>>;

    /// Somebody who asks for an Environment.
    fn asks(server: &Rc<Apiserver>, lists: &Rc<Lists<ConfigMap>>, environment: &str) -> Asked {
        let (server, lists, environment) = (server.clone(), lists.clone(), environment.to_string());
        tokio::task::spawn_local(async move {
            let found = lists.of("wknd", &environment, |selector| server.list(selector)).await?;
            Ok(found.iter().map(ResourceExt::name_any).collect())
        })
    }

    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    fn own(environment: &str) -> Vec<String> {
        vec![format!("{environment}-a"), format!("{environment}-b")]
    }

    fn one(environment: &str) -> String {
        format!("launchway.dev/environment={environment}")
    }

    #[tokio::test]
    async fn those_who_come_while_requests_are_under_way_are_answered_by_one() {
        let (server, lists) = (Apiserver::new(), Rc::default());
        LocalSet::new()
            .run_until(async {
                let all: Vec<Asked> = ["a", "b", "c", "d", "e"].map(|name| asks(&server, &lists, name)).into();
                settle().await;
                assert_eq!(*server.asked.borrow(), [one("a"), one("b")]);
                server.answers.add_permits(1);
                settle().await;
                assert_eq!(server.asked.borrow()[2..], ["launchway.dev/environment in (c,d,e)"]);
                server.answers.add_permits(2);
                for (name, asked) in ["a", "b", "c", "d", "e"].iter().zip(all) {
                    assert_eq!(asked.await.unwrap().unwrap(), own(name));
                }
                assert!(lists.queues().is_empty(), "nothing is kept of what ended");
            })
            .await;
    }

    #[tokio::test]
    async fn the_same_environment_is_asked_for_again_by_a_later_request() {
        let (server, lists) = (Apiserver::new(), Rc::default());
        LocalSet::new()
            .run_until(async {
                let all: Vec<Asked> = ["a", "a", "a", "b", "a"].map(|name| asks(&server, &lists, name)).into();
                settle().await;
                server.answers.add_permits(10);
                for (name, asked) in ["a", "a", "a", "b", "a"].iter().zip(all) {
                    assert_eq!(asked.await.unwrap().unwrap(), own(name));
                }
                let several = "launchway.dev/environment in (a,b)".to_string();
                assert_eq!(*server.asked.borrow(), [one("a"), one("a"), several, one("a")]);
            })
            .await;
    }

    #[tokio::test]
    async fn a_request_that_fails_or_is_given_up_is_nobody_elses_end() {
        for given_up in [false, true] {
            let (server, lists) = (Apiserver::new(), Rc::default());
            LocalSet::new()
                .run_until(async {
                    let mut all: Vec<Asked> = ["a", "b", "c", "d", "e"].map(|name| asks(&server, &lists, name)).into();
                    settle().await;
                    server.fails.borrow_mut().push(2);
                    server.answers.add_permits(2);
                    settle().await;
                    assert_eq!(server.asked.borrow().len(), 3);
                    if given_up {
                        all[2].abort();
                    } else {
                        server.answers.add_permits(1);
                    }
                    settle().await;
                    assert_eq!(server.asked.borrow()[3..], [one("d"), one("e")]);
                    server.answers.add_permits(2);
                    for name in ["e", "d"] {
                        assert_eq!(all.pop().unwrap().await.unwrap().unwrap(), own(name));
                    }
                    assert!(all.pop().unwrap().await.is_ok_and(|own| own.is_err()) || given_up);
                    assert!(lists.queues().is_empty(), "a place was kept");
                })
                .await;
        }
    }

    #[tokio::test]
    async fn those_who_went_away_are_not_asked_for_and_stop_nobody() {
        let (server, lists) = (Apiserver::new(), Rc::default());
        LocalSet::new()
            .run_until(async {
                let all: Vec<Asked> = ["a", "b", "c", "d"].map(|name| asks(&server, &lists, name)).into();
                settle().await;
                all[2].abort();
                settle().await;
                server.answers.add_permits(3);
                settle().await;
                assert_eq!(*server.asked.borrow(), [one("a"), one("b"), one("d")]);
            })
            .await;
    }

    #[tokio::test]
    async fn one_request_is_for_so_many_and_no_more() {
        let (server, lists) = (Apiserver::new(), Rc::default());
        LocalSet::new()
            .run_until(async {
                let all: Vec<Asked> =
                    (0..MOST + 10).map(|number| asks(&server, &lists, &format!("e{number}"))).collect();
                settle().await;
                server.answers.add_permits(10);
                for (number, asked) in all.into_iter().enumerate() {
                    assert_eq!(asked.await.unwrap().unwrap(), own(&format!("e{number}")));
                }
                let counts: Vec<usize> =
                    server.asked.borrow().iter().map(|selector| selector.matches(',').count() + 1).collect();
                assert_eq!(counts, [1, 1, MOST, 8]);
            })
            .await;
    }
}
