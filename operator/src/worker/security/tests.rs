//! The security test against a tight site, an open one, and ones with faults.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::worker::testing::{fixed, server};

const QUICK: Duration = Duration::from_millis(800);
const TIGHT: &str = "404 Not Found\r\nServer: Apache\r\nX-Frame-Options: SAMEORIGIN\r\nX-Content-Type-Options: nosniff\r\nContent-Type: text/html";

async fn run_against(address: std::net::SocketAddr, more: serde_json::Value) -> Verdict<Measured> {
    let mut request = json!({"url": format!("http://{address}"), "page": "/index.html"});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    from_text(&request.to_string(), QUICK).await
}

fn measured(verdict: Verdict<Measured>) -> Measured {
    match verdict {
        Verdict::Ok(measured) => measured,
        other => panic!("{other:?}"),
    }
}

fn failing(measured: &Measured) -> Vec<(&str, &str)> {
    let failed = measured.metrics.iter().filter(|metric| !metric.passed);
    failed.map(|metric| (metric.name.as_str(), metric.actual.as_str())).collect()
}

/// Answers every request whose first line begins with `method` and `path` so, and everything else with 404.
async fn open(
    path: &'static str,
    method: &'static str,
    head: &'static str,
    body: &'static str,
) -> std::net::SocketAddr {
    server(move |request, _, mut stream| async move {
        let fits = request.starts_with(&format!("{method} {path}"));
        let (head, body) = if fits { (head, body) } else { (TIGHT, "") };
        let text = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        let _ = stream.write_all(text.as_bytes()).await;
    })
    .await
}

#[tokio::test]
async fn a_tight_site_passes_every_check() {
    let address = fixed(TIGHT, "<h1>Not found</h1>").await;
    let measured = measured(run_against(address, json!({})).await);
    assert_eq!(failing(&measured), []);
    assert_eq!(measured.metrics.len(), CHECKS.len());
    assert!(measured.message.ends_with("nothing found"), "{}", measured.message);
}

/// A site that answers everything with its home page betrays nothing by that.
#[tokio::test]
async fn a_site_that_answers_everything_with_a_page_is_not_suspected() {
    let head = "200 OK\r\nX-Frame-Options: DENY\r\nX-Content-Type-Options: nosniff\r\nContent-Type: text/html";
    let address = fixed(head, "<!doctype html><html><h1>Welcome</h1></html>").await;
    assert_eq!(failing(&measured(run_against(address, json!({})).await)), []);
}

#[tokio::test]
async fn each_hole_is_found_by_its_check() {
    let json = "200 OK\r\nContent-Type: application/json";
    let page = "200 OK\r\nX-Frame-Options: SAMEORIGIN\r\nX-Content-Type-Options: nosniff\r\nContent-Type: text/html";
    for (path, method, head, body, check) in [
        ("/content.1.json ", "GET", json, "{\"a\":1}", "sling_get_servlet"),
        ("/content.infinity.json", "GET", "300 Multiple Choices", "[\"/content.2.json\"]", "sling_get_servlet"),
        ("/home/users.1.json", "GET", json, "{\"a\":1}", "user_profile_default_access"),
        ("/bin/querybuilder.json?", "GET", json, "{\"success\":true}", "query_builder"),
        ("/bin/querybuilder.json/a.css", "GET", json, "{\"success\":true}", "dispatcher_filter_bypass"),
        ("/system/console ", "GET", page, "<title>Adobe Experience Manager Web Console</title>", "felix_console"),
        (
            "/system/console ",
            "GET",
            "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"OSGi Management Console\"",
            "",
            "felix_console",
        ),
        (
            "/system/console/configMgr ",
            "GET",
            "302 Found\r\nLocation: /system/sling/form/login.html?resource=%2Fsystem%2Fconsole%2FconfigMgr",
            "",
            "felix_console",
        ),
        ("/dispatcher/invalidate.cache", "POST", "200 OK", "OK 3\n", "cq_dispatcher_configuration"),
        ("/server/default/jcr:root/content.json", "GET", json, "{\"a\":1}", "davex_health_check"),
        ("/tmp/launchway-security-test", "POST", "418 I'm a teapot", "", "sling_post_servlet"),
        ("/content/launchway-security-test", "POST", "418 I'm a teapot", "", "sling_referrer_filter"),
        ("/crx/de/index.jsp", "GET", page, "<title>CRXDE Lite</title>", "crxde_support"),
        ("/crx/server/crx.default/jcr:root.1.json", "GET", json, "{\"a\":1}", "davex_health_check"),
        ("/content ", "PROPFIND", "207 Multi-Status", "", "webdav_health_check"),
        ("/content ", "OPTIONS", "200 OK\r\nDAV: 1,2", "", "webdav_health_check"),
        ("/ ", "TRACE", "200 OK\r\nContent-Type: message/http", "TRACE / HTTP/1.1\r\n", "http_trace"),
        ("/index.html ", "GET", "200 OK\r\nX-Content-Type-Options: nosniff", "", "web_server_configuration"),
        ("/index.html ", "GET", "200 OK\r\nX-Frame-Options: DENY", "", "content_type_options"),
        ("/index.html ", "GET", "404 Not Found\r\nServer: Apache/2.4.62 (Debian)", "", "version_disclosure"),
        ("/index.html ", "GET", "404 Not Found\r\nX-Powered-By: Servlet", "", "version_disclosure"),
        (
            "/libs/cq/ui/content/dumplibs.html",
            "GET",
            page,
            "<h1>Client Libraries</h1>",
            "cq_html_library_manager_config",
        ),
        ("/content/we-retail/us/en.html", "GET", page, "<title>We.Retail</title>", "example_content_packages"),
        ("/index.html?wcmmode=edit", "GET", page, "<cq data-path=\"/a\">", "wcm_filter_configuration"),
        ("/etc/replication/agents.publish.1.json", "GET", json, "{\"a\":1}", "replication_agents"),
        ("/dispatcher/invalidate.cache", "POST", page, "<H1>OK</H1>", "cq_dispatcher_configuration"),
        ("/libs/foundation/components/page/page.jsp", "GET", "200 OK", "<%@page session='false'%>", "script_source"),
        ("/launchway-security-test.html", "GET", "500 Error", "boom\n\tat org.apache.sling.X", "stack_traces"),
    ] {
        let address = open(path, method, head, body).await;
        let measured = measured(run_against(address, json!({})).await);
        assert_eq!(failing(&measured), [(check, "1")], "{method} {path}: {}", measured.message);
    }
}

