//! A zip writer for tests that can also write what no honest tool writes.
#![allow(clippy::unwrap_used)]

use std::io::Write;

/// One entry, with room for lies.
#[derive(Clone)]
pub(crate) struct Item {
    pub name: Vec<u8>,
    pub local_name: Option<Vec<u8>>,
    pub data: Vec<u8>,
    pub mode: u32,
    pub method: u16,
    pub flags: u16,
    pub deflate: bool,
    pub local_crc: Option<u32>,
    pub crc: Option<u32>,
    pub size: Option<u32>,
    pub local_size: Option<u32>,
    pub local_method: Option<u16>,
    pub local_flags: Option<u16>,
    pub central_extra: Vec<u8>,
    pub gap: Vec<u8>,
    pub descriptor: bool,
    pub made_by: u16,
    pub raw: Option<(Vec<u8>, u32, u32)>,
}

pub(crate) fn file(name: &str, data: impl AsRef<[u8]>) -> Item {
    Item {
        name: name.as_bytes().to_vec(),
        local_name: None,
        data: data.as_ref().to_vec(),
        mode: 0o100_644,
        method: 0,
        flags: 0,
        deflate: false,
        local_crc: None,
        crc: None,
        size: None,
        local_size: None,
        local_method: None,
        local_flags: None,
        central_extra: Vec::new(),
        gap: Vec::new(),
        descriptor: false,
        made_by: 0x031e,
        raw: None,
    }
}

pub(crate) fn deflated(name: &str, data: impl AsRef<[u8]>) -> Item {
    Item { deflate: true, method: 8, ..file(name, data) }
}

pub(crate) fn link(name: &str, target: &str) -> Item {
    Item { mode: 0o120_777, ..file(name, target) }
}

pub(crate) fn folder(name: &str) -> Item {
    Item { mode: 0o040_755, ..file(&format!("{name}/"), "") }
}

/// Changes of the archive as a whole.
#[derive(Default)]
pub(crate) struct Lies {
    pub prefix: Vec<u8>,
    pub before_directory: Vec<u8>,
    pub after_directory: Vec<u8>,
    pub suffix: Vec<u8>,
    pub comment: Vec<u8>,
    pub disk: u16,
    pub count: Option<u16>,
    pub same_offset: bool,
    pub directory_size: Option<u32>,
    pub offset: Option<u32>,
    pub zip64: Option<Zip64Lie>,
}

#[derive(Default, Clone, Copy)]
pub(crate) struct Zip64Lie {
    pub count: Option<u64>,
    pub size: Option<u64>,
    pub offset: Option<u64>,
}

fn crc(data: &[u8]) -> u32 {
    crc32fast::hash(data)
}

pub(crate) fn zip(items: &[Item]) -> Vec<u8> {
    zip_with(items, &Lies::default())
}

