//! What polling costs: `cargo run --release --example polling -- [PIPELINES] [SECONDS]`.
//!
//! Fifty pipelines (or as many as asked for) follow the tag of an artifact each, every ten seconds, which is the shortest
//! interval. A registry that knows conditional requests runs as a process of its own and counts. Printed are requests
//! and CPU a minute, and what the same would be at the default interval of five minutes.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use launchway_crds::{common::Span, pipeline::Source};
use launchway_operator::{
    config::OperatorArgs,
    context::Context,
    metrics::Metrics,
    observe::source::{Key, watch},
    operator_command::Parts,
    plan::pipeline::Watch,
    server::Readiness,
    shutdown::Shutdown,
    webhook::Receiver,
};
use serde_json::json;

/// The operator's arguments: those that it cannot do without mean nothing here.
#[derive(Parser)]
struct Program {
    #[command(flatten)]
    operator: OperatorArgs,
}

const INTERVAL: u64 = 10;
const DEFAULT: u64 = 300;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "--serve") {
        serve();
        return;
    }
    let number = |at: usize, default| words.get(at).map_or(default, |word| word.parse().expect("a number"));
    let (pipelines, seconds) = (number(0, 50), number(1, 60));
    let mut registry = Command::new(std::env::current_exe().unwrap())
        .arg("--serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(registry.stdout.take().unwrap());
    let mut address = String::new();
    told.read_line(&mut address).unwrap();
    println!("{pipelines} pipelines ask {} every {INTERVAL} s for {seconds} s", address.trim());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (spent, metrics) = runtime.block_on(poll(address.trim(), pipelines, seconds));
    drop(registry.stdin.take());
    let mut counts = String::new();
    told.read_to_string(&mut counts).unwrap();
    registry.wait().unwrap();
    let requests: u64 = counts.split_whitespace().next().unwrap().parse().unwrap();
    let minute = 60.0 / seconds as f64;
    let slower = INTERVAL as f64 / DEFAULT as f64;
    println!("the registry: {}", counts.trim());
    for line in metrics.lines().filter(|line| line.starts_with("launchway_polls_total{")) {
        println!("the operator: {line}");
    }
    let (requests, spent) = (requests as f64 * minute, spent.as_secs_f64() * 1000.0 * minute);
    println!("every {INTERVAL} s: {requests:.0} requests and {spent:.0} ms of CPU a minute");
    println!(
        "every 5 m, by proportion: {:.1} requests and {:.1} ms of CPU a minute",
        requests * slower,
        spent * slower
    );
}

/// Watches sources as the operator does; gives the CPU that it took, and the metrics.
async fn poll(registry: &str, pipelines: u64, seconds: u64) -> (Duration, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let metrics = Arc::new(Metrics::new());
    let client = launchway_operator::client::bounded(nowhere).await.unwrap();
    let arguments = Program::parse_from(["polling", "--image", "none", "--namespace", "none"]).operator;
    let (_running, shutdown) = Shutdown::pair();
    let context = Arc::new(Context::new(&Parts {
        client: client.clone(),
        watch_client: client,
        config: Arc::new(arguments.try_into().unwrap()),
        metrics: metrics.clone(),
        readiness: Arc::new(Readiness::new([])),
        receiver: Arc::new(Receiver::new(metrics.clone())),
        shutdown,
    }));
    for number in 0..pipelines {
        let artifact = json!({"repository": format!("{registry}/wknd/a{number}"), "tag": "main", "plainHTTP": true});
        let source: Source = serde_json::from_value(json!({ "artifact": artifact })).unwrap();
        let watch = Watch { interval: Span::from_secs(INTERVAL), soon: false };
        context.sources.set(&Key::new("wknd", &format!("p{number}")), &source, Some(watch));
    }
    let (changed, mut changes) = tokio::sync::mpsc::unbounded_channel();
    let watching = tokio::spawn(watch::run(context, changed));
    // The first answer of each is no news later.
    tokio::time::sleep(Duration::from_secs(INTERVAL + 2)).await;
    let before = cpu();
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let spent = cpu().saturating_sub(before);
    watching.abort();
    let mut first = 0;
    while changes.try_recv().is_ok() {
        first += 1;
    }
    println!("{first} first answers, then none that changed anything, in {:.1} s", begun.elapsed().as_secs_f64());
    (spent, metrics.text().unwrap())
}

/// CPU time of this process, in hundredths of a second.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// A registry with one tag that never changes; it ends with its input, and says what it was asked since 12 s after the
/// first request.
fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    let counts: Arc<[AtomicU64; 2]> = Arc::default();
    let counted = counts.clone();
    std::thread::spawn(move || {
        let mut first = None;
        for stream in listener.incoming() {
            let first = *first.get_or_insert_with(Instant::now);
            let counts = counted.clone();
            std::thread::spawn(move || answer(stream.unwrap(), first, &counts));
        }
    });
    let _ = std::io::stdin().read_to_end(&mut vec![]);
    let [all, unchanged] = [0, 1].map(|at: usize| counts[at].load(Ordering::Relaxed));
    println!("{all} requests, {unchanged} of them answered with 304");
}

fn answer(stream: TcpStream, first: Instant, counts: &[AtomicU64; 2]) {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let mut writer = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut known = false;
    while let Some(Ok(line)) = lines.next() {
        if line.to_ascii_lowercase().starts_with("if-none-match:") {
            known = line.contains(&digest);
        } else if line.is_empty() {
            if first.elapsed() > Duration::from_secs(INTERVAL + 2) {
                counts[0].fetch_add(1, Ordering::Relaxed);
                counts[1].fetch_add(u64::from(known), Ordering::Relaxed);
            }
            let status = if known { "304 Not Modified" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\nDocker-Content-Digest: {digest}\r\nContent-Length: 0\r\n\r\n");
            if writer.write_all(head.as_bytes()).is_err() {
                return;
            }
            known = false;
        }
    }
}