#[tokio::test]
async fn a_default_log_in_is_found_by_who_it_makes() {
    let address = server(|request, _, mut stream| async move {
        let request = request.to_lowercase();
        // admin:admin, and only where the session is told.
        let fits = request.contains("authorization: basic ywrtaw46ywrtaw4=") && request.contains("sessioninfo");
        let body = if fits { "{\"userID\":\"admin\"}" } else { "{\"userID\":\"anonymous\"}" };
        let head = if request.contains("sessioninfo") { "200 OK\r\nContent-Type: application/json" } else { TIGHT };
        let text = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        let _ = stream.write_all(text.as_bytes()).await;
    })
    .await;
    let measured = measured(run_against(address, json!({})).await);
    assert_eq!(failing(&measured), [("default_login_accounts", "1")]);
    assert!(measured.message.contains("GET /system/sling/info.sessionInfo.json as admin"), "{}", measured.message);
}

#[tokio::test]
async fn a_check_can_be_left_out_by_its_name_alone() {
    let address = open("/bin/querybuilder.json?", "GET", "200 OK", "{}").await;
    let measured = measured(run_against(address, json!({"skip": ["query_builder"]})).await);
    assert_eq!(failing(&measured), []);
    assert_eq!(measured.metrics.len(), CHECKS.len() - 1);
    let Verdict::Error(reason) = run_against(address, json!({"skip": ["querybuilder"]})).await else { panic!() };
    assert!(reason.message.contains("there is no check `querybuilder`"), "{reason:?}");
}

/// A firewall that closes the connection has refused; one that says nothing at all has told nothing.
#[tokio::test]
async fn silence_is_not_safety() {
    let closed = server(|request, _, mut stream| async move {
        if request.starts_with("GET /index.html") {
            let text = format!("HTTP/1.1 {TIGHT}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(text.as_bytes()).await;
        }
    })
    .await;
    assert_eq!(failing(&measured(run_against(closed, json!({})).await)), []);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let silent = server(move |request, _, mut stream| {
        let count = count.clone();
        async move {
            if request.starts_with("GET /home/users.1.json") {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
            let text = format!("HTTP/1.1 {TIGHT}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(text.as_bytes()).await;
        }
    })
    .await;
    let Verdict::Error(reason) = run_against(silent, json!({})).await else { panic!() };
    assert!(reason.message.contains("GET /home/users.1.json: time-out"), "{reason:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 2, "it is asked twice");
}

#[tokio::test]
async fn a_site_that_is_down_is_an_error_and_no_pass() {
    crate::tests_support::tls();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let Verdict::Error(reason) = run_against(address, json!({})).await else { panic!() };
    assert!(reason.message.contains("nothing was tested"), "{reason:?}");
}

#[tokio::test]
async fn the_report_shows_findings_and_does_not_obey_them() {
    let outcome = Outcome {
        metric: none_of("felix_console", launchway_crds::step::Severity::Critical, 1),
        title: "title",
        remedy: "remedy",
        findings: vec!["GET /: <script>alert(1)</script>".into()],
        unanswered: vec![],
        probes: 3,
    };
    let request: Request = serde_json::from_value(json!({"url": "http://stage"})).unwrap();
    let page = page(&request, &[outcome]);
    assert!(page.contains("felix_console") && page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
}
