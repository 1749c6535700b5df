//! Addresses that notifications go to and that do what they should not: a real server, a real client.

#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use launchway_operator::notify::{
    send::{Refusal, Sender},
    sign::Signer,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// How long the client waits here.
const PATIENCE: Duration = Duration::from_secs(1);
const SECRET: &[u8] = b"a secret of some length";

/// A server that does one thing with every connection.
async fn server<F, W>(behave: F) -> SocketAddr
where
    F: Fn(TcpStream) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(behave(stream));
        }
    });
    address
}

/// A server that reads a request, and writes this.
async fn answers(text: &'static str) -> SocketAddr {
    server(move |mut stream| async move {
        request(&mut stream).await;
        let _ = stream.write_all(text.as_bytes()).await;
    })
    .await
}

/// Head and body of a request.
async fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut read = Vec::new();
    let mut buffer = [0_u8; 4096];
    loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(read[..at].to_vec()).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if read.len() - at - 4 >= length.parse::<usize>().unwrap() {
                return (head, read[at + 4..].to_vec());
            }
        }
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the request is whole");
        read.extend_from_slice(&buffer[..count]);
    }
}

async fn send(address: SocketAddr) -> Result<(), Refusal> {
    let body = br#"{"specversion":"1.0"}"#.to_vec();
    let headers = Signer::new(SECRET).unwrap().headers("uid.started.execution.1", Timestamp::UNIX_EPOCH, &body);
    Sender::within(PATIENCE).post(&format!("http://{address}/hook"), None, headers, body).await
}

fn later(result: Result<(), Refusal>, part: &str) {
    let Err(Refusal::Later(why)) = result else { panic!("{result:?} should be tried again") };
    assert!(why.contains(part), "`{why}` does not say `{part}`");
}

#[tokio::test]
async fn an_event_arrives_whole_and_with_a_signature_that_can_be_checked() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let address = server(move |mut stream| {
        let tell = tell.clone();
        async move {
            tell.send(request(&mut stream).await).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    })
    .await;
    send(address).await.unwrap();
    let (head, body) = told.recv().await.unwrap();
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {head}")).to_owned()
    };
    assert!(head.starts_with("POST /hook HTTP/1.1"), "{head}");
    assert_eq!(header("content-type"), "application/cloudevents+json; charset=utf-8");
    let checked = Signer::new(SECRET).unwrap().headers(&header("webhook-id"), Timestamp::UNIX_EPOCH, &body);
    for (name, value) in checked {
        assert_eq!(header(name), value);
    }
}

#[tokio::test]
async fn who_never_answers_or_answers_drop_by_drop_is_left_in_time() {
    let silent = server(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    });
    let dripping = server(|mut stream| async move {
        request(&mut stream).await;
        for byte in b"HTTP/1.1 200 OK\r\nx: ".iter().chain(b"y".iter().cycle()) {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    for address in [silent.await, dripping.await] {
        let begun = Instant::now();
        later(send(address).await, "no answer within");
        assert!(begun.elapsed() < PATIENCE * 3, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn an_endless_body_is_not_read() {
    let written = Arc::new(AtomicU64::new(0));
    let counter = written.clone();
    let address = server(move |mut stream| {
        let counter = counter.clone();
        async move {
            request(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            let chunk = [&b"10000\r\n"[..], &vec![b'x'; 0x10000], b"\r\n"].concat();
            while stream.write_all(&chunk).await.is_ok() {
                counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
        }
    })
    .await;
    send(address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = written.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(written.load(Ordering::Relaxed), before, "the connection is closed");
    assert!(before < 16 << 20, "{before} bytes");
}

#[tokio::test]
async fn an_endless_head_is_refused() {
    let address = server(|mut stream| async move {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        let line = format!("x: {}\r\n", "y".repeat(8000));
        while stream.write_all(line.as_bytes()).await.is_ok() {}
    })
    .await;
    let begun = Instant::now();
    assert!(matches!(send(address).await, Err(Refusal::Later(_))));
    assert!(begun.elapsed() < PATIENCE * 3);
}

#[tokio::test]
async fn a_redirect_takes_nothing_elsewhere() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let elsewhere = server(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        async {}
    })
    .await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let address = server(move |mut stream| async move {
            request(&mut stream).await;
            let text = format!("HTTP/1.1 {status}\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(text.as_bytes()).await;
        })
        .await;
        later(send(address).await, "redirects are not followed");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    later(send(answers("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await).await, "503");
    later(send(answers("HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n").await).await, "401");
    later(send(answers("SSH-2.0-nothing of the kind\r\n\r\n").await).await, "");
    later(send(answers("").await).await, "");
    let gone = send(answers("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n").await).await;
    assert!(matches!(gone, Err(Refusal::Never(_))), "{gone:?}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    later(send(closed).await, "refused");
}
