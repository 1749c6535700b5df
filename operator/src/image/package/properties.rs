//! `properties.xml`, in the XML form of Java properties.

use std::collections::BTreeMap;

use super::xml::{self, Node};

const DTD: &str = "http://java.sun.com/dtd/properties.dtd";

/// Key and value pairs. A key that occurs again replaces the earlier one, as in Java.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Parses `properties.xml`.
///
/// # Errors
/// The rule that the document breaks.
pub fn parse(bytes: &[u8]) -> Result<Properties, String> {
    let mut out = BTreeMap::new();
    let mut key: Option<String> = None;
    let mut value = String::new();
    let mut depth = 0;
    for node in xml::parse(bytes, Some(DTD))? {
        match node {
            Node::Start(name, attributes) => {
                depth += 1;
                match (depth, name.as_str()) {
                    (1, "properties") | (2, "comment") => {}
                    (2, "entry") => {
                        let found = attributes.into_iter().find(|(name, _)| name == "key");
                        key = Some(found.ok_or("an <entry> has no key")?.1);
                        value.clear();
                    }
                    (1, other) => {
                        return Err(format!("the root element is <{other}>, not <properties>"));
                    }
                    (_, other) => return Err(format!("<{other}> is not expected there")),
                }
            }
            Node::Text(text) if key.is_some() => value.push_str(&text),
            Node::Text(_) => {}
            Node::End(_) => {
                depth -= 1;
                if let Some(key) = key.take() {
                    out.insert(key, std::mem::take(&mut value));
                }
            }
        }
    }
    Ok(Properties(out))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn java_form() {
        let parsed = parse(
            b"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?>\n<!DOCTYPE properties SYSTEM \"http://java.sun.com/dtd/properties.dtd\">\n<properties>\n<comment>c</comment>\n<entry key=\"a\">1 &lt; 2</entry><entry key=\"b\"/><entry key=\"a\">3</entry></properties>",
        )
        .unwrap();
        assert_eq!(parsed.get("a"), Some("3"));
        assert_eq!(parsed.get("b"), Some(""));
        assert_eq!(parsed.get("c"), None);
    }

    #[test]
    fn refusals() {
        for bad in ["<p/>", "<properties><entry>x</entry></properties>", "<properties><x/></properties>"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
