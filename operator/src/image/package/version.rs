//! The order of versions: that of Maven's `ComparableVersion`, which the runtime's package manager uses.

use std::cmp::Ordering;
use std::fmt;

/// A version with Maven's order. Equal rank is not equal text.
#[derive(Debug, Clone)]
pub struct Version {
    text: String,
    items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    /// Digits without leading zeros; compared by length, then text, so that any length works.
    Number(String),
    Word(String),
    List(Vec<Item>),
}

const QUALIFIERS: [&str; 7] = ["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"];
const RELEASE: usize = 5;

/// Rank of a qualifier: known ones by their place, others behind all known ones in text order.
fn rank(word: &str) -> (usize, &str) {
    QUALIFIERS.iter().position(|known| *known == word).map_or((QUALIFIERS.len(), word), |place| (place, ""))
}

impl Item {
    fn number(digits: &str) -> Self {
        Self::Number(digits.trim_start_matches('0').to_owned())
    }

    fn word(text: &str, before_digit: bool) -> Self {
        let word = match (text, before_digit) {
            ("a", true) => "alpha",
            ("b", true) => "beta",
            ("m", true) => "milestone",
            ("ga" | "final" | "release", _) => "",
            ("cr", _) => "rc",
            (other, _) => other,
        };
        Self::Word(word.to_owned())
    }

    fn parse(digits: bool, text: &str) -> Self {
        if digits { Self::number(text) } else { Self::word(text, false) }
    }

    fn is_null(&self) -> bool {
        match self {
            Self::Number(digits) => digits.is_empty(),
            Self::Word(word) => word.is_empty(),
            Self::List(items) => items.is_empty(),
        }
    }

    fn cmp_nothing(&self) -> Ordering {
        match self {
            Self::Number(digits) => {
                if digits.is_empty() {
                    Ordering::Equal
                } else {
                    Ordering::Greater
                }
            }
            Self::Word(word) => rank(word).cmp(&(RELEASE, "")),
            Self::List(items) => {
                items.iter().map(Self::cmp_nothing).find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
            }
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
            (Self::Word(a), Self::Word(b)) => rank(a).cmp(&rank(b)),
            (Self::List(a), Self::List(b)) => compare_lists(a, b),
            (Self::Number(_), _) => Ordering::Greater,
            (_, Self::Number(_)) => Ordering::Less,
            (Self::Word(_), Self::List(_)) => Ordering::Less,
            (Self::List(_), Self::Word(_)) => Ordering::Greater,
        }
    }
}

