//! Connections of the webhook receiver: few, short, one request each.

use std::{sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};

use super::Receiver;
use crate::shutdown::Shutdown;

/// Connections at once. More are closed at once: one that sends nothing must not keep out one that does for long.
const CONNECTIONS: usize = 256;
/// For the whole of a header.
const HEAD_TIME: Duration = Duration::from_secs(4);
/// For a request and its answer, whatever happens.
const WHOLE_TIME: Duration = Duration::from_secs(15);
/// Largest header.
const HEAD_MAX: usize = 32 << 10;
/// Pause after the system has no more sockets.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(200);

/// Serves until `shutdown`. A socket that fails is one request less.
pub async fn serve(listener: TcpListener, receiver: Arc<Receiver>, shutdown: Shutdown) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "A webhook's connection failed");
                    tokio::time::sleep(OUT_OF_SOCKETS).await;
                    continue;
                }
            },
            () = shutdown.clone().wait() => return,
        };
        let Ok(place) = room.clone().try_acquire_owned() else { continue };
        let receiver = receiver.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| receiver.respond(request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(HEAD_MAX)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            // Whatever it ended with is the sender's to know.
            let _ = tokio::time::timeout(WHOLE_TIME, connection).await;
            drop(place);
        });
    }
}
