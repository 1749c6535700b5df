//! Text from elsewhere, made fit for a terminal or a record.

/// The text without what could move a cursor, colour a screen or turn the reading order round: line breaks stay,
/// everything else of that sort becomes a blank.
#[must_use]
pub fn printable(text: &str) -> String {
    let acts = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if acts(c) { ' ' } else { c }).collect()
}

/// The same, in one line.
#[must_use]
pub fn one_line(text: &str) -> String {
    printable(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text as HTML shows it, in elements and in quoted attributes.
#[must_use]
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A word as a POSIX shell reads it back.
#[must_use]
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Whether two refusals of an apiserver differ in numbers alone: what a quota has used by now, the time, or the ID of a request,
/// which policies like to name. Who writes them down is woken by that: with new words at every try, the next came at once.
#[must_use]
pub fn says_the_same(before: &str, now: &str) -> bool {
    /// So many are never cut off, and tell one refusal from another.
    const WORDS: usize = 64;
    fn words(text: &str) -> impl Iterator<Item = &str> {
        text.split_whitespace().filter(|word| !word.contains(|letter: char| letter.is_ascii_digit())).take(WORDS)
    }
    words(before).eq(words(now))
}

/// At most `width` characters; what is cut off is marked.
#[must_use]
pub fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_string();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// The text with its digests cut to twelve digits, for where the whole one is shown nearby.
#[must_use]
pub fn brief(text: &str) -> String {
    const SHORT: usize = 12;
    const WHOLE: usize = 64;
    let mut parts = text.split("sha256:");
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        out.push_str("sha256:");
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (kept, rest) = if digits == WHOLE { (&part[..SHORT], &part[WHOLE..]) } else { (part, "") };
        out.push_str(kept);
        out.push_str(rest);
    }
    out
}

/// Breaks a text at blanks into lines of at most `width` characters; a longer word has a line of its own.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// A number of bytes for people: whole below 1 KiB, else one decimal, cut off.
#[must_use]
pub fn human(bytes: u64) -> String {
    let scaled = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", scaled(1_024)),
        1_048_576..1_073_741_824 => format!("{} MiB", scaled(1_048_576)),
        _ => format!("{} GiB", scaled(1_073_741_824)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_is_left() {
        assert_eq!(printable("a\x1b[2Jb\u{202e}c\nd\r"), "a [2Jb c\nd ");
        assert_eq!(one_line(" two\n lines\t"), "two lines");
    }

    #[test]
    fn refusals_that_differ_in_numbers_are_the_same() {
        let quota = "exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5";
        assert!(says_the_same(quota, "exceeded quota: q, requested: pods=1, used: pods=17, limited: pods=5"));
        assert!(!says_the_same(quota, "exceeded quota: r, requested: pods=1, used: pods=5, limited: pods=5"));
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell("launchway.dev/cancel=x"), "launchway.dev/cancel=x");
        assert_eq!(shell("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(shell(""), "''");
    }

    #[test]
    fn html_is_shown_and_not_obeyed() {
        assert_eq!(html("<a href=\"x\">'&'\u{202e}"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39; ");
    }

    #[test]
    fn whole_digests_are_cut_and_nothing_else() {
        let digest = "ab".repeat(32);
        let text = format!("takes sha256:{digest}, not sha256:{digest}00 or sha256:12");
        assert_eq!(brief(&text), format!("takes sha256:abababababab, not sha256:{digest}00 or sha256:12"));
    }

    #[test]
    fn sizes_are_cut_to_one_decimal() {
        for (bytes, shown) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 20, "1.0 MiB"), (3 << 30, "3.0 GiB")]
        {
            assert_eq!(human(bytes), shown);
        }
    }

    #[test]
    fn lines_fit() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("averylongword x", 4), ["averylongword", "x"]);
        assert_eq!(clip("Prüfung", 4), "Prü…");
    }
}
