//! From `git push` to production: a Git server in the cluster, builds in it, and the approval as the only command. Each
//! test is a part that can be run by itself.

mod bad;
mod builds;
mod controller;
mod flux;
mod pushed;
mod scanned;
mod shared;
mod version;

use launchway_e2e::{Outcome, git_ground::Ground, scenario};

#[test]
fn a_pushed_page_reaches_production() -> Outcome {
    scenario::run("git", |scenario| async move { pushed::check(&Ground::prepare(scenario).await?).await })
}

#[test]
fn bad_sources_end_with_a_reason_of_their_own() -> Outcome {
    scenario::run("git-bad", |scenario| async move { bad::check(&Ground::prepare(scenario).await?).await })
}

#[test]
fn builds_by_ssh_are_reused_and_have_a_cache() -> Outcome {
    scenario::run("git-builds", |scenario| async move { builds::check(&Ground::prepare(scenario).await?).await })
}

#[test]
fn packages_carry_a_generated_version() -> Outcome {
    scenario::run("git-version", |scenario| async move { version::check(&Ground::prepare(scenario).await?).await })
}

#[test]
fn five_pushes_on_a_shared_branch_are_one_more_run() -> Outcome {
    scenario::run("git-shared", |scenario| async move { shared::check(&Ground::prepare(scenario).await?).await })
}

#[test]
fn a_build_is_followed_alone_and_its_scan_is_told() -> Outcome {
    scenario::run("git-scanned", |scenario| async move { scanned::check(&Ground::prepare(scenario).await?).await })
}

#[test]
fn flux_says_which_revision_is_built() -> Outcome {
    scenario::run("git-flux", |scenario| async move { flux::check(&Ground::prepare(scenario).await?).await })
}
