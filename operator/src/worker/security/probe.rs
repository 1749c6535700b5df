//! Asks one question of a site and looks whether the answer betrays something.

use reqwest::{
    Client, Method, Response, Url,
    header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue},
};

use super::checks::{Probe, Sign};
use crate::{
    text::one_line,
    worker::http::{body, cause},
};

/// What is read of an answer.
const BODY_MAX: usize = 64 << 10;

/// What is tested.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) client: Client,
    pub(super) base: Url,
    pub(super) host: Option<HeaderValue>,
    pub(super) page: String,
}

/// What came of a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// Nothing was betrayed.
    Safe,
    /// Something was: what was asked, and what came.
    Betrayed(String),
    /// Nothing came in time.
    Silent(String),
}

/// An answer, as far as it is looked at.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Site {
    /// Whether anything answers at all.
    pub(super) async fn reachable(&self) -> Result<(), String> {
        let page = Probe::get("{page}", Sign::Status(0));
        let mut last = String::new();
        for _ in 0..3 {
            match self.send(&page).await {
                Ok(_) => return Ok(()),
                Err(error) => last = format!("no answer: {}", cause(&error)),
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
        Err(last)
    }

    /// Asks, a second time if nothing comes in time.
    ///
    /// A connection that is closed without an answer is an answer: that is how firewalls refuse.
    pub(super) async fn ask(&self, probe: &Probe) -> Answered {
        let mut why = String::new();
        for _ in 0..2 {
            match self.send(probe).await {
                Ok(answer) => return self.judge(probe, answer).await,
                Err(error) if error.is_timeout() || error.is_connect() => why = cause(&error),
                Err(_) => return Answered::Safe,
            }
        }
        Answered::Silent(why)
    }

    async fn judge(&self, probe: &Probe, mut answer: Response) -> Answered {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = match body(&mut answer, BODY_MAX).await {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.is_timeout() => return Answered::Silent(cause(&error)),
            Err(_) => String::new(),
        };
        let page = Page { status, headers, body };
        match probe.sign.seen(&page) {
            Some(what) => Answered::Betrayed(format!("{}: {}", probe.name(), one_line(&what))),
            None => Answered::Safe,
        }
    }

    async fn send(&self, probe: &Probe) -> Result<Response, reqwest::Error> {
        let method = Method::from_bytes(probe.method.as_bytes()).unwrap_or(Method::GET);
        let path = probe.path.replace("{page}", &self.page);
        // Put together as text: joined as URLs, `//system` would be another host.
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let mut request = self.client.request(method, url);
        if let Some(host) = &self.host {
            request = request.header(HOST, host);
        }
        for (name, value) in probe.headers {
            request = request.header(*name, *value);
        }
        if let Some((user, password)) = probe.login {
            request = request.basic_auth(user, Some(password));
        }
        if let Some(form) = probe.form {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        }
        request.send().await
    }
}

impl Sign {
    /// What the sign shows in an answer.
    pub(super) fn seen(&self, page: &Page) -> Option<String> {
        let ok = (200..300).contains(&page.status);
        let header = |name: &str| {
            page.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_string())
        };
        let media_type = header("content-type").unwrap_or_default().to_ascii_lowercase();
        let text = page.body.trim_start_matches('\u{feff}').trim_start();
        let status = page.status;
        match self {
            Self::Status(wanted) => (status == *wanted).then(|| format!("status {status}")),
            Self::Json => {
                let json = text.starts_with('{') || text.starts_with('[');
                (ok && json && !media_type.contains("html")).then(|| format!("status {status} with JSON"))
            }
            Self::Xml => {
                let xml = text.starts_with("<?xml") && !text.contains("<html");
                (ok && xml).then(|| format!("status {status} with XML"))
            }
            Self::Text(marks) => {
                let mark = marks.iter().find(|mark| page.body.contains(*mark))?;
                ok.then(|| format!("status {status} with `{mark}`"))
            }
            Self::AnyText(marks) => {
                let mark = marks.iter().find(|mark| page.body.contains(*mark))?;
                Some(format!("status {status} with `{mark}`"))
            }
            Self::Realm(marks) => {
                let realm = header("www-authenticate")?;
                let mark = marks.iter().find(|mark| realm.contains(*mark))?;
                (status == 401).then(|| format!("asks for a log-in to `{mark}`"))
            }
            Self::Redirect(marks) => {
                let target = header("location").filter(|_| (300..400).contains(&status))?;
                marks.iter().any(|mark| target.contains(mark)).then(|| format!("status {status} to {target}"))
            }
            Self::Begins(text) => (ok && page.body.starts_with(text)).then(|| format!("status {status} with `{text}`")),
            Self::Header(name) => header(name).map(|value| format!("{name}: {value}")),
            Self::Digits(name) => {
                let value = header(name)?;
                value.contains(|c: char| c.is_ascii_digit()).then(|| format!("{name}: {value}"))
            }
            Self::Missing(names) => {
                let there = names
                    .iter()
                    .any(|(name, part)| header(name).is_some_and(|value| value.to_ascii_lowercase().contains(part)));
                (status < 400 && !there).then(|| {
                    let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
                    format!("status {status} without {}", names.join(" or "))
                })
            }
            Self::Either(signs) => signs.iter().find_map(|sign| sign.seen(page)),
        }
    }
}
