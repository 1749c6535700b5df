use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes};
use ring::hmac;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{BODY_MAX, Receiver, Watcher, serve::serve};
use crate::{metrics::Metrics, observe::source::Key, shutdown::Shutdown};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const PATH: &str = "/hooks/wknd/main";
const BODY: &str = r#"{"ref":"refs/heads/main"}"#;

/// A replica that works: one pipeline has a webhook, one a secret that is too short, one a secret that cannot be read.
#[derive(Default)]
struct House(Mutex<Vec<String>>);

impl House {
    fn rung(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Watcher for House {
    fn secret<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Vec<u8>>, String>> {
        Box::pin(async move {
            match key.name.as_str() {
                "main" | "other" => Ok(Some(SECRET.into())),
                "short" => Ok(Some(b"short".to_vec())),
                "away" => Err("no answer".into()),
                _ => Ok(None),
            }
        })
    }

    fn ring(&self, key: &Key) {
        self.0.lock().unwrap().push(key.to_string());
    }
}

fn receiver() -> (Receiver, Arc<House>) {
    let receiver = Receiver::new(Arc::new(Metrics::new()));
    let house = Arc::new(House::default());
    receiver.serve_for(Some(house.clone()));
    (receiver, house)
}

fn mac(secret: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text).as_ref().to_vec()
}

fn hex(secret: &str, text: &str) -> String {
    mac(secret.as_bytes(), text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn github(secret: &str, body: &str) -> String {
    format!("sha256={}", hex(secret, body))
}

/// Header fields of a Standard Webhook that was made so many seconds from now.
fn standard(age: i64, id: &str) -> Vec<(&'static str, String)> {
    let time = jiff::Timestamp::now().as_second() - age;
    let signature = STANDARD.encode(mac(SECRET.as_bytes(), format!("{id}.{time}.{BODY}").as_bytes()));
    vec![
        ("webhook-id", id.to_string()),
        ("webhook-timestamp", time.to_string()),
        ("webhook-signature", format!("v1,AAAA v1,{signature}")),
    ]
}

async fn send(receiver: &Receiver, method: &str, path: &str, fields: &[(&str, String)], body: &str) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_string()))).unwrap();
    let Ok(response) = receiver.respond(request).await;
    let status = response.status().as_u16();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&text).into_owned())
}

