//! SIGTERM and SIGINT: the first asks the process to end, the second ends it.

use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Exit code of a process that a second signal ended.
const IMPATIENT: i32 = 130;

/// Tells, to as many as want to know, that the process has been asked to end.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// Asks for the end from inside the process.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

impl Shutdown {
    /// A pair for code that decides itself when to end.
    #[must_use]
    pub fn pair() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (Trigger(sender), Self(receiver))
    }

    /// Listens to the process's signals from now on.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn on_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            for again in [false, true] {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if again {
                    tracing::warn!(signal = name, "second signal: ending at once");
                    std::process::exit(IMPATIENT);
                }
                tracing::info!(signal = name, "ending: no new work, the work at hand is finished first");
                sender.send_replace(true);
            }
        });
        Ok(Self(receiver))
    }

    /// Whether the process has been asked to end.
    #[must_use]
    pub fn requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when the process has been asked to end, and at once if it was asked before.
    pub async fn wait(mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // Nobody can ask any more: that is not the same as having been asked.
            std::future::pending::<()>().await;
        }
    }
}

impl Trigger {
    /// Asks for the end.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn everyone_hears_it_and_late_comers_too() {
        let (trigger, shutdown) = Shutdown::pair();
        let early = tokio::spawn(shutdown.clone().wait());
        assert!(!shutdown.requested());
        trigger.fire();
        early.await.unwrap();
        shutdown.clone().wait().await;
        assert!(shutdown.requested());
    }

    #[tokio::test]
    async fn a_lost_trigger_is_no_request() {
        let (trigger, shutdown) = Shutdown::pair();
        drop(trigger);
        assert!(tokio::time::timeout(Duration::from_millis(20), shutdown.wait()).await.is_err());
    }
}
