//! What every controller gets.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};
use launchway_crds::environment::Runtime;
use tokio::sync::{OnceCell, RwLock};

use crate::{
    config::OperatorConfig,
    error::Error,
    metrics::Metrics,
    notify::Notifier,
    observe::{batch::Batches, fresh::Freshness, registry::RegistryReader, source::Sources},
    operator_command::Parts,
    render::job::Installation,
};

/// Clients, configuration and counters of the controllers.
pub struct Context {
    /// For single requests: bounded, without hidden retries.
    pub client: Client,
    /// The checked arguments.
    pub config: Arc<OperatorConfig>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Reads artifacts and images.
    pub registry: RegistryReader,
    /// How new lists have to be.
    pub fresh: Freshness,
    /// Environments that are looked at together.
    pub batches: Batches,
    /// Sources of pipelines that start on changes.
    pub sources: Sources,
    /// Writes Events.
    pub recorder: Recorder,
    /// What Jobs need to know.
    pub installation: Installation,
    /// The operator's own user name, once it asked for it.
    pub identity: OnceCell<String>,
    /// Tells others what becomes of executions.
    pub notifier: Notifier,
    /// Held to read by whoever makes a Job that builds images, to write by whoever deletes images: a build finds a registry as it
    /// was before, or as it is after (`plan/memory/images.rs`).
    pub builds: RwLock<()>,
    attempts: Mutex<HashMap<String, u32>>,
}

impl Context {
    /// From what the frame of the operator prepared.
    #[must_use]
    pub fn new(parts: &Parts) -> Self {
        let reporter =
            Reporter { controller: launchway_crds::names::GROUP.into(), instance: std::env::var("POD_NAME").ok() };
        Self {
            client: parts.client.clone(),
            config: parts.config.clone(),
            metrics: parts.metrics.clone(),
            registry: RegistryReader::new(parts.config.plain_http.clone()),
            fresh: Freshness::default(),
            batches: Batches::default(),
            sources: Sources::default(),
            recorder: Recorder::new(parts.client.clone(), reporter),
            installation: installation(&parts.config),
            identity: OnceCell::new(),
            notifier: Notifier::default(),
            builds: RwLock::default(),
            attempts: Mutex::default(),
        }
    }

    /// With this client and the defaults of a small installation.
    #[cfg(test)]
    pub(crate) fn for_tests(client: Client) -> Self {
        let config = crate::config::tests::defaults();
        Self {
            client: client.clone(),
            metrics: Arc::default(),
            registry: RegistryReader::new(vec![]),
            recorder: Recorder::new(
                client,
                Reporter { controller: launchway_crds::names::GROUP.into(), instance: None },
            ),
            installation: installation(&config),
            config: Arc::new(config),
            fresh: Freshness::default(),
            batches: Batches::default(),
            sources: Sources::default(),
            identity: OnceCell::new(),
            notifier: Notifier::default(),
            builds: RwLock::default(),
            attempts: Mutex::default(),
        }
    }

    /// How long to wait before an object is tried again after an error.
    pub fn pause(&self, object: String, error: &Error) -> Duration {
        let mut attempts = self.attempts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = attempts.entry(object).or_default();
        let pause = error.pause(*count);
        *count = count.saturating_add(1);
        pause
    }

    /// Forgets the errors of an object that was dealt with.
    pub fn succeeded(&self, object: &str) {
        self.attempts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(object);
    }
}

/// What Jobs need to know of the configuration.
fn installation(config: &OperatorConfig) -> Installation {
    Installation {
        image: config.image.clone(),
        build_memory: config.job_memory.0.clone(),
        builder: config.builder.clone(),
    }
}

impl OperatorConfig {
    /// The base images that the operator was installed with.
    #[must_use]
    pub fn default_runtime(&self) -> Runtime {
        Runtime { aem: self.runtime_aem.clone(), dispatcher: self.runtime_dispatcher.clone(), ..Runtime::default() }
    }
}
