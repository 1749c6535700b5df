//! A small event reader on top of quick-xml that resolves no entities and bounds depth.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// What a document is made of, as far as package metadata go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// `<name a="b">`.
    Start(String, Vec<(String, String)>),
    /// Text, with character references resolved.
    Text(String),
    /// `</name>`.
    End(String),
}

const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 400_000;

/// Which document type declaration is accepted. None is ever read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doctype<'a> {
    /// No declaration at all.
    None,
    /// `<!DOCTYPE name SYSTEM "…">` of this id.
    System(&'a str),
    /// `<!DOCTYPE name PUBLIC "…" "…">` whose public id begins so.
    Public(&'a str),
}

/// Parses a document. `doctype` says whether an external DOCTYPE of that system id is accepted.
///
/// # Errors
/// The rule that the document breaks.
pub fn parse(bytes: &[u8], doctype: Option<&str>) -> Result<Vec<Node>, String> {
    parse_deep(bytes, doctype, MAX_DEPTH)
}

/// As [`parse`], for documents whose elements may be nested deeper.
///
/// # Errors
/// The rule that the document breaks.
pub fn parse_deep(bytes: &[u8], doctype: Option<&str>, max_depth: usize) -> Result<Vec<Node>, String> {
    let mut out: Vec<Node> = Vec::new();
    let bounds = Bounds { nodes: MAX_NODES, depth: max_depth };
    walk(bytes, doctype.map_or(Doctype::None, Doctype::System), bounds, |node| {
        match (out.last_mut(), node) {
            (Some(Node::Text(previous)), Node::Text(text)) => previous.push_str(&text),
            (_, node) => out.push(node),
        }
        Ok(())
    })?;
    Ok(out)
}

/// How large a document may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Elements, ends and texts.
    pub nodes: usize,
    /// How deep elements may be nested.
    pub depth: usize,
}

impl Bounds {
    /// Of so many nodes, nested as deep as usual.
    #[must_use]
    pub const fn nodes(nodes: usize) -> Self {
        Self { nodes, depth: MAX_DEPTH }
    }
}

/// Walks through a document without keeping it. A text may come in several pieces.
///
/// # Errors
/// The rule that the document breaks, or what `visit` says.
pub fn walk(
    bytes: &[u8],
    doctype: Doctype<'_>,
    bounds: Bounds,
    mut visit: impl FnMut(Node) -> Result<(), String>,
) -> Result<(), String> {
    walk_located(bytes, doctype, bounds, |node, _| visit(node))
}

/// As [`walk`], with the bytes that each node is written in. The end of `<name/>` has none.
///
/// # Errors
/// The rule that the document breaks, or what `visit` says.
pub fn walk_located(
    bytes: &[u8],
    doctype: Doctype<'_>,
    bounds: Bounds,
    mut visit: impl FnMut(Node, Range<usize>) -> Result<(), String>,
) -> Result<(), String> {
    let Bounds { nodes, depth: max_depth } = bounds;
    let all = bytes.len();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mark = all - bytes.len();
    let text = std::str::from_utf8(bytes).map_err(|error| format!("it is not UTF-8 ({error})"))?;
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let (mut depth, mut roots, mut seen) = (0_usize, 0_usize, 0_usize);
    let mut end = mark;
    loop {
        seen += 1;
        if seen > nodes {
            return Err("it has too many elements".to_owned());
        }
        let event = reader.read_event().map_err(|error| format!("it is not well-formed XML ({error})"))?;
        let begin = end;
        end = mark + usize::try_from(reader.buffer_position()).map_err(|error| error.to_string())?;
        let mut located = |node| visit(node, begin..end);
        match event {
            Event::Start(start) => {
                roots += usize::from(depth == 0);
                depth += 1;
                if depth > max_depth {
                    return Err(format!("elements are nested more than {max_depth} deep"));
                }
                located(element(&start)?)?;
            }
            Event::Empty(start) => {
                roots += usize::from(depth == 0);
                let node = element(&start)?;
                if let Node::Start(name, _) = &node {
                    let ended = Node::End(name.clone());
                    located(node)?;
                    visit(ended, end..end)?;
                }
            }
            Event::End(ended) => {
                depth = depth.checked_sub(1).ok_or("an element is closed that was never opened")?;
                located(Node::End(ended.name().into_inner().to_owned()))?;
            }
            Event::Text(text) => inside(&text.xml10_content(), depth, &mut located)?,
            Event::CData(text) => inside(&text.xml10_content(), depth, &mut located)?,
            Event::GeneralRef(reference) => {
                let resolved = match reference.resolve_char_ref() {
                    Ok(Some(character)) => character,
                    Ok(None) => predefined(&reference.into_inner())?,
                    Err(error) => return Err(format!("a character reference is wrong ({error})")),
                };
                inside(resolved.encode_utf8(&mut [0; 4]), depth, &mut located)?;
            }
            Event::DocType(declaration) => check_doctype(&declaration.into_inner(), doctype)?,
            Event::Decl(declaration) => {
                if let Some(Ok(encoding)) = declaration.encoding()
                    && !["utf-8", "utf8", "us-ascii", "ascii"].contains(&encoding.to_ascii_lowercase().as_str())
                {
                    return Err(format!("its encoding is {encoding}; only UTF-8 is read"));
                }
            }
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    if depth != 0 {
        return Err("it ends inside an element".to_owned());
    }
    if roots != 1 {
        return Err(format!("it has {roots} root elements instead of one"));
    }
    Ok(())
}

fn predefined(name: &str) -> Result<char, String> {
    match name {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        other => Err(format!(
            "it uses the entity &{};, and entities are not resolved",
            other.chars().take(40).collect::<String>()
        )),
    }
}

fn inside(text: &str, depth: usize, visit: &mut impl FnMut(Node) -> Result<(), String>) -> Result<(), String> {
    if depth > 0 {
        return visit(Node::Text(text.to_owned()));
    }
    if text.trim().is_empty() { Ok(()) } else { Err("there is text outside of the root element".to_owned()) }
}

fn element(start: &BytesStart<'_>) -> Result<Node, String> {
    let name = start.name().into_inner().to_owned();
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| format!("an attribute of <{name}> is wrong ({error})"))?;
        let value = attribute
            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
            .map_err(|error| format!("an attribute of <{name}> is wrong ({error})"))?;
        attributes.push((attribute.key.into_inner().to_owned(), value.into_owned()));
    }
    Ok(Node::Start(name, attributes))
}

