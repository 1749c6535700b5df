//! Tells that somebody changed an Environment by hand: a metric and an Event for each transition.

use kube::Resource;
use launchway_crds::{
    Environment,
    conditions::{self, reasons, types},
    environment::EnvironmentStatus,
};

use crate::context::Context;

use super::events::{event, kind, publish};

/// Tells what changed between the status that an Environment had and the one that was written. Best effort.
pub async fn tell(context: &Context, environment: &Environment, new: &EnvironmentStatus) {
    let Some((reason, bad, message)) = transition(environment.status.as_ref(), new) else { return };
    if bad {
        context.metrics.drift(reason);
    }
    let name = if bad { "Drifted" } else { "DriftEnded" };
    publish(context, &environment.object_ref(&()), [event(kind(bad), name.into(), &message, "drift")]).await;
}

/// The reason of a condition that drift was found, or that it is over, where the old status said something else.
fn transition(old: Option<&EnvironmentStatus>, new: &EnvironmentStatus) -> Option<(&'static str, bool, String)> {
    let now = conditions::get(&new.conditions, types::DRIFTED)?;
    let before = old.and_then(|old| conditions::get(&old.conditions, types::DRIFTED));
    let (was, is) = (before.is_some_and(|before| before.status == "True"), now.status == "True");
    let same = before.is_some_and(|before| before.reason == now.reason && before.message == now.message);
    if same || !(was || is) {
        return None;
    }
    let reason = [reasons::EDITED, reasons::NOT_OURS, reasons::PUT_BACK, reasons::AS_DEPLOYED]
        .into_iter()
        .find(|reason| *reason == now.reason)?;
    let message = if now.message.is_empty() { "what runs is what was deployed".into() } else { now.message.clone() };
    Some((reason, is, message))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn status(drifted: bool, reason: &str, message: &str) -> EnvironmentStatus {
        let mut status = EnvironmentStatus::default();
        let now = Time(jiff::Timestamp::UNIX_EPOCH);
        conditions::set(&mut status.conditions, &now, None, types::DRIFTED, drifted, reason, message);
        status
    }

    #[test]
    fn drift_is_told_when_it_begins_changes_and_ends() {
        let fine = status(false, reasons::AS_DEPLOYED, "");
        let edited = status(true, reasons::EDITED, "prod-publish");
        let more = status(true, reasons::EDITED, "prod-publish; prod-author");
        let back = status(false, reasons::PUT_BACK, "prod-publish");
        assert_eq!(transition(None, &fine), None);
        assert_eq!(transition(Some(&fine), &fine), None);
        assert_eq!(transition(Some(&fine), &edited).unwrap().0, reasons::EDITED);
        assert_eq!(transition(Some(&edited), &edited), None);
        assert!(transition(Some(&edited), &more).unwrap().1);
        assert_eq!(transition(Some(&edited), &back), Some((reasons::PUT_BACK, false, "prod-publish".into())));
        assert_eq!(transition(Some(&back), &back), None);
    }
}
