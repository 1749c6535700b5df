//! Answers without end, of other content, at other addresses, and not at all.

use std::time::{Duration, Instant};

use launchway_crds::digest::ImageRef;
use launchway_operator::artifact;
use launchway_operator::build::{BaseRef, BuildError, base};
use launchway_operator::image::Blob;
use launchway_operator::image::blob::Hasher;
use launchway_operator::image::contract::ImageTier;
use launchway_operator::image::manifest::{DOCKER_MANIFEST, INDEX, LAYER_GZIP, MANIFEST};
use launchway_operator::registry::{Client, ClientOptions, ErrorKind, Repository, Silent};
use serde_json::{Value, json};

use crate::double::{Answer, Double, SOCKETS, answer, head};

/// Why this is no base image.
async fn load(double: &Double, image: &ImageRef) -> BuildError {
    let image = BaseRef::Image(image.clone());
    base::load(&double.client(), &image, ImageTier::Aem, ("linux", "amd64")).await.unwrap_err()
}

#[tokio::test]
async fn endless_and_oversized_answers_are_cut() {
    let manifest = |status: &'static str| async move {
        let double = Double::start(move |_, _| Answer::Endless(head(status))).await;
        let started = Instant::now();
        let error = double.client().get_manifest(&double.repository(), "latest").await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(10), "{status}: {:?}", started.elapsed());
        assert!(double.sent() < SOCKETS, "{status}: {} bytes", double.sent());
        error.kind
    };
    assert_eq!(manifest("200 OK").await, ErrorKind::Invalid);
    assert_eq!(manifest("403 Forbidden").await, ErrorKind::Refused);
    assert_eq!(manifest("418 I'm a teapot").await, ErrorKind::Invalid);
    assert_eq!(manifest("307 Temporary Redirect").await, ErrorKind::Invalid);

    let declared = "HTTP/1.1 200 OK\r\nContent-Length: 3000000000\r\n\r\n";
    let double = Double::start(move |_, _| Answer::Endless(declared.to_owned())).await;
    let error = double.client().get_manifest(&double.repository(), "latest").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    let digest = Hasher::of(b"x");
    assert_eq!(
        double.client().get_blob(&double.repository(), &digest, 1000).await.unwrap_err().kind,
        ErrorKind::Invalid
    );

    let double = Double::start(|_, _| Answer::Endless(head("200 OK"))).await;
    let mut file = tempfile::tempfile().unwrap();
    let error =
        double.client().download(&double.repository(), &digest, 1000, &mut file, (&Silent, "")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    assert!(file.metadata().unwrap().len() <= 1000);
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    for head in [
        format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(2 << 20)),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Many: x\r\n".repeat(10_000)),
        "no http\r\n\r\n".to_owned(),
    ] {
        let double = Double::start(move |_, _| Answer::Whole(head.clone(), Vec::new())).await;
        let error = double.hasty().get_manifest(&double.repository(), "latest").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    }
}