pub(crate) fn zip_with(items: &[Item], lies: &Lies) -> Vec<u8> {
    let mut out = lies.prefix.clone();
    let mut central = Vec::new();
    let mut first = None;
    for item in items {
        out.extend_from_slice(&item.gap);
        let offset = u32::try_from(out.len()).unwrap();
        let offset = if lies.same_offset { *first.get_or_insert(offset) } else { offset };
        let (body, real_crc, real_size) = match &item.raw {
            Some((body, crc, size)) => (body.clone(), *crc, *size),
            None if item.deflate => {
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
                encoder.write_all(&item.data).unwrap();
                (encoder.finish().unwrap(), crc(&item.data), item.data.len() as u32)
            }
            None => (item.data.clone(), crc(&item.data), item.data.len() as u32),
        };
        let flags = item.flags | if item.descriptor { 8 } else { 0 };
        let central_crc = item.crc.unwrap_or(real_crc);
        let central_size = item.size.unwrap_or(real_size);
        let packed = u32::try_from(body.len()).unwrap();
        let local_name = item.local_name.as_ref().unwrap_or(&item.name);
        out.extend_from_slice(b"PK\x03\x04\x14\0");
        out.extend_from_slice(&item.local_flags.unwrap_or(flags).to_le_bytes());
        out.extend_from_slice(&item.local_method.unwrap_or(item.method).to_le_bytes());
        out.extend_from_slice(&[0, 0, 0x21, 0x50]);
        let zero = item.descriptor;
        let local = |value: u32| if zero { 0_u32 } else { value };
        out.extend_from_slice(&item.local_crc.unwrap_or(local(central_crc)).to_le_bytes());
        out.extend_from_slice(&local(packed).to_le_bytes());
        out.extend_from_slice(&item.local_size.unwrap_or(local(central_size)).to_le_bytes());
        out.extend_from_slice(&u16::try_from(local_name.len()).unwrap().to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(local_name);
        out.extend_from_slice(&body);
        if item.descriptor {
            out.extend_from_slice(b"PK\x07\x08");
            out.extend_from_slice(&central_crc.to_le_bytes());
            out.extend_from_slice(&packed.to_le_bytes());
            out.extend_from_slice(&central_size.to_le_bytes());
        }
        central.extend_from_slice(b"PK\x01\x02");
        central.extend_from_slice(&item.made_by.to_le_bytes());
        central.extend_from_slice(&[0x14, 0]);
        central.extend_from_slice(&flags.to_le_bytes());
        central.extend_from_slice(&item.method.to_le_bytes());
        central.extend_from_slice(&[0, 0, 0x21, 0x50]);
        central.extend_from_slice(&central_crc.to_le_bytes());
        central.extend_from_slice(&packed.to_le_bytes());
        central.extend_from_slice(&central_size.to_le_bytes());
        central.extend_from_slice(&u16::try_from(item.name.len()).unwrap().to_le_bytes());
        central.extend_from_slice(&u16::try_from(item.central_extra.len()).unwrap().to_le_bytes());
        central.extend_from_slice(&[0; 6]);
        central.extend_from_slice(&(item.mode << 16).to_le_bytes());
        central.extend_from_slice(&offset.to_le_bytes());
        central.extend_from_slice(&item.name);
        central.extend_from_slice(&item.central_extra);
    }
    out.extend_from_slice(&lies.before_directory);
    let start = out.len() as u64;
    let size = central.len() as u64;
    let count = items.len() as u64;
    out.extend_from_slice(&central);
    out.extend_from_slice(&lies.after_directory);
    let mut declared = (start as u32, size as u32, count as u16);
    if let Some(lie) = lies.zip64 {
        let record = out.len() as u64;
        out.extend_from_slice(b"PK\x06\x06");
        out.extend_from_slice(&44_u64.to_le_bytes());
        out.extend_from_slice(&[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&lie.count.unwrap_or(count).to_le_bytes());
        out.extend_from_slice(&lie.count.unwrap_or(count).to_le_bytes());
        out.extend_from_slice(&lie.size.unwrap_or(size).to_le_bytes());
        out.extend_from_slice(&lie.offset.unwrap_or(start).to_le_bytes());
        out.extend_from_slice(b"PK\x06\x07\0\0\0\0");
        out.extend_from_slice(&record.to_le_bytes());
        out.extend_from_slice(&1_u32.to_le_bytes());
        declared = (u32::MAX, u32::MAX, u16::MAX);
    }
    out.extend_from_slice(b"PK\x05\x06");
    out.extend_from_slice(&lies.disk.to_le_bytes());
    out.extend_from_slice(&lies.disk.to_le_bytes());
    out.extend_from_slice(&lies.count.unwrap_or(declared.2).to_le_bytes());
    out.extend_from_slice(&lies.count.unwrap_or(declared.2).to_le_bytes());
    out.extend_from_slice(&lies.directory_size.unwrap_or(declared.1).to_le_bytes());
    out.extend_from_slice(&lies.offset.unwrap_or(declared.0).to_le_bytes());
    out.extend_from_slice(&u16::try_from(lies.comment.len()).unwrap().to_le_bytes());
    out.extend_from_slice(&lies.comment);
    out.extend_from_slice(&lies.suffix);
    out
}

/// `properties.xml` of a package.
pub(crate) fn properties(entries: &[(&str, &str)]) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?>\n<!DOCTYPE properties SYSTEM \"http://java.sun.com/dtd/properties.dtd\">\n<properties>\n",
    );
    for (key, value) in entries {
        out.push_str(&format!("<entry key=\"{key}\">{value}</entry>\n"));
    }
    out.push_str("</properties>\n");
    out
}

/// The entries of a minimal content package.
pub(crate) fn package_items(id: &str, more: &[(&str, &str)], root: &str) -> Vec<Item> {
    let parts: Vec<&str> = id.split(':').collect();
    let mut entries = vec![("group", parts[0]), ("name", parts[1]), ("version", *parts.get(2).unwrap_or(&""))];
    entries.extend_from_slice(more);
    vec![
        deflated(
            "META-INF/vault/filter.xml",
            format!("<workspaceFilter version=\"1.0\"><filter root=\"{root}\"/></workspaceFilter>"),
        ),
        deflated("META-INF/vault/properties.xml", properties(&entries)),
        file("jcr_root/.content.xml", "<jcr:root/>"),
    ]
}

/// A minimal content package.
pub(crate) fn package(id: &str, more: &[(&str, &str)]) -> Vec<u8> {
    zip(&package_items(id, more, "/apps/site"))
}
