//! What a `pom.xml` says of versions, and in which of its bytes.

use std::ops::Range;

use crate::image::package::xml::{Bounds, Doctype, Node, walk_located};

/// No `pom.xml` is as large.
pub(super) const BYTES_MAX: usize = 4 << 20;
const NODES_MAX: usize = 400_000;
/// A property of this name tells a build the version that was committed.
const ORIGINAL: &str = "cloudManagerOriginalVersion";

/// A text, and the bytes between its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) text: String,
    bytes: Range<usize>,
}

/// What names a module, a parent, a dependency, a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Coordinates {
    pub(super) group: Option<Said>,
    pub(super) artifact: Option<Said>,
    pub(super) version: Option<Said>,
}

/// A module, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    pub(super) path: String,
    /// Only builds with a certain profile have it.
    pub(super) of_profile: bool,
}

/// Other bytes in the place of some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    bytes: Range<usize>,
    text: String,
}

impl Edit {
    pub(super) fn version(said: &Said, version: &str) -> Self {
        Self { bytes: said.bytes.clone(), text: version.to_string() }
    }
}

/// Where a property of the project belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// It is there already, with this value.
    Value(Range<usize>),
    /// At the beginning of the properties.
    Among(usize),
    /// The properties are `<properties/>`.
    Empty(Range<usize>),
    /// The project has no properties, and begins here.
    Nowhere(usize),
}

/// What matters of a `pom.xml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pom {
    text: String,
    pub(super) own: Coordinates,
    pub(super) parent: Option<Coordinates>,
    /// Everything else that is named with a version: dependencies, plugins, and what plugins are told of.
    pub(super) named: Vec<Coordinates>,
    pub(super) modules: Vec<Module>,
    original: Place,
}

impl Pom {
    /// Reads a `pom.xml`.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(super) fn parse(text: String) -> Result<Self, String> {
        let mut reading = Reading::default();
        walk_located(text.as_bytes(), Doctype::None, Bounds::nodes(NODES_MAX), |node, bytes| {
            match node {
                Node::Start(name, _) => reading.open.push(Open { name, tag: bytes, ..Open::default() }),
                Node::Text(text) => {
                    if let Some(open) = reading.open.last_mut() {
                        open.text.push_str(&text);
                    }
                }
                Node::End(_) => reading.ends(&bytes)?,
            }
            Ok(())
        })?;
        let Reading { open: _, own, begins, parent, named, modules, properties, value } = reading;
        let original = match (value, properties) {
            (Some(value), _) => Place::Value(value),
            (None, Some((tag, end))) if end.is_empty() => Place::Empty(tag),
            (None, Some((tag, _))) => Place::Among(tag.end),
            (None, None) => Place::Nowhere(begins),
        };
        Ok(Self { text, own, parent, named, modules, original })
    }

    /// The group of what this describes: its own, or its parent's.
    pub(super) fn group(&self) -> Option<&str> {
        let group = self.own.group.as_ref().or_else(|| self.parent.as_ref()?.group.as_ref());
        group.map(|group| group.text.as_str())
    }

    /// That a build finds the version that was committed.
    pub(super) fn original(&self, committed: &str) -> Edit {
        let property = format!("<{ORIGINAL}>{committed}</{ORIGINAL}>");
        match &self.original {
            Place::Value(bytes) => Edit { bytes: bytes.clone(), text: committed.to_string() },
            Place::Among(at) => Edit { bytes: *at..*at, text: property },
            Place::Empty(tag) => Edit { bytes: tag.clone(), text: format!("<properties>{property}</properties>") },
            Place::Nowhere(at) => Edit { bytes: *at..*at, text: format!("<properties>{property}</properties>") },
        }
    }

    /// The text with these edits, none of which touches another.
    pub(super) fn with(&self, mut edits: Vec<Edit>) -> String {
        edits.sort_by_key(|edit| std::cmp::Reverse(edit.bytes.start));
        let mut text = self.text.clone();
        for Edit { bytes, text: new } in edits {
            text.replace_range(bytes, &new);
        }
        text
    }
}

/// An element whose end has not come.
#[derive(Debug, Default)]
struct Open {
    name: String,
    tag: Range<usize>,
    text: String,
    coordinates: Coordinates,
}

#[derive(Debug, Default)]
struct Reading {
    open: Vec<Open>,
    own: Coordinates,
    /// Where the content of the project begins.
    begins: usize,
    parent: Option<Coordinates>,
    named: Vec<Coordinates>,
    modules: Vec<Module>,
    /// The tags of the project's properties.
    properties: Option<(Range<usize>, Range<usize>)>,
    /// The value of the property that is ours.
    value: Option<Range<usize>>,
}

impl Reading {
    /// The innermost element ends with this tag.
    fn ends(&mut self, end: &Range<usize>) -> Result<(), String> {
        let Some(Open { name, tag, text, coordinates }) = self.open.pop() else { return Ok(()) };
        let said = Said { text: text.trim().to_string(), bytes: tag.end..end.start };
        let around: Vec<&str> = self.open.iter().map(|open| open.name.as_str()).collect();
        match (around.as_slice(), name.as_str()) {
            ([], "project") => (self.own, self.begins) = (coordinates, tag.end),
            ([], _) => return Err(format!("its root is <{}> and not <project>", name.escape_debug())),
            (["project"], "parent") => once(&mut self.parent, coordinates, &name)?,
            (["project"], "properties") => once(&mut self.properties, (tag, end.clone()), &name)?,
            (["project", "properties"], ORIGINAL) => once(&mut self.value, said.bytes, &name)?,
            (["project", "modules"], "module") => self.modules.push(Module { path: said.text, of_profile: false }),
            (["project", "profiles", "profile", "modules"], "module") => {
                self.modules.push(Module { path: said.text, of_profile: true });
            }
            (_, "groupId" | "artifactId" | "version") => self.coordinate(&name, said)?,
            _ if coordinates.artifact.is_some() && coordinates.version.is_some() => self.named.push(coordinates),
            _ => {}
        }
        Ok(())
    }

    /// One of the coordinates of the innermost element.
    fn coordinate(&mut self, name: &str, said: Said) -> Result<(), String> {
        // Of the project and its parent Maven takes each once. What plugins are told may repeat itself, and names nothing.
        let of_ours = match self.open.as_slice() {
            [_] => true,
            [_, inner] => inner.name == "parent",
            _ => false,
        };
        let Some(Open { coordinates, .. }) = self.open.last_mut() else { return Ok(()) };
        let slot = match name {
            "groupId" => &mut coordinates.group,
            "artifactId" => &mut coordinates.artifact,
            _ => &mut coordinates.version,
        };
        if of_ours {
            return once(slot, said, name);
        }
        slot.get_or_insert(said);
        Ok(())
    }
}

fn once<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("it has <{name}> twice in one place")),
    }
}
