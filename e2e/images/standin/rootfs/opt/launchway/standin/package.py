"""Reads FileVault packages: identity, embedded packages, files, and the nodes that their XML describes."""

import io
import re
import zipfile
from xml.etree import ElementTree

NAMESPACES = {
    "http://www.jcp.org/jcr/1.0": "jcr",
    "http://www.jcp.org/jcr/nt/1.0": "nt",
    "http://www.jcp.org/jcr/mix/1.0": "mix",
    "http://sling.apache.org/jcr/sling/1.0": "sling",
    "internal": "rep",
}
# Prefixes of node types that a repository knows before any package brings its own.
KNOWN = {"nt", "mix", "sling", "rep", "oak", "vlt", "cq", "dam", "granite"}


class Refused(Exception):
    """The runtime does not take the package; the text says why."""


class Package:
    """One package file, with those inside of it."""

    def __init__(self, content, name):
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
            properties = ElementTree.fromstring(self._zip.read("META-INF/vault/properties.xml"))
        except (zipfile.BadZipFile, KeyError, ElementTree.ParseError) as error:
            raise Refused(f"{name} is no content package: {error}") from error
        self.properties = {entry.get("key"): entry.text or "" for entry in properties.iter("entry")}
        parts = [self.properties.get(key, "") for key in ("group", "name", "version")]
        self.id = ":".join(part for part in parts if part)

    @property
    def dependencies(self):
        """Group and name of what has to be there before. The image build has judged the versions."""
        listed = re.split(r",(?![^\[(]*[\])])", self.properties.get("dependencies", ""))
        return [":".join(entry.strip().split(":")[:2]) for entry in listed if entry.strip()]

    def embedded(self):
        """Packages inside of this one."""
        for name in self._zip.namelist():
            if name.startswith("jcr_root/") and name.endswith(".zip"):
                yield Package(self._zip.read(name), name)

    def files(self):
        """Path in the repository and bytes of every file."""
        for name in self._zip.namelist():
            if name.startswith("jcr_root/") and not name.endswith(("/", ".zip")):
                yield name[len("jcr_root"):], self._zip.read(name)

    def nodes(self):
        """Path and properties of every node that the package's XML describes."""
        for path, content in self.files():
            if path.endswith(".xml") and b"jcr:root" in content:
                at = path[: -len("/.content.xml")] if path.endswith("/.content.xml") else path[: -len(".xml")]
                yield from describe(ElementTree.fromstring(content), at)

    def check(self):
        """Raises Refused when no repository could import the package."""
        if self.properties.get("name", "").strip() != self.properties.get("name", ""):
            raise Refused("the runtime does not take the file for a content package")
        # What the package's own node type definitions name.
        own = set()
        for name in self._zip.namelist():
            if name.endswith(".cnd"):
                own.update(re.findall(r"\[(\w+):", self._zip.read(name).decode(errors="replace")))
        wrong = []
        for path, properties in self.nodes():
            type_ = properties.get("jcr:primaryType", "")
            if ":" in type_ and type_.split(":")[0] not in KNOWN | own:
                wrong.append(f"{path} (javax.jcr.nodetype.NoSuchNodeTypeException: Node type {type_} does not exist)")
        if wrong:
            raise Refused(f"{len(wrong)} import errors, first: {wrong[0]}")


def describe(element, path):
    """Path and properties of an element and of all below it."""
    yield path or "/", {plain(name): value for name, value in element.attrib.items()}
    for child in element:
        yield from describe(child, f"{path}/{plain(child.tag)}")


def plain(name):
    """A name as it is written in JCR: PREFIX:NAME."""
    if not name.startswith("{"):
        return name
    namespace, local = name[1:].split("}")
    return f"{NAMESPACES.get(namespace, 'other')}:{local}"
