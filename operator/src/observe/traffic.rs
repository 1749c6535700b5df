//! What dispatchers have counted, by the base-image contract (`docs/base-images.md`): three counters in the text format of
//! Prometheus.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use futures::future::join_all;
use launchway_crds::conditions::truncate;
use reqwest::Client;

use crate::{
    plan::environment::world::{Counters, Silent},
    worker::http::{body, cause, client},
};

/// The longest that a dispatcher may take to answer.
const LIMIT: Duration = Duration::from_secs(3);
/// Most that is read of an answer: three numbers, and whatever else an image counts.
const ANSWER_MAX: usize = 64 << 10;
/// Longest reason that is told of one dispatcher.
const REASON_MAX: usize = 200;

const REQUESTS: &str = "launchway_dispatcher_requests_total";
const ERRORS: &str = "launchway_dispatcher_errors_total";
const SECONDS: &str = "launchway_dispatcher_request_seconds_total";

/// What each dispatcher says that it has counted, or why it is not known. All are asked at once.
pub(super) async fn counters(
    addresses: &BTreeMap<i32, Result<SocketAddr, Silent>>,
) -> BTreeMap<i32, Result<Counters, Silent>> {
    let client = client(concat!("launchway/", env!("CARGO_PKG_VERSION")), LIMIT);
    let asked = addresses.iter().map(async |(ordinal, address)| {
        let away = |why: String| Silent::Away(truncate(&why, REASON_MAX));
        let counted = match (address, &client) {
            (Err(silent), _) => Err(silent.clone()),
            (Ok(_), Err(why)) => Err(away(why.clone())),
            (Ok(address), Ok(client)) => ask(client, *address).await.map_err(away),
        };
        (*ordinal, counted)
    });
    join_all(asked).await.into_iter().collect()
}

async fn ask(client: &Client, address: SocketAddr) -> Result<Counters, String> {
    let failed = |error: reqwest::Error| cause(&error);
    let mut answer = client.get(format!("http://{address}/metrics")).send().await.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(format!("/metrics answers {}", answer.status().as_u16()));
    }
    let bytes = body(&mut answer, ANSWER_MAX).await.map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    // The last line of what is longer may be half a number.
    let whole = if bytes.len() < ANSWER_MAX { &*text } else { text.rsplit_once('\n').map_or("", |(lines, _)| lines) };
    read(whole)
}

fn read(text: &str) -> Result<Counters, String> {
    let of = |name: &str| sum(text, name).ok_or_else(|| format!("/metrics has no {name}, or no number for it"));
    Ok(Counters {
        requests: whole(of(REQUESTS)?),
        errors: whole(of(ERRORS)?),
        milliseconds: whole(of(SECONDS)? * 1000.0),
    })
}

/// The sum of all samples of a name, whatever their labels; none if there is no sample, or one that no counter can have.
fn sum(text: &str, name: &str) -> Option<f64> {
    let samples = text.lines().filter_map(|line| {
        let rest = line.trim().strip_prefix(name)?;
        match rest.chars().next()? {
            '{' => rest.rsplit_once('}').map(|(_, value)| value),
            ' ' | '\t' => Some(rest),
            // Another name that begins alike.
            _ => None,
        }
    });
    let numbers = samples.map(|value| value.split_whitespace().next()?.parse::<f64>().ok());
    let known = numbers.map(|number| number.filter(|number| number.is_finite() && *number >= 0.0));
    known.reduce(|sum, next| Some(sum? + next?)).flatten()
}

#[expect(clippy::cast_possible_truncation, reason = "a cast of a float is bounded")]
fn whole(number: f64) -> i64 {
    number.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::testing::{fixed, server};

    #[test]
    fn counters_are_read_from_the_text_of_any_exporter() {
        let text = "# HELP launchway_dispatcher_requests_total Requests.\n\
            # TYPE launchway_dispatcher_requests_total counter\n\
            launchway_dispatcher_requests_total{host=\"a} 7\",method=\"GET\"} 40 1795810834000\n\
            launchway_dispatcher_requests_total{host=\"b\"} 2\n\
            launchway_dispatcher_requests_total_created 9\n\
            launchway_dispatcher_errors_total 0\n\
            launchway_dispatcher_request_seconds_total 1.2345e1\n";
        assert_eq!(read(text), Ok(Counters { requests: 42, errors: 0, milliseconds: 12345 }));
    }

    #[test]
    fn what_is_missing_or_no_counter_is_named() {
        let all = |requests: &str| {
            format!(
                "{REQUESTS} {requests}\nlaunchway_dispatcher_errors_total 1\nlaunchway_dispatcher_request_seconds_total 1\n"
            )
        };
        assert!(read(&all("1")).is_ok());
        for wrong in ["NaN", "-1", "+Inf", "many", ""] {
            assert!(read(&all(wrong)).unwrap_err().contains(REQUESTS), "{wrong}");
        }
        assert!(read("launchway_dispatcher_requests_total 1\n").unwrap_err().contains(ERRORS));
        assert!(read("<html>").is_err());
        assert_eq!(read(&all("1e300")).unwrap().requests, i64::MAX);
    }

    #[tokio::test]
    async fn every_dispatcher_is_asked_and_whoever_does_not_answer_says_why() {
        const TEXT: &str = "launchway_dispatcher_requests_total 3\nlaunchway_dispatcher_errors_total 1\n\
            launchway_dispatcher_request_seconds_total 0.5\n";
        let mute = server(|_, _, stream| async move {
            tokio::time::sleep(Duration::from_secs(30)).await;
            drop(stream);
        });
        let endless = server(|_, _, mut stream| async move {
            use tokio::io::AsyncWriteExt;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'#'; 4096]).await.is_ok() {}
        });
        let (head, tail) = TEXT.split_at(TEXT.len() - 2);
        let cut: &str =
            Box::leak(format!("{}\n{head}{tail}", "#".repeat(ANSWER_MAX - head.len() - 1)).into_boxed_str());
        let addresses = BTreeMap::from([
            (0, Ok(fixed("200 OK", TEXT).await)),
            (1, Ok(fixed("404 Not Found", "").await)),
            (2, Ok(mute.await)),
            (3, Err(Silent::NoPort)),
            (4, Ok("127.0.0.1:9".parse().unwrap())),
            (5, Ok(endless.await)),
            (6, Ok(fixed("200 OK", cut).await)),
        ]);
        let began = std::time::Instant::now();
        let found = counters(&addresses).await;
        assert!(began.elapsed() < LIMIT * 2, "they are asked at once: {:?}", began.elapsed());
        assert_eq!(found[&0], Ok(Counters { requests: 3, errors: 1, milliseconds: 500 }));
        assert_eq!(found[&1], Err(Silent::Away("/metrics answers 404".into())));
        assert_eq!(found[&2], Err(Silent::Away("time-out".into())));
        assert_eq!(found[&3], Err(Silent::NoPort));
        let why = |ordinal| match &found[&ordinal] {
            Err(Silent::Away(why)) => why.clone(),
            other => panic!("{other:?}"),
        };
        assert!(why(4).contains("refused"), "{}", why(4));
        assert!(why(5).contains(REQUESTS), "{}", why(5));
        assert!(why(6).contains(SECONDS), "half a number is none: {}", why(6));
    }
}
