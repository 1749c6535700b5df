"""What is built: packages, base images, and a registry to push into. Everything is a function of constants."""

import gzip
import hashlib
import io
import json
import os
import random
import signal
import socket
import subprocess
import tarfile
import time
import urllib.request
import zipfile

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
DATE = (2026, 1, 1, 0, 0, 0)


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def write_package(path, name, size, seed):
    """A content package: images that do not compress, stored, and text that does."""
    noise = random.Random(seed)
    properties = (
        '<?xml version="1.0" encoding="utf-8" standalone="no"?>'
        '<!DOCTYPE properties SYSTEM "http://java.sun.com/dtd/properties.dtd"><properties>'
        f'<entry key="group">bench</entry><entry key="name">{name}</entry><entry key="version">1.0</entry>'
        '<entry key="packageType">content</entry></properties>'
    )
    root = f"/content/dam/{name}"
    entries = [
        ("META-INF/vault/properties.xml", properties.encode()),
        ("META-INF/vault/filter.xml", f'<workspaceFilter version="1.0"><filter root="{root}"/></workspaceFilter>'.encode()),
    ]
    text = " ".join(f"word{noise.randrange(5000)}" for _ in range(8000)).encode()
    piece = 250_000
    for number in range(max(1, size // piece)):
        entries.append((f"jcr_root{root}/image{number}.png", noise.randbytes(min(size, piece))))
        if size > piece:
            entries.append((f"jcr_root{root}/text{number}.txt", text[: 2000 + number * 10]))
    with zipfile.ZipFile(path, "w") as out:
        for entry, data in entries:
            info = zipfile.ZipInfo(entry, DATE)
            info.compress_type = zipfile.ZIP_STORED if entry.endswith(".png") else zipfile.ZIP_DEFLATED
            out.writestr(info, data)


def write_dispatcher(path, size):
    """A flexible-mode dispatcher configuration of about this size."""
    noise = random.Random(7)
    rules = "".join(f"# {noise.randbytes(24).hex()}\n" for _ in range(size // 32))
    files = {
        "conf.d/available_vhosts/site.vhost": "<VirtualHost *:80>\n</VirtualHost>\n",
        "conf.d/rewrites/rewrite.rules": rules,
        "conf.dispatcher.d/available_farms/site.farm": "/site {\n}\n",
        "opt-in/USE_SOURCES_DIRECTLY": "",
    }
    links = {
        "conf.d/enabled_vhosts/site.vhost": "../available_vhosts/site.vhost",
        "conf.dispatcher.d/enabled_farms/site.farm": "../available_farms/site.farm",
    }
    with zipfile.ZipFile(path, "w") as out:
        for name, text in files.items():
            info = zipfile.ZipInfo(name, DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(info, text)
        for name, target in links.items():
            info = zipfile.ZipInfo(name, DATE)
            info.create_system, info.external_attr = 3, 0o120777 << 16
            out.writestr(info, target)


def write_layer_tar(path, files, folder):
    """The tar that other builders are given: the same files at the same place."""
    with tarfile.open(path, "w") as out:
        for file in files:
            info = tarfile.TarInfo(f"{folder}/{os.path.basename(file)}")
            info.size, info.mode, info.mtime = os.path.getsize(file), 0o444, 315532801
            with open(file, "rb") as content:
                out.addfile(info, content)


class Registry:
    """Debian's docker-registry with its storage on tmpfs."""

    def __init__(self, program, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{free.getsockname()[1]}"
        config = os.path.join(folder, "registry.yml")
        with open(config, "w") as out:
            out.write(
                f"version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n"
                f"storage:\n  filesystem:\n    rootdirectory: {folder}/registry\nhttp:\n  addr: {self.host}\n"
            )
        log = open(os.path.join(folder, "registry.log"), "w")
        self.process = subprocess.Popen([program, "serve", config], stdout=log, stderr=log)
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://{self.host}/v2/").close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"docker-registry did not start: see {log.name}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def cpu(self):
        """CPU seconds that it has used."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ask(self, method, path, data=None, kind=None):
        headers = {"Content-Type": kind} if kind else {}
        if method == "GET":
            headers["Accept"] = MANIFEST
        url = path if path.startswith("http") else f"http://{self.host}/v2/{path}"
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        with urllib.request.urlopen(request) as answer:
            return answer.headers, answer.read()

    def push(self, repository, data):
        headers, _ = self.ask("POST", f"{repository}/blobs/uploads/", b"")
        location = headers["Location"]
        self.ask("PUT", f"{location}{'&' if '?' in location else '?'}digest={sha256(data)}", data, "application/octet-stream")
        return {"digest": sha256(data), "size": len(data)}

    def manifest(self, repository, reference):
        return json.loads(self.ask("GET", f"{repository}/manifests/{reference}")[1])


def push_base(registry, repository, labels, version):
    """A base image of three small layers; `version` makes another one with the same contract."""
    layers, diffs = [], []
    for number in range(3):
        data = f"{repository} {version} {number}".encode() + random.Random(number).randbytes(100_000)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as out:
            info = tarfile.TarInfo(f"base/{number}")
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
        diffs.append(sha256(buffer.getvalue()))
        layers.append({"mediaType": LAYER, **registry.push(repository, gzip.compress(buffer.getvalue(), mtime=0))})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"User": "1000:1000", "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": diffs},
    }
    config = {"mediaType": CONFIG, **registry.push(repository, json.dumps(config).encode())}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}).encode()
    registry.ask("PUT", f"{repository}/manifests/{sha256(manifest)}", manifest, MANIFEST)
    registry.ask("PUT", f"{repository}/manifests/{version}", manifest, MANIFEST)
    return f"{registry.host}/{repository}@{sha256(manifest)}"


AEM = {
    "dev.launchway.contract": "1",
    "dev.launchway.tier": "aem",
    "dev.launchway.port": "8080",
    "dev.launchway.install-path": "/opt/launchway/install",
    "dev.launchway.index-path": "/opt/launchway/packages.json",
    "dev.launchway.data-path": "/opt/launchway/data",
    "dev.launchway.writable-paths": "/tmp",
    "dev.launchway.command.ready": '["/opt/launchway/ready"]',
}
DISPATCHER = {
    "dev.launchway.contract": "1",
    "dev.launchway.tier": "dispatcher",
    "dev.launchway.port": "80",
    "dev.launchway.config-path": "/etc/httpd",
    "dev.launchway.cache-path": "/var/cache/dispatcher",
    "dev.launchway.immutable-files": "conf.d/dispatcher_vhost.conf",
    "dev.launchway.command.ready": '["/ready"]',
}
