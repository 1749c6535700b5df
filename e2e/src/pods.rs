//! Pods of an Environment: what they run, and what happens when one dies.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, LogParams},
};
use launchway_crds::{
    digest::Sha256Digest,
    names::{annotations, labels},
};

use crate::{
    Failure, Outcome,
    cluster::{call, until},
    program::Program,
};

/// Container of the tiers' pods that serves.
const CONTAINER: &str = "main";

/// What a pod of a tier is.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its identity: another one under the same name is another pod.
    pub uid: String,
    /// `author`, `publish` or `dispatcher`.
    pub tier: String,
    /// Its number in the tier.
    pub ordinal: i32,
    /// Revision that its template had.
    pub revision: String,
    /// The release that its template names.
    pub release: String,
    /// Its address, once it has one.
    pub address: Option<String>,
    /// What the container runtime says it runs.
    pub image: Option<Sha256Digest>,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is about to end.
    pub terminating: bool,
}

impl Program {
    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client.clone(), &self.namespace)
    }

    /// The pods of an Environment.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn members(&self, environment: &str) -> Outcome<Vec<Member>> {
        let selector = ListParams::default().labels(&format!("{}={environment},{}", labels::ENVIRONMENT, labels::TIER));
        Ok(call(self.pods().list(&selector)).await?.items.iter().map(member).collect())
    }

    /// A pod of an Environment.
    ///
    /// # Errors
    /// When there is none.
    pub async fn member(&self, name: &str) -> Outcome<Member> {
        Ok(member(&call(self.pods().get(name)).await?))
    }

    /// Image digests that the pods of an Environment really run, by tier; every pod of a tier runs the same.
    ///
    /// # Errors
    /// When two pods of a tier differ, or one runs nothing.
    pub async fn running(&self, environment: &str) -> Outcome<BTreeMap<String, Sha256Digest>> {
        let mut found: BTreeMap<String, Sha256Digest> = BTreeMap::new();
        for member in self.members(environment).await?.into_iter().filter(|member| !member.terminating) {
            let image = member.image.ok_or_else(|| Failure::new(format!("pod {} states no imageID", member.name)))?;
            if let Some(other) = found.insert(member.tier.clone(), image).filter(|other| *other != image) {
                return Err(Failure::new(format!("{environment}: pods of {} run {image} and {other}", member.tier)));
            }
        }
        Ok(found)
    }

    /// Deletes a pod without mercy, as a node that dies does.
    ///
    /// # Errors
    /// When the apiserver refuses.
    pub async fn kill(&self, name: &str) -> Outcome {
        call(self.pods().delete(name, &DeleteParams::default().grace_period(0))).await.map(drop)
    }

    /// Waits until another pod of the same name is ready.
    ///
    /// # Errors
    /// After `limit`.
    pub async fn comes_back(&self, killed: &Member, limit: Duration) -> Outcome<Member> {
        until(&format!("pod {} is ready again", killed.name), limit, || async {
            let now = self.member(&killed.name).await?;
            Ok(if now.uid != killed.uid && now.ready { Ok(now) } else { Err(format!("{now:?}")) })
        })
        .await
    }

    /// What a failure's reader wants to know about the pods: one line each.
    pub async fn pods_told(&self) -> String {
        let Ok(list) = call(self.pods().list(&ListParams::default())).await else {
            return "no pods can be read".into();
        };
        let line = |pod: &Pod| {
            let status = pod.status.clone().unwrap_or_default();
            let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
            let states: Vec<String> = containers
                .filter(|container| !container.ready)
                .map(|container| {
                    let waiting = container.state.as_ref().and_then(|state| state.waiting.clone());
                    let ended = container.state.as_ref().and_then(|state| state.terminated.clone());
                    match (waiting, ended) {
                        (Some(waiting), _) => format!("{}: {}", container.name, waiting.reason.unwrap_or_default()),
                        (_, Some(ended)) => format!(
                            "{}: exit {} {}",
                            container.name,
                            ended.exit_code,
                            ended.message.unwrap_or_default()
                        ),
                        _ => format!("{}: not ready", container.name),
                    }
                })
                .collect();
            format!("{} {} {}", pod.name_any(), status.phase.unwrap_or_default(), states.join(", "))
        };
        list.items.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The end of what the containers of Jobs wrote, for a failure that their messages do not explain.
    pub async fn logs_told(&self) -> String {
        let of_jobs = ListParams::default().labels("batch.kubernetes.io/job-name");
        let Ok(list) = call(self.pods().list(&of_jobs)).await else { return "no pods of Jobs can be read".into() };
        let mut told = vec![];
        for pod in &list.items {
            let spec = pod.spec.clone().unwrap_or_default();
            let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
            for container in containers {
                let end =
                    LogParams { container: Some(container.name.clone()), tail_lines: Some(25), ..LogParams::default() };
                let log = call(self.pods().logs(&pod.name_any(), &end)).await;
                let log = log.unwrap_or_else(|failure| failure.to_string());
                told.push(format!("--- {} {}\n{}", pod.name_any(), container.name, log.trim_end()));
            }
        }
        told.join("\n")
    }
}

fn member(pod: &Pod) -> Member {
    let status = pod.status.clone().unwrap_or_default();
    let label = |name: &str| pod.labels().get(name).cloned().unwrap_or_default();
    let image = status.container_statuses.iter().flatten().find(|status| status.name == CONTAINER).and_then(|status| {
        // What the runtime states: `registry/repository@sha256:…`.
        status.image_id.rsplit_once('@').and_then(|(_, digest)| digest.parse().ok())
    });
    let ready =
        status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let name = pod.name_any();
    Member {
        ordinal: name.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(-1),
        name,
        uid: pod.uid().unwrap_or_default(),
        tier: label(labels::TIER),
        revision: label(labels::REVISION),
        release: pod.annotations().get(annotations::RELEASE).cloned().unwrap_or_default(),
        address: status.pod_ip,
        image,
        ready,
        terminating: pod.metadata.deletion_timestamp.is_some(),
    }
}