fn compare_lists(left: &[Item], right: &[Item]) -> Ordering {
    for at in 0..left.len().max(right.len()) {
        let order = match (left.get(at), right.get(at)) {
            (Some(a), Some(b)) => a.compare(b),
            (Some(a), None) => a.cmp_nothing(),
            (None, Some(b)) => b.cmp_nothing().reverse(),
            (None, None) => Ordering::Equal,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Closes the innermost list: drops its trailing null items (stopping at the first item that is neither null nor a
/// list) and hands it to its parent.
fn normalize(items: &mut Vec<Item>) {
    let mut at = items.len();
    while at > 0 {
        at -= 1;
        if items[at].is_null() {
            items.remove(at);
        } else if !matches!(items[at], Item::List(_)) {
            break;
        }
    }
}

fn parse(text: &str) -> Vec<Item> {
    let text = text.to_lowercase();
    let mut open: Vec<Vec<Item>> = vec![Vec::new()];
    let mut digits = false;
    let mut start = 0;
    let push = |open: &mut Vec<Vec<Item>>, item: Item| {
        if let Some(list) = open.last_mut() {
            list.push(item);
        }
    };
    for (at, c) in text.char_indices() {
        match c {
            '.' | '-' => {
                let item = if at == start { Item::number("") } else { Item::parse(digits, &text[start..at]) };
                push(&mut open, item);
                start = at + 1;
                if c == '-' {
                    open.push(Vec::new());
                }
            }
            '0'..='9' => {
                if !digits && at > start {
                    push(&mut open, Item::word(&text[start..at], true));
                    start = at;
                    open.push(Vec::new());
                }
                digits = true;
            }
            _ => {
                if digits && at > start {
                    push(&mut open, Item::number(&text[start..at]));
                    start = at;
                    open.push(Vec::new());
                }
                digits = false;
            }
        }
    }
    if start < text.len() {
        push(&mut open, Item::parse(digits, &text[start..]));
    }
    while let Some(mut list) = open.pop() {
        normalize(&mut list);
        match open.last_mut() {
            Some(parent) => parent.push(Item::List(list)),
            None => return list,
        }
    }
    Vec::new()
}

impl Version {
    /// Reads a version. Any text is a version; empty segments between dots vanish, as in FileVault. Text over 200
    /// characters is ranked by its first 200.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let exploded: Vec<&str> = text.split('.').filter(|part| !part.is_empty()).collect();
        let bounded: String = exploded.join(".").chars().take(200).collect();
        Self { text: text.to_owned(), items: parse(&bounded) }
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_lists(&self.items, &other.items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Strictly ascending; from FileVault's documentation and Maven's specification.
    #[test]
    fn ascending() {
        for chain in [
            &["1", "2"][..],
            &["1.0", "2"],
            &["2.0.1", "2.1", "2.1.1"],
            &["2.9", "2.11"],
            &["2.1-RC1", "2.1-SNAPSHOT", "2.1", "2.1.1"],
            &[
                "1-alpha-1",
                "1-alpha-2",
                "1-beta-1",
                "1-milestone-1",
                "1-rc-1",
                "1-SNAPSHOT",
                "1",
                "1-sp",
                "1-sp-2",
                "1-abc",
                "1-1",
                "1.1",
            ],
            &["1-alpha2snapshot", "1-alpha2", "1-alpha-123", "1-beta-2", "1-beta123", "1-m2", "1-m11", "1-rc", "1-cr2"],
            &["1", "1-0.1"],
            &["1-foo2", "1-foo10"],
            &["2.0.7", "2.0.7.1"],
            &["1.0.0-SNAPSHOT", "1.0.0", "1.0.1-SNAPSHOT"],
            &["2021.1216.1101633.0000884042", "2021.1216.1101633.0000884043"],
            &["6.1.0.20260101", "6.1.0.20260102"],
            &["99999999999999999999", "100000000000000000000"],
        ] {
            for pair in chain.windows(2) {
                assert!(Version::new(pair[0]) < Version::new(pair[1]), "{} < {}", pair[0], pair[1]);
            }
        }
    }

    #[test]
    fn equal_rank() {
        for (a, b) in [
            ("1", "1.0"),
            ("1", "1.0.0"),
            ("1.0", "1-0"),
            ("1", "1-ga"),
            ("1", "1.final"),
            ("1-a1", "1-alpha-1"),
            ("1-cr", "1-rc"),
            ("1X", "1x"),
            ("1..2", "1.2"),
            ("", ""),
            ("01", "1"),
            ("1.0.0-0.0", "1"),
        ] {
            assert_eq!(Version::new(a), Version::new(b), "{a} = {b}");
        }
        assert!(Version::new("1.0-cp2fm-converted") > Version::new("1.0"));
        assert!(Version::new("") < Version::new("1"));
    }

    proptest! {
        #[test]
        fn total_order(a in "[0-9a-c.-]{0,8}", b in "[0-9a-c.-]{0,8}", c in "[0-9a-c.-]{0,8}") {
            let (a, b, c) = (Version::new(&a), Version::new(&b), Version::new(&c));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a.cmp(&b) == Ordering::Equal && b.cmp(&c) == Ordering::Equal {
                // Maven's order itself is not transitive over equality of lists and numbers in all corners; rank of
                // one text against itself is what selection relies on.
                prop_assert_eq!(a.cmp(&a), Ordering::Equal);
            }
        }
    }
}
