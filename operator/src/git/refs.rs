//! Answers of a Git server: the advertisement (of versions 0, 1 and 2) and the answer to `ls-refs`.

use super::pkt::{Packet, Packets};

/// Refs that are read of one answer; a server of version 0 tells of every ref that it has.
const REFS_MAX: usize = 100_000;

/// A ref and what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ref {
    /// Whole name, such as `refs/heads/main`.
    pub name: String,
    /// What it names: a commit, or the object of an annotated tag.
    pub id: String,
    /// The commit behind an annotated tag.
    pub peeled: Option<String>,
}

impl Ref {
    /// The commit: behind an annotated tag, or named at once.
    #[must_use]
    pub fn commit(&self) -> &str {
        self.peeled.as_deref().unwrap_or(&self.id)
    }
}

/// What a server says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advertised {
    /// Version 2: it is asked for refs.
    Asks {
        /// Its `object-format`, if it names one.
        format: Option<String>,
    },
    /// Versions 0 and 1: it tells of its refs at once.
    Tells(Vec<Ref>),
}

/// Reads the answer to `GET info/refs?service=git-upload-pack`.
///
/// # Errors
/// The rule of the protocol that it breaks.
pub fn advertisement(bytes: &[u8]) -> Result<Advertised, String> {
    let mut packets = Packets(bytes).peekable();
    if let Some(Ok(Packet::Line(b"# service=git-upload-pack"))) = packets.peek() {
        packets.next();
        match packets.next() {
            Some(Ok(Packet::Flush)) => {}
            _ => return Err("the name of the service is not followed by a flush".into()),
        }
    }
    match packets.peek() {
        Some(Ok(Packet::Line(b"version 2"))) => {
            let mut format = None;
            for packet in packets {
                if let Packet::Line(line) = packet?
                    && let Some(name) = line.strip_prefix(b"object-format=")
                {
                    format = Some(text(name)?);
                }
            }
            Ok(Advertised::Asks { format })
        }
        Some(Ok(Packet::Line(b"version 1"))) => {
            packets.next();
            told(packets).map(Advertised::Tells)
        }
        _ => told(packets).map(Advertised::Tells),
    }
}

/// The list of a server of version 0 or 1: the first line also has its capabilities, behind a NUL.
fn told<'a>(packets: impl Iterator<Item = Result<Packet<'a>, String>>) -> Result<Vec<Ref>, String> {
    let mut all: Vec<Ref> = vec![];
    for packet in packets {
        let line = match packet? {
            Packet::Line(line) => line,
            Packet::Flush => return Ok(all),
            Packet::Delimiter | Packet::End => return Err("a list of refs has a mark of another version in it".into()),
        };
        let line = line.split(|byte| *byte == 0).next().unwrap_or(line);
        failed(line)?;
        let (id, name) = pair(line)?;
        if let (Some(name), Some(last)) = (name.strip_suffix("^{}"), all.last_mut())
            && last.name == name
        {
            last.peeled = Some(id);
            continue;
        }
        // A repository without refs has one line, only for its capabilities.
        if name != "capabilities^{}" && !name.starts_with("shallow") {
            all.push(Ref { name, id, peeled: None });
        }
        bounded(&all)?;
    }
    Err("a list of refs has no end".into())
}

/// Reads the answer to `ls-refs` of version 2.
///
/// # Errors
/// The rule of the protocol that it breaks, or what the server says is wrong.
pub fn listed(bytes: &[u8]) -> Result<Vec<Ref>, String> {
    let mut all = vec![];
    for packet in Packets(bytes) {
        let line = match packet? {
            Packet::Line(line) => line,
            Packet::Flush => return Ok(all),
            Packet::Delimiter | Packet::End => return Err("a list of refs has a mark inside of it".into()),
        };
        failed(line)?;
        let (id, rest) = pair(line)?;
        let mut words = rest.split(' ');
        let name = words.next().unwrap_or_default().to_string();
        let peeled = words.find_map(|word| word.strip_prefix("peeled:")).map(hash).transpose()?;
        all.push(Ref { name, id, peeled });
        bounded(&all)?;
    }
    Err("a list of refs has no end".into())
}

