//! Lies of the zip itself: places, sizes, counts, methods, names.

use launchway_operator::image::{Limits, Reason};

use super::Cases;
use crate::testzip::{Item, Lies, Zip64Lie, deflated, file, folder, link, package_items, zip, zip_with};

/// A content package with more in it.
fn with(more: Vec<Item>) -> Vec<u8> {
    zip(&[package_items("g:a:1", &[], "/apps/a"), more].concat())
}

fn one(item: Item) -> Vec<u8> {
    with(vec![item])
}

#[allow(clippy::needless_pass_by_value, reason = "each case is one expression")]
fn lying(lies: Lies) -> Vec<u8> {
    zip_with(&package_items("g:a:1", &[], "/apps/a"), &lies)
}

pub fn add(cases: &mut Cases) {
    ends(cases);
    zip64(cases);
    headers(cases);
    bombs(cases);
}

fn ends(cases: &mut Cases) {
    use Reason::{DirectoryMismatch, EmptyFile, HiddenData, LeadingData, NotAZip, OverlappingEntries, TrailingData};
    let good = one(file("jcr_root/x", "x"));
    cases.refused("no bytes", &[EmptyFile], Vec::new());
    cases.refused("a text", &[NotAZip], b"PK but not a zip\n".repeat(100));
    cases.refused("the end is missing", &[NotAZip], good[..good.len() - 10].to_vec());
    let directory = good.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    cases.refused("the directory is missing", &[NotAZip], good[..directory].to_vec());
    cases.refused("the first half alone", &[NotAZip], good[..good.len() / 2].to_vec());
    cases.refused(
        "a script before it",
        &[LeadingData],
        lying(Lies { prefix: b"#!/bin/sh\n".to_vec(), ..Lies::default() }),
    );
    cases.refused("bytes behind it", &[TrailingData], lying(Lies { suffix: b"tail".to_vec(), ..Lies::default() }));
    let before = Lies { before_directory: b"hidden".to_vec(), ..Lies::default() };
    cases.refused("bytes before the directory", &[HiddenData], lying(before));
    let after = Lies { after_directory: b"hidden".to_vec(), ..Lies::default() };
    cases.refused("bytes behind the directory", &[DirectoryMismatch], lying(after));
    cases.refused("one entry less declared", &[DirectoryMismatch], lying(Lies { count: Some(2), ..Lies::default() }));
    cases.refused("one entry more declared", &[DirectoryMismatch], lying(Lies { count: Some(4), ..Lies::default() }));
    cases.refused(
        "no entry declared",
        &[DirectoryMismatch, LeadingData],
        lying(Lies { count: Some(0), ..Lies::default() }),
    );
    let size = Lies { directory_size: Some(46), ..Lies::default() };
    cases.refused("a smaller directory declared", &[DirectoryMismatch, LeadingData], lying(size));
    let offset = Lies { offset: Some(0), ..Lies::default() };
    cases.refused("another place of the directory declared", &[DirectoryMismatch, LeadingData, NotAZip], lying(offset));
    let far = Lies { offset: Some(0x7fff_ffff), ..Lies::default() };
    cases.refused("a directory behind the end", &[DirectoryMismatch, LeadingData, NotAZip], lying(far));
    cases.refused("another disk", &[DirectoryMismatch], lying(Lies { disk: 1, ..Lies::default() }));
    let all_at_once = Lies { same_offset: true, ..Lies::default() };
    cases.refused("every entry is the first one", &[OverlappingEntries], lying(all_at_once));
    let whole = zip(&[file("META-INF/vault/other", "x")]);
    cases.refused("two zips in a row", &[LeadingData, DirectoryMismatch], [good.clone(), whole.clone()].concat());
    let commented = Lies { comment: whole.clone(), ..Lies::default() };
    cases.refused("a zip in the comment", &[LeadingData, DirectoryMismatch, TrailingData], lying(commented));
    let fake = Lies { comment: b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(), ..Lies::default() };
    cases.refused("an end record in the comment", &[LeadingData, DirectoryMismatch, TrailingData], lying(fake));
    cases.refused("a zip between entries", &[HiddenData], one(Item { gap: whole, ..file("jcr_root/x", "x") }));
    let why = "a comment is no entry: every reader sees the same";
    cases.harmless("a comment", why, lying(Lies { comment: b"hello".to_vec(), ..Lies::default() }));
}

