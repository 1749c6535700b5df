//! Several candidates and an apiserver that keeps one Lease, with compare-and-set and outages.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::*;
use crate::shutdown::{Shutdown, Trigger};

const QUICK: Timing = Timing {
    duration: Duration::from_secs(1),
    give_up: Duration::from_millis(600),
    renew: Duration::from_millis(150),
    retry: Duration::from_millis(60),
    call: Duration::from_millis(200),
};

#[derive(Default)]
struct Kept {
    lease: Mutex<(u64, Option<Value>)>,
    mute: AtomicBool,
}

fn refusal(code: u16, reason: &str) -> Response {
    let text = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason});
    (StatusCode::from_u16(code).unwrap(), text.to_string()).into_response()
}

async fn answer(State(kept): State<Arc<Kept>>, method: Method, body: Bytes) -> Response {
    if kept.mute.load(Ordering::SeqCst) {
        time::sleep(Duration::from_secs(30)).await;
    }
    let mut lease = kept.lease.lock().unwrap();
    if method != Method::GET {
        let mut new: Value = serde_json::from_slice(&body).unwrap();
        match (&lease.1, method == Method::POST) {
            (Some(_), true) => return refusal(409, "AlreadyExists"),
            (None, false) => return refusal(404, "NotFound"),
            (Some(old), false) if old["metadata"]["resourceVersion"] != new["metadata"]["resourceVersion"] => {
                return refusal(409, "Conflict");
            }
            _ => {}
        }
        lease.0 += 1;
        new["metadata"]["resourceVersion"] = json!(lease.0.to_string());
        lease.1 = Some(new);
    }
    match &lease.1 {
        Some(lease) => lease.to_string().into_response(),
        None => refusal(404, "NotFound"),
    }
}

/// An apiserver that keeps this Lease.
async fn apiserver(kept: &Arc<Kept>) -> Client {
    crate::tests_support::tls();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer).with_state(kept.clone());
    tokio::spawn(axum::serve(listener, router).into_future());
    crate::client::bounded(kube::Config::new(format!("http://{address}").parse().unwrap())).await.unwrap()
}

struct Running {
    state: watch::Receiver<Leadership>,
    release: Trigger,
    task: tokio::task::JoinHandle<()>,
}

fn start(client: Client, identity: &str) -> Running {
    let candidate =
        Candidate { namespace: "l".into(), name: "launchway".into(), identity: identity.into(), timing: QUICK };
    let (sender, state) = watch::channel(Leadership::Standby);
    let (release, released) = Shutdown::pair();
    let (readiness, metrics) = (Arc::new(Readiness::new([CHECK])), Arc::new(Metrics::new()));
    let task = tokio::spawn(run(client, candidate, sender, readiness, metrics, released.wait()));
    Running { state, release, task }
}

impl Running {
    fn leads(&self) -> bool {
        *self.state.borrow() == Leadership::Leader
    }

    async fn until(&mut self, fits: impl Fn(&Leadership) -> bool) -> Leadership {
        time::timeout(Duration::from_secs(8), self.state.wait_for(|state| fits(state))).await.unwrap().unwrap().clone()
    }
}

#[tokio::test]
async fn a_lease_that_is_given_back_passes_on_without_a_wait() {
    let kept = Arc::new(Kept::default());
    let client = apiserver(&kept).await;
    let mut first = start(client.clone(), "a_1");
    first.until(|state| *state == Leadership::Leader).await;
    let mut second = start(client, "b_2");
    time::sleep(Duration::from_millis(1500)).await;
    assert!(first.leads() && !second.leads(), "renewals keep the lease");
    first.release.fire();
    first.task.await.unwrap();
    let begun = Instant::now();
    second.until(|state| *state == Leadership::Leader).await;
    assert!(begun.elapsed() < Duration::from_millis(700), "{:?}", begun.elapsed());
    assert_eq!(kept.lease.lock().unwrap().1.as_ref().unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test]
async fn a_leader_that_is_cut_off_stops_before_the_next_one_begins() {
    let kept = Arc::new(Kept::default());
    let mut cut = start(apiserver(&kept).await, "a_1");
    cut.until(|state| *state == Leadership::Leader).await;
    // The other one sees the Lease as it was at the cut, and nobody renews it: the worst that it can see.
    let there = Arc::new(Kept::default());
    *there.lease.lock().unwrap() = kept.lease.lock().unwrap().clone();
    kept.mute.store(true, Ordering::SeqCst);
    let mut next = start(apiserver(&there).await, "b_2");
    let lost = cut.until(|state| *state != Leadership::Leader).await;
    assert!(matches!(lost, Leadership::Lost(_)), "{lost:?}");
    assert!(!next.leads(), "both led at the same time");
    cut.task.await.unwrap();
    next.until(|state| *state == Leadership::Leader).await;
}

#[tokio::test]
async fn of_many_exactly_one_leads() {
    let kept = Arc::new(Kept::default());
    let client = apiserver(&kept).await;
    let all: Vec<Running> = (0..5).map(|number| start(client.clone(), &format!("p_{number}"))).collect();
    for _ in 0..20 {
        time::sleep(Duration::from_millis(50)).await;
        assert!(all.iter().filter(|one| one.leads()).count() <= 1);
    }
    assert_eq!(all.iter().filter(|one| one.leads()).count(), 1);
    let holder = kept.lease.lock().unwrap().1.as_ref().unwrap()["spec"]["holderIdentity"].clone();
    let leader = all.iter().position(Running::leads).unwrap();
    assert_eq!(holder, format!("p_{leader}"));
}
