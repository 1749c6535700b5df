//! The smoke test against a server that answers what a test needs.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::*;
use crate::worker::testing::{fixed, server};

const QUICK: Pace = Pace { pause: Duration::from_millis(20), each: Duration::from_millis(400) };

async fn outcome(address: SocketAddr, check: Value, seconds: u64) -> Value {
    let text = json!({"url": format!("http://{address}"), "host": null, "checks": [check], "timeoutSeconds": seconds});
    serde_json::to_value(from_text(&text.to_string(), QUICK).await).unwrap()
}

fn message(outcome: &Value) -> &str {
    assert_eq!(outcome["failed"]["reason"], "TestFailed", "{outcome}");
    outcome["failed"]["message"].as_str().unwrap()
}

#[tokio::test]
async fn a_page_with_the_text_passes() {
    let address = fixed("200 OK", "<h1>Welcome</h1>").await;
    let got = outcome(address, json!({"path": "/a.html", "status": 200, "contains": "Welcome"}), 5).await;
    assert_eq!(got, json!({"ok": {"checks": 1}}));
}

#[tokio::test]
async fn a_wrong_status_is_told_with_the_page() {
    let address = fixed("404 Not Found", "").await;
    let got = outcome(address, json!({"path": "/a.html"}), 0).await;
    let message = message(&got);
    assert!(message.starts_with("/a.html: expected status 200, got 404"), "{message}");
}

#[tokio::test]
async fn a_missing_text_is_told() {
    let address = fixed("200 OK", "something else").await;
    let got = outcome(address, json!({"path": "/", "contains": "Welcome"}), 0).await;
    assert!(message(&got).contains("expected the text `Welcome`, it is not in the 14 bytes"), "{got}");
}

#[tokio::test]
async fn a_redirect_is_the_answer() {
    let address = fixed("302 Found\r\nLocation: http://192.0.2.1/login", "").await;
    assert_eq!(outcome(address, json!({"path": "/", "status": 302}), 0).await, json!({"ok": {"checks": 1}}));
    let got = outcome(address, json!({"path": "/"}), 0).await;
    assert!(message(&got).contains("got 302 Found to http://192.0.2.1/login"), "{got}");
}

#[tokio::test]
async fn a_page_that_comes_up_late_passes() {
    let address = server(|_, number, mut stream| async move {
        let head = if number < 3 { "503 Service Unavailable" } else { "200 OK" };
        let _ = stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes()).await;
    })
    .await;
    assert_eq!(outcome(address, json!({"path": "/"}), 10).await, json!({"ok": {"checks": 1}}));
}

#[tokio::test]
async fn a_server_that_never_answers_costs_its_time_out() {
    let address = server(|_, _, stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let begun = Instant::now();
    let got = outcome(address, json!({"path": "/slow"}), 1).await;
    assert!(message(&got).starts_with("/slow: no answer: time-out (tried"), "{got}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_endless_page_is_read_to_its_limit() {
    let address = server(|_, _, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await;
        let block = [b'x'; 65536];
        while stream.write_all(&block).await.is_ok() {}
    })
    .await;
    let got = outcome(address, json!({"path": "/", "contains": "y"}), 0).await;
    assert!(message(&got).contains("it is not in the first 1 MiB"), "{got}");
}

#[tokio::test]
async fn the_host_header_can_be_another() {
    let address = server(|head, _, mut stream| async move {
        let there = head.to_lowercase().contains("host: www.example.com\r\n");
        let status = if there { "200 OK" } else { "421 Misdirected Request" };
        let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n").as_bytes()).await;
    })
    .await;
    let text = format!(
        r#"{{"url":"http://{address}/","host":"www.example.com","checks":[{{"path":"/"}}],"timeoutSeconds":0}}"#
    );
    assert_eq!(from_text(&text, QUICK).await, Verdict::Ok(Passed { checks: 1 }));
}

#[tokio::test]
async fn a_bad_request_is_the_platforms_fault() {
    for text in ["", "{}", r#"{"url":"nowhere","checks":[{"path":"/"}],"timeoutSeconds":1}"#] {
        crate::tests_support::tls();
        let got = serde_json::to_value(from_text(text, QUICK).await).unwrap();
        assert_eq!(got["error"]["reason"], "Invalid", "{text}: {got}");
        assert!(got["error"]["message"].as_str().unwrap().starts_with("LAUNCHWAY_SMOKE: "), "{got}");
    }
}