/// Fields of a request's head.
type Fields = Vec<(&'static str, String)>;

/// Every way to sign, right and wrong: field, its value, and the status of the answer.
#[tokio::test]
async fn requests_are_believed_by_their_signature_alone() {
    let one = |name: &'static str, value: String| vec![(name, value)];
    let with = |mut fields: Fields, name, value: &str| {
        fields.retain(|(field, _)| *field != name);
        fields.push((name, value.to_string()));
        fields
    };
    let right = github(SECRET, BODY);
    let table: Vec<(&str, Fields, u16)> = vec![
        ("GitHub", one("x-hub-signature-256", right.clone()), 202),
        ("GitHub, another secret", one("x-hub-signature-256", github("another secret, as long", BODY)), 401),
        ("GitHub, another payload", one("x-hub-signature-256", github(SECRET, "{}")), 401),
        ("GitHub, one digit off", one("x-hub-signature-256", right.replace(&right[7..8], "g")), 400),
        ("GitHub, SHA-1 alone", one("x-hub-signature", "sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709".into()), 401),
        ("GitHub, cut", one("x-hub-signature-256", right[..40].into()), 400),
        ("GitHub, no algorithm", one("x-hub-signature-256", hex(SECRET, BODY)), 400),
        (
            "GitHub, twice",
            [one("x-hub-signature-256", right.clone()), one("x-hub-signature-256", right.clone())].concat(),
            400,
        ),
        ("GitHub, endless", one("x-hub-signature-256", "a".repeat(5000)), 400),
        ("GitHub, ping", with(one("x-hub-signature-256", right.clone()), "x-github-event", "ping"), 200),
        ("Gitea", one("x-gitea-signature", hex(SECRET, BODY)), 202),
        ("Forgejo", one("x-forgejo-signature", hex(SECRET, BODY)), 202),
        ("Gitea, another secret", one("x-gitea-signature", hex("another secret, as long", BODY)), 401),
        (
            "Gitea, beside a forged GitHub one",
            vec![("x-gitea-signature", hex(SECRET, BODY)), ("x-hub-signature-256", github("no", BODY))],
            401,
        ),
        ("GitLab", one("x-gitlab-token", SECRET.into()), 202),
        ("GitLab, another token", one("x-gitlab-token", "0123456789abcdef".into()), 401),
        ("GitLab, empty", one("x-gitlab-token", String::new()), 401),
        ("Harbor", one("authorization", SECRET.into()), 202),
        ("distribution", one("authorization", format!("Bearer {SECRET}")), 202),
        ("another bearer", one("authorization", "Bearer x".into()), 401),
        ("Basic", one("authorization", format!("Basic {}", STANDARD.encode(SECRET))), 401),
        ("Standard Webhooks", standard(0, "a"), 202),
        ("Standard Webhooks, a clock that is behind", standard(290, "b"), 202),
        ("Standard Webhooks, old", standard(400, "c"), 401),
        ("Standard Webhooks, of the future", standard(-400, "d"), 401),
        (
            "Standard Webhooks, made young again",
            with(standard(400, "e"), "webhook-timestamp", &jiff::Timestamp::now().as_second().to_string()),
            401,
        ),
        ("Standard Webhooks, another id", with(standard(0, "f"), "webhook-id", "g"), 401),
        ("Standard Webhooks, no time", with(standard(0, "h"), "webhook-timestamp", "soon"), 400),
        ("Standard Webhooks, another algorithm", with(standard(0, "i"), "webhook-signature", "v1a,AAAA"), 400),
        ("Standard Webhooks, many signatures", with(standard(0, "j"), "webhook-signature", &"v1,AAAA ".repeat(9)), 400),
        ("nothing", vec![], 401),
        ("not UTF-8", one("x-gitlab-token", "\u{80}".into()), 401),
    ];
    for (what, fields, status) in table {
        let (receiver, house) = receiver();
        let answer = send(&receiver, "POST", PATH, &fields, BODY).await;
        assert_eq!(answer.0, status, "{what}: {}", answer.1);
        assert_eq!(house.rung(), usize::from(status == 202), "{what}");
        assert!(!answer.1.contains(SECRET), "{what}");
    }
}

#[tokio::test]
async fn a_secret_of_standard_webhooks_may_be_written_as_their_tools_do() {
    use super::verify::{Refusal, Verifier};
    let encoded = format!("whsec_{}", STANDARD.encode(SECRET));
    let fields = standard(0, "a");
    let fields: Vec<(&str, &[u8])> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let judged = |secret: &str| {
        let mut verifier = Verifier::new(&fields, secret.as_bytes(), jiff::Timestamp::now().as_second())?;
        verifier.update(BODY.as_bytes());
        verifier.finish()
    };
    assert!(judged(&encoded).is_ok() && judged(SECRET).is_ok());
    assert_eq!(judged("whsec_%%%%"), Err(Refusal::Forged));
}

#[tokio::test]
async fn a_delivery_is_taken_once_whatever_its_unsigned_fields_say() {
    let (receiver, house) = receiver();
    let signed = |id: &str| vec![("x-hub-signature-256", github(SECRET, BODY)), ("x-github-delivery", id.to_string())];
    assert_eq!(send(&receiver, "POST", PATH, &signed("one"), BODY).await.0, 202);
    assert_eq!(send(&receiver, "POST", PATH, &signed("one"), BODY).await.0, 409);
    assert_eq!(send(&receiver, "POST", PATH, &signed("another"), BODY).await.0, 409);
    // The same bytes as another sender's form are the same delivery.
    let gitea = [("x-gitea-signature", hex(SECRET, BODY))];
    assert_eq!(send(&receiver, "POST", PATH, &gitea, BODY).await.0, 409);
    assert_eq!(send(&receiver, "POST", "/hooks/wknd/other", &signed("one"), BODY).await.0, 202);
    // Who sends the secret itself could make a new request each time.
    for _ in 0..2 {
        assert_eq!(send(&receiver, "POST", PATH, &[("x-gitlab-token", SECRET.into())], BODY).await.0, 202);
    }
    assert_eq!(house.rung(), 4);
}

#[tokio::test]
async fn paths_methods_and_secrets_that_mean_nothing_are_not_told_apart() {
    let (receiver, house) = receiver();
    let fields = [("x-gitlab-token", SECRET.to_string())];
    let mut told = std::collections::BTreeSet::new();
    for path in [
        "/",
        "/hooks/wknd",
        "/hooks/wknd/",
        "/hooks//main",
        "/hooks/wknd/main/",
        "/hooks/wknd/Main",
        "/hooks/wknd/..",
        "/hooks/wknd/none",
        "/hooks/wknd/short",
    ] {
        let (status, text) = send(&receiver, "POST", path, &fields, BODY).await;
        assert_eq!(status, 404, "{path}: {text}");
        told.insert(text);
    }
    assert_eq!(told.len(), 1);
    assert_eq!(send(&receiver, "GET", PATH, &fields, "").await.0, 405);
    assert_eq!(send(&receiver, "POST", "/hooks/wknd/away", &fields, BODY).await.0, 503);
    assert_eq!(house.rung(), 0);
}

#[tokio::test]
async fn a_replica_that_does_not_work_says_when_to_come_back() {
    let (receiver, house) = receiver();
    receiver.serve_for(None);
    let request = Request::post(PATH).header("x-gitlab-token", SECRET).body(Full::new(Bytes::new())).unwrap();
    let Ok(response) = receiver.respond(request).await;
    assert_eq!((response.status().as_u16(), house.rung()), (503, 0));
    assert_eq!(response.headers()["retry-after"], "15");
}

#[tokio::test]
async fn many_requests_are_refused_before_anything_is_looked_up() {
    let (receiver, house) = receiver();
    let mut statuses = vec![];
    let begun = Instant::now();
    for _ in 0..200 {
        statuses.push(send(&receiver, "POST", PATH, &[("x-gitlab-token", SECRET.into())], BODY).await.0);
    }
    let accepted = statuses.iter().filter(|status| **status == 202).count();
    assert_eq!(statuses[..20], [202; 20]);
    assert!(statuses.iter().all(|status| [202, 429].contains(status)), "{statuses:?}");
    assert!(accepted as u64 <= 21 + begun.elapsed().as_secs() && accepted < 200, "{accepted} were accepted");
    assert_eq!(house.rung(), accepted);
}

async fn listening() -> (SocketAddr, crate::shutdown::Trigger, Arc<House>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (receiver, house) = receiver();
    let (trigger, shutdown) = Shutdown::pair();
    tokio::spawn(serve(listener, Arc::new(receiver), shutdown));
    (address, trigger, house)
}

/// Everything that comes back until the connection is closed.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = vec![];
    let _ = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut bytes)).await.expect("it ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn connection(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn sizes_and_times_end_what_never_ends() {
    let (address, _running, house) = listening().await;
    let head = |length: u64| {
        format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: {SECRET}\r\nContent-Length: {length}\r\n\r\n")
    };

    let mut whole = connection(address, &format!("{}{BODY}", head(BODY.len() as u64))).await;
    assert!(answer(&mut whole).await.starts_with("HTTP/1.1 202"));

    // Refused by what is stated, before a byte of it is there.
    let mut stated = connection(address, &head(BODY_MAX + 1)).await;
    assert!(answer(&mut stated).await.starts_with("HTTP/1.1 413"));

    // Not stated: refused once it is too long.
    let chunked =
        format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: {SECRET}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut endless = connection(address, &chunked).await;
    let piece = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    for _ in 0..40 {
        if endless.write_all(piece.as_bytes()).await.is_err() {
            break;
        }
    }
    let _ = answer(&mut endless).await;

    let mut long = connection(address, &format!("POST {PATH} HTTP/1.1\r\nX: {}", "x".repeat(100_000))).await;
    let said = answer(&mut long).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");

    // A header, and a payload, of which nothing more comes.
    let begun = Instant::now();
    let (mut header, mut payload) = (connection(address, "POST ").await, connection(address, &head(100)).await);
    let (header, payload) = tokio::join!(answer(&mut header), answer(&mut payload));
    assert!(payload.starts_with("HTTP/1.1 408"), "{payload}");
    assert!(header.is_empty() || header.starts_with("HTTP/1.1 4"), "{header}");
    assert!(begun.elapsed() < Duration::from_secs(16), "{:?}", begun.elapsed());
    assert_eq!(house.rung(), 1);
}

#[tokio::test]
async fn connections_that_say_nothing_do_not_keep_others_out_for_long() {
    let (address, _running, house) = listening().await;
    let mut idle = vec![];
    for _ in 0..400 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    let request = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: {SECRET}\r\nContent-Length: 0\r\n\r\n");
    let begun = Instant::now();
    while house.rung() == 0 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if stream.write_all(request.as_bytes()).await.is_ok() {
            let _ = stream.read(&mut [0; 64]).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
