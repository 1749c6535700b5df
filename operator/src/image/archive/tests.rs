#![allow(clippy::unwrap_used)]
use super::super::testzip::{Item, Lies, Zip64Lie, deflated, file, folder, link, zip, zip_with};
use super::*;

fn open(bytes: Vec<u8>) -> Result<Archive, ImageError> {
    Archive::open(&Blob::from_bytes(bytes), "x.zip", &Limits::default())
}

/// Opens and reads everything, as the plan does.
fn read_all(bytes: Vec<u8>, limits: &Limits) -> Result<usize, ImageError> {
    let archive = Archive::open(&Blob::from_bytes(bytes), "x.zip", limits)?;
    for entry in archive.entries() {
        archive.copy(entry, &mut io::sink())?;
    }
    Ok(archive.entries().len())
}

fn reason(bytes: Vec<u8>) -> Reason {
    reason_within(bytes, &Limits::default())
}

fn reason_within(bytes: Vec<u8>, limits: &Limits) -> Reason {
    match read_all(bytes, limits) {
        Err(ImageError::Refused(refusal)) => {
            assert!(refusal.message().contains("x.zip") && !refusal.remedy.is_empty());
            refusal.reason
        }
        other => panic!("{other:?}"),
    }
}

fn two() -> Vec<Item> {
    vec![file("a/b.txt", "hello"), deflated("c.txt", "world".repeat(100))]
}

#[test]
fn honest_archives() {
    assert_eq!(read_all(zip(&two()), &Limits::default()).unwrap(), 2);
    assert_eq!(read_all(zip(&[]), &Limits::default()).unwrap(), 0);
    let mut items = two();
    items.push(folder("a"));
    items.push(link("l", "a/b.txt"));
    items.push(Item { descriptor: true, ..deflated("d.txt", "described") });
    items.push(Item { flags: 0x800, ..file("ü.txt", "utf-8") });
    let archive = open(zip(&items)).unwrap();
    let kinds: Vec<EntryKind> = archive.entries().iter().map(|entry| entry.kind).collect();
    assert_eq!(
        kinds,
        [EntryKind::File, EntryKind::File, EntryKind::Folder, EntryKind::Link, EntryKind::File, EntryKind::File]
    );
    assert_eq!(archive.read(archive.find("c.txt").unwrap(), 1000).unwrap().len(), 500);
    assert_eq!(archive.read(archive.find("d.txt").unwrap(), 1000).unwrap(), b"described");
    assert!(archive.has_prefix("a") && !archive.has_prefix("b"));
    let zip64 = Lies { zip64: Some(Zip64Lie::default()), ..Lies::default() };
    assert_eq!(read_all(zip_with(&two(), &zip64), &Limits::default()).unwrap(), 2);
}

#[test]
fn hostile_structure() {
    let lie = |lies: Lies| reason(zip_with(&two(), &lies));
    assert_eq!(reason(Vec::new()), Reason::EmptyFile);
    assert_eq!(reason(b"PK\x03\x04 and then nothing".to_vec()), Reason::NotAZip);
    let mut cut = zip(&two());
    cut.truncate(cut.len() - 10);
    assert_eq!(reason(cut), Reason::NotAZip);
    assert!(matches!(lie(Lies { prefix: b"#!/bin/sh\n".to_vec(), ..Lies::default() }), Reason::LeadingData));
    assert_eq!(lie(Lies { suffix: b"tail".to_vec(), ..Lies::default() }), Reason::TrailingData);
    assert_eq!(lie(Lies { before_directory: b"hidden".to_vec(), ..Lies::default() }), Reason::HiddenData);
    assert_eq!(lie(Lies { after_directory: b"hidden".to_vec(), ..Lies::default() }), Reason::DirectoryMismatch);
    assert_eq!(lie(Lies { count: Some(1), ..Lies::default() }), Reason::DirectoryMismatch);
    assert_eq!(lie(Lies { count: Some(3), ..Lies::default() }), Reason::DirectoryMismatch);
    assert_eq!(lie(Lies { directory_size: Some(46), ..Lies::default() }), Reason::DirectoryMismatch);
    assert_eq!(lie(Lies { same_offset: true, ..Lies::default() }), Reason::OverlappingEntries);
    let second = zip(&[file("other", "x")]);
    let mut both = zip(&two());
    both.extend_from_slice(&second);
    assert!(matches!(reason(both), Reason::LeadingData | Reason::DirectoryMismatch));
    let mut gap = two();
    gap[1].gap = zip(&[file("smuggled", "x")]);
    assert_eq!(reason(zip(&gap)), Reason::HiddenData);
}

#[test]
fn hostile_zip64() {
    let lie = |lie: Zip64Lie| {
        let result = read_all(zip_with(&two(), &Lies { zip64: Some(lie), ..Lies::default() }), &Limits::default());
        assert!(matches!(result, Err(ImageError::Refused(_))), "{result:?}");
    };
    lie(Zip64Lie { count: Some(1), ..Zip64Lie::default() });
    lie(Zip64Lie { count: Some(u64::MAX), ..Zip64Lie::default() });
    lie(Zip64Lie { size: Some(u64::MAX), ..Zip64Lie::default() });
    lie(Zip64Lie { size: Some(1), ..Zip64Lie::default() });
    lie(Zip64Lie { offset: Some(0), ..Zip64Lie::default() });
    lie(Zip64Lie { offset: Some(u64::MAX - 3), ..Zip64Lie::default() });
}

