//! Document views: repository nodes as XML, the form in which packages carry them.

use std::collections::BTreeMap;

use crate::image::package::xml;

/// Deepest nesting that is read; dialogs and templates stay far below it.
const DEPTH: usize = 200;

/// A node with its properties and children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Properties, as written (`{Boolean}true`, `[a,b]`).
    pub properties: BTreeMap<String, String>,
    /// Children by name. Siblings of one name are taken together.
    pub children: BTreeMap<String, Node>,
}

impl Node {
    /// `jcr:primaryType`, or nothing.
    #[must_use]
    pub fn primary_type(&self) -> &str {
        self.properties.get("jcr:primaryType").map(String::as_str).unwrap_or_default()
    }

    /// A property's only or first value, without its type.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        Some(untyped(self.properties.get(name)?))
    }

    /// All values of a property.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&str> {
        let Some(value) = self.text(name) else { return Vec::new() };
        match value.strip_prefix('[').and_then(|value| value.strip_suffix(']')) {
            Some("") => Vec::new(),
            Some(list) => list.split(',').map(str::trim).collect(),
            None => vec![value],
        }
    }

    /// Whether a property is true.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// A child.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children.get(name)
    }

    /// The node at a path below this one, made where it is missing.
    pub fn at(&mut self, path: &[String]) -> &mut Node {
        let Some((first, rest)) = path.split_first() else { return self };
        self.children.entry(first.clone()).or_default().at(rest)
    }

    /// Takes over the properties and children of another view of the same node.
    pub fn merge(&mut self, other: Node) {
        self.properties.extend(other.properties);
        for (name, child) in other.children {
            self.children.entry(name).or_default().merge(child);
        }
    }

    /// Roughly the bytes that this node and everything below it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let own: usize = self.properties.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        64 + own + self.children.iter().map(|(name, child)| name.len() + child.weight()).sum::<usize>()
    }

    /// Calls back for this node and everything below it, with the path relative to this node.
    pub fn visit(&self, visit: &mut dyn FnMut(&str, &Node)) {
        fn walk(path: &mut String, node: &Node, visit: &mut dyn FnMut(&str, &Node)) {
            visit(path, node);
            for (name, child) in &node.children {
                let length = path.len();
                path.push('/');
                path.push_str(name);
                walk(path, child, visit);
                path.truncate(length);
            }
        }
        walk(&mut String::new(), self, visit);
    }
}

fn untyped(value: &str) -> &str {
    match value.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some((kind, rest)) if !kind.is_empty() && kind.chars().all(|c| c.is_ascii_alphabetic()) => rest,
        _ => value,
    }
}

/// Whether bytes look like a document view and not like some other XML file.
#[must_use]
pub fn is_docview(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(4096)];
    const NAMESPACE: &[u8] = b"http://www.jcp.org/jcr/1.0";
    head.windows(NAMESPACE.len()).any(|window| window == NAMESPACE)
}

/// Parses a document view. The name of the root element is that of the file, so it is not kept.
///
/// # Errors
/// Why it cannot be read.
pub fn parse(bytes: &[u8]) -> Result<Node, String> {
    let mut open: Vec<(String, Node)> = Vec::new();
    let mut root = Node::default();
    for event in xml::parse_deep(bytes, None, DEPTH)? {
        match event {
            xml::Node::Start(name, attributes) => {
                let properties = attributes.into_iter().filter(|(name, _)| !name.starts_with("xmlns")).collect();
                open.push((name, Node { properties, ..Node::default() }));
            }
            xml::Node::End(_) => {
                let Some((name, node)) = open.pop() else { continue };
                match open.last_mut() {
                    Some((_, parent)) => parent.children.entry(name).or_default().merge(node),
                    None => root = node,
                }
            }
            xml::Node::Text(_) => {}
        }
    }
    Ok(root)
}

/// The repository's name for one part of a path in a package: `_jcr_content` is `jcr:content`, `__a` is `_a`.
#[must_use]
pub fn node_name(part: &str) -> String {
    let Some(rest) = part.strip_prefix('_') else { return part.to_owned() };
    if rest.starts_with('_') {
        return rest.to_owned();
    }
    match rest.split_once('_') {
        Some((prefix, name)) if !prefix.is_empty() && !name.is_empty() => format!("{prefix}:{name}"),
        _ => part.to_owned(),
    }
}

/// The path of the node that a document view at this entry (below `jcr_root/`) describes, as its parts.
#[must_use]
pub fn node_path(entry: &str) -> Vec<String> {
    let mut parts: Vec<String> = entry.split('/').map(node_name).collect();
    if let Some(last) = parts.pop()
        && last != ".content.xml"
    {
        parts.push(last.strip_suffix(".xml").map_or(last.clone(), str::to_owned));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: &str = r#"<?xml version="1.0"?><jcr:root xmlns:jcr="http://www.jcp.org/jcr/1.0" jcr:primaryType="a:B"
        flag="{Boolean}true" list="[a,b]" typed="{Long}[1,2]" empty="[]" brace="{1}x"><x><y jcr:primaryType="c"/></x></jcr:root>"#;

    #[test]
    fn values_lose_their_type() {
        let node = parse(VIEW.as_bytes()).unwrap();
        assert_eq!(node.primary_type(), "a:B");
        assert!(node.is_true("flag") && !node.is_true("list"));
        assert_eq!(node.values("list"), ["a", "b"]);
        assert_eq!(node.values("typed"), ["1", "2"]);
        assert_eq!((node.values("empty").len(), node.values("none").len(), node.text("brace")), (0, 0, Some("{1}x")));
        let mut seen = Vec::new();
        node.visit(&mut |path, _| seen.push(path.to_owned()));
        assert_eq!(seen, ["", "/x", "/x/y"]);
    }

    #[test]
    fn views_of_one_node_are_merged() {
        let mut root = Node::default();
        root.at(&["a".to_owned(), "b".to_owned()]).merge(parse(VIEW.as_bytes()).unwrap());
        root.at(&["a".to_owned()])
            .merge(Node { properties: [("p".to_owned(), "q".to_owned())].into(), ..Node::default() });
        let a = root.child("a").unwrap();
        assert_eq!((a.text("p"), a.child("b").unwrap().children.len()), (Some("q"), 1));
    }

    #[test]
    fn paths_are_those_of_the_repository() {
        assert_eq!(node_path("_oak_index/x-custom-1/.content.xml"), ["oak:index", "x-custom-1"]);
        assert_eq!(node_path("apps/a/_cq_dialog.xml"), ["apps", "a", "cq:dialog"]);
        assert_eq!((node_name("__x"), node_name("_x"), node_name("a_b")), ("_x".into(), "_x".into(), "a_b".into()));
    }

    #[test]
    fn other_xml_is_not_a_docview() {
        assert!(is_docview(VIEW.as_bytes()));
        assert!(!is_docview(b"<config/>"));
        assert!(parse(b"<a>").is_err());
    }
}