fn check_doctype(declaration: &str, accepted: Doctype<'_>) -> Result<(), String> {
    let quotes = |c: char| c == '"' || c == '\'';
    let words: Vec<&str> = declaration.split_ascii_whitespace().collect();
    let fits = match accepted {
        Doctype::None => return Err("it has a DOCTYPE; DTDs are not read".to_owned()),
        Doctype::System(id) => matches!(words.as_slice(), [_, "SYSTEM", found] if found.trim_matches(quotes) == id),
        Doctype::Public(id) => {
            let stated = words.get(2..).unwrap_or_default().join(" ");
            words.get(1) == Some(&"PUBLIC")
                && stated.strip_prefix(quotes).is_some_and(|rest| rest.starts_with(id))
                && !declaration.contains('[')
        }
    };
    if fits { Ok(()) } else { Err("it has a DOCTYPE that is not the one of its format; DTDs are not read".to_owned()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DTD: &str = "http://java.sun.com/dtd/properties.dtd";

    #[test]
    fn resolves_only_builtin_references() {
        let nodes = parse(b"<a>x &amp; &#65;<![CDATA[<y>]]></a>", None).unwrap();
        assert_eq!(nodes[1], Node::Text("x & A<y>".into()));
    }

    #[test]
    fn each_node_has_its_place() {
        let text = "\u{feff}<?xml version=\"1.0\"?><a x='1'>é<!-- no --><b/>&#65;</a >";
        let mut seen = vec![];
        walk_located(text.as_bytes(), Doctype::None, Bounds::nodes(100), |node, range| {
            seen.push((text[range].to_owned(), matches!(node, Node::End(_))));
            Ok(())
        })
        .unwrap();
        let seen: Vec<(&str, bool)> = seen.iter().map(|(text, end)| (text.as_str(), *end)).collect();
        let wanted =
            [("<a x='1'>", false), ("é", false), ("<b/>", false), ("", true), ("&#65;", false), ("</a >", true)];
        assert_eq!(seen, wanted);
    }

    #[test]
    fn refuses() {
        let deep = format!("{}{}", "<a>".repeat(60), "</a>".repeat(60));
        for bad in [
            "<a>&xxe;</a>",
            "<a",
            "<a>",
            "</a>",
            "<a></b>",
            "<a/><b/>",
            "text",
            "<a x=\"&xxe;\"/>",
            "<a x='1' x='2'/>",
            "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
            "<!DOCTYPE properties SYSTEM \"http://java.sun.com/dtd/properties.dtd\" [<!ENTITY a \"b\">]><a/>",
            "<!DOCTYPE a SYSTEM \"http://example.org/x.dtd\"><a/>",
            "<?xml version=\"1.0\" encoding=\"UTF-16\"?><a/>",
            &deep,
            "",
        ] {
            assert!(parse(bad.as_bytes(), Some(DTD)).is_err(), "{bad}");
        }
        assert!(parse(b"<a>\xff</a>", None).is_err());
    }
}
