//! A registry that counts: everything is passed on to a real one.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;

/// One request that came by.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub sent: usize,
}

impl Seen {
    pub fn writes(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD")
    }
}

#[derive(Clone)]
struct Shared {
    upstream: String,
    host: String,
    http: reqwest::Client,
    seen: Arc<Mutex<Vec<Seen>>>,
}

pub struct Counting {
    pub host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Counting {
    pub async fn before(upstream: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let shared = Shared { upstream: upstream.to_owned(), host: host.clone(), http, seen: Arc::clone(&seen) };
        let app = Router::new().fallback(forward).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { host, seen }
    }

    /// What came by since the last time this was asked.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn forward(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 30).await.unwrap();
    let path = parts.uri.to_string();
    shared.seen.lock().unwrap().push(Seen { method: parts.method.to_string(), path: path.clone(), sent: body.len() });
    let mut headers = parts.headers;
    // The registry makes the addresses of uploads from the name that it was called by.
    headers.insert("host", shared.host.parse().unwrap());
    let url = format!("http://{}{path}", shared.upstream);
    let answer = shared.http.request(parts.method, url).headers(headers).body(body).send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| name.as_str() != "transfer-encoding") {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}
