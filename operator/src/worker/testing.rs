//! Servers that answer what a test of a worker needs.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A server; `answer` gets the request's head and the number of the request, from 0.
pub(crate) async fn server<F, A>(answer: F) -> SocketAddr
where
    F: Fn(String, usize, TcpStream) -> A + Send + Sync + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    crate::tests_support::tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (answer, count) = (Arc::new(answer), AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap_or_default();
                answer(String::from_utf8_lossy(&head[..read]).into_owned(), number, stream).await;
            });
        }
    });
    address
}

/// A server that gives every request the same answer.
pub(crate) async fn fixed(head: &'static str, body: &'static str) -> SocketAddr {
    server(move |_, _, mut stream| async move {
        let text = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        let _ = stream.write_all(text.as_bytes()).await;
    })
    .await
}
