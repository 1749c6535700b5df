"""Installs the packages of the index and remembers, package by package, what became of it."""

import hashlib
import json
import os
import threading
import time

from package import Package, Refused

HOME = "/opt/launchway"
# What a package may say of how this runtime shall behave: properties of this node.
WISHES = "/apps/launchway-standin"


class Index:
    """What has to be installed on this tier, as the image build wrote it down."""

    def __init__(self, tier):
        try:
            with open(f"{HOME}/packages.json", "rb") as file:
                content = file.read()
        except FileNotFoundError:
            content = b'{"packages": []}'
        listed = json.loads(content)["packages"]
        self.entries = [entry for entry in listed if tier in entry["tiers"]]
        self.digest = hashlib.sha256(tier.encode() + content).hexdigest()


class Errors:
    """Which requests fail: so many of a hundred, evenly, so that a test can count them."""

    def __init__(self):
        self.percent = 0
        self._counted = 0
        self._lock = threading.Lock()

    def next(self):
        """Whether the next one does."""
        with self._lock:
            before = self._counted * self.percent // 100
            self._counted += 1
            return self._counted * self.percent // 100 > before


class Repository:
    """Nodes and files, and for each package since when it is installed or why it is not."""

    def __init__(self, index, run_modes):
        self._index = index
        self.wanted = [entry["id"] for entry in index.entries]
        self._run_modes = run_modes
        self._memory = f"{HOME}/data/.launchway.json"
        self._before = self._remembered()
        self.nodes = {}
        self.files = {}
        self.unpacked = {}
        self.missing = {}
        self.errors = Errors()

    def install(self):
        """Installs everything that can be, in the order of the index: a container has its own in no order."""
        found = self._found()
        for entry in self._index.entries:
            id_ = entry["id"]
            if id_ not in self.missing:
                self._install(id_, found.get(id_), entry.get("embeddedIn"))
        self._remember()

    def _found(self):
        """Every package of this tier's files by its id, those inside of others too."""
        found = {}
        for entry in self._index.entries:
            if "file" in entry:
                with open(f"{HOME}/install/{entry['file']}", "rb") as file:
                    try:
                        found[entry["id"]] = Package(file.read(), entry["file"])
                    except Refused as refused:
                        self.missing[entry["id"]] = "failed", str(refused)
        open_ = list(found.values())
        while open_:
            inside = list(open_.pop().embedded())
            found.update({package.id: package for package in inside})
            open_.extend(inside)
        return found

    def _install(self, id_, package, container):
        if package is None or (container and container not in self.unpacked):
            self.missing[id_] = "pending", "waits for the package installer"
            return
        try:
            gone = [name for name in package.dependencies if not self._has(name)]
            if gone:
                self.missing[id_] = "pending", f"waits for dependency {gone[0]}"
                return
            package.check()
            self._wish(package)
        except Refused as refused:
            self.missing[id_] = "failed", str(refused)
            return
        for path, content in package.files():
            self.files[path] = content
        for path, properties in package.nodes():
            self.nodes.setdefault(path, {}).update(properties)
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        self.unpacked[id_] = self._before.get(id_, now)

    def _has(self, name):
        return any(id_ == name or id_.startswith(f"{name}:") for id_ in self.unpacked)

    def _wish(self, package):
        """A package may ask this runtime to fail, to wait, to exit or to answer badly, everywhere or in some run modes only."""
        wishes = dict(package.nodes()).get(WISHES, {})
        modes = [mode for mode in wishes.get("runModes", "").split(",") if mode]
        if not all(mode in self._run_modes for mode in modes):
            return
        if "exits" in wishes:
            print(f"standin: {package.id} asks to exit with {wishes['exits']}", flush=True)
            os._exit(int(wishes["exits"]))
        if "fails" in wishes:
            raise Refused(wishes["fails"])
        if "waits" in wishes:
            self.missing[package.id] = "pending", wishes["waits"]
        if "errors" in wishes:
            self.errors.percent = int(wishes["errors"])

    def report(self):
        """One line for every package that is not proved installed."""
        return [f"{state} {id_}: {reason}" for id_, (state, reason) in self.missing.items()]

    def _remembered(self):
        """What a container before this one has unpacked for the same index: a restart does not unpack again."""
        try:
            with open(self._memory, encoding="utf-8") as file:
                memory = json.load(file)
        except (FileNotFoundError, ValueError):
            return {}
        return memory["unpacked"] if memory.get("index") == self._index.digest else {}

    def _remember(self):
        with open(f"{self._memory}.next", "w", encoding="utf-8") as file:
            json.dump({"index": self._index.digest, "unpacked": self.unpacked}, file)
        os.replace(f"{self._memory}.next", self._memory)
