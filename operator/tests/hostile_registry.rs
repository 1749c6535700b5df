//! The registry client against servers that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use launchway_operator::image::Blob;
use launchway_operator::image::blob::Hasher;
use launchway_operator::registry::{Client, ClientOptions, Credentials, ErrorKind, Pushed, Repository, Silent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came in.
#[derive(Clone, Debug)]
struct Seen {
    method: String,
    path: String,
    head: String,
    body: usize,
}

impl Seen {
    fn authorization(&self) -> Option<String> {
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization:"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    }
}

enum Answer {
    Whole(String, Vec<u8>),
    /// Head, then bytes without end.
    Endless(String),
    /// Head, then these bytes, then the connection breaks.
    Cut(String, Vec<u8>),
    /// Nothing, connection closed.
    Close,
}

fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    Answer::Whole(head + "\r\n", body.to_vec())
}

struct Double {
    host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Double {
    async fn start(respond: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let record = Arc::clone(&seen);
        let respond = Arc::new(respond);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (record, respond) = (Arc::clone(&record), Arc::clone(&respond));
                tokio::spawn(async move { serve(stream, &record, respond.as_ref()).await });
            }
        });
        Self { host, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn repository(&self) -> Repository {
        Repository::parse(&format!("{}/a/b", self.host)).unwrap()
    }

    fn client(&self) -> Client {
        let json = format!(r#"{{"auths":{{"{}":{{"username":"user","password":"secret"}}}}}}"#, self.host);
        Client::new(ClientOptions {
            plain_http: [self.host.clone()].into(),
            credentials: Credentials::from_docker_config(&json).unwrap(),
        })
        .unwrap()
    }
}

async fn serve(
    mut stream: TcpStream,
    record: &Mutex<Vec<Seen>>,
    respond: &(dyn Fn(&Seen, usize) -> Answer + Send + Sync),
) {
    let mut data = Vec::new();
    let end = loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => data.extend_from_slice(&piece[..read]),
        }
        // A TLS greeting is no HTTP.
        if data[0] == 0x16 {
            return;
        }
        if let Some(at) = data.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&data[..end]).into_owned();
    let length: usize = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or_default();
    let mut body = data.len() - end;
    let mut piece = vec![0; 65536];
    while body < length {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => body += read,
        }
    }
    let mut words = head.split_whitespace();
    let seen = Seen {
        method: words.next().unwrap_or_default().to_owned(),
        path: words.next().unwrap_or_default().to_owned(),
        head: head.clone(),
        body,
    };
    let number = {
        let mut all = record.lock().unwrap();
        all.push(seen.clone());
        all.len()
    };
    match respond(&seen, number) {
        Answer::Whole(head, body) => {
            let _ = stream.write_all(head.as_bytes()).await;
            if seen.method != "HEAD" {
                let _ = stream.write_all(&body).await;
            }
        }
        Answer::Endless(head) => {
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(&[b' '; 65536]).await.is_ok() {}
        }
        Answer::Cut(head, body) => {
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
        Answer::Close => {}
    }
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn credentials_never_leave_for_another_host() {
    let thief = Double::start(|_, _| answer("200 OK", &[], br#"{"token":"x"}"#)).await;
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", thief.host);
    let double = Double::start(move |_, _| answer("401 Unauthorized", &[("WWW-Authenticate", &realm)], b"")).await;
    let error = double.client().get_manifest(&double.repository(), "latest").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    assert!(error.message.contains("token server"), "{error}");
    assert!(thief.seen().is_empty());
    assert!(double.seen().iter().all(|seen| seen.authorization().is_none()));
}

#[tokio::test]
async fn tokens_are_fetched_used_and_renewed() {
    let tokens = Arc::new(AtomicUsize::new(0));
    let issued = Arc::clone(&tokens);
    let double = Double::start(move |seen, _| {
        if seen.path.starts_with("/token") {
            let number = issued.fetch_add(1, Ordering::SeqCst);
            return answer("200 OK", &[], format!(r#"{{"token":"t{number}"}}"#).as_bytes());
        }
        // The first token is refused later, as one that ran out.
        let current = format!("Bearer t{}", if seen.path.ends_with("late") { 1 } else { 0 });
        if seen.authorization() == Some(current) {
            return answer("200 OK", &[("Content-Type", "application/vnd.oci.image.manifest.v1+json")], b"{}");
        }
        let host = seen
            .head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("host:").map(|host| host.trim().to_owned()))
            .unwrap();
        let realm = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
        answer("401 Unauthorized", &[("WWW-Authenticate", &realm)], b"")
    })
    .await;
    let client = double.client();
    for tag in ["one", "two", "late"] {
        assert!(client.get_manifest(&double.repository(), tag).await.unwrap().is_some(), "{tag}");
    }
    assert_eq!(tokens.load(Ordering::SeqCst), 2);
    for seen in double.seen() {
        let basic = seen.authorization().is_some_and(|value| value.starts_with("Basic "));
        assert_eq!(basic, seen.path.starts_with("/token"), "{seen:?}");
        if basic {
            assert!(seen.path.contains("scope=repository%3Aa%2Fb%3Apull"), "{}", seen.path);
        }
    }
}

#[tokio::test]
async fn login_loops_end() {
    let double =
        Double::start(|_, _| answer("401 Unauthorized", &[("WWW-Authenticate", "Basic realm=\"x\"")], b"")).await;
    let error = double.client().get_manifest(&double.repository(), "latest").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(double.seen().len() <= 3);
}

#[tokio::test]
async fn endless_and_oversized_answers() {
    let endless = |head: &'static str| Double::start(move |_, _| Answer::Endless(head.to_owned()));
    let double = endless("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await;
    let started = Instant::now();
    let error = double.client().get_manifest(&double.repository(), "latest").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
    let double = endless("HTTP/1.1 200 OK\r\nContent-Length: 3000000000\r\n\r\n").await;
    assert_eq!(
        double.client().get_manifest(&double.repository(), "latest").await.unwrap_err().kind,
        ErrorKind::Invalid
    );
    let double = endless("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n").await;
    assert_eq!(
        double.client().get_manifest(&double.repository(), "latest").await.unwrap_err().kind,
        ErrorKind::Refused
    );
    let double = endless("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await;
    let mut file = tempfile::tempfile().unwrap();
    let error = double
        .client()
        .download(&double.repository(), &Hasher::of(b"x"), 1000, &mut file, (&Silent, ""))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn wrong_content_is_noticed() {
    let double = Double::start(|_, _| {
        answer("200 OK", &[("Docker-Content-Digest", &Hasher::of(b"lie").to_string())], b"{\"other\":1}")
    })
    .await;
    let (client, repository) = (double.client(), double.repository());
    let wanted = Hasher::of(b"wanted");
    assert_eq!(client.get_manifest(&repository, &wanted.to_string()).await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(client.head_manifest(&repository, &wanted.to_string()).await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(client.get_blob(&repository, &wanted, 1000).await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(
        client.put_manifest(&repository, "t", "application/x", b"{}").await.unwrap_err().kind,
        ErrorKind::Invalid
    );
    let mut file = tempfile::tempfile().unwrap();
    assert_eq!(
        client.download(&repository, &wanted, 11, &mut file, (&Silent, "")).await.unwrap_err().kind,
        ErrorKind::Invalid
    );
}

#[tokio::test]
async fn redirects_stay_safe() {
    let elsewhere = Double::start(|_, _| answer("200 OK", &[], b"stolen")).await;
    for target in [
        format!("http://{}/x", elsewhere.host),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://169.254.169.254/x".to_owned(),
        "https://localhost/x".to_owned(),
        "file:///etc/passwd".to_owned(),
        "//".to_owned(),
    ] {
        let to = target.clone();
        let double = Double::start(move |_, _| answer("307 Temporary Redirect", &[("Location", &to)], b"")).await;
        let error = double.client().get_blob(&double.repository(), &Hasher::of(b"stolen"), 100).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{target}: {error}");
    }
    assert!(elsewhere.seen().is_empty());
    let double = Double::start(|seen, _| {
        if seen.path == "/moved" {
            answer("200 OK", &[], b"here")
        } else {
            answer("302 Found", &[("Location", "/moved")], b"")
        }
    })
    .await;
    assert_eq!(double.client().get_blob(&double.repository(), &Hasher::of(b"here"), 100).await.unwrap(), b"here");
    let double = Double::start(|_, _| answer("302 Found", &[("Location", "/again")], b"")).await;
    assert!(
        double
            .client()
            .get_blob(&double.repository(), &Hasher::of(b"x"), 100)
            .await
            .unwrap_err()
            .message
            .contains("redirects")
    );
}

#[tokio::test]
async fn uploads_go_to_the_registry_only() {
    let elsewhere = Double::start(|_, _| answer("201 Created", &[], b"")).await;
    let location = format!("http://{}/upload", elsewhere.host);
    let double = Double::start(move |seen, _| match seen.method.as_str() {
        "POST" => answer("202 Accepted", &[("Location", &location)], b""),
        _ => answer("404 Not Found", &[], b""),
    })
    .await;
    let blob = Blob::from_bytes(b"content".to_vec());
    let error = double
        .client()
        .push_blob(&double.repository(), &Hasher::of(b"content"), Arc::new(blob), None, (&Silent, ""))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn declined_mounts_become_uploads_and_queries_are_kept() {
    let double = Double::start(|seen, _| match seen.method.as_str() {
        "POST" => answer("202 Accepted", &[("Location", "/session?state=abc%3D")], b""),
        "PUT" => answer("201 Created", &[], b""),
        _ => answer("404 Not Found", &[], b""),
    })
    .await;
    let from = Repository::parse(&format!("{}/c", double.host)).unwrap();
    let digest = Hasher::of(b"content");
    let pushed = double
        .client()
        .push_blob(
            &double.repository(),
            &digest,
            Arc::new(Blob::from_bytes(b"content".to_vec())),
            Some(&from),
            (&Silent, ""),
        )
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Uploaded);
    let seen = double.seen();
    assert!(seen[1].path.contains("mount=sha256%3A") && seen[1].path.contains("from=c"), "{}", seen[1].path);
    assert!(seen[2].path.starts_with("/session?state=abc%3D&digest=sha256%3A"), "{}", seen[2].path);
    assert_eq!(seen[2].body, 7);
    assert!(!seen[2].head.to_ascii_lowercase().contains("transfer-encoding"));
}

#[tokio::test]
async fn busy_registries_are_asked_again_and_not_for_ever() {
    let double = Double::start(|_, number| match number {
        1 => answer("429 Too Many Requests", &[("Retry-After", "0")], b""),
        2 => answer("503 Service Unavailable", &[("Retry-After", "0")], b""),
        3 => Answer::Close,
        _ => answer("200 OK", &[], b"{}"),
    })
    .await;
    assert!(double.client().get_manifest(&double.repository(), "latest").await.is_ok());
    let double = Double::start(|_, _| answer("503 Service Unavailable", &[("Retry-After", "0")], b"")).await;
    let error = double.client().get_manifest(&double.repository(), "latest").await.unwrap_err();
    assert_eq!((error.kind, double.seen().len()), (ErrorKind::Unreachable, 5));
}

#[tokio::test]
async fn broken_downloads_continue() {
    let content: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = Hasher::of(&content);
    let whole = content.clone();
    let double = Double::start(move |seen, _| {
        let from = seen.head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=")?.trim_end_matches('-').parse::<usize>().ok());
        let rest = &whole[from.unwrap_or(0)..];
        let head = match from {
            Some(from) => format!("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-99999/100000\r\nContent-Length: {}\r\n\r\n", rest.len()),
            None => "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_owned(),
        };
        if rest.len() > 40_000 { Answer::Cut(head, rest[..30_000].to_vec()) } else { Answer::Whole(head, rest.to_vec()) }
    })
    .await;
    let mut file = tempfile::tempfile().unwrap();
    double.client().download(&double.repository(), &digest, 100_000, &mut file, (&Silent, "")).await.unwrap();
    assert_eq!(Blob::from_file(file).unwrap().digest().unwrap(), digest);
    assert_eq!(double.seen().len(), 3);
}

#[tokio::test]
async fn unreachable_is_said_quickly() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = format!("127.0.0.1:{port}");
    let client = Client::new(ClientOptions { plain_http: [host.clone()].into(), ..ClientOptions::default() }).unwrap();
    let repository = Repository::parse(&format!("{host}/a")).unwrap();
    let started = Instant::now();
    let error = client.get_manifest(&repository, "latest").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.message.contains(&host) && error.message.contains("plain HTTP"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn https_is_the_default() {
    let double = Double::start(|_, _| answer("200 OK", &[], b"{}")).await;
    let client = Client::new(ClientOptions::default()).unwrap();
    let result = client.get_manifest(&double.repository(), "latest").await;
    assert!(result.is_err(), "plain HTTP must be asked for");
    assert!(double.seen().is_empty());
}

#[tokio::test]
async fn broken_uploads_start_again() {
    let puts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&puts);
    let double = Double::start(move |seen, _| match seen.method.as_str() {
        "POST" => answer("202 Accepted", &[("Location", "/session")], b""),
        "PUT" => match count.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::Close,
            1 => answer("503 Service Unavailable", &[], b""),
            _ => answer("201 Created", &[], b""),
        },
        _ => answer("404 Not Found", &[], b""),
    })
    .await;
    let content = vec![5; 3 << 20];
    let digest = Hasher::of(&content);
    let blob = Arc::new(Blob::from_bytes(content));
    let pushed =
        double.client().push_blob(&double.repository(), &digest, blob.clone(), None, (&Silent, "")).await.unwrap();
    assert_eq!((pushed, puts.load(Ordering::SeqCst)), (Pushed::Uploaded, 3));
    let full = Double::start(move |seen, _| match seen.method.as_str() {
        "POST" => answer("202 Accepted", &[("Location", "/session")], b""),
        "PUT" => answer("507 Insufficient Storage", &[], br#"{"errors":[{"code":"UNKNOWN","message":"disk full"}]}"#),
        _ => answer("404 Not Found", &[], b""),
    })
    .await;
    let error = full.client().push_blob(&full.repository(), &digest, blob, None, (&Silent, "")).await.unwrap_err();
    assert!(error.message.contains("disk full"), "{error}");
}
