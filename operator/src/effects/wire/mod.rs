//! The exact requests of every effect, against an apiserver that answers as it is told: verbs, paths, versions, and what
//! a conflict or an object that is gone means.

mod environments;
mod executions;
mod images;
mod memory;
mod pipelines;
mod refused;

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};

use crate::context::Context;

/// An answer: status and body.
pub(crate) type Answer = (u16, Value);

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Method, path and query, as in `PUT /api/v1/namespaces/wknd/services/a?force=true`.
    line: String,
    content_type: String,
    body: Value,
}

/// What the apiserver was asked, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script(Arc<Mutex<(VecDeque<Answer>, Vec<Asked>)>>);

impl Script {
    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let bytes = body.collect_bytes().await.unwrap();
        let uri = head.uri.to_string();
        let content_type = head.headers.get(http::header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap());
        let asked = Asked {
            line: format!("{} {}", head.method, uri.trim_end_matches(['?', '&']).replace("?&", "?")),
            content_type: content_type.into(),
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
        };
        let mut script = self.0.lock().unwrap();
        let (status, body) =
            script.0.pop_front().unwrap_or_else(|| panic!("nobody expected this request: {}", asked.line));
        script.1.push(asked);
        Ok(Response::builder().status(status).body(Body::from(body.to_string().into_bytes())).unwrap())
    }

    /// The requests so far. Every answer has to be used.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let script = self.0.lock().unwrap();
        assert!(script.0.is_empty(), "{} answers were not asked for", script.0.len());
        script.1.clone()
    }
}

/// A context whose apiserver gives these answers.
pub(crate) fn apiserver(answers: Vec<Answer>) -> (Context, Script) {
    let script = Script::default();
    script.0.lock().unwrap().0 = answers.into();
    let told = script.clone();
    let service = tower::service_fn(move |request: Request<Body>| told.clone().answer(request));
    (Context::for_tests(Client::new(service, "wknd")), script)
}

/// An answer that refuses.
pub(crate) fn refusal(code: u16, reason: &str) -> Answer {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code });
    (code, status)
}

pub(crate) fn gone() -> Answer {
    refusal(404, "NotFound")
}

pub(crate) fn conflict() -> Answer {
    refusal(409, "Conflict")
}

/// The bodies of requests to addresses that end like this.
pub(crate) fn bodies(asked: &[Asked], end: &str) -> Vec<Value> {
    let of = |asked: &Asked| asked.line.split('?').next().is_some_and(|line| line.ends_with(end));
    asked.iter().filter(|asked| of(asked)).map(|asked| asked.body.clone()).collect()
}

pub(crate) fn lines(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(|asked| asked.line.as_str()).collect()
}
