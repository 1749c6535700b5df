//! `launchway operator`: the frame around the controllers. Web server, clients, Lease, signals.

use std::{future::Future, io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use kube::{Client, Config};
use tokio::{net::TcpListener, sync::watch, time};

use crate::{
    client,
    config::{ConfigError, OperatorArgs, OperatorConfig},
    lease::{self, Candidate, Leadership},
    metrics::Metrics,
    server::{self, Readiness},
    shutdown::Shutdown,
    telemetry::{self, TelemetryError},
    webhook::{self, Receiver},
};

/// What the controllers get.
#[derive(Clone)]
pub struct Parts {
    /// For single requests: bounded, without hidden retries.
    pub client: Client,
    /// For watches alone: it may be quiet.
    pub watch_client: Client,
    /// The checked arguments.
    pub config: Arc<OperatorConfig>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Checks of `/readyz`; the controllers may add their own.
    pub readiness: Arc<Readiness>,
    /// Hears from Git servers and registries; the controllers tell it what they watch.
    pub receiver: Arc<Receiver>,
    /// Resolves when no new work may be begun.
    pub shutdown: Shutdown,
}

/// What the controllers may still do after they were asked to end. Pods get 30 s before they are killed.
const DRAIN: Duration = Duration::from_secs(20);

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The arguments are refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no log.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// Signals cannot be heard.
    #[error("signal handlers cannot be installed: {0}")]
    Signals(io::Error),
    /// The port is taken, or not allowed.
    #[error("cannot listen on {0}: {1}; choose another address with --listen or --webhook-listen")]
    Listen(SocketAddr, io::Error),
    /// No way to the apiserver is configured.
    #[error("no kubeconfig and no service account: {0}")]
    NoCluster(Box<kube::config::InferConfigError>),
    /// A client cannot be made.
    #[error("{}", client::explain(.0))]
    Client(Box<kube::Error>),
    /// No random numbers.
    #[error("the system gives no random numbers for the lease's identity")]
    Random,
    /// Another replica may work now.
    #[error("leadership is lost, ending so that nothing is done twice: {0}")]
    Lost(String),
    /// The controllers ended although nobody asked them to.
    #[error("the controllers ended: {0}")]
    Controllers(String),
    /// The web server ended although nobody asked it to.
    #[error("the web server ended: {0}")]
    Server(String),
}

