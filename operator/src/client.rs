//! Clients of the apiserver that cannot hang: kube's default one retries a 503 for minutes and waits for
//! an answer for ever.

use std::{future::Future, time::Duration};

use kube::{Client, Config, Error};

/// The longest that one request of a person's command may take.
pub const CALL: Duration = Duration::from_secs(30);

/// Establishing a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Silence on a connection that owes an answer. The apiserver itself gives a request 60 s, admission included,
/// but nothing that this program sends takes so long.
const READ: Duration = Duration::from_secs(20);
/// A peer that takes no bytes.
const WRITE: Duration = Duration::from_secs(10);

/// A client for single requests: no hidden retries, and no silence longer than 20 s.
///
/// ## Warning
/// Do not watch or follow logs with it: a quiet stream would be cut. See [`watching`].
///
/// # Errors
/// When TLS or the credentials of the configuration cannot be set up.
#[allow(clippy::unused_async, reason = "Client::try_from spawns a task: the signature forces callers into the runtime")]
pub async fn bounded(mut config: Config) -> Result<Client, Error> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(READ);
    config.write_timeout = Some(WRITE);
    // Without it the time that a pooled connection sat idle counts as silence of the next answer.
    config.reset_reader_on_write = true;
    Client::try_from(config)
}

/// A client for watches and log streams: they may be quiet for as long as they like; kube's watcher has an
/// idle time-out and a back-off of its own.
///
/// # Errors
/// When TLS or the credentials of the configuration cannot be set up.
#[allow(clippy::unused_async, reason = "as for `bounded`")]
pub async fn watching(mut config: Config) -> Result<Client, Error> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = None;
    config.write_timeout = Some(WRITE);
    Client::try_from(config)
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The apiserver, or the way to it, said no.
    #[error("{}", explain(.0))]
    Kube(#[source] Error),
    /// Nobody answered.
    #[error("no answer from the apiserver within {} s: the request may or may not have taken effect", .0.as_secs())]
    TimedOut(Duration),
}

impl CallError {
    /// The answer's status, when there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Kube(Error::Api(status)) => Some(status),
            Self::Kube(_) | Self::TimedOut(_) => None,
        }
    }

    /// Whether the object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }
}

/// Waits for a request, but not longer than `limit`.
///
/// # Errors
/// The request's own error, or that the time was over.
pub async fn within<T>(limit: Duration, request: impl Future<Output = Result<T, Error>>) -> Result<T, CallError> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(CallError::Kube),
        Err(_) => Err(CallError::TimedOut(limit)),
    }
}

/// An error in one sentence: the apiserver's own words where there are any, without what wraps them.
#[must_use]
pub fn explain(error: &Error) -> String {
    match error {
        Error::Api(status) => match status.message.split_once(REFUSED) {
            // `…is forbidden: ValidatingAdmissionPolicy 'x' with binding 'x' denied request: <what the policy says>`
            Some((_, said)) => said.trim().to_string(),
            None if status.message.is_empty() => format!("the apiserver answered {} {}", status.code, status.reason),
            None => status.message.clone(),
        },
        Error::Auth(error) => format!("the credentials of the kubeconfig do not work: {error}"),
        other => format!("cannot reach the apiserver: {}", root(other)),
    }
}

/// Precedes the message of an admission policy.
const REFUSED: &str = " denied request: ";

/// The innermost cause: outer ones only say that something failed.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;

    /// A server that accepts connections and never answers.
    async fn mute() -> (tokio::task::JoinHandle<()>, Config) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut open = vec![];
            while let Ok((stream, _)) = listener.accept().await {
                open.push(stream);
            }
        });
        (task, Config::new(format!("http://{address}").parse().unwrap()))
    }

    #[test]
    fn a_refusal_of_a_policy_is_only_what_the_policy_says() {
        let refusal = "pipelineexecutions.launchway.dev \"wknd-1\" is forbidden: ValidatingAdmissionPolicy \
                       'launchway-requests' with binding 'launchway-requests' denied request: only once";
        let error = |message: &str| Error::Api(kube::core::Status::failure(message, "Invalid").with_code(422).boxed());
        assert_eq!(explain(&error(refusal)), "only once");
        assert_eq!(explain(&error("pipelines \"x\" not found")), "pipelines \"x\" not found");
        assert_eq!(explain(&error("")), "the apiserver answered 422 Invalid");
    }

    #[tokio::test]
    async fn a_closed_port_is_named_by_its_cause() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        crate::tests_support::tls();
        let client = bounded(Config::new(format!("http://{address}").parse().unwrap())).await.unwrap();
        let maps: Api<ConfigMap> = Api::namespaced(client, "default");
        let error = within(CALL, maps.get("x")).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot reach the apiserver: Connection refused"), "{error}");
    }

    #[tokio::test]
    async fn a_mute_apiserver_ends_a_call_at_its_limit() {
        crate::tests_support::tls();
        let (server, config) = mute().await;
        let client = bounded(config).await.unwrap();
        let maps: Api<ConfigMap> = Api::namespaced(client, "default");
        let error = within(Duration::from_millis(200), maps.get("x")).await.unwrap_err();
        assert!(matches!(error, CallError::TimedOut(_)), "{error}");
        assert!(!error.is_not_found());
        server.abort();
    }
}
