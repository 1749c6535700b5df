//! Visitors during a rollout: a page requested many times a second, each time on a connection of its own, and as often
//! on connections that are kept. Others ask for a page that takes its time. Every request counts.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use tokio::task::{JoinHandle, JoinSet};

use crate::{Failure, Outcome, failure::ensure, page, scenario::measured};

/// Requests a second of each kind, where nothing else is asked for.
const USUAL: u32 = 20;
/// The same where what is shown is that no visitor notices.
const OFTEN: u32 = 50;
/// The same of those who ask for a slow page. So many are under way at a time that each dispatcher has some, and fewer than
/// one process of the dispatcher answers at once.
const SLOWLY: u32 = 5;
/// What a browser waits for a page at least: slower is failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Failures that are told in words.
const TOLD: usize = 20;

/// What visitors saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Requests with an answer of 200 of one release, by what the page said.
    pub pages: BTreeMap<String, u64>,
    /// The same, one by one.
    pub answered: Vec<Answered>,
    /// Requests without one.
    pub failed: Vec<Failed>,
    /// The longest that an answer took.
    pub slowest: Duration,
}

/// A request with an answer of 200 of one release.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What the page said.
    pub page: String,
    /// When it was asked for.
    pub sent: Timestamp,
    /// When it had come.
    pub over: Timestamp,
}

/// A request without an answer of 200 of one release.
#[derive(Clone, Debug)]
pub struct Failed {
    /// When it was sent.
    pub sent: Timestamp,
    /// When it had failed.
    pub over: Timestamp,
    /// Why.
    pub why: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = self.over.duration_since(self.sent).as_millis();
        write!(to, "sent at {}, after {took} ms: {}", self.sent, self.why)
    }
}

impl Seen {
    /// All requests.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.pages.values().sum::<u64>() + self.failed.len() as u64
    }

    fn add(&mut self, sent: Timestamp, took: Duration, answer: Outcome<page::Answer>) {
        self.slowest = self.slowest.max(took);
        let release = answer.and_then(|answer| answer.release());
        let over = Timestamp::now();
        match release {
            Ok(page) => {
                *self.pages.entry(page.clone()).or_default() += 1;
                self.answered.push(Answered { page, sent, over });
            }
            Err(failure) => self.failed.push(Failed { sent, over, why: failure.to_string() }),
        }
    }
}

/// How long a kept connection may rest before its visitor opens another one.
const RESTS: Duration = Duration::from_secs(2);

/// Visitors at work.
pub struct Visitors {
    stop: Arc<AtomicBool>,
    kinds: Vec<Kind>,
}

struct Kind {
    name: &'static str,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Visitors {
    /// Lets visitors come to a page.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn come(url: &str) -> Outcome<Self> {
        Self::come_at(url, USUAL)
    }

    /// Lets visitors come to a page, 50 a second on new connections and as many on kept ones.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn come_often(url: &str) -> Outcome<Self> {
        Self::come_at(url, OFTEN)
    }

    /// Lets visitors come to a page that takes some seconds, so that requests are under way at every moment.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn come_slowly(url: &str) -> Outcome<Self> {
        Self::come_as(url, SLOWLY, ["new connections to a slow page", "kept connections to a slow page"])
    }

    fn come_at(url: &str, a_second: u32) -> Outcome<Self> {
        Self::come_as(url, a_second, ["new connections", "kept connections"])
    }

    fn come_as(url: &str, a_second: u32, names: [&'static str; 2]) -> Outcome<Self> {
        let pause = Duration::from_secs(1) / a_second;
        let stop = Arc::new(AtomicBool::new(false));
        let mut kinds = vec![];
        for (name, kept) in names.into_iter().zip([false, true]) {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let builder = reqwest::Client::builder().no_proxy().timeout(PATIENCE).tls_certs_only([]);
            // A kept connection rests shorter than the 5 s after which the server closes it, as in every proxy that is set up
            // well: else a request and the server's farewell may cross, rollout or not.
            let builder = if kept { builder.pool_idle_timeout(RESTS) } else { builder.pool_max_idle_per_host(0) };
            let client = builder.build().map_err(|error| Failure::new(error.to_string()))?;
            let seen = Arc::new(Mutex::new(Seen::default()));
            let task = tokio::spawn(visit(client, url.to_string(), pause, seen.clone(), stop.clone()));
            kinds.push(Kind { name, seen, task });
        }
        Ok(Self { stop, kinds })
    }

    /// Sends them home; what each kind saw.
    pub async fn go(self) -> Vec<(&'static str, Seen)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = vec![];
        for Kind { name, seen, task } in self.kinds {
            let _ = task.await;
            all.push((name, seen.lock().unwrap_or_else(PoisonError::into_inner).clone()));
        }
        all
    }
}

