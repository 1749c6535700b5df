//! What becomes of Environments in the small world: rollouts end, fail and go back, locks without a holder are taken away.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    environment::{EnvironmentStatus, RolloutState, RolloutStatus, Urls},
    restore::{Restore, Revisions},
};

use super::frozen::Frozen;
use super::site::Site;

/// UIDs of executions that an Environment's status names.
pub fn in_status(status: &EnvironmentStatus) -> impl Iterator<Item = String> {
    let deployed = status.deployed.as_ref().map(|deployed| deployed.uid.clone());
    let target = status.target.as_ref().map(|target| target.uid.clone());
    let lock = status.lock.as_ref().map(|lock| lock.uid.clone());
    [deployed, target, lock].into_iter().flatten()
}

/// One whose controller has told its addresses, and that runs no release yet.
pub fn idle(name: &str) -> Frozen<EnvironmentStatus> {
    let urls = Urls {
        author: format!("http://{name}-author"),
        dispatcher: format!("http://{name}-dispatcher"),
        ..Urls::default()
    };
    Frozen::new(EnvironmentStatus { urls: Some(urls), ..EnvironmentStatus::default() })
}

impl Site {
    pub fn free_lock(&mut self, name: &'static str) -> bool {
        let runs = self.environments[name]
            .get()
            .lock
            .as_ref()
            .is_none_or(|lock| self.executions.iter().any(|one| one.exists && one.uid == lock.uid && !one.ended()));
        !runs && self.edit(name, |status| status.lock.take().is_some())
    }

    pub fn rollout_ends(&mut self, name: &'static str, well: bool) -> bool {
        let now = Time(self.now());
        let old = self.environments[name].get().clone();
        let changed = self.edit(name, |status| {
            let over = [RolloutState::Failed, RolloutState::RollingBack, RolloutState::RolledBack];
            if status.rollout.as_ref().is_some_and(|rollout| over.contains(&rollout.state)) {
                return false;
            }
            if !well {
                status.rollout = status.target.as_ref().map(|_| failed(&now));
                return status.target.is_some();
            }
            let Some(target) = status.target.take() else { return false };
            status.deployed = Some(target.reached(status.deployed.as_ref(), now));
            true
        });
        let asked = old.target.and_then(|target| self.executions.iter().find(|one| one.uid == target.uid));
        let runs = self.environments[name].get().deployed.clone();
        if let (true, Some(asked), Some(runs)) = (changed && well, asked, runs) {
            self.past.deployed(&Self::PIPELINES[asked.pipeline], old.deployed.as_ref(), &runs);
        }
        changed
    }

    pub fn goes_back(&mut self, name: &'static str) -> bool {
        let now = Time(self.now());
        self.edit(name, |status| {
            let (Some(target), None) = (&status.target, &status.rollout) else { return false };
            status.restore = Some(Restore {
                execution: Some(target.execution.clone()),
                uid: Some(target.uid.clone()),
                release: Some(target.release.clone()),
                failed: "r".into(),
                revisions: Revisions { aem: "before".into(), dispatcher: "before".into() },
                cause: "publish-0: failed".into(),
                since: now.clone(),
            });
            status.rollout = Some(RolloutStatus { state: RolloutState::RollingBack, ..failed(&now) });
            true
        })
    }

    pub fn went_back(&mut self, name: &'static str) -> bool {
        let mut uid = None;
        let changed = self.edit(name, |status| {
            let Some(rollout) = status.rollout.as_mut().filter(|it| it.state == RolloutState::RollingBack) else {
                return false;
            };
            rollout.state = RolloutState::RolledBack;
            uid = status.target.take().map(|target| target.uid);
            true
        });
        if let Some(uid) = uid {
            self.past.went_back(uid);
        }
        changed
    }

    pub fn edit(&mut self, name: &'static str, change: impl FnOnce(&mut EnvironmentStatus) -> bool) -> bool {
        let mut status = self.environments[name].get().clone();
        let changed = change(&mut status);
        if changed {
            self.environments.insert(name, Frozen::new(status));
        }
        changed
    }
}

fn failed(since: &Time) -> RolloutStatus {
    serde_json::from_value(serde_json::json!({
        "state": "Failed", "phase": "AllAtOnce", "since": since, "revision": "r", "updated": 0, "total": 1,
        "message": "publish-0: failed",
    }))
    .unwrap()
}
