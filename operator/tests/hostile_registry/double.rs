//! A registry that answers as a test says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use launchway_operator::registry::{Client, ClientOptions, Credentials, Patience, Repository};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// More than a client may read of an answer without end: the largest document, and what sockets hold.
pub const SOCKETS: u64 = 16 << 20;

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<String> {
        let prefix = format!("{name}:");
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&prefix))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    }

    pub fn authorization(&self) -> Option<String> {
        self.header("authorization")
    }
}

pub enum Answer {
    Whole(String, Vec<u8>),
    /// Head, then bytes without end.
    Endless(String),
    /// Head, then a byte now and then, without end.
    Drip(String),
    /// Head, then these bytes, then the connection breaks.
    Cut(String, Vec<u8>),
    /// Nothing, connection closed.
    Close,
    /// Nothing, connection open.
    Silent,
}

pub fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    Answer::Whole(head + "\r\n", body.to_vec())
}

/// An answer that ends when the connection does.
pub fn head(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n")
}

/// What a double does with the body of a request, by the request's path.
enum Reading {
    Whole,
    /// `/early`: the answer comes before the body is read, and the connection stays open.
    Early,
    /// `/reset`: the connection is reset in the middle of the body.
    Reset,
    /// `/stuck`: nothing is read, nothing is said.
    Stuck,
}

pub struct Double {
    pub host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    sent: Arc<AtomicU64>,
}

type Respond = dyn Fn(&Seen, usize) -> Answer + Send + Sync;

impl Double {
    pub async fn start(respond: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (seen, sent): (Arc<Mutex<Vec<Seen>>>, Arc<AtomicU64>) = Default::default();
        let (record, count) = (Arc::clone(&seen), Arc::clone(&sent));
        let respond: Arc<Respond> = Arc::new(respond);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (record, respond, count) = (Arc::clone(&record), Arc::clone(&respond), Arc::clone(&count));
                tokio::spawn(async move {
                    let _ = serve(stream, &record, respond.as_ref(), &count).await;
                });
            }
        });
        Self { host, seen, sent }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests of a method came.
    pub fn count(&self, method: &str) -> usize {
        self.seen().iter().filter(|seen| seen.method == method).count()
    }

    /// Bytes of answers without end that somebody took.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    pub fn repository(&self) -> Repository {
        Repository::parse(&format!("{}/a/b", self.host)).unwrap()
    }

    pub fn client(&self) -> Client {
        self.client_with(Patience::default())
    }

    /// A client that waits for nothing longer than half a second.
    pub fn hasty(&self) -> Client {
        let short = Duration::from_millis(500);
        self.client_with(Patience {
            connect: short,
            idle: short,
            answer: short,
            silence: short,
            retry_after: Duration::from_secs(2),
            slowest: 1 << 20,
        })
    }

    fn client_with(&self, patience: Patience) -> Client {
        let json = format!(r#"{{"auths":{{"{}":{{"username":"user","password":"secret"}}}}}}"#, self.host);
        Client::new(ClientOptions {
            plain_http: [self.host.clone()].into(),
            credentials: Credentials::from_docker_config(&json).unwrap(),
            patience,
            ..ClientOptions::default()
        })
        .unwrap()
    }
}

async fn read_head(stream: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut data = Vec::new();
    loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await? {
            0 => return Ok(None),
            read => data.extend_from_slice(&piece[..read]),
        }
        // A TLS greeting is no HTTP.
        if data[0] == 0x16 {
            return Ok(None);
        }
        if let Some(at) = data.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = data.split_off(at + 4);
            return Ok(Some((String::from_utf8_lossy(&data).into_owned(), body)));
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    record: &Mutex<Vec<Seen>>,
    respond: &Respond,
    count: &AtomicU64,
) -> std::io::Result<()> {
    let Some((head, body)) = read_head(&mut stream).await? else {
        return Ok(());
    };
    let mut words = head.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().to_owned();
    let mut seen = Seen { method, path, head: head.clone(), body };
    let length: usize = seen.header("content-length").and_then(|text| text.parse().ok()).unwrap_or_default();
    let reading = match length {
        0 => Reading::Whole,
        _ if seen.path.contains("/early") => Reading::Early,
        _ if seen.path.contains("/reset") => Reading::Reset,
        _ if seen.path.contains("/stuck") => Reading::Stuck,
        _ => Reading::Whole,
    };
    let wanted = match reading {
        Reading::Whole => length,
        Reading::Reset => length / 2,
        Reading::Early | Reading::Stuck => 0,
    };
    let mut piece = vec![0; 65536];
    while seen.body.len() < wanted {
        match stream.read(&mut piece).await? {
            0 => return Ok(()),
            read => seen.body.extend_from_slice(&piece[..read]),
        }
    }
    let number = {
        let mut all = record.lock().unwrap();
        all.push(seen.clone());
        all.len()
    };
    match reading {
        // With unread bytes in its buffer a closed socket says reset.
        Reading::Reset => return Ok(()),
        Reading::Stuck => std::future::pending().await,
        Reading::Whole | Reading::Early => {}
    }
    match respond(&seen, number) {
        Answer::Whole(head, body) => {
            stream.write_all(head.as_bytes()).await?;
            if seen.method != "HEAD" {
                stream.write_all(&body).await?;
            }
        }
        Answer::Endless(head) => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                let written = stream.write(&[b' '; 65536]).await?;
                count.fetch_add(written as u64, Ordering::SeqCst);
            }
        }
        Answer::Drip(head) => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(b" ").await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Answer::Cut(head, body) => {
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Answer::Close => {}
        Answer::Silent => std::future::pending().await,
    }
    if matches!(reading, Reading::Early) {
        std::future::pending::<()>().await;
    }
    stream.shutdown().await
}