fn zip64(cases: &mut Cases) {
    use Reason::{DirectoryMismatch, LeadingData, NotAZip, TooManyEntries};
    let mut lie = |name: &str, lie: Zip64Lie| {
        let bytes = lying(Lies { zip64: Some(lie), ..Lies::default() });
        cases.refused(name, &[DirectoryMismatch, LeadingData, NotAZip, TooManyEntries], bytes);
    };
    lie("zip64 declares one entry", Zip64Lie { count: Some(1), ..Zip64Lie::default() });
    lie("zip64 declares all entries there can be", Zip64Lie { count: Some(u64::MAX), ..Zip64Lie::default() });
    lie("zip64 declares a directory of one byte", Zip64Lie { size: Some(1), ..Zip64Lie::default() });
    lie("zip64 declares a directory of any size", Zip64Lie { size: Some(u64::MAX), ..Zip64Lie::default() });
    lie("zip64 puts the directory first", Zip64Lie { offset: Some(0), ..Zip64Lie::default() });
    lie("zip64 puts the directory out of reach", Zip64Lie { offset: Some(u64::MAX - 3), ..Zip64Lie::default() });
    let honest = lying(Lies { zip64: Some(Zip64Lie::default()), ..Lies::default() });
    cases.harmless("zip64", "both end records say the same; the report says that it is zip64", honest);
}

fn headers(cases: &mut Cases) {
    use Reason::{CorruptEntry, EncryptedEntry, HeaderMismatch, UnsupportedMethod};
    let x = || file("jcr_root/x", "hello");
    let packed = || deflated("jcr_root/x", "hello");
    let mut differs = |name: &str, item: Item| cases.refused(name, &[HeaderMismatch], one(item));
    differs("another local name", Item { local_name: Some(b"jcr_root/y".to_vec()), ..x() });
    differs("a longer local name", Item { local_name: Some(b"jcr_root/x/../y".to_vec()), ..x() });
    differs("another local checksum", Item { local_crc: Some(1), ..x() });
    differs("another local size", Item { local_size: Some(7), ..packed() });
    differs("another local method", Item { local_method: Some(8), ..x() });
    differs("other local flags", Item { local_flags: Some(8), ..x() });
    differs("a stored entry with two sizes", Item { size: Some(7), ..x() });
    let extra = vec![0x75, 0x70, 6, 0, 1, 0, 0, 0, 0, b'b'];
    differs("a Unicode path that names another file", Item { central_extra: extra, ..x() });
    let mut corrupt = |name: &str, item: Item| cases.refused(name, &[CorruptEntry], one(item));
    corrupt("a wrong checksum", Item { crc: Some(7), ..x() });
    corrupt("more than declared", Item { size: Some(4), ..packed() });
    corrupt("less than declared", Item { size: Some(6), ..packed() });
    corrupt("no deflate stream", Item { raw: Some((b"\xff\xff\xff".to_vec(), 0, 10)), method: 8, ..x() });
    corrupt("bytes behind the deflate stream", Item { raw: Some((vec![3, 0, 1, 2, 3], 0, 0)), method: 8, ..x() });
    let bomb = vec![0_u8; 1 << 20];
    corrupt("a small size declared for a large content", Item { size: Some(10), ..deflated("jcr_root/x", bomb) });
    for (name, flag) in [("encrypted", 1), ("strongly encrypted", 1 << 6), ("masked headers", 1 << 13)] {
        cases.refused(name, &[EncryptedEntry], one(Item { flags: flag, ..x() }));
    }
    for (name, method) in [
        ("shrink", 1),
        ("implode", 6),
        ("deflate64", 9),
        ("bzip2", 12),
        ("lzma", 14),
        ("zstd", 93),
        ("xz", 95),
        ("aes", 99),
    ] {
        cases.refused(format!("method {name}"), &[UnsupportedMethod], one(Item { method, ..x() }));
    }
    let why = "the record behind the content says what the directory says";
    cases.harmless("sizes behind the content", why, one(Item { descriptor: true, ..packed() }));
    let why = "unknown extra fields are skipped by every reader";
    cases.harmless("an unknown extra field", why, one(Item { central_extra: vec![0xfe, 0xca, 0, 0], ..x() }));
}

fn bombs(cases: &mut Cases) {
    use Reason::{CompressionBomb, NameTooLong, TooLarge, TooManyEntries};
    let zeros = || deflated("jcr_root/x", vec![0_u8; 8 << 20]);
    cases.refused("a bomb", &[CompressionBomb], one(zeros()));
    let tight = Limits { ratio_floor: 1 << 10, ..Limits::default() };
    let lie = Item { size: Some(1000), ..zeros() };
    cases.within("a bomb that declares a small size", &[Reason::CorruptEntry], tight, one(lie));
    let few = Limits { entries: 10, ..Limits::default() };
    let many = (0..20).map(|at| file(&format!("jcr_root/{at}"), "")).collect();
    cases.within("too many entries", &[TooManyEntries], few, with(many));
    let names: Vec<Item> = (0..100).map(|at| file(&format!("jcr_root/{}{at}", "n".repeat(200)), "")).collect();
    let short = Limits { name_bytes: 1 << 10, ..Limits::default() };
    cases.within("names of many bytes together", &[NameTooLong], short, with(names));
    let small = Limits { entry_bytes: 10, ..Limits::default() };
    cases.within("an entry that is too large", &[TooLarge], small, one(file("jcr_root/x", "x".repeat(11))));
    let small = Limits { archive_bytes: 1000, ..Limits::default() };
    let parts = (0..20).map(|at| file(&format!("jcr_root/{at}"), "x".repeat(99))).collect();
    cases.within("entries that are too large together", &[TooLarge], small, with(parts));
}