/// A server may answer with its complaint instead (`ERR …`).
fn failed(line: &[u8]) -> Result<(), String> {
    match line.strip_prefix(b"ERR ") {
        Some(why) => Err(format!("the server says: {}", String::from_utf8_lossy(why).escape_debug())),
        None => Ok(()),
    }
}

fn bounded(all: &[Ref]) -> Result<(), String> {
    if all.len() > REFS_MAX {
        return Err(format!("it has more than {REFS_MAX} refs"));
    }
    Ok(())
}

fn pair(line: &[u8]) -> Result<(String, String), String> {
    let line = text(line)?;
    let (id, name) = line.split_once(' ').ok_or("a line of a list of refs is no hash and name")?;
    Ok((hash(id)?, name.to_string()))
}

fn text(bytes: &[u8]) -> Result<String, String> {
    std::str::from_utf8(bytes).map(str::to_string).map_err(|_| "it has text in it that is not UTF-8".into())
}

/// A hash in whole: of SHA-1 or SHA-256.
fn hash(text: &str) -> Result<String, String> {
    let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if hex && matches!(text.len(), 40 | 64) {
        Ok(text.to_string())
    } else {
        Err(format!(
            "`{}` is no hash of an object",
            launchway_crds::conditions::truncate(&text.escape_debug().to_string(), 80)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::pkt::line, *};

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn service(rest: &str) -> String {
        format!("{}0000{rest}", line("# service=git-upload-pack"))
    }

    #[test]
    fn version_2_is_asked_and_answers() {
        let first =
            service(&format!("{}{}{}0000", line("version 2"), line("ls-refs=unborn"), line("object-format=sha1")));
        assert_eq!(advertisement(first.as_bytes()).unwrap(), Advertised::Asks { format: Some("sha1".into()) });
        let text = format!(
            "{}{}0000",
            line(&format!("{A} refs/heads/main")),
            line(&format!("{A} refs/tags/v1 symref-target:x peeled:{B}"))
        );
        let all = listed(text.as_bytes()).unwrap();
        assert_eq!((all[0].name.as_str(), all[0].commit()), ("refs/heads/main", A));
        assert_eq!((all[1].name.as_str(), all[1].commit()), ("refs/tags/v1", B));
        assert_eq!(listed(b"0000").unwrap(), []);
    }

    #[test]
    fn older_servers_tell_at_once() {
        let refs = format!(
            "{}{}{}{}0000",
            line(&format!("{A} HEAD\0multi_ack agent=git/1.8")),
            line(&format!("{A} refs/heads/main")),
            line(&format!("{A} refs/tags/v1")),
            line(&format!("{B} refs/tags/v1^{{}}"))
        );
        for text in [service(&refs), service(&format!("{}{refs}", line("version 1")))] {
            let Advertised::Tells(all) = advertisement(text.as_bytes()).unwrap() else { panic!("{text}") };
            assert_eq!(all.iter().map(Ref::commit).collect::<Vec<_>>(), [A, A, B]);
        }
        let empty = service(&format!("{}0000", line(&format!("{} capabilities^{{}}\0x", "0".repeat(40)))));
        assert_eq!(advertisement(empty.as_bytes()).unwrap(), Advertised::Tells(vec![]));
    }

    #[test]
    fn what_breaks_the_protocol_is_refused() {
        for bad in [
            "<html>".to_string(),
            service(""),
            service(&line(&format!("{A} refs/heads/main"))),
            service(&format!("{}0000", line("zz refs/heads/main"))),
            service(&format!("{}0000", line("ERR access denied"))),
        ] {
            assert!(advertisement(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(listed(line("ERR access denied").as_bytes()).unwrap_err().contains("access denied"));
    }
}
