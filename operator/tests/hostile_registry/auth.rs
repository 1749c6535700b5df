//! Registries and token servers that want credentials they must not have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use launchway_operator::image::Blob;
use launchway_operator::image::blob::Hasher;
use launchway_operator::registry::{ErrorKind, Repository, Silent};

use crate::double::{Answer, Double, SOCKETS, answer, head};

/// A challenge whose token server is the double itself.
fn own_realm(host: &str) -> String {
    format!("Bearer realm=\"http://{host}/token\",service=\"s\"")
}

/// A double that wants a token and whose token server answers this.
async fn with_token_answer(token: impl Fn() -> Answer + Send + Sync + 'static) -> Double {
    Double::start(move |seen, _| {
        if seen.path.starts_with("/token") {
            return token();
        }
        let realm = own_realm(&seen.header("host").unwrap());
        answer("401 Unauthorized", &[("WWW-Authenticate", &realm)], b"")
    })
    .await
}

#[tokio::test]
async fn credentials_never_leave_for_another_host() {
    let thief = Double::start(|_, _| answer("200 OK", &[], br#"{"token":"x"}"#)).await;
    for realm in [
        format!("http://{}/token", thief.host),
        "http://token.example.org/".to_owned(),
        "https://127.0.0.1/token".to_owned(),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://[::ffff:169.254.169.254]/".to_owned(),
        "https://[fe80::1]/".to_owned(),
        "https://localhost/token".to_owned(),
        "https://user:password@token.example.org/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "token".to_owned(),
    ] {
        let header = format!("Bearer realm=\"{realm}\",service=\"s\"");
        let double = Double::start(move |_, _| answer("401 Unauthorized", &[("WWW-Authenticate", &header)], b"")).await;
        let error = double.client().get_manifest(&double.repository(), "latest").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{realm}: {error}");
        assert!(error.message.contains("token server"), "{realm}: {error}");
        assert!(double.seen().iter().all(|seen| seen.authorization().is_none()), "{realm}");
    }
    assert!(thief.seen().is_empty());
}

#[tokio::test]
async fn challenges_that_cannot_be_used_are_named() {
    let long = format!("Bearer realm=\"https://token.example.org/{}\"", "x".repeat(9 << 10));
    for header in ["Negotiate", "Bearer service=\"s\"", "Bearer realm", "\"", "", &long] {
        let value = header.to_owned();
        let double = Double::start(move |_, _| answer("401 Unauthorized", &[("WWW-Authenticate", &value)], b"")).await;
        let error = double.client().get_manifest(&double.repository(), "latest").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{header}: {error}");
        assert_eq!(double.seen().len(), 1, "{header}");
    }
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
        let realm = own_realm(&seen.header("host").unwrap());
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
async fn mounts_ask_for_a_token_of_both_repositories_and_uploads_use_it() {
    let double = Double::start(|seen, _| {
        if seen.path.starts_with("/token") {
            return answer("200 OK", &[], br#"{"token":"t"}"#);
        }
        if seen.authorization().is_none() {
            let realm = own_realm(&seen.header("host").unwrap());
            return answer("401 Unauthorized", &[("WWW-Authenticate", &realm)], b"");
        }
        match seen.method.as_str() {
            "POST" => answer("202 Accepted", &[("Location", "/session")], b""),
            "PUT" => answer("201 Created", &[], b""),
            _ => answer("404 Not Found", &[], b""),
        }
    })
    .await;
    let from = Repository::parse(&format!("{}/other", double.host)).unwrap();
    let blob = Arc::new(Blob::from_bytes(b"content".to_vec()));
    let digest = Hasher::of(b"content");
    double.client().push_blob(&double.repository(), &digest, blob, Some(&from), (&Silent, "")).await.unwrap();
    let tokens: Vec<String> =
        double.seen().iter().filter(|seen| seen.path.starts_with("/token")).map(|seen| seen.path.clone()).collect();
    assert_eq!(tokens.len(), 2, "{tokens:?}");
    assert!(tokens[1].contains("scope=repository%3Aa%2Fb%3Apull%2Cpush"), "{}", tokens[1]);
    assert!(tokens[1].contains("scope=repository%3Aother%3Apull"), "{}", tokens[1]);
    let put = double.seen().into_iter().find(|seen| seen.method == "PUT").unwrap();
    assert_eq!(put.authorization().unwrap(), "Bearer t");
}

#[tokio::test]
async fn token_servers_do_not_pass_credentials_on() {
    let thief = Double::start(|_, _| answer("200 OK", &[], br#"{"token":"x"}"#)).await;
    let to = format!("http://{}/token", thief.host);
    let double = with_token_answer(move || answer("307 Temporary Redirect", &[("Location", &to)], b"")).await;
    let error = double.client().get_manifest(&double.repository(), "latest").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    assert!(error.message.contains("redirects"), "{error}");
    assert!(thief.seen().is_empty());
}

#[tokio::test]
async fn token_answers_are_bounded_and_read_strictly() {
    let double = with_token_answer(|| Answer::Endless(head("200 OK"))).await;
    let error = double.client().get_manifest(&double.repository(), "latest").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    assert!(double.sent() < SOCKETS, "{}", double.sent());
    for (body, why) in [
        ("<html>", "not JSON"),
        ("{}", "no token"),
        (r#"{"token":""}"#, "no token"),
        (r#"{"token":"a\r\nX: y"}"#, "no token"),
        (r#"{"token":5}"#, "no token"),
    ] {
        let double = with_token_answer(move || answer("200 OK", &[], body.as_bytes())).await;
        let error = double.client().get_manifest(&double.repository(), "latest").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{body}: {error}");
        assert!(error.message.contains(why), "{body}: {error}");
    }
    let double = with_token_answer(|| Answer::Silent).await;
    let error = double.hasty().get_manifest(&double.repository(), "latest").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
}

#[tokio::test]
async fn login_loops_end() {
    let double =
        Double::start(|_, _| answer("401 Unauthorized", &[("WWW-Authenticate", "Basic realm=\"x\"")], b"")).await;
    let error = double.client().get_manifest(&double.repository(), "latest").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(double.seen().len() <= 3);
    let double = with_token_answer(|| answer("200 OK", &[], br#"{"token":"t"}"#)).await;
    let error = double.client().get_manifest(&double.repository(), "latest").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(double.seen().len() <= 5, "{}", double.seen().len());
}