#[tokio::test]
async fn slow_and_silent_answers_end() {
    let digest = Hasher::of(b"x");
    for drip in [true, false] {
        let double = Double::start(move |_, _| if drip { Answer::Drip(head("200 OK")) } else { Answer::Silent }).await;
        let (client, repository) = (double.hasty(), double.repository());
        let started = Instant::now();
        assert_eq!(client.get_manifest(&repository, "t").await.unwrap_err().kind, ErrorKind::Unreachable);
        assert_eq!(client.get_blob(&repository, &digest, 9999).await.unwrap_err().kind, ErrorKind::Unreachable);
        let mut file = tempfile::tempfile().unwrap();
        let error = client.download(&repository, &digest, 99_999, &mut file, (&Silent, "")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
        // Three attempts each, with pauses between them.
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn compressed_answers_are_neither_asked_for_nor_unpacked() {
    use std::io::Write;
    // 8 MiB of zeros in 8 KiB.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![0; 8 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    let size = bomb.len();
    let double = Double::start(move |_, _| answer("200 OK", &[("Content-Encoding", "gzip")], &bomb)).await;
    let (client, repository) = (double.client(), double.repository());
    let fetched = client.get_manifest(&repository, "latest").await.unwrap().unwrap();
    assert_eq!(fetched.bytes.len(), size);
    let digest = Hasher::of(&vec![0; 8 << 20]);
    assert_eq!(client.get_manifest(&repository, &digest.to_string()).await.unwrap_err().kind, ErrorKind::Invalid);
    assert!(double.seen().iter().all(|seen| seen.header("accept-encoding").is_none()));
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
    for size in [11, 10, 12] {
        let mut file = tempfile::tempfile().unwrap();
        let error = client.download(&repository, &wanted, size, &mut file, (&Silent, "")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{size}: {error}");
    }
}

/// Manifests that no build starts from, each with a word of the rule that it breaks.
fn unusable_manifests() -> Vec<(Value, &'static str)> {
    let digest = Hasher::of(b"x").to_string();
    let blob = |kind: &str| json!({"mediaType": kind, "digest": digest, "size": 1});
    let image =
        |layers: Value| json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": blob("c"), "layers": layers});
    let layers: Vec<Value> = (0..10_000).map(|_| blob(LAYER_GZIP)).collect();
    let mut foreign = blob(LAYER_GZIP);
    foreign["urls"] = json!(["http://169.254.169.254/"]);
    let entry =
        json!({"mediaType": INDEX, "digest": digest, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}});
    vec![
        (json!({"schemaVersion": 1, "fsLayers": []}), "schemaVersion"),
        (json!({"schemaVersion": 2, "mediaType": "text/html"}), "media type"),
        (json!([]), "schemaVersion"),
        (image(json!(layers)), "more than"),
        (image(json!([foreign])), "foreign"),
        (image(json!([{"mediaType": "l", "digest": "md5:00", "size": 1}])), "digest"),
        (image(json!([{"mediaType": "l", "digest": digest, "size": -1}])), "size"),
        (image(json!({})), "layers"),
        (json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "layers": []}), "configuration"),
        (json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}), "index"),
    ]
}

#[tokio::test]
async fn documents_of_other_kinds_are_refused_with_the_rule() {
    for (document, rule) in unusable_manifests() {
        let bytes = serde_json::to_vec(&document).unwrap();
        let digest = Hasher::of(&bytes);
        // An index finds itself in its entry: nesting without end.
        let nested = String::from_utf8(bytes.clone()).unwrap().contains("platform");
        let double = Double::start(move |seen, _| {
            if seen.path.ends_with(&digest.to_string()) || !nested {
                return answer("200 OK", &[("Content-Type", MANIFEST)], &bytes);
            }
            answer("404 Not Found", &[], b"")
        })
        .await;
        let image = ImageRef::new(&double.repository().to_string(), digest).unwrap();
        let error = load(&double, &image).await;
        let shown = error.to_string();
        assert!(shown.contains(rule) || nested && shown.contains("does not exist"), "{rule}: {shown}");
        assert!(artifact::list(&double.client(), &image).await.is_err(), "{rule}");
        assert!(double.seen().len() <= 4, "{rule}: {} requests", double.seen().len());
    }
}

#[tokio::test]
async fn an_index_in_an_index_is_not_followed_twice() {
    let inner = serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})).unwrap();
    let platform = json!({"os": "linux", "architecture": "amd64"});
    let entry = json!({"mediaType": INDEX, "digest": Hasher::of(&inner).to_string(), "size": inner.len(), "platform": platform});
    let outer = serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})).unwrap();
    let digest = Hasher::of(&outer);
    let double = Double::start(move |seen, _| {
        let body = if seen.path.ends_with(&digest.to_string()) { &outer } else { &inner };
        answer("200 OK", &[("Content-Type", INDEX)], body)
    })
    .await;
    let image = ImageRef::new(&double.repository().to_string(), digest).unwrap();
    let error = load(&double, &image).await;
    assert!(error.to_string().contains("another index"), "{error}");
    assert_eq!(double.seen().len(), 2);
}

