//! Files that belong to the base image, by the versions that projects were made from (`aem-artifacts.md` §3.3, §3.4).

use md5::{Digest, Md5};

use crate::image::classify::Flavour;

const BASELINES: &str = include_str!("../data/baselines.tsv");

/// What a file is, compared with the baselines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// No baseline knows the path, or the file is never compared.
    Unknown,
    /// As in this baseline.
    Baseline(&'static str),
    /// As in none of them.
    Changed,
}

fn layout(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Flexible | Flavour::Legacy => "cloud",
        Flavour::Ams => "ams",
    }
}

/// Baseline and MD5 of a path, for every baseline that knows it.
fn known(flavour: Flavour, path: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    BASELINES.lines().filter(|line| !line.starts_with('#')).filter_map(move |line| {
        let mut fields = line.split('\t');
        let (wanted, baseline, file, md5) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        (wanted == layout(flavour) && file == path).then_some((baseline, md5))
    })
}

/// MD5 of a text with LF line ends, in hex.
fn md5(text: &[u8]) -> String {
    let mut hasher = Md5::new();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if at > 0 {
            hasher.update(b"\n");
        }
        hasher.update(line.strip_suffix(b"\r").unwrap_or(line));
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn state(flavour: Flavour, path: &str, content: &[u8]) -> State {
    let mut baselines = known(flavour, path).peekable();
    if baselines.peek().is_none_or(|(_, md5)| *md5 == "-") {
        return State::Unknown;
    }
    let found = md5(content);
    baselines.find(|(_, md5)| *md5 == found).map_or(State::Changed, |(name, _)| State::Baseline(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VHOSTS: &[u8] = b"## Include all of the customers *.vhost files\nInclude conf.d/enabled_vhosts/*.vhost\n";

    #[test]
    fn line_ends_do_not_matter_and_content_does() {
        let path = "conf.d/enabled_vhosts/vhosts.conf";
        let windows = String::from_utf8_lossy(VHOSTS).replace('\n', "\r\n");
        for text in [VHOSTS, windows.as_bytes()] {
            assert_eq!(md5(text), md5(VHOSTS));
        }
        assert_eq!(md5(b""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(state(Flavour::Flexible, path, b"mine"), State::Changed);
        assert_eq!(state(Flavour::Flexible, "conf.d/mine.conf", b"x"), State::Unknown);
        assert_eq!(state(Flavour::Ams, path, b"x"), State::Unknown);
        assert_eq!(state(Flavour::Flexible, "conf.dispatcher.d/cache/default_invalidate.any", b"x"), State::Unknown);
    }

    #[test]
    fn the_table_is_complete_and_well_formed() {
        let lines: Vec<Vec<&str>> =
            BASELINES.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect()).collect();
        let paths = |layout: &str| {
            let found = lines.iter().filter(|fields| fields[0] == layout).map(|fields| fields[2]);
            found.collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!((paths("cloud"), paths("ams")), (13, 36));
        for fields in lines {
            assert!(fields.len() == 4 && (fields[3] == "-" || fields[3].len() == 32), "{fields:?}");
        }
    }
}
