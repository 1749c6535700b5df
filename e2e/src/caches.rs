//! The caches of dispatchers, seen from outside: what each of them answers, before visitors reach it and after.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

use crate::{Failure, Outcome, page, pods::Member, program::Program};

/// Between two rounds of requests: much shorter than what a dispatcher does before it serves takes.
const PAUSE: Duration = Duration::from_millis(30);
/// Rounds between two looks at which dispatchers there are.
const ROUNDS: u32 = 10;
/// A dispatcher that is about to end may not answer at all.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the dispatcher's cache.
    Cache,
    /// From publish, and into the cache.
    Publish,
}

/// A page, and where it came from.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Where it came from; none when the cache was not asked.
    pub source: Option<Source>,
    /// The page.
    pub body: String,
    /// Name of the virtual host, as the configuration of the archetype states it.
    pub host: String,
}

/// Requests a page that has to answer 200.
///
/// # Errors
/// When it answers anything else.
pub async fn ask(client: &reqwest::Client, url: &str) -> Outcome<Answer> {
    let failed = |error: reqwest::Error| Failure::new(format!("GET {url}: {error:?}"));
    let answer = client.get(url).timeout(PATIENCE).send().await.map_err(failed)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_string();
    let body = answer.text().await.map_err(failed)?;
    if status.as_u16() != 200 {
        return Err(Failure::new(format!("GET {url} answered {status}")).seen(&body));
    }
    let state = header("x-cache");
    let source = match state.split_whitespace().next() {
        Some("HIT") => Some(Source::Cache),
        Some("MISS") => Some(Source::Publish),
        _ => None,
    };
    Ok(Answer { source, body, host: header("x-vhost") })
}

/// What became of each path on each dispatcher, in the order of answers; answers from the cache in a row are one.
pub type Seen = BTreeMap<String, BTreeMap<String, Vec<Source>>>;

/// Somebody who asks each new dispatcher itself, at its own address, from the moment that it answers.
pub struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Begins with the dispatchers that an Environment gets from now on.
    ///
    /// # Errors
    /// When its pods cannot be read.
    pub async fn new_dispatchers(program: &Program, environment: &'static str, paths: &[&str]) -> Outcome<Self> {
        let known: BTreeSet<String> = dispatchers(program, environment).await?.into_iter().map(|pod| pod.uid).collect();
        let (client, program) = (page::client()?, program.clone());
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_string()).collect();
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let (over, notes) = (stop.clone(), seen.clone());
        let task = tokio::spawn(async move {
            let mut new = vec![];
            for round in 0_u32.. {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                if round % ROUNDS == 0 {
                    // An apiserver that does not answer now is asked again soon.
                    new = dispatchers(&program, environment).await.unwrap_or(new);
                    new.retain(|pod| !known.contains(&pod.uid) && !pod.terminating);
                }
                for pod in &new {
                    look(&client, pod, &paths, &notes).await;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Ok(Self { stop, seen, task })
    }

    /// Ends; what was seen.
    pub async fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.task.await;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn dispatchers(program: &Program, environment: &str) -> Outcome<Vec<Member>> {
    let pods = program.members(environment).await?;
    Ok(pods.into_iter().filter(|pod| pod.tier == "dispatcher").collect())
}

async fn look(client: &reqwest::Client, pod: &Member, paths: &[String], seen: &Mutex<Seen>) {
    let Some(address) = &pod.address else { return };
    for path in paths {
        // Until its publish is ready a dispatcher answers badly, and one that ends not at all.
        let answer = ask(client, &format!("http://{address}{path}")).await;
        let Ok(Answer { source: Some(source), .. }) = answer else { continue };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let of_path = seen.entry(format!("{} {}", pod.name, pod.uid)).or_default().entry(path.clone()).or_default();
        if source == Source::Publish || of_path.last() != Some(&Source::Cache) {
            of_path.push(source);
        }
    }
}
