//! Memory and time of the operator.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::Value;

use crate::{
    Failure, Outcome,
    cluster::{Cluster, call},
    install,
};

/// Resident memory of the operator in bytes: that of its process on the local cluster, code included; elsewhere what the
/// kubelet counts for its container, which is less.
///
/// # Errors
/// When nobody knows it.
pub async fn operator_memory(cluster: &Cluster) -> Outcome<u64> {
    if cluster.local {
        return resident().ok_or_else(|| Failure::new("no process of the operator is found on this machine"));
    }
    by_kubelet(cluster).await
}

/// A gauge without labels of the operator: that of the replica that works, for the others count nothing.
///
/// # Errors
/// When no replica answers, or none has it.
pub async fn operator_gauge(cluster: &Cluster, name: &str) -> Outcome<u64> {
    let found = told(cluster, name).await?.into_iter().max();
    found.ok_or_else(|| Failure::new(format!("no operator has the metric {name}")))
}

/// A counter of the operator, named with its labels: the first time that it counts makes it appear.
///
/// # Errors
/// When no replica answers.
pub async fn operator_counter(cluster: &Cluster, name: &str) -> Outcome<u64> {
    Ok(told(cluster, name).await?.into_iter().sum())
}

/// What each replica says of a metric.
async fn told(cluster: &Cluster, name: &str) -> Outcome<Vec<u64>> {
    let mut found = vec![];
    for pod in install::pods(cluster).await? {
        let pod = pod.metadata.name.unwrap_or_default();
        let uri = format!("/api/v1/namespaces/{}/pods/{pod}:8080/proxy/metrics", install::NAMESPACE);
        let request = http::Request::get(uri).body(vec![]).map_err(|error| Failure::new(error.to_string()))?;
        let text = call(cluster.client.request_text(request)).await?;
        let values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok());
        found.extend(values);
    }
    Ok(found)
}

/// Operators on this machine, as folders of `/proc`: the node's processes are seen from here.
fn operators() -> impl Iterator<Item = PathBuf> {
    let processes = fs::read_dir("/proc").ok().into_iter().flatten().flatten().map(|entry| entry.path());
    processes.filter(|process| {
        fs::read(process.join("cmdline")).is_ok_and(|line| {
            let mut words = line.split(|byte| *byte == 0);
            words.next().is_some_and(|program| program.ends_with(b"/launchway")) && words.next() == Some(b"operator")
        })
    })
}

/// The largest operator on this machine.
fn resident() -> Option<u64> {
    let memory = operators().filter_map(|process| {
        let status = fs::read_to_string(process.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    });
    memory.max()
}

/// CPU time that the operators on this machine have used since they began, in steps of 10 ms; none when there are none, as
/// on a cluster elsewhere.
#[must_use]
pub fn operator_cpu() -> Option<Duration> {
    let used = operators().filter_map(|process| {
        let stat = fs::read_to_string(process.join("stat")).ok()?;
        // The name in parentheses may hold blanks; of what follows, the 12th and 13th are user and system time (proc(5)),
        // in hundredths of a second on every Linux that the local cluster runs on.
        let fields: Vec<u64> =
            stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
        Some(Duration::from_millis(fields.iter().sum::<u64>() * 10))
    });
    used.reduce(|one, other| one + other)
}

async fn by_kubelet(cluster: &Cluster) -> Outcome<u64> {
    for pod in install::pods(cluster).await? {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        let uri = format!("/api/v1/nodes/{node}/proxy/stats/summary");
        let request = http::Request::get(uri).body(vec![]).map_err(|error| Failure::new(error.to_string()))?;
        let summary: Value = call(cluster.client.request(request)).await?;
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let mine = |entry: &&Value| entry["podRef"]["name"] == name;
        let found = summary["pods"].as_array().into_iter().flatten().find(mine);
        if let Some(bytes) = found.and_then(|entry| entry["containers"][0]["memory"]["rssBytes"].as_u64()) {
            return Ok(bytes);
        }
    }
    Err(Failure::new("no kubelet tells how much memory the operator takes"))
}
