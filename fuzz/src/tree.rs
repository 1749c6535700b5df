//! A readable form of zips, so that a fuzzer changes names and contents instead of checksums.
//!
//! ```text
//! == zip ui.apps.zip
//! == file META-INF/vault/filter.xml
//! <workspaceFilter/>
//! == zip jcr_root/etc/packages/inner.zip
//! == file a
//! == end
//! == link conf.d/x
//! ../y
//! == folder conf.d
//! ```
//!
//! A line that starts with `== ` begins an entry, everything up to the next such line is its content. `zip` opens a
//! zip, inside of the open one if there is one; `end` closes it. Entries before the first `zip` belong to `a.zip`.

use std::collections::BTreeMap;

/// Zips inside of zips that are still built.
const DEPTH: usize = 10;
/// Bytes of all zips: nesting multiplies nothing, but copies.
const BYTES: usize = 1 << 20;

struct Item {
    name: String,
    mode: u32,
    data: Vec<u8>,
}

/// The zips that the text describes, by name.
pub fn zips(data: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut done = BTreeMap::new();
    let mut open: Vec<(String, Vec<Item>)> = Vec::new();
    for piece in pieces(data) {
        let (line, content) = match piece.iter().position(|byte| *byte == b'\n') {
            Some(at) => (&piece[..at], &piece[at + 1..]),
            None => (piece, &[][..]),
        };
        let line = String::from_utf8_lossy(line);
        let (kind, name) = line.split_once(' ').unwrap_or((&line, ""));
        let mode = match kind {
            "zip" if open.len() < DEPTH => {
                open.push((name.to_owned(), Vec::new()));
                continue;
            }
            "end" => {
                close(&mut open, &mut done);
                continue;
            }
            "link" => 0o120_777,
            "folder" => 0o040_755,
            _ => 0o100_644,
        };
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        let name = if kind == "folder" { format!("{name}/") } else { name.to_owned() };
        let item = Item { name, mode, data: if kind == "folder" { Vec::new() } else { content.to_vec() } };
        if open.is_empty() {
            open.push(("a.zip".to_owned(), Vec::new()));
        }
        if let Some((_, items)) = open.last_mut() {
            items.push(item);
        }
    }
    while !open.is_empty() {
        close(&mut open, &mut done);
    }
    done
}

fn close(open: &mut Vec<(String, Vec<Item>)>, done: &mut BTreeMap<String, Vec<u8>>) {
    let Some((name, items)) = open.pop() else { return };
    let bytes = zip(&items);
    if bytes.len() > BYTES {
        return;
    }
    match open.last_mut() {
        Some((_, outer)) => outer.push(Item { name, mode: 0o100_644, data: bytes }),
        None => {
            done.insert(name, bytes);
        }
    }
}

/// What stands between lines that start with `== `.
fn pieces(data: &[u8]) -> Vec<&[u8]> {
    let mut starts: Vec<usize> =
        (0..data.len()).filter(|at| data[*at..].starts_with(b"== ") && (*at == 0 || data[at - 1] == b'\n')).collect();
    starts.push(data.len());
    starts.windows(2).map(|pair| &data[pair[0] + 3..pair[1]]).collect()
}

/// An honest zip of stored entries.
fn zip(items: &[Item]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    let mut count = 0_u16;
    for item in items {
        let (Ok(offset), Ok(size), Ok(name)) =
            (u32::try_from(out.len()), u32::try_from(item.data.len()), u16::try_from(item.name.len()))
        else {
            continue;
        };
        let mut common = Vec::new();
        // Version 2.0, UTF-8 names, stored, a date.
        common.extend_from_slice(&[20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0x50]);
        common.extend_from_slice(&crc32fast::hash(&item.data).to_le_bytes());
        common.extend_from_slice(&size.to_le_bytes());
        common.extend_from_slice(&size.to_le_bytes());
        common.extend_from_slice(&name.to_le_bytes());
        common.extend_from_slice(&[0, 0]);
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&common);
        out.extend_from_slice(item.name.as_bytes());
        out.extend_from_slice(&item.data);
        central.extend_from_slice(b"PK\x01\x02\x14\x03");
        central.extend_from_slice(&common);
        central.extend_from_slice(&[0; 6]);
        central.extend_from_slice(&(item.mode << 16).to_le_bytes());
        central.extend_from_slice(&offset.to_le_bytes());
        central.extend_from_slice(item.name.as_bytes());
        count = count.saturating_add(1);
    }
    let start = u32::try_from(out.len()).unwrap_or(u32::MAX);
    let size = u32::try_from(central.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&central);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&start.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}
