//! Reading what a registry answers: capped, in bounded time, and as errors that say what to do.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, LINK, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use url::Url;

use super::error::{ErrorKind, RegistryError};
use super::patience::Patience;

/// Whether the same request may succeed later.
pub(super) fn retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// How long to wait before the next attempt.
///
/// # Errors
/// The time that the registry asks for (`Retry-After`, in seconds or as a date), when that is too long.
pub(super) fn pause(attempt: u32, headers: &HeaderMap, patience: &Patience) -> Result<Duration, Duration> {
    const LEAST: Duration = Duration::from_millis(100);
    let own = Duration::from_millis(250) * 2_u32.pow(attempt.min(6));
    let Some(text) = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::trim) else {
        return Ok(own);
    };
    let asked = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else if let Ok(date) = jiff::fmt::rfc2822::parse(text) {
        Duration::try_from(date.timestamp().duration_since(Timestamp::now())).unwrap_or_default()
    } else if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than a number holds.
        Duration::MAX
    } else {
        own
    };
    if asked > patience.retry_after { Err(asked) } else { Ok(asked.max(LEAST)) }
}

/// The registry asks for more time than anybody waits.
pub(super) fn too_long(place: &str, status: StatusCode, asked: Duration, patience: &Patience) -> RegistryError {
    let (asked, most) = (asked.as_secs(), patience.retry_after.as_secs());
    let what = format!("{status}, and it asks to come back in {asked} seconds, of which {most} are waited at most");
    RegistryError::new(ErrorKind::Unreachable, place, what, "Try again then, or ask for a higher limit there")
}

/// The address that an answer names, relative ones included.
pub(super) fn location(response: &Response, base: &Url) -> Option<Url> {
    let text = response.headers().get(LOCATION)?.to_str().ok()?;
    base.join(text).ok()
}

/// The address of `Link: <…>; rel="next"`.
pub(super) fn next_page(headers: &HeaderMap, base: &Url) -> Option<Url> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).find_map(
        |link| {
            let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
            let is_next = rest
                .split(';')
                .filter_map(|part| part.trim().split_once('='))
                .any(|(key, value)| key.eq_ignore_ascii_case("rel") && value.trim_matches('"') == "next");
            is_next.then(|| base.join(target).ok()).flatten()
        },
    )
}

/// The registry could not be reached, and the innermost cause.
pub(super) fn unreachable(place: &str, error: &reqwest::Error) -> RegistryError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = cause.to_string();
    let remedy = if text.to_ascii_lowercase().contains("certificate") {
        "If the registry has a certificate of a private authority, give that authority's certificate (ca.crt in the Secret, --registry-ca)"
    } else if error.is_connect() {
        "Check the host, the port, and whether it speaks https (plain HTTP must be asked for)"
    } else {
        "Check that the registry runs and can be reached from here"
    };
    RegistryError::new(ErrorKind::Unreachable, place, format!("not reachable ({text})"), remedy)
}

/// The first error that a registry states, or the start of what it says.
pub(super) fn error_detail(body: &[u8]) -> String {
    let parsed: Option<String> = serde_json::from_slice::<serde_json::Value>(body).ok().and_then(|value| {
        let first = value.get("errors")?.get(0)?;
        let text = |key: &str| first.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        Some(format!("{} {}", text("code"), text("message")))
    });
    parsed.unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned())
}

/// Reads a body up to a limit, each read and the whole in bounded time. Compressed bodies are never asked for and never
/// unpacked, so the limit is one of memory too.
pub(super) async fn capped(
    mut response: Response,
    cap: usize,
    place: &str,
    patience: &Patience,
) -> Result<Vec<u8>, RegistryError> {
    let too_large = || RegistryError::invalid(place, format!("an answer of more than {cap} bytes"));
    if response.content_length().is_some_and(|length| length > cap as u64) {
        return Err(too_large());
    }
    let mut out = Vec::new();
    let whole = async {
        while let Some(chunk) = next(&mut response, place, patience).await? {
            if out.len() + chunk.len() > cap {
                return Err(too_large());
            }
            out.extend_from_slice(&chunk);
        }
        Ok(())
    };
    tokio::time::timeout(patience.answer, whole).await.map_err(|_| {
        RegistryError::new(ErrorKind::Unreachable, place, "its answer drips too slowly", "Try again later")
    })??;
    Ok(out)
}

/// The next piece of a body.
pub(super) async fn next(
    response: &mut Response,
    place: &str,
    patience: &Patience,
) -> Result<Option<Bytes>, RegistryError> {
    tokio::time::timeout(patience.idle, response.chunk())
        .await
        .map_err(|_| {
            let what = "it fell silent in the middle of an answer";
            RegistryError::new(ErrorKind::Unreachable, place, what, "Try again later")
        })?
        .map_err(|error| unreachable(place, &error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn waits_that_registries_ask_for_are_kept_or_refused() {
        let patience = Patience::default();
        let ask = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            pause(1, &headers, &patience)
        };
        let own = pause(1, &HeaderMap::new(), &patience).unwrap();
        assert_eq!(ask("7"), Ok(Duration::from_secs(7)));
        assert_eq!(ask("0"), Ok(Duration::from_millis(100)));
        assert_eq!(ask("soon"), Ok(own));
        assert_eq!(ask("31536000"), Err(Duration::from_secs(31_536_000)));
        assert_eq!(ask("99999999999999999999999"), Err(Duration::MAX));
        assert_eq!(ask("Wed, 21 Oct 2015 07:28:00 GMT"), Ok(Duration::from_millis(100)));
        assert!(ask("Thu, 31 Dec 9998 23:59:59 GMT").is_err());
        let soon = Timestamp::now() + jiff::SignedDuration::from_secs(20);
        let text = jiff::fmt::rfc2822::to_string(&soon.to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
        let waited = ask(&text).unwrap();
        assert!(waited > Duration::from_secs(15) && waited <= Duration::from_secs(20), "{waited:?}");
    }

    #[test]
    fn next_pages() {
        let base = Url::parse("https://reg.example.org/v2/a/referrers/x").unwrap();
        let page = |link: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, reqwest::header::HeaderValue::from_static(link));
            next_page(&headers, &base).map(String::from)
        };
        assert_eq!(page("</v2/a?n=2>; rel=\"next\"").unwrap(), "https://reg.example.org/v2/a?n=2");
        assert_eq!(page("<?p=1>; rel=prev, <?p=3>; rel=next").unwrap(), "https://reg.example.org/v2/a/referrers/x?p=3");
        assert_eq!(page("<?p=1>; rel=\"prev\""), None);
        assert_eq!(page("?p=1; rel=next"), None);
    }
}