#[tokio::test]
async fn redirects_stay_safe() {
    let elsewhere = Double::start(|_, _| answer("200 OK", &[], b"stolen")).await;
    for target in [
        format!("http://{}/x", elsewhere.host),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://169.254.169.254/x".to_owned(),
        "https://localhost/x".to_owned(),
        "https://[::1]/x".to_owned(),
        "https://0.0.0.0/x".to_owned(),
        "file:///etc/passwd".to_owned(),
        "//".to_owned(),
    ] {
        let to = target.clone();
        let double = Double::start(move |_, _| answer("307 Temporary Redirect", &[("Location", &to)], b"")).await;
        let (client, repository, digest) = (double.client(), double.repository(), Hasher::of(b"stolen"));
        let error = client.get_blob(&repository, &digest, 100).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{target}: {error}");
        assert_eq!(client.head_blob(&repository, &digest).await.unwrap_err().kind, ErrorKind::Invalid, "{target}");
        assert_eq!(client.get_manifest(&repository, "t").await.unwrap_err().kind, ErrorKind::Invalid, "{target}");
    }
    assert!(elsewhere.seen().is_empty());
    let double = Double::start(|_, _| answer("307 Temporary Redirect", &[], b"")).await;
    let error = double.client().get_blob(&double.repository(), &Hasher::of(b"x"), 100).await.unwrap_err();
    assert!(error.message.contains("without a usable address"), "{error}");

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
    let error = double.client().get_blob(&double.repository(), &Hasher::of(b"x"), 100).await.unwrap_err();
    assert!(error.message.contains("redirects"), "{error}");
    assert!(double.seen().len() <= 6);
}

#[tokio::test]
async fn busy_registries_are_asked_again_and_not_for_ever() {
    let double = Double::start(|_, number| match number {
        1 => answer("429 Too Many Requests", &[("Retry-After", "0")], b""),
        2 => answer("503 Service Unavailable", &[("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")], b""),
        3 => Answer::Close,
        _ => answer("200 OK", &[], b"{}"),
    })
    .await;
    assert!(double.client().get_manifest(&double.repository(), "latest").await.is_ok());
    let double = Double::start(|_, _| answer("503 Service Unavailable", &[("Retry-After", "0")], b"")).await;
    let error = double.client().get_manifest(&double.repository(), "latest").await.unwrap_err();
    assert_eq!((error.kind, double.seen().len()), (ErrorKind::Unreachable, 5));
    for year in ["31536000", "Thu, 31 Dec 9998 23:59:59 GMT", "99999999999999999999999999"] {
        let double = Double::start(move |_, _| answer("429 Too Many Requests", &[("Retry-After", year)], b"")).await;
        let started = Instant::now();
        let error = double.client().get_manifest(&double.repository(), "latest").await.unwrap_err();
        assert_eq!((error.kind, double.seen().len()), (ErrorKind::Unreachable, 1), "{year}: {error}");
        assert!(error.message.contains("come back in"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test]
async fn broken_downloads_continue() {
    let content: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = Hasher::of(&content);
    let whole = content.clone();
    let double = Double::start(move |seen, _| {
        let range = seen.header("range");
        let from = range.and_then(|text| text.strip_prefix("bytes=")?.trim_end_matches('-').parse::<usize>().ok());
        let rest = &whole[from.unwrap_or(0)..];
        let head = match from {
            Some(from) => format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-99999/100000\r\nContent-Length: {}\r\n\r\n",
                rest.len()
            ),
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
async fn parts_of_a_blob_that_were_not_asked_for_are_refused() {
    for range in ["bytes 0-9/10", "bytes 4-9/10", "nonsense", ""] {
        let double = Double::start(move |seen, _| {
            if seen.header("range").is_none() {
                return Answer::Cut("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n".to_owned(), b"01234".to_vec());
            }
            answer("206 Partial Content", &[("Content-Range", range)], b"56789")
        })
        .await;
        let mut file = tempfile::tempfile().unwrap();
        let digest = Hasher::of(b"0123456789");
        let error =
            double.client().download(&double.repository(), &digest, 10, &mut file, (&Silent, "")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{range}: {error}");
    }
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
async fn a_manifest_whose_blobs_were_cleaned_up_is_named() {
    let body = br#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#;
    for (status, kind) in [("404 Not Found", ErrorKind::NotFound), ("400 Bad Request", ErrorKind::Invalid)] {
        let double = Double::start(move |_, _| answer(status, &[], body)).await;
        let error = double.client().put_manifest(&double.repository(), "t", MANIFEST, b"{}").await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains("blob unknown to registry"), "{error}");
        assert_eq!(double.seen().len(), 1);
    }
}