#[test]
fn hostile_headers() {
    let one = |item: Item| reason(zip(&[file("first", "x"), item]));
    assert_eq!(one(Item { local_name: Some(b"b/a.txt".to_vec()), ..file("a/b.txt", "x") }), Reason::HeaderMismatch);
    assert_eq!(one(Item { local_crc: Some(1), ..file("a", "x") }), Reason::HeaderMismatch);
    assert_eq!(one(Item { local_size: Some(7), ..deflated("a", "hello") }), Reason::HeaderMismatch);
    assert_eq!(one(Item { size: Some(7), ..file("a", "hello") }), Reason::HeaderMismatch);
    assert_eq!(one(Item { crc: Some(7), ..file("a", "hello") }), Reason::CorruptEntry);
    assert_eq!(one(Item { size: Some(4), ..deflated("a", "hello") }), Reason::CorruptEntry);
    assert_eq!(one(Item { size: Some(6), ..deflated("a", "hello") }), Reason::CorruptEntry);
    assert_eq!(
        one(Item { raw: Some((b"\xff\xff\xff".to_vec(), 0, 10)), method: 8, ..file("a", "") }),
        Reason::CorruptEntry
    );
    assert_eq!(one(Item { flags: 1, ..file("a", "x") }), Reason::EncryptedEntry);
    assert_eq!(one(Item { flags: 1 << 6, ..file("a", "x") }), Reason::EncryptedEntry);
    for method in [1, 9, 12, 14, 93, 99] {
        assert_eq!(one(Item { method, ..file("a", "x") }), Reason::UnsupportedMethod);
    }
    // A Unicode path extra field that names another file.
    let mut extra = vec![0x75, 0x70, 6, 0, 1, 0, 0, 0, 0, b'b'];
    assert_eq!(one(Item { central_extra: extra.clone(), ..file("a", "x") }), Reason::HeaderMismatch);
    extra[9] = b'a';
    assert!(read_all(zip(&[Item { central_extra: extra, ..file("a", "x") }]), &Limits::default()).is_ok());
    // Compressed bytes behind the end of the stream.
    let mut item = deflated("a", "");
    item.raw = Some((vec![3, 0, 1, 2, 3], 0, 0));
    assert_eq!(one(item), Reason::CorruptEntry);
}

#[test]
fn hostile_names() {
    for name in [
        "../x", "a/../x", "a/..", "/abs", "//x", "a//b", "./a", "a/.", "C:/x", "c:\\x", "a\0b", "a\nb", "..\\x", "/",
        "\u{7f}",
    ] {
        assert_eq!(reason(zip(&[file(name, "x")])), Reason::UnsafePath, "{name:?}");
    }
    assert_eq!(reason(zip(&[Item { name: b"caf\xe9".to_vec(), ..file("", "x") }])), Reason::NameNotUtf8);
    assert_eq!(reason(zip(&[file(&"x".repeat(256), "x")])), Reason::NameTooLong);
    assert_eq!(reason(zip(&[file(&"x/".repeat(600), "")])), Reason::NameTooLong);
    assert_eq!(reason(zip(&[file(&vec!["d"; 70].join("/"), "")])), Reason::NameTooLong);
    assert_eq!(reason(zip(&[file("a/.wh.b", "x")])), Reason::WhiteoutName);
    assert_eq!(reason(zip(&[file(".wh..wh..opq", "x")])), Reason::WhiteoutName);
    assert_eq!(reason(zip(&[file("a", "x"), file("a", "y")])), Reason::DuplicateEntry);
    assert_eq!(reason(zip(&[file("a", "x"), folder("a")])), Reason::ConflictingEntries);
    assert_eq!(reason(zip(&[file("a", "x"), file("a/b", "y")])), Reason::ConflictingEntries);
    assert_eq!(reason(zip(&[link("a", "/etc"), file("a/passwd", "y")])), Reason::ConflictingEntries);
    for mode in [0o020_644, 0o060_644, 0o010_644, 0o140_644] {
        assert_eq!(reason(zip(&[Item { mode, ..file("dev", "") }])), Reason::SpecialFile);
    }
    assert!(read_all(zip(&[Item { mode: 0o177_777, ..file("a", "x") }]), &Limits::default()).is_ok());
    assert_eq!(reason(zip(&[Item { mode: 0o040_755, ..file("a", "x") }])), Reason::ConflictingEntries);
    assert_eq!(reason(zip(&[file("a/", "content")])), Reason::ConflictingEntries);
}

#[test]
fn bombs() {
    let bomb = deflated("bomb", vec![0; 8 << 20]);
    assert_eq!(reason(zip(std::slice::from_ref(&bomb))), Reason::CompressionBomb);
    // The declared size lies; the stream does not.
    let small = Limits { ratio_floor: 1 << 10, ..Limits::default() };
    assert_eq!(reason_within(zip(&[Item { size: Some(1000), ..bomb }]), &small), Reason::CorruptEntry);
    let tight = Limits { entries: 1, ..Limits::default() };
    assert_eq!(reason_within(zip(&two()), &tight), Reason::TooManyEntries);
    let tight = Limits { entry_bytes: 10, ..Limits::default() };
    assert_eq!(reason_within(zip(&two()), &tight), Reason::TooLarge);
    let tight = Limits { archive_bytes: 100, ..Limits::default() };
    assert_eq!(reason_within(zip(&two()), &tight), Reason::TooLarge);
    let tight = Limits { name_bytes: 5, ..Limits::default() };
    assert_eq!(reason_within(zip(&two()), &tight), Reason::NameTooLong);
}

#[test]
fn every_truncation_and_many_flips_are_survived() {
    let whole = zip(&two());
    for length in 0..whole.len() {
        assert!(read_all(whole[..length].to_vec(), &Limits::default()).is_err(), "{length}");
    }
    for at in 0..whole.len() {
        for mask in [1, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= mask;
            // Dates, versions and attributes may change freely; nothing may panic or hang.
            let _ = read_all(bytes, &Limits::default());
        }
    }
}