/// Runs the operator until it is told to end: `controllers` is called once this process holds the Lease.
pub async fn run<C, F>(args: OperatorArgs, controllers: C) -> ExitCode
where
    C: FnOnce(Parts) -> F,
    F: Future<Output = Result<(), kube::Error>>,
{
    let config = match OperatorConfig::try_from(args) {
        Ok(config) => config,
        Err(error) => return refused(&error.into()),
    };
    if let Err(error) = telemetry::init(config.log_format, &config.log) {
        return refused(&error.into());
    }
    match operate(config, controllers).await {
        Ok(()) => {
            tracing::info!("ended");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The log does not exist yet.
fn refused(error: &OperatorError) -> ExitCode {
    eprintln!("launchway operator: {error}");
    ExitCode::from(2)
}

async fn operate<C, F>(config: OperatorConfig, controllers: C) -> Result<(), OperatorError>
where
    C: FnOnce(Parts) -> F,
    F: Future<Output = Result<(), kube::Error>>,
{
    let shutdown = Shutdown::on_signals().map_err(OperatorError::Signals)?;
    let metrics = Arc::new(Metrics::new());
    let readiness = Arc::new(Readiness::new(config.leader_elect.then_some(lease::CHECK)));

    let listener =
        TcpListener::bind(config.listen).await.map_err(|error| OperatorError::Listen(config.listen, error))?;
    let router = server::router(readiness.clone(), metrics.clone());
    // Probes are answered until the very end: the server outlives the controllers.
    let (ended, end) = Shutdown::pair();
    let mut web = tokio::spawn(server::serve(listener, router, end.clone().wait()));

    let receiver = Arc::new(Receiver::new(metrics.clone()));
    if let Some(address) = config.webhook_listen {
        let listener = TcpListener::bind(address).await.map_err(|error| OperatorError::Listen(address, error))?;
        // On every replica: one that does not work says so.
        tokio::spawn(webhook::serve::serve(listener, receiver.clone(), shutdown.clone()));
    }

    let cluster = Config::infer().await.map_err(|error| OperatorError::NoCluster(Box::new(error)))?;
    let failed = |error| OperatorError::Client(Box::new(error));
    let parts = Parts {
        client: client::bounded(cluster.clone()).await.map_err(failed)?,
        watch_client: client::watching(cluster).await.map_err(failed)?,
        config: Arc::new(config),
        metrics,
        readiness,
        receiver,
        shutdown,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %parts.config.listen,
        image = parts.config.image,
        leader_elect = parts.config.leader_elect,
        "starting"
    );
    let result = tokio::select! {
        result = lead(&parts, controllers) => result,
        result = &mut web => Err(OperatorError::Server(format!("{result:?}"))),
    };
    ended.fire();
    // Who lost the Lease ends at once: whatever still runs in this process may run elsewhere by now.
    if !web.is_finished() && !matches!(result, Err(OperatorError::Lost(_))) {
        let _ = web.await;
    }
    result
}

/// Runs the controllers while this process holds the Lease.
async fn lead<C, F>(parts: &Parts, controllers: C) -> Result<(), OperatorError>
where
    C: FnOnce(Parts) -> F,
    F: Future<Output = Result<(), kube::Error>>,
{
    if !parts.config.leader_elect {
        tracing::warn!("running without a Lease: no other process may run against this cluster");
        parts.metrics.leader(true);
        return drained(controllers(parts.clone()), parts.shutdown.clone()).await;
    }
    let pod = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_else(|_| "launchway".into());
    let candidate = Candidate {
        namespace: parts.config.namespace.clone(),
        name: parts.config.lease_name.clone(),
        identity: lease::identity(&pod).map_err(|_| OperatorError::Random)?,
        timing: lease::TIMING,
    };
    let (sender, leadership) = watch::channel(Leadership::Standby);
    let (release, released) = Shutdown::pair();
    let holder = tokio::spawn(lease::run(
        parts.client.clone(),
        candidate,
        sender,
        parts.readiness.clone(),
        parts.metrics.clone(),
        released.wait(),
    ));
    let elected = tokio::select! {
        elected = reaches(leadership.clone(), |state| *state == Leadership::Leader) => elected,
        () = parts.shutdown.clone().wait() => None,
    };
    let result = if elected.is_some() {
        tokio::select! {
            // A lost Lease ends everything at once: what is dropped here is safe to do again, by the next leader.
            biased;
            lost = reaches(leadership, |state| matches!(state, Leadership::Lost(_))) => return Err(lost_by(lost)),
            result = drained(controllers(parts.clone()), parts.shutdown.clone()) => result,
        }
    } else if parts.shutdown.requested() {
        Ok(())
    } else {
        Err(lost_by(None))
    };
    release.fire();
    let _ = holder.await;
    result
}

fn lost_by(state: Option<Leadership>) -> OperatorError {
    OperatorError::Lost(match state {
        Some(Leadership::Lost(why)) => why,
        _ => "the task that renews it ended".into(),
    })
}

/// The first state that fits; None when nobody tells any more.
async fn reaches(mut states: watch::Receiver<Leadership>, fits: impl Fn(&Leadership) -> bool) -> Option<Leadership> {
    states.wait_for(|state| fits(state)).await.ok().map(|state| state.clone())
}

/// The controllers' end: when they were asked to, in bounded time; otherwise it is an error.
async fn drained(
    controllers: impl Future<Output = Result<(), kube::Error>>,
    shutdown: Shutdown,
) -> Result<(), OperatorError> {
    let asked = shutdown.clone();
    let too_long = async {
        asked.wait().await;
        time::sleep(DRAIN).await;
    };
    tokio::select! {
        result = controllers => match result {
            Ok(()) if shutdown.requested() => Ok(()),
            Ok(()) => Err(OperatorError::Controllers("without a reason".into())),
            Err(error) => Err(OperatorError::Controllers(client::explain(&error))),
        },
        () = too_long => {
            tracing::warn!(seconds = DRAIN.as_secs(), "work at hand did not end in time: the next leader takes it up");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn controllers_that_end_by_themselves_are_an_error() {
        let (trigger, shutdown) = Shutdown::pair();
        let error = drained(async { Ok(()) }, shutdown.clone()).await.unwrap_err();
        assert!(error.to_string().contains("the controllers ended"), "{error}");
        trigger.fire();
        drained(async { Ok(()) }, shutdown).await.unwrap();
    }

    #[tokio::test]
    async fn a_lease_task_that_is_gone_counts_as_lost() {
        let (sender, receiver) = watch::channel(Leadership::Standby);
        drop(sender);
        let state = reaches(receiver, |state| *state == Leadership::Leader).await;
        assert!(lost_by(state).to_string().contains("leadership is lost"));
    }
}