pub fn names(cases: &mut Cases) {
    use Reason::{ConflictingEntries, DuplicateEntry, NameNotUtf8, NameTooLong, SpecialFile, UnsafePath, WhiteoutName};
    for name in [
        "../evil",
        "a/../../x",
        "jcr_root/..",
        "/abs",
        "//x",
        "a//b",
        "./a",
        "a/.",
        "C:/x",
        "c:\\x",
        "a\0b",
        "a\nb",
        "..\\x",
        "/",
        "\u{7f}",
        "jcr_root\\x",
        "\u{1b}[2J",
    ] {
        cases.refused(format!("the name {name:?}"), &[UnsafePath], one(file(name, "x")));
    }
    for (name, bytes) in [
        ("a name in CP437", b"jcr_root/caf\x82".to_vec()),
        ("an overlong UTF-8 name", b"jcr_root/\xc0\xae\xc0\xae".to_vec()),
        ("a lone surrogate in a name", b"jcr_root/\xed\xa0\x80".to_vec()),
    ] {
        cases.refused(name, &[NameNotUtf8], one(Item { name: bytes, ..file("", "x") }));
    }
    cases.refused("a part of 256 bytes", &[NameTooLong], one(file(&"x".repeat(256), "x")));
    cases.refused("a name of 1200 bytes", &[NameTooLong], one(file(&"x/".repeat(600), "")));
    cases.refused("a name of 70 parts", &[NameTooLong], one(file(&vec!["d"; 70].join("/"), "")));
    cases.refused("a whiteout", &[WhiteoutName], one(file("jcr_root/.wh.b", "x")));
    cases.refused("an opaque whiteout", &[WhiteoutName], one(file("jcr_root/.wh..wh..opq", "x")));
    let both = |a, b| with(vec![a, b]);
    cases.refused("one name, two contents", &[DuplicateEntry], both(file("jcr_root/a", "x"), file("jcr_root/a", "y")));
    let links = both(link("jcr_root/a", "x"), link("jcr_root/a", "y"));
    cases.refused("one link, two targets", &[DuplicateEntry], links);
    cases.refused("a file and a folder", &[ConflictingEntries], both(file("jcr_root/a", "x"), folder("jcr_root/a")));
    cases.refused(
        "a file below a file",
        &[ConflictingEntries],
        both(file("jcr_root/a", "x"), file("jcr_root/a/b", "y")),
    );
    let below = both(link("jcr_root/a", "/etc"), file("jcr_root/a/passwd", "y"));
    cases.refused("a file below a link", &[ConflictingEntries], below);
    cases.refused("a folder with content", &[ConflictingEntries], one(file("jcr_root/a/", "content")));
    let typed = Item { mode: 0o040_755, ..file("jcr_root/a", "x") };
    cases.refused("a folder that is named like a file", &[ConflictingEntries], one(typed));
    for (name, mode) in [
        ("a pipe", 0o010_644),
        ("a character device", 0o020_644),
        ("a block device", 0o060_644),
        ("a socket", 0o140_644),
    ] {
        cases.refused(name, &[SpecialFile], one(Item { mode, ..file("jcr_root/a", "") }));
    }
    cases.refused("a link in a package", &[Reason::LinkInPackage], one(link("jcr_root/a", "/etc/passwd")));
    let why = "the same bytes under one name: whichever a reader takes, it is the same";
    cases.harmless("one name, one content, twice", why, both(file("jcr_root/a", "x"), deflated("jcr_root/a", "x")));
    let why = "layers are written with modes of their own";
    cases.harmless("setuid", why, one(Item { mode: 0o104_755, ..file("jcr_root/a", "x") }));
    let why = "repositories tell upper from lower case, and packages are never unpacked by name";
    cases.harmless("names that differ in case", why, both(file("jcr_root/a", "x"), file("jcr_root/A", "y")));
    let why = "repositories tell them apart; the report names them";
    cases.harmless("NFC and NFD", why, both(file("jcr_root/\u{e9}", "x"), file("jcr_root/e\u{301}", "y")));
}
