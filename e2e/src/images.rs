//! The images: base images and tester from Debian and Maven packages, the operator from the release binary.

use std::{path::Path, time::Duration};

use crate::{Failure, Outcome, cluster::Cluster, process::Program};

/// Longest build of all of them from nothing.
const BUILD: Duration = Duration::from_secs(2400);
const PUSH: Duration = Duration::from_secs(700);

/// References of the images in the cluster's registry, each by digest.
#[derive(Clone, Debug)]
pub struct Images {
    /// Base of author and publish: Apache Sling.
    pub sling: String,
    /// Base of author and publish that keeps the same contract and starts in a moment.
    pub standin: String,
    /// Base of the dispatcher.
    pub httpd: String,
    /// A project's own test.
    pub tester: String,
    /// The operator.
    pub operator: String,
}

/// Builds what is not in the cache, and pushes what is not in the registry.
///
/// # Errors
/// When a build or a push fails.
pub async fn provide(cluster: &Cluster, binary: &Path) -> Outcome<Images> {
    let built = Program::script("e2e/images/build.sh")
        .args(["sling", "standin", "httpd", "tester", "operator", "--binary"])
        .args([binary])
        .limit(BUILD)
        .shown()
        .remedy("the output above says which package could not be had; Debian's packages and Maven Central must be reachable")
        .run()
        .await?;
    let mut pushed = vec![];
    for name in ["sling", "standin", "httpd", "tester", "operator"] {
        if !built.stdout.lines().any(|line| line.starts_with(&format!("{name} "))) {
            return Err(Failure::new(format!("e2e/images/build.sh said nothing about {name}")).seen(&built.stdout));
        }
        pushed.push(push(cluster, name).await?);
    }
    let mut references = pushed.into_iter();
    let mut next = || references.next().unwrap_or_default();
    Ok(Images { sling: next(), standin: next(), httpd: next(), tester: next(), operator: next() })
}

/// What author and publish of a program are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Runtime {
    /// Apache Sling: where its installer, its start-up or its pages are what is looked at.
    #[default]
    Sling,
    /// The stand-in of `e2e/images/standin`: where everything around it is.
    StandIn,
}

/// Pushes the image that was built last under a name, and gives its pinned reference.
///
/// # Errors
/// When the registry does not take it.
pub async fn push(cluster: &Cluster, name: &str) -> Outcome<String> {
    let left = Program::script("e2e/images/push.sh")
        .args([name, &cluster.registry])
        .limit(PUSH)
        .shown()
        .remedy(format!("is a registry up at http://{}/v2/?", cluster.registry))
        .run()
        .await?;
    Ok(left.last_line().to_string())
}

/// Repository and digest of a pinned reference.
///
/// # Errors
/// When it is not pinned.
pub fn split(reference: &str) -> Outcome<(&str, &str)> {
    reference.split_once('@').ok_or_else(|| Failure::new(format!("{reference} names no digest")))
}
