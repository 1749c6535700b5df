//! What belongs to a page: its scripts, style sheets and images on the same server.

use reqwest::Url;

/// Most of them for one page.
const MAX: usize = 30;

/// Addresses of a page's scripts, style sheets, icons and images, on the page's own server, each once.
///
/// This is no HTML parser: it looks for `src` and `href` of the tags that browsers load at once.
pub(super) fn of(page: &Url, html: &str) -> Vec<Url> {
    let mut found: Vec<Url> = vec![];
    for tag in html.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default();
        let (name, rest) = tag.split_at(tag.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(tag.len()));
        let link = match name.to_ascii_lowercase().as_str() {
            "script" | "img" => attribute(rest, "src"),
            "link" if loads(&attribute(rest, "rel").unwrap_or_default()) => attribute(rest, "href"),
            _ => None,
        };
        let Some(Ok(mut url)) = link.map(|link| page.join(&link.replace("&amp;", "&"))) else { continue };
        url.set_fragment(None);
        if url.origin() == page.origin() && url != *page && !found.contains(&url) && found.len() < MAX {
            found.push(url);
        }
    }
    found
}

fn loads(rel: &str) -> bool {
    rel.split_whitespace().any(|word| ["stylesheet", "icon", "preload"].contains(&word.to_ascii_lowercase().as_str()))
}

fn attribute(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        let end = rest.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(rest.len());
        if rest.is_empty() || end == 0 && !rest.starts_with('=') {
            return None;
        }
        let name = &rest[..end];
        rest = rest[end..].trim_start();
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start();
            (value, rest) = match after.chars().next() {
                Some(quote @ ('"' | '\'')) => after[1..].split_once(quote).unwrap_or((&after[1..], "")),
                _ => after.split_at(after.find(char::is_whitespace).unwrap_or(after.len())),
            };
        }
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(html: &str) -> Vec<String> {
        let page = Url::parse("http://stage:8080/content/a/index.html").unwrap();
        of(&page, html).iter().map(|url| url.as_str().trim_start_matches("http://stage:8080").to_string()).collect()
    }

    #[test]
    fn what_a_browser_loads_at_once_is_found() {
        let html = r#"<!doctype html><link rel="stylesheet" href="/etc.clientlibs/site.min.css?a=1&amp;b=2">
            <LINK REL=icon HREF=favicon.ico><link rel="canonical" href="/other"><script async src='x.js'></script>
            <img alt="a > b" src="../img/a.png"><img src="/img/b.png#x"/><script src="/x/../content/a/x.js"></script>"#;
        let wanted =
            ["/etc.clientlibs/site.min.css?a=1&b=2", "/content/a/favicon.ico", "/content/a/x.js", "/img/b.png"];
        // A `>` in an attribute ends this reader's tag: a picture less, never a wrong address.
        assert_eq!(paths(html), wanted);
    }

    #[test]
    fn other_servers_are_left_alone() {
        let html = r#"<script src="//cdn.example/x.js"></script><img src="https://stage:8080/a.png"><img src="data:image/png;base64,AA=="><script src=""></script><script>1 < 2</script>"#;
        assert!(paths(html).is_empty(), "{:?}", paths(html));
    }

    #[test]
    fn hostile_pages_are_bounded() {
        for html in
            ["<img", "<img =", "<img src", "<img src=", "<img src='", "<img = = =", "< img src=/x", "<img/src=/x>"]
        {
            assert!(paths(html).len() <= 1, "{html}");
        }
        let many: String = (0..5000).map(|n| format!("<img src=/{n}.png>")).collect();
        assert_eq!(paths(&many).len(), MAX);
    }
}
