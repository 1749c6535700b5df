//! Which replica works: a `coordination.k8s.io/v1` Lease, held and renewed.
//!
//! [`election`] decides, this module asks and writes. Clocks of two machines are never compared: another
//! holder's lease is over when it was not seen to change for as long as the lease says, on our clock.

pub mod election;

use std::{future::Future, sync::Arc, time::Duration, time::Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use launchway_crds::names::{FIELD_MANAGER, labels};
use tokio::{sync::watch, time};

use self::election::{Decision, Election};
use crate::{
    client::{CallError, within},
    metrics::Metrics,
    server::Readiness,
};

/// The times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a lease lasts that nobody renews; whole seconds.
    pub duration: Duration,
    /// A holder that could not renew for so long stops: sooner than anyone else may begin.
    pub give_up: Duration,
    /// Between two renewals.
    pub renew: Duration,
    /// Between two tries to get the lease, or to renew it after a failure.
    pub retry: Duration,
    /// The longest that one request may take.
    pub call: Duration,
}

/// Five seconds lie between the last moment of one leader and the first of the next: effects under way are over by then.
pub const TIMING: Timing = Timing {
    duration: Duration::from_secs(15),
    give_up: Duration::from_secs(10),
    renew: Duration::from_secs(4),
    retry: Duration::from_secs(2),
    call: Duration::from_secs(3),
};

/// The readiness check that this module answers for.
pub const CHECK: &str = "lease";

/// Who holds the Lease, as far as this process knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Somebody else, or nobody yet.
    Standby,
    /// This process.
    Leader,
    /// This process did, and cannot be sure of it any more: it has to end.
    Lost(String),
}

/// Where the Lease is and who asks for it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Name of this process, in no other process's use.
    pub identity: String,
    /// When what happens.
    pub timing: Timing,
}

/// A name that no other process has: the pod's (or host's), and 64 random bits.
///
/// # Errors
/// When the system has no random numbers.
pub fn identity(pod: &str) -> Result<String, ring::error::Unspecified> {
    let mut random = [0_u8; 8];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random)?;
    Ok(format!("{pod}_{:016x}", u64::from_be_bytes(random)))
}

/// Asks for the Lease, keeps it, tells `leadership`; gives it back when `release` resolves. Ends after that,
/// or after it told of a loss.
pub async fn run(
    client: Client,
    candidate: Candidate,
    leadership: watch::Sender<Leadership>,
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
    release: impl Future<Output = ()> + Send,
) {
    let leases: Api<Lease> = Api::namespaced(client, &candidate.namespace);
    let Timing { give_up, renew, retry, call, .. } = candidate.timing;
    let mut election = Election::new(candidate.identity.clone(), give_up);
    let mut release = std::pin::pin!(release);
    let mut told: Option<String> = None;
    loop {
        // A leader has to know that it lost at the very moment, not when a slow answer arrives.
        let limit = election.remaining(Instant::now()).unwrap_or(2 * call);
        let result = tokio::select! {
            () = &mut release => break,
            result = time::timeout(limit, turn(&leases, &candidate, &mut election)) => result,
        };
        let now = Instant::now();
        let pause = match result.unwrap_or(Err(CallError::TimedOut(limit))) {
            Ok(()) => {
                readiness.pass(CHECK);
                if election.is_leader(now) { renew } else { retry }
            }
            Err(error) => {
                if election.was_leader() == election.is_leader(now) {
                    tracing::warn!(lease = candidate.name, "lease: {error}");
                }
                readiness.fail(CHECK, error.to_string());
                retry
            }
        };
        let next = if election.is_leader(now) {
            Leadership::Leader
        } else if election.was_leader() {
            let holder = election.holder().filter(|holder| *holder != candidate.identity);
            Leadership::Lost(holder.map_or_else(
                || format!("the lease {} was deleted, or not renewed for {} s", candidate.name, give_up.as_secs()),
                |holder| format!("the lease {} was taken by {holder}", candidate.name),
            ))
        } else {
            if told.as_deref() != election.holder() {
                told = election.holder().map(ToString::to_string);
                tracing::info!(lease = candidate.name, holder = told, "waiting for the lease");
            }
            Leadership::Standby
        };
        metrics.leader(next == Leadership::Leader);
        let lost = matches!(next, Leadership::Lost(_));
        leadership.send_if_modified(|old| {
            let changed = *old != next;
            if changed && next == Leadership::Leader {
                tracing::info!(lease = candidate.name, identity = candidate.identity, "leading");
            }
            *old = next;
            changed
        });
        if lost {
            return;
        }
        // A leader never sleeps past the moment at which it has to stop.
        let pause = election.remaining(now).map_or(pause, |left| left.min(pause)).max(Duration::from_millis(20));
        tokio::select! {
            () = &mut release => break,
            () = time::sleep(pause) => {}
        }
    }
    if election.was_leader() {
        if let Err(error) = give_back(&leases, &candidate).await {
            tracing::warn!(
                lease = candidate.name,
                "the lease was not given back, the next leader waits for its end: {error}"
            );
        }
        metrics.leader(false);
        leadership.send_replace(Leadership::Standby);
    }
}