/// Says what visitors saw, and fails when one of them saw anything else than these pages.
///
/// # Errors
/// With the first requests that failed.
pub fn judge(seen: &[(&'static str, Seen)], pages: &[&str]) -> Outcome {
    judge_beside(seen, pages, &[])
}

/// How many requests were under way at a moment and got this page as their answer.
#[must_use]
pub fn under_way(seen: &[(&'static str, Seen)], page: &str, at: Timestamp) -> usize {
    let answered = seen.iter().flat_map(|(_, seen)| &seen.answered);
    answered.filter(|answer| answer.page == page && answer.sent < at && at < answer.over).count()
}

/// A pod that was killed: a request that it had may fail, and one that is sent to it before the cluster has noticed.
#[derive(Clone, Debug)]
pub struct Killed {
    /// The pod, and when in the rollout.
    pub what: String,
    /// The moment.
    pub at: Timestamp,
}

impl Killed {
    /// How long after a kill a request may still come to the pair: until two checks of a dispatcher whose publish is gone have
    /// failed, 2 s apart, and the rules of a busy node are without it.
    const NOTICED: SignedDuration = SignedDuration::from_secs(8);

    fn excuses(&self, failed: &Failed) -> bool {
        self.at <= failed.over && failed.sent <= self.at.saturating_add(Self::NOTICED).unwrap_or(self.at)
    }
}

/// The same while pods are killed: says what failed of each kill, and fails when anything else did.
///
/// # Errors
/// With the first requests that failed by themselves.
pub fn judge_beside(seen: &[(&'static str, Seen)], pages: &[&str], killed: &[Killed]) -> Outcome {
    for (kind, seen) in seen {
        let pages: Vec<String> = seen.pages.iter().map(|(page, count)| format!("{page}: {count}")).collect();
        measured(
            &format!("visitors with {kind}"),
            format!(
                "{} requests, {} failed, slowest {} ms; {}",
                seen.total(),
                seen.failed.len(),
                seen.slowest.as_millis(),
                pages.join(", ")
            ),
        );
        for kill in killed {
            let lost = seen.failed.iter().filter(|failed| kill.excuses(failed)).count();
            measured(&format!("of those failed with {}", kill.what), lost);
        }
    }
    for (kind, seen) in seen {
        let alone = seen.failed.iter().filter(|failed| !killed.iter().any(|kill| kill.excuses(failed)));
        let alone: Vec<String> = alone.map(Failed::to_string).collect();
        ensure(alone.is_empty(), || {
            let first = &alone[..alone.len().min(TOLD)];
            format!("{} requests with {kind} failed, first:\n{}", alone.len(), first.join("\n"))
        })?;
        let saw: Vec<&str> = seen.pages.keys().map(String::as_str).collect();
        ensure(saw == pages, || format!("visitors with {kind} saw {saw:?}, not {pages:?}"))?;
    }
    Ok(())
}

async fn visit(client: reqwest::Client, url: String, pause: Duration, seen: Arc<Mutex<Seen>>, stop: Arc<AtomicBool>) {
    let mut ticks = tokio::time::interval(pause);
    // A machine that was too busy to send does not send two at once later: that would be another load.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut under_way = JoinSet::new();
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let (client, url, seen) = (client.clone(), url.clone(), seen.clone());
        under_way.spawn(async move {
            let (sent, began) = (Timestamp::now(), Instant::now());
            let answer = page::get(&client, &url).await;
            seen.lock().unwrap_or_else(PoisonError::into_inner).add(sent, began.elapsed(), answer);
        });
        while under_way.try_join_next().is_some() {}
    }
    while under_way.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Visitors of whom one request failed, sent and over these seconds after the beginning of time.
    fn seen(sent: i64, over: i64) -> Outcome<Vec<(&'static str, Seen)>> {
        let at = |second| Timestamp::from_second(second).map_err(|error| Failure::new(error.to_string()));
        let failed = vec![Failed { sent: at(sent)?, over: at(over)?, why: "refused".into() }];
        Ok(vec![("new connections", Seen { pages: [("Release 1".into(), 9)].into(), failed, ..Seen::default() })])
    }

    #[test]
    fn under_way_is_what_was_sent_before_and_answered_after() -> Outcome {
        let at = |second| Timestamp::from_second(second).map_err(|error| Failure::new(error.to_string()));
        let answered =
            |page: &str, sent, over| Ok::<_, Failure>(Answered { page: page.into(), sent: at(sent)?, over: at(over)? });
        let answered = vec![
            answered("Release 1", 0, 9)?,
            answered("Release 1", 0, 3)?,
            answered("Release 1", 6, 9)?,
            answered("Release 2", 0, 9)?,
        ];
        let seen = [("new connections", Seen { answered, ..Seen::default() })];
        assert_eq!(under_way(&seen, "Release 1", at(5)?), 1);
        assert_eq!(under_way(&seen, "Release 3", at(5)?), 0);
        Ok(())
    }

    #[test]
    fn a_kill_excuses_what_was_under_way_and_what_came_before_it_was_noticed() -> Outcome {
        let kill = [Killed { what: "a kill".into(), at: Timestamp::UNIX_EPOCH }];
        for (sent, over, excused) in [(-3, 1, true), (7, 9, true), (-3, -1, false), (9, 10, false)] {
            let judged = judge_beside(&seen(sent, over)?, &["Release 1"], &kill);
            assert_eq!(judged.is_ok(), excused, "sent at {sent}, over at {over}");
            assert!(judge(&seen(sent, over)?, &["Release 1"]).is_err());
        }
        Ok(())
    }
}
