//! Makes questions: the same ones for the same seed.

use proptest::strategy::{Strategy, ValueTree};
use proptest::string::string_regex;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::hex;
use super::testzip::{Item, Lies, Zip64Lie, deflated, file, folder, link, package, zip, zip_with};

/// Versions as builds write them.
const VERSION: &str = "[0-9]{1,3}(\\.[0-9]{1,3}){0,3}([-.](SNAPSHOT|snapshot|alpha|beta|milestone|rc|RC|cr|m|a|b|sp|ga|final|release|cp2fm-converted|[a-z]{1,4})([-.]?[0-9]{1,2})?){0,2}";
/// Versions as nobody should write them.
const WILD: &str = "[0-9a-cmA-C.+_-]{0,8}";
const LETTERS: &str = "[0-9a-zéßÄ._-]{0,6}";
const LONG: &str = "[0-9]{9,22}(\\.[0-9]{9,22})?";
const RANGE_BODY: &str = "[0-9a-c., -]{0,7}";
const SEGMENT: &str = "[a-c]{1,2}";
const STRANGE: &str = "[a-c0-9./:|* \\[\\]\\\\-]{0,6}";

struct Dice(TestRunner);

impl Dice {
    fn text(&mut self, pattern: &str) -> String {
        string_regex(pattern).unwrap().new_tree(&mut self.0).unwrap().current()
    }

    fn below(&mut self, end: usize) -> usize {
        (0..end).new_tree(&mut self.0).unwrap().current()
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn version(&mut self) -> String {
        let pattern = self.of(&[VERSION, VERSION, VERSION, WILD, WILD, LETTERS, LONG]);
        self.text(pattern)
    }

    /// Another version that is near a given one.
    fn neighbour(&mut self, version: &str) -> String {
        let tail =
            self.of(&[".0", "-0", "-SNAPSHOT", "-ga", ".final", "-1", ".1", "-sp", "-rc1", "", "0", "a", "-", "."]);
        match self.below(5) {
            0 => version.to_uppercase(),
            1 => version.replace('.', "-"),
            2 => version.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned(),
            3 => format!("{tail}{version}"),
            _ => format!("{version}{tail}"),
        }
    }

    fn range(&mut self) -> String {
        let (low, high) = (self.version(), self.version());
        match self.below(10) {
            0 => String::new(),
            1 => low,
            2 => self.text(RANGE_BODY),
            3 => format!("[{low}]"),
            4 => format!("[{low},{low}]"),
            5 => format!("{}{}{}", self.of(&["[", "("]), self.text(RANGE_BODY), self.of(&["]", ")", ""])),
            6 => format!("[{low},)"),
            7 => format!("[,{high}{}", self.of(&["]", ")"])),
            _ => format!("{}{low},{high}{}", self.of(&["[", "("]), self.of(&["]", ")"])),
        }
    }

    fn dependency(&mut self) -> String {
        let (group, name) = (self.text(SEGMENT), self.text(SEGMENT));
        match self.below(9) {
            0 => name,
            1 => format!("{group}/{name}"),
            2 => format!("{group}/{name}:{}", self.text("[0-9]\\.[0-9]")),
            3 => format!("/etc/packages/{group}/{name}:{}", self.range()),
            4 => format!("/etc/packages/{group}:{name}"),
            5 => format!("{group}:{name}"),
            6 => self.text(STRANGE),
            _ => format!("{group}:{name}:{}", self.range()),
        }
    }

    /// A set of packages with unique names, sorted by id as we sort them.
    fn set(&mut self) -> Vec<String> {
        let count = 1 + self.below(7);
        let mut fields: Vec<String> = (0..count)
            .map(|at| {
                let needs: Vec<String> = (0..self.below(3))
                    .map(|_| {
                        // One more than there are: some are missing.
                        let other = self.below(count + 1);
                        let range = self.of(&["", "", ":1", ":[1,2)", ":[2,3]", ":(,1.5]"]);
                        format!("g:p{other}{range}")
                    })
                    .collect();
                format!("g:p{at}:{}>{}", self.of(&["1", "1.5", "2", "2.0-SNAPSHOT", ""]), needs.join(","))
            })
            .collect();
        fields.sort();
        fields
    }
}

/// `scale` times some dozen questions of every kind about texts, and every question about archives.
pub fn questions(seed: u8, scale: usize) -> Vec<Vec<String>> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut dice = Dice(TestRunner::new_with_rng(Config::default(), rng));
    let mut out: Vec<Vec<String>> = Vec::new();
    let mut ask = |fields: &[&str]| out.push(fields.iter().map(|field| (*field).to_owned()).collect());
    for _ in 0..scale {
        for _ in 0..10 {
            let a = dice.version();
            let b = if dice.below(2) == 0 { dice.neighbour(&a) } else { dice.version() };
            ask(&["version", &a, &b]);
            let (range, version) = (dice.range(), dice.version());
            ask(&["range", &range, &version]);
        }
        for _ in 0..5 {
            let list: Vec<String> = (0..dice.below(4)).map(|_| dice.dependency()).collect();
            ask(&["dependency", &list.join(",")]);
            let (wanted, group, name) = (dice.dependency(), dice.text(SEGMENT), dice.text(SEGMENT));
            let wanted = if dice.below(2) == 0 { format!("{group}:{name}:{}", dice.range()) } else { wanted };
            ask(&["match", &wanted, &group, &name, &dice.version()]);
            let pattern = dice.of(&[SEGMENT, STRANGE]);
            ask(&["id", &dice.text(pattern), &dice.text(STRANGE), &dice.text(STRANGE)]);
            let set = dice.set();
            let fields: Vec<&str> = ["order"].into_iter().chain(set.iter().map(String::as_str)).collect();
            ask(&fields);
        }
        for _ in 0..2 {
            ask(&["properties", &hex(properties(&mut dice).as_bytes())]);
            ask(&["filter", &hex(filter(&mut dice).as_bytes())]);
        }
    }
    for (name, bytes) in archives() {
        out.push(vec!["zip".into(), hex(&bytes), name]);
    }
    for (name, bytes) in honest() {
        // Every byte of an honest archive, changed in three ways.
        for at in 0..bytes.len() {
            for mask in [1_u8, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= mask;
                out.push(vec!["zip".into(), hex(&changed), format!("{name}, byte {at} ^ {mask:02x}")]);
            }
        }
    }
    out
}

