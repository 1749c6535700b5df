"""What visitors get: pages, nodes as JSON, files, and the records of installed packages."""

import html
import json
import mimetypes
import os
import re
from urllib.parse import unquote

# The demo site's script states its release twice: the version that all parts must have, and the heading.
VERSION = re.compile(r"scripts='([^']*)'")
HEADING = re.compile(r"""data-sly-set\.heading="\$\{[^?"]*\?\s*'([^']*)'""")
RECORD = re.compile(r"/etc/packages/(.+)/jcr:content/vlt:definition\.json")


def answer(repository, path):
    """Status, content type and body for a path."""
    path = unquote(path)
    record = RECORD.fullmatch(path)
    if record:
        return of_record(repository, record[1])
    if path in repository.files and not path.startswith("/apps/"):
        return 200, mimetypes.guess_type(path)[0] or "application/octet-stream", repository.files[path]
    at, _, extension = path.rpartition(".")
    node = repository.nodes.get(at)
    if extension == "json" and (node is not None or at == "/content"):
        return 200, "application/json", json.dumps(node or {}).encode()
    if extension == "html" and node is not None:
        return page(repository, at, node)
    return 404, "text/plain; charset=utf-8", b"nothing is here\n"


def of_record(repository, name):
    """A package's own record, where a Sling repository has it."""
    for id_, when in repository.unpacked.items():
        group, _, rest = id_.partition(":")
        if name == f"{group}/{rest.replace(':', '-')}.zip":
            return 200, "application/json", json.dumps({"lastUnpacked": when}).encode()
    return 404, "text/plain; charset=utf-8", b"no such package is installed\n"


def page(repository, path, node):
    """A page of the demo site. This is no HTL: only the heading of its script is read."""
    type_ = node.get("sling:resourceType", "")
    script = repository.files.get(f"/apps/{type_}/{type_.rpartition('/')[2]}.html", b"").decode()
    heading, version = HEADING.search(script), VERSION.search(script)
    if not heading or not version:
        return 404, "text/plain; charset=utf-8", f"no script renders {path}\n".encode()
    root = repository.nodes.get("/".join(path.split("/")[:3]), {})
    text = {
        "title": node.get("jcr:title", ""),
        "heading": heading[1] if root.get("version") == version[1] else "Mixed releases",
        "greeting": os.environ.get("DEMO_GREETING", ""),
        "digest": os.environ.get("LAUNCHWAY_RELEASE", ""),
        "instance": os.environ.get("HOSTNAME", ""),
    }
    body = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><h1 id="release">{heading}</h1><p id="greeting">{greeting}</p>
<p id="digest">{digest}</p><p id="instance">{instance}</p></body></html>
""".format(**{name: html.escape(value) for name, value in text.items()})
    return 200, "text/html; charset=utf-8", body.encode()
