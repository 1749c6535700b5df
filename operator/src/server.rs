//! `/healthz`, `/readyz` and `/metrics`, on one port.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    future::Future,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Registered by prometheus.io for what the encoder writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What a peer that reads slowly gets once the process ends.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// What has to be true before the process is ready, by name.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<BTreeMap<&'static str, Result<(), String>>>);

impl Readiness {
    /// Checks that have not passed yet.
    #[must_use]
    pub fn new(checks: impl IntoIterator<Item = &'static str>) -> Self {
        let pending = || Err("not yet".to_string());
        Self(Mutex::new(checks.into_iter().map(|name| (name, pending())).collect()))
    }

    /// The check passes.
    pub fn pass(&self, check: &'static str) {
        self.set(check, Ok(()));
    }

    /// The check fails, and why.
    pub fn fail(&self, check: &'static str, why: impl Into<String>) {
        self.set(check, Err(why.into()));
    }

    fn set(&self, check: &'static str, state: Result<(), String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(check, state);
    }

    /// Whether every check passes, and a line for each as the apiserver's own `/readyz?verbose` writes them.
    #[must_use]
    pub fn report(&self) -> (bool, String) {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (name, state) in checks.iter() {
            let _ = match state {
                Ok(()) => writeln!(text, "[+]{name} ok"),
                Err(why) => writeln!(text, "[-]{name} failed: {why}"),
            };
        }
        let ready = checks.values().all(Result::is_ok);
        text.push_str(if ready { "readyz check passed\n" } else { "readyz check failed\n" });
        (ready, text)
    }
}

#[derive(Clone)]
struct Shown {
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
}

/// The pages.
pub fn router(readiness: Arc<Readiness>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .with_state(Shown { readiness, metrics })
}

/// Serves until `shutdown` resolves; answers under way get 3 s more.
///
/// # Errors
/// When the socket fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (trigger, ending) = crate::shutdown::Shutdown::pair();
    let asked = async move {
        shutdown.await;
        trigger.fire();
    };
    let server = axum::serve(listener, router).with_graceful_shutdown(asked).into_future();
    tokio::select! {
        result = server => result,
        () = async { ending.wait().await; tokio::time::sleep(LAST_ANSWERS).await } => Ok(()),
    }
}

async fn readyz(State(shown): State<Shown>) -> Response {
    let (ready, text) = shown.readiness.report();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}

async fn metrics_text(State(shown): State<Shown>) -> Response {
    match shown.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("metrics: {error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
        let answer = crate::tests_support::http().get(format!("http://{address}{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn pages_answer_and_the_server_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let readiness = Arc::new(Readiness::new(["lease", "caches"]));
        let metrics = Arc::new(Metrics::new());
        let (trigger, shutdown) = crate::shutdown::Shutdown::pair();
        let server = tokio::spawn(serve(listener, router(readiness.clone(), metrics), shutdown.wait()));

        assert_eq!(get(address, "/healthz").await, (200, "ok\n".into()));
        readiness.pass("lease");
        let (status, text) = get(address, "/readyz").await;
        assert_eq!((status, text.as_str()), (503, "[-]caches failed: not yet\n[+]lease ok\nreadyz check failed\n"));
        readiness.pass("caches");
        assert_eq!(get(address, "/readyz").await.0, 200);
        readiness.fail("caches", "gone");
        assert_eq!(get(address, "/readyz").await.0, 503);
        assert!(get(address, "/metrics").await.1.ends_with("# EOF\n"));
        assert_eq!(get(address, "/").await.0, 404);

        trigger.fire();
        tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap().unwrap();
    }
}
