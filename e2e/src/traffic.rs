//! Visitors during a rollout: a page requested many times a second, each time on a connection of its own, and as often
//! on connections that are kept. Every request counts.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::task::{JoinHandle, JoinSet};

use crate::{Failure, Outcome, failure::ensure, page, scenario::measured};

/// Requests a second of each kind, where nothing else is asked for.
const USUAL: u32 = 20;
/// The same where what is shown is that no visitor notices.
const OFTEN: u32 = 50;
/// What a browser waits for a page at least: slower is failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Failures that are kept in words.
const KEPT: usize = 20;

/// What visitors saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Requests with an answer of 200 of one release, by what the page said.
    pub pages: BTreeMap<String, u64>,
    /// Requests without one.
    pub failed: u64,
    /// The first of those, in words.
    pub failures: Vec<String>,
    /// The longest that an answer took.
    pub slowest: Duration,
}

impl Seen {
    /// All requests.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.pages.values().sum::<u64>() + self.failed
    }

    fn add(&mut self, took: Duration, answer: Outcome<page::Answer>) {
        self.slowest = self.slowest.max(took);
        let release = answer.and_then(|answer| answer.release());
        match release {
            Ok(release) => *self.pages.entry(release).or_default() += 1,
            Err(failure) => {
                self.failed += 1;
                if self.failures.len() < KEPT {
                    self.failures.push(format!("{} after {} ms: {failure}", Timestamp::now(), took.as_millis()));
                }
            }
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

    fn come_at(url: &str, a_second: u32) -> Outcome<Self> {
        let pause = Duration::from_secs(1) / a_second;
        let stop = Arc::new(AtomicBool::new(false));
        let mut kinds = vec![];
        for (name, kept) in [("new connections", false), ("kept connections", true)] {
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
    for (kind, seen) in seen {
        let pages: Vec<String> = seen.pages.iter().map(|(page, count)| format!("{page}: {count}")).collect();
        measured(
            &format!("visitors with {kind}"),
            format!(
                "{} requests, {} failed, slowest {} ms; {}",
                seen.total(),
                seen.failed,
                seen.slowest.as_millis(),
                pages.join(", ")
            ),
        );
    }
    for (kind, seen) in seen {
        ensure(seen.failed == 0, || {
            format!("{} requests with {kind} failed, first:\n{}", seen.failed, seen.failures.join("\n"))
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
            let began = Instant::now();
            let answer = page::get(&client, &url).await;
            seen.lock().unwrap_or_else(PoisonError::into_inner).add(began.elapsed(), answer);
        });
        while under_way.try_join_next().is_some() {}
    }
    while under_way.join_next().await.is_some() {}
}
