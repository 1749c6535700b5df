//! Asks for pages: each once, then all of them by the mix, by several visitors at once.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use reqwest::{
    Client, RequestBuilder, Url,
    header::{HOST, HeaderValue},
};
use serde::Serialize;

use super::{
    links,
    mix::Mix,
    tally::{End, Tally, millis},
};
use crate::worker::http::{body, cause};

/// What is read of a page to find what belongs to it.
const PAGE_MAX: usize = 2 << 20;
/// Pages of the baseline that are asked at once.
const AT_ONCE: usize = 4;

/// Where pages are asked.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) client: Client,
    pub(super) host: Option<HeaderValue>,
    pub(super) login: Option<(String, String)>,
    /// Addresses, in the order of `paths`.
    pub(super) pages: Vec<Url>,
    pub(super) paths: Vec<String>,
    /// Time for one answer.
    pub(super) each: Duration,
}

impl Target {
    fn get(&self, url: Url) -> RequestBuilder {
        let mut request = self.client.get(url);
        if let Some(host) = &self.host {
            request = request.header(HOST, host);
        }
        match &self.login {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }
}

/// How hard pages are asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) concurrency: u32,
    pub(super) duration: Duration,
    pub(super) pages_per_minute: Option<u32>,
}

/// A page that was asked once, before the load.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Baseline {
    pub(super) path: String,
    /// Status of the answer; 0 without one.
    pub(super) status: u16,
    pub(super) bytes: usize,
    pub(super) millis: f64,
    /// What belongs to it.
    #[serde(skip)]
    pub(super) assets: Vec<Url>,
    pub(super) asset_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
}

/// Asks every page once.
pub(super) async fn baseline(target: &Target, assets: bool) -> Vec<Baseline> {
    let mut all = Vec::with_capacity(target.pages.len());
    for (part, urls) in target.pages.chunks(AT_ONCE).enumerate() {
        let asked = urls.iter().enumerate().map(|(index, url)| {
            let path = &target.paths[part * AT_ONCE + index];
            first(target, url.clone(), path, assets)
        });
        all.extend(join_all(asked).await);
    }
    all
}

async fn first(target: &Target, url: Url, path: &str, assets: bool) -> Baseline {
    let begun = Instant::now();
    let mut page = Baseline {
        path: path.to_string(),
        status: 0,
        bytes: 0,
        millis: 0.0,
        assets: vec![],
        asset_count: 0,
        problem: None,
    };
    match target.get(url.clone()).send().await {
        Ok(mut answer) => {
            page.status = answer.status().as_u16();
            if page.status >= 400 {
                page.problem = Some(format!("status {}", answer.status()));
            }
            let is_html = answer
                .headers()
                .get("content-type")
                .and_then(|value| value.to_str().ok())
                .is_some_and(|value| value.starts_with("text/html"));
            match body(&mut answer, PAGE_MAX).await {
                Ok(bytes) => {
                    page.bytes = bytes.len();
                    if assets && is_html && page.status == 200 {
                        page.assets = links::of(&url, &String::from_utf8_lossy(&bytes));
                        page.asset_count = page.assets.len();
                    }
                }
                Err(error) => page.problem = Some(format!("the answer broke off: {}", cause(&error))),
            }
        }
        Err(error) => page.problem = Some(format!("no answer: {}", cause(&error))),
    }
    page.millis = millis(begun.elapsed());
    let problem = page.problem.as_deref().unwrap_or("ok");
    println!("page    {path}: {} in {} ms, {} files: {problem}", page.status, page.millis, page.asset_count);
    page
}

/// Asks until the time is over. Views that have begun are ended.
///
/// With a rate, response times count from the moment at which a view was due: a server that stalls makes every view
/// that waits for it slow, and not only the few that were under way.
pub(super) async fn run(target: &Target, mix: &Mix, load: &Load, baseline: &[Baseline]) -> Tally {
    let tally = Mutex::new(Tally::new(mix.paths().len(), load, target));
    let next = AtomicU64::new(0);
    let begun = Instant::now();
    let visitors = (0..load.concurrency).map(|_| visitor(target, mix, load, baseline, &tally, &next, begun));
    join_all(visitors).await;
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}

async fn visitor(
    target: &Target,
    mix: &Mix,
    load: &Load,
    baseline: &[Baseline],
    tally: &Mutex<Tally>,
    next: &AtomicU64,
    begun: Instant,
) {
    loop {
        let view = next.fetch_add(1, Ordering::Relaxed);
        let due = load.pages_per_minute.map(|rate| Duration::from_secs_f64(view as f64 * 60.0 / f64::from(rate)));
        let now = begun.elapsed();
        if due.unwrap_or(now) >= load.duration || now >= load.duration {
            return;
        }
        let mut from = now;
        if let Some(due) = due {
            if due > now {
                tokio::time::sleep_until((begun + due).into()).await;
            } else if view >= u64::from(load.concurrency) {
                lock(tally).late += 1;
            }
            from = due;
        }
        let page = mix.page(view);
        let end = ask(target, target.pages[page].clone()).await;
        let at = begun.elapsed();
        lock(tally).page(page, end, at.saturating_sub(from), at);
        if end != End::Answered {
            // A server that refuses at once must not be asked as fast as this machine can.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        for asset in baseline.get(page).map_or(&[] as &[Url], |page| &page.assets) {
            let end = ask(target, asset.clone()).await;
            lock(tally).asset(end, begun.elapsed());
        }
    }
}

fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn ask(target: &Target, url: Url) -> End {
    let whole = async {
        let mut answer = target.get(url).send().await?;
        let status = answer.status().as_u16();
        while answer.chunk().await?.is_some() {}
        Ok::<u16, reqwest::Error>(status)
    };
    match whole.await {
        Ok(status) if status < 400 => End::Answered,
        Ok(_) => End::Failed,
        Err(error) if error.is_timeout() => End::TimedOut,
        Err(_) => End::Failed,
    }
}
