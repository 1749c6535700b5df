//! A registry that answers every request with a refusal.

use launchway_e2e::{Failure, Outcome, cluster::Cluster};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const ANSWER: &str = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 69\r\nConnection: close\r\n\r\n\
{\"errors\":[{\"code\":\"DENIED\",\"message\":\"nobody may read this, at all\"}]}";

/// Starts it; it ends with the test. Its address as pods know it.
pub async fn refusing(cluster: &Cluster) -> Outcome<String> {
    let host = match std::env::var("LAUNCHWAY_HOST") {
        Ok(host) => host,
        // The node's gateway is this machine (e2e/cluster/README.md).
        Err(_) if cluster.local => cluster.registry.replacen(".2:5000", ".1", 1),
        Err(_) => {
            return Err(Failure::new("pods must be able to call this machine")
                .remedy("set LAUNCHWAY_HOST to an address of this machine that pods reach, or unset KUBECONFIG"));
        }
    };
    let listener = TcpListener::bind("0.0.0.0:0").await.map_err(|error| Failure::new(format!("no port: {error}")))?;
    let port = listener.local_addr().map_err(|error| Failure::new(error.to_string()))?.port();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = connection.read(&mut request).await;
                let _ = connection.write_all(ANSWER.as_bytes()).await;
            });
        }
    });
    Ok(format!("{host}:{port}"))
}