/// One look at the Lease, and one write if it is ours to write.
async fn turn(leases: &Api<Lease>, candidate: &Candidate, election: &mut Election) -> Result<(), CallError> {
    let lease = within(candidate.timing.call, leases.get_opt(&candidate.name)).await?;
    let asked = Instant::now();
    match election.look(lease.as_ref(), asked) {
        Decision::Wait => return Ok(()),
        Decision::Create => {
            let lease = written(candidate, None);
            match within(candidate.timing.call, leases.create(&PostParams::default(), &lease)).await {
                Err(error) if error.status().is_some_and(kube::core::Status::is_already_exists) => return Ok(()),
                other => other?,
            };
        }
        Decision::Write => {
            let lease = written(candidate, lease);
            // The resourceVersion makes this a compare-and-set: of two who try, one is refused.
            match within(candidate.timing.call, leases.replace(&candidate.name, &PostParams::default(), &lease)).await {
                Err(error) if error.status().is_some_and(kube::core::Status::is_conflict) => return Ok(()),
                other => other?,
            };
        }
    }
    election.wrote(asked);
    Ok(())
}

async fn give_back(leases: &Api<Lease>, candidate: &Candidate) -> Result<(), CallError> {
    let Some(mut lease) = within(candidate.timing.call, leases.get_opt(&candidate.name)).await? else { return Ok(()) };
    let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_ref() == Some(&candidate.identity))
    else {
        return Ok(());
    };
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    spec.renew_time = Some(MicroTime(Timestamp::now()));
    within(candidate.timing.call, leases.replace(&candidate.name, &PostParams::default(), &lease)).await?;
    tracing::info!(lease = candidate.name, "gave the lease back");
    Ok(())
}

/// The Lease with this process as its holder. Times in it are for people and other implementations.
fn written(candidate: &Candidate, old: Option<Lease>) -> Lease {
    let now = MicroTime(Timestamp::now());
    let old_spec = old.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
    let kept = old_spec.holder_identity.as_ref() == Some(&candidate.identity);
    let transitions = old_spec.lease_transitions.unwrap_or_default();
    let spec = LeaseSpec {
        holder_identity: Some(candidate.identity.clone()),
        lease_duration_seconds: i32::try_from(candidate.timing.duration.as_secs()).ok(),
        acquire_time: if kept { old_spec.acquire_time } else { Some(now.clone()) },
        lease_transitions: Some(if kept || old.is_none() { transitions } else { transitions.saturating_add(1) }),
        renew_time: Some(now),
        ..old_spec
    };
    let fresh = || ObjectMeta {
        name: Some(candidate.name.clone()),
        labels: Some([(labels::MANAGED_BY.to_string(), FIELD_MANAGER.to_string())].into()),
        ..ObjectMeta::default()
    };
    Lease { metadata: old.map_or_else(fresh, |lease| lease.metadata), spec: Some(spec) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate() -> Candidate {
        Candidate {
            namespace: "launchway".into(),
            name: "launchway".into(),
            identity: "pod-a_1".into(),
            timing: TIMING,
        }
    }

    #[test]
    fn identities_differ_between_two_starts_of_one_pod() {
        let (one, two) = (identity("pod").unwrap(), identity("pod").unwrap());
        assert!(one.starts_with("pod_") && one != two);
    }

    #[test]
    fn a_renewal_keeps_the_acquisition_and_a_takeover_counts() {
        let me = candidate();
        let first = written(&me, None);
        assert_eq!(first.spec.as_ref().unwrap().lease_transitions, Some(0));
        let renewed = written(&me, Some(first.clone()));
        assert_eq!(renewed.spec.as_ref().unwrap().acquire_time, first.spec.as_ref().unwrap().acquire_time);
        let other = Candidate { identity: "pod-b_2".into(), ..me };
        let taken = written(&other, Some(renewed)).spec.unwrap();
        assert_eq!((taken.lease_transitions, taken.holder_identity.as_deref()), (Some(1), Some("pod-b_2")));
        assert_ne!(taken.acquire_time, first.spec.unwrap().acquire_time);
    }
}

#[cfg(test)]
#[path = "race_tests.rs"]
mod race_tests;
