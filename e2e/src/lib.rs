//! What the demo and the scenario tests are made of: a cluster, images, an installed operator, a program on it, people,
//! and the means to see what really happened (pods, traffic, the apiserver's audit log).
//!
//! Nothing here is mocked. With `KUBECONFIG` set that cluster is used as it is; without it the local one is started
//! (`e2e/cluster`). Every wait has an end, and every failure says what to do.

pub mod artifacts;
pub mod audit;
pub mod caches;
pub mod changes;
pub mod cluster;
pub mod endpoints;
pub mod executions;
pub mod external_metrics;
pub mod failure;
pub mod git_ground;
pub mod git_server;
pub mod images;
pub mod install;
pub mod live;
pub mod lives;
pub mod metrics;
pub mod ordinals;
pub mod page;
pub mod paths;
pub mod people;
pub mod pods;
pub mod process;
pub mod program;
pub mod rollout;
pub mod scenario;
pub mod server;
pub mod steps;
pub mod traffic;
pub mod turn;
pub mod volume;
pub mod watched;

pub use failure::{Failure, Outcome};