fn properties(dice: &mut Dice) -> String {
    let mut out = dice.of(&["", "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?>\n"]).to_owned();
    out.push_str("<!DOCTYPE properties SYSTEM \"http://java.sun.com/dtd/properties.dtd\">\n<properties>");
    out.push_str(dice.of(&["", "\n", "<comment>c</comment>", "<!-- c -->"]));
    for _ in 0..dice.below(4) {
        let key = dice.text("[ab.]{1,2}");
        let value: String = (0..dice.below(4))
            .map(|_| {
                dice.of(&[
                    "text",
                    " ",
                    "\n",
                    "\t",
                    "\r\n",
                    "&lt;",
                    "&amp;",
                    "&#65;",
                    "&#x41;",
                    "&#10;",
                    "&quot;",
                    "<![CDATA[<b>]]>",
                    "<!-- no -->",
                    "é",
                    "]]",
                    "<?p?>",
                    "&nbsp;",
                    "<b/>",
                ])
            })
            .collect();
        out.push_str(&format!("<entry key=\"{key}\">{value}</entry>\n"));
    }
    out.push_str(dice.of(&["</properties>", "</properties>\n", "</properties><!-- end -->", "</propertie>", ""]));
    out
}

fn filter(dice: &mut Dice) -> String {
    let mut out = dice.of(&["", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"]).to_owned();
    out.push_str(dice.of(&[
        "<workspaceFilter version=\"1.0\">",
        "<workspaceFilter>",
        "<workspaceFilter version=\"2.0\">",
    ]));
    for _ in 0..dice.below(4) {
        let root = dice.of(&["/apps/a", "/apps/b/", "/content", "/", "apps", "/a&amp;b", "/apps/c d", ""]);
        let more = dice.of(&[
            "",
            " mode=\"merge\"",
            " mode=\"MERGE\"",
            " mode=\"update\"",
            " mode=\"x\"",
            " type=\"cleanup\"",
        ]);
        let rules = dice.of(&[
            "",
            "<include pattern=\"/apps/a(/.*)?\"/>",
            "<exclude pattern=\".*\"/>",
            "<!-- c -->",
            "<exclude pattern=\"[\"/>",
            "<include/>",
            "<other/>",
            "text",
        ]);
        out.push_str(&format!("<filter root=\"{root}\"{more}>{rules}</filter>"));
    }
    out.push_str(dice.of(&["</workspaceFilter>", "</workspaceFilter>\n", "<x/></workspaceFilter>"]));
    out
}

/// Small archives that every reader takes.
fn honest() -> Vec<(String, Vec<u8>)> {
    let described = Item { descriptor: true, ..deflated("b", "hello hello hello") };
    vec![
        (
            "stored, deflated, folder, link".into(),
            zip(&[file("a", "x"), deflated("b/c", "yyyyyyyyyyyy"), folder("d"), link("l", "a")]),
        ),
        ("descriptor".into(), zip(&[file("a", "x"), described])),
        (
            "zip64 end record".into(),
            zip_with(&[file("a", "x")], &Lies { zip64: Some(Zip64Lie::default()), ..Lies::default() }),
        ),
    ]
}

/// Honest archives, and one of every kind of dishonest ones.
fn archives() -> Vec<(String, Vec<u8>)> {
    let mut out = honest();
    let two = || vec![file("a", "first"), deflated("b", "second second second")];
    let mut lie = |name: &str, lies: Lies| out.push((name.to_owned(), zip_with(&two(), &lies)));
    lie("bytes before the first entry", Lies { prefix: b"#!/bin/sh\n".to_vec(), ..Lies::default() });
    lie("bytes before the directory", Lies { before_directory: vec![7; 9], ..Lies::default() });
    lie("bytes behind the directory", Lies { after_directory: vec![7; 9], ..Lies::default() });
    lie("bytes behind the end", Lies { suffix: vec![7; 9], ..Lies::default() });
    lie("another zip behind the end", Lies { suffix: zip(&[file("c", "third")]), ..Lies::default() });
    lie("another zip before the first entry", Lies { prefix: zip(&[file("c", "third")]), ..Lies::default() });
    lie("fewer entries declared", Lies { count: Some(1), ..Lies::default() });
    lie("more entries declared", Lies { count: Some(3), ..Lies::default() });
    lie("shorter directory declared", Lies { directory_size: Some(47), ..Lies::default() });
    lie("two entries share bytes", Lies { same_offset: true, ..Lies::default() });
    let zip64 = |lie: Zip64Lie| Lies { zip64: Some(lie), ..Lies::default() };
    lie("zip64 count lies", zip64(Zip64Lie { count: Some(1), ..Zip64Lie::default() }));
    lie("zip64 size lies", zip64(Zip64Lie { size: Some(47), ..Zip64Lie::default() }));
    lie("zip64 offset lies", zip64(Zip64Lie { offset: Some(0), ..Zip64Lie::default() }));
    let mut one = |name: &str, items: Vec<Item>| out.push((name.to_owned(), zip(&items)));
    one("no entry", vec![]);
    one("a name twice", vec![file("a", "x"), file("a", "y")]);
    one("a name as file and folder", vec![file("a", "x"), folder("a")]);
    one("a file below a file", vec![file("a", "x"), file("a/b", "y")]);
    one("a file below a link", vec![link("a", "/etc"), file("a/passwd", "y")]);
    for name in ["../x", "a/../x", "/abs", "C:/x", "a\\b", "a//b", "./a", "a\nb", ".wh.a"] {
        one(&format!("the name {}", name.escape_debug()), vec![file(name, "x")]);
    }
    one("a name that is not UTF-8", vec![Item { name: b"caf\xe9".to_vec(), ..file("", "x") }]);
    one("another name in the local header", vec![Item { local_name: Some(b"b".to_vec()), ..file("a", "x") }]);
    one("another checksum in the local header", vec![Item { local_crc: Some(1), ..file("a", "x") }]);
    one("another size in the local header", vec![Item { local_size: Some(7), ..deflated("a", "hello") }]);
    one("a wrong checksum", vec![Item { crc: Some(7), ..file("a", "hello") }]);
    one("a size that is too small", vec![Item { size: Some(4), ..deflated("a", "hello") }]);
    one("a size that is too large", vec![Item { size: Some(6), ..deflated("a", "hello") }]);
    one("encrypted", vec![Item { flags: 1, ..file("a", "x") }]);
    for method in [1, 9, 12, 14, 93] {
        one(&format!("compression method {method}"), vec![Item { method, ..file("a", "x") }]);
    }
    let mut gap = two();
    gap[1].gap = zip(&[file("smuggled", "x")]);
    one("a zip between two entries", gap);
    let other_name = vec![0x75, 0x70, 6, 0, 1, 0, 0, 0, 0, b'b'];
    one("a Unicode path field with another name", vec![Item { central_extra: other_name, ..file("a", "x") }]);
    one(
        "bytes behind the compressed content",
        vec![Item { raw: Some((vec![3, 0, 1, 2, 3], 0, 0)), method: 8, ..file("a", "") }],
    );
    one("a stored entry with a descriptor", vec![Item { descriptor: true, ..file("a", "x") }]);
    one("a device", vec![Item { mode: 0o020_644, ..file("dev", "") }]);
    one("a bomb", vec![deflated("bomb", vec![0; 3 << 20])]);
    out.push(("a content package".into(), package("g:n:1", &[])));
    let whole = package("g:n:1", &[]);
    out.push(("cut off".into(), whole[..whole.len() - 30].to_vec()));
    out
}
