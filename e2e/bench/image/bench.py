"""Builds and pushes the same packages with several builders, in turns, on one registry, and prints medians.

Called by run.sh, which brings the programs. Every figure is of a whole process: start to end.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import workload

MB = 1_000_000


def run(command, env=None, check=True):
    """Runs a command to its end: seconds, CPU seconds and peak memory (MiB) of it and what it started."""
    with tempfile.NamedTemporaryFile("r") as usage:
        timed = ["/usr/bin/time", "-o", usage.name, "-f", "%U %S %M", *command]
        started = time.perf_counter()
        done = subprocess.run(timed, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wall = time.perf_counter() - started
        if check and done.returncode != 0:
            sys.exit(f"{' '.join(command)}\nexit {done.returncode}\n{done.stdout}")
        user, system, memory = usage.read().split()[-3:]
    return {"wall": wall, "cpu": float(user) + float(system), "rss": int(memory) / 1024, "out": done.stdout}


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.registry = workload.Registry(options.registry, folder)
        host = self.host = self.registry.host
        self.bases = {
            version: {
                "aem": workload.push_base(self.registry, "base/aem", workload.AEM, version),
                "dispatcher": workload.push_base(self.registry, "base/dispatcher", workload.DISPATCHER, version),
            }
            for version in ("v1", "v2")
        }
        self.insecure = ["--plain-http", host]

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def files(self, case):
        names = sorted(os.listdir(self.path(case)))
        return [self.path(case, name) for name in names]

    # The builders. Each gets the case, a repository and the version of the base, and returns a command and environment.

    def job(self, case, repository, version):
        """The Job of a pipeline: fetches the packages from the registry first."""
        spool = self.path("spool")
        shutil.rmtree(spool, ignore_errors=True)
        request = {
            "artifact": self.artifacts[case],
            "target": f"{self.host}/{repository}",
            "base": self.bases[version],
            "plainHttp": [self.host],
        }
        env = {
            "LAUNCHWAY_BUILD": json.dumps(request),
            "LAUNCHWAY_SPOOL": spool,
            "LAUNCHWAY_CREDENTIALS": "/nonexistent",
            "LAUNCHWAY_TERMINATION_LOG": self.path("termination-log"),
        }
        return [self.options.launchway, "worker", "build-image"], env

    def local(self, case, repository, version):
        """The same by hand, from files."""
        base = self.bases[version]
        command = [self.options.launchway, "image", "build", "--to", f"{self.host}/{repository}", *self.insecure]
        return [*command, "--base-aem", base["aem"], "--base-dispatcher", base["dispatcher"], *self.files(case)], {}

    def tar(self, case, repository, version):
        """The same with layers that are plain tars."""
        command, env = self.local(case, repository, version)
        return [*command, "--tar-layers"], env

    def crane(self, case, repository, version):
        if version == "v2":
            target = f"{self.host}/{repository}:v1"
            old, new = (self.bases[name]["aem"] for name in ("v1", "v2"))
            return [self.options.crane, "rebase", target, "--old_base", old, "--new_base", new, "-t", f"{target}-2"], {}
        layers = [part for tar in self.tars(case) for part in ("-f", tar)]
        target = f"{self.host}/{repository}:v1"
        return [self.options.crane, "append", "--insecure", "-b", self.bases[version]["aem"], *layers, "-t", target], {}

    def skopeo(self, case, repository, version):
        """Copies an image that is built already. What it remembers of registries is forgotten before each run."""
        state = self.path("skopeo")
        shutil.rmtree(state, ignore_errors=True)
        layout = self.path(f"layout-{case}-{version}")
        command = ["skopeo", "copy", "--quiet", "--insecure-policy", "--preserve-digests", "--dest-tls-verify=false"]
        # As root it would keep that memory in a folder of the machine.
        env = {"_CONTAINERS_ROOTLESS_UID": "1000", "XDG_DATA_HOME": state}
        return [*command, f"oci:{layout}:image", f"docker://{self.host}/{repository}:{version}"], env

    def buildah(self, case, repository, version):
        state = self.path("buildah")
        buildah = f"buildah --root {state}/root --runroot {state}/run --storage-driver vfs"
        script = (
            f"set -e; rm -rf {state}; c=$({buildah} from --tls-verify=false {self.bases[version]['aem']}); "
            f"{buildah} copy -q $c {' '.join(self.files(case))} /opt/launchway/install/; "
            f"{buildah} commit -q --tls-verify=false $c docker://{self.host}/{repository}:{version}"
        )
        return ["sh", "-c", script], {"BUILDAH_ISOLATION": "chroot"}

    def curl(self, case, repository, version):
        """No builder: the bytes of the ready layers, sent as one request each. What the registry takes."""
        del version
        script = "set -e\n"
        for blob in self.blobs(case):
            script += (
                f"u=$(curl -s -D - -o /dev/null -X POST http://{self.host}/v2/{repository}/blobs/uploads/ "
                "| tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')\n"
                f"curl -s -f -o /dev/null -X PUT -H 'Content-Type: application/octet-stream' -H Expect: -T {blob} "
                f'"$u&digest=sha256:{os.path.basename(blob)}"\n'
            )
        return ["sh", "-c", script], {}

    def described(self, case, repository, version):
        """The transfer of one layer alone: hashed, then sent."""
        del version
        return [self.options.push_layer, "described", f"{self.host}/{repository}", self.files(case)[0]], {}

    def streamed(self, case, repository, version):
        """The same, hashed while it is sent."""
        del version
        return [self.options.push_layer, "streamed", f"{self.host}/{repository}", self.files(case)[0]], {}

    def tars(self, case):
        out = []
        for file in self.files(case):
            tar = self.path("tars", f"{os.path.basename(file)}.tar")
            if not os.path.exists(tar):
                os.makedirs(self.path("tars"), exist_ok=True)
                workload.write_layer_tar(tar, [file], "opt/launchway/install")
            out.append(tar)
        return out

    def blobs(self, case):
        layout = self.path(f"layout-{case}-v1")
        with open(os.path.join(layout, "index.json")) as index:
            digest = json.load(index)["manifests"][0]["digest"]
        with open(os.path.join(layout, "blobs", *digest.split(":"))) as manifest:
            layers = json.load(manifest)["layers"][3:]
        return [os.path.join(layout, "blobs", *layer["digest"].split(":")) for layer in layers]

    def prepare(self, cases):
        """Packages, artifacts of them in the registry, and layouts of the images that we build from them."""
        self.artifacts = {}
        for case in cases:
            command = [self.options.launchway, "push", *self.insecure, "--to", f"{self.host}/artifacts/{case}", self.path(case)]
            pushed = run(command)["out"]
            digest = next(word for word in pushed.split() if "@sha256:" in word)
            self.artifacts[case] = digest.strip("`'\"")
            for version in ("v1", "v2"):
                command, env = self.job(case, f"ready/{case}", version)
                run(command, env)
                built = json.load(open(self.path("termination-log")))
                image = find(built, "dispatcher" if case == "dispatcher" else "aem")
                layout = f"oci:{self.path(f'layout-{case}-{version}')}:image"
                source = f"docker://{self.host}/ready/{case}@{image}"
                run(["skopeo", "copy", "-q", "--insecure-policy", "--src-tls-verify=false", "--preserve-digests", source, layout])

    def sample(self, builder, case, repository, version):
        command, env = getattr(self, builder)(case, repository, version)
        before = self.registry.cpu()
        result = run(command, env)
        result["registry"] = self.registry.cpu() - before
        return result

    def compare(self, title, case, builders, rounds, mode):
        """Rounds of all builders in turns, the first of each round another one every time."""
        samples = {builder: [] for builder in builders}
        for number in range(rounds + 1):
            turn = number % len(builders)
            for builder in builders[turn:] + builders[:turn]:
                repository = f"run/{mode}/{case}/{builder}/{number}"
                if mode != "cold":
                    self.sample(builder, case, repository, "v1")
                found = self.sample(builder, case, repository, "v2" if mode == "rebase" else "v1")
                if mode != "cold" and builder in ("job", "local", "tar"):
                    lines = [line for line in found["out"].splitlines() if ": package " in line]
                    sent = [line for line in lines if line.endswith("uploaded")]
                    if sent:
                        sys.exit(f"{title}: layers were sent again: {sent}")
                if number > 0:
                    samples[builder].append(found)
        size = sum(os.path.getsize(file) for file in self.files(case))
        return table(title, size, samples)


def find(value, key):
    """The text at a key, however deep."""
    if isinstance(value, dict):
        if isinstance(value.get(key), str):
            return value[key]
        value = list(value.values())
    if isinstance(value, list):
        return next((found for item in value if (found := find(item, key))), None)
    return None


NAMES = {
    "job": "launchway, the Job (fetches the zips from the registry)",
    "local": "launchway image build, from files",
    "tar": "launchway image build --tar-layers",
    "described": "launchway, one layer alone, hashed and then sent",
    "streamed": "launchway, one layer alone, hashed while it is sent",
    "crane": "crane",
    "skopeo": "skopeo copy of the ready image",
    "buildah": "buildah from, copy, commit",
    "curl": "curl, the ready layers alone",
}


def table(title, size, samples):
    own = "local" if "local" in samples else "job"
    reference = statistics.median(sample["wall"] for sample in samples[own])
    lines = [
        f"### {title} ({size / MB:.2f} MB)",
        "",
        "| | wall, median [range] | against ours | CPU-s (a GB) | registry's CPU-s | peak RSS |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for builder, found in samples.items():
        middle = {key: statistics.median(sample[key] for sample in found) for key in ("wall", "cpu", "registry")}
        walls = [sample["wall"] for sample in found]
        peak = max(sample["rss"] for sample in found)
        rate = f" ({middle['cpu'] / (size / 1e9):.1f})" if size > MB else ""
        lines.append(
            f"| {NAMES[builder]} | {middle['wall'] * 1000:.0f} ms [{min(walls) * 1000:.0f}–{max(walls) * 1000:.0f}] "
            f"| {middle['wall'] / reference:.2f} | {middle['cpu']:.2f}{rate} | {middle['registry']:.2f} | {peak:.0f} MiB |"
        )
    print("\n".join(lines), "\n", flush=True)
    return {"title": title, "bytes": size, "samples": {name: [strip(one) for one in found] for name, found in samples.items()}}


def strip(sample):
    return {key: round(value, 4) for key, value in sample.items() if key != "out"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launchway", required=True)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--crane", required=True)
    parser.add_argument("--push-layer", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", help="builders to compare, with commas between them")
    parser.add_argument("--cases", help="of: one four dispatcher unchanged rebase, with commas between them")
    parser.add_argument("--json", help="file for all samples")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="launchway-bench-", dir="/dev/shm") as folder:
        for case, count, size in [("one", 1, 140), ("four", 4, 140)]:
            os.mkdir(os.path.join(folder, case))
            for number in range(count):
                name = f"big{number}"
                workload.write_package(os.path.join(folder, case, f"{name}.zip"), name, size * MB, number)
        os.mkdir(os.path.join(folder, "dispatcher"))
        workload.write_dispatcher(os.path.join(folder, "dispatcher", "dispatcher.zip"), 36_000)
        bench = Bench(options, folder)
        try:
            plans = [
                ("one", "One large package", "one", "cold", ["job", "local", "tar", "described", "streamed", "crane", "skopeo", "buildah", "curl"]),
                ("four", "Four large packages", "four", "cold", ["job", "local", "tar", "crane", "skopeo", "buildah", "curl"]),
                ("dispatcher", "A dispatcher configuration", "dispatcher", "cold", ["job", "local", "crane", "skopeo", "buildah"]),
                ("unchanged", "Nothing changed", "one", "again", ["job", "local", "tar", "crane", "skopeo", "buildah"]),
                ("rebase", "Another base image", "one", "rebase", ["job", "local", "crane", "skopeo", "buildah"]),
            ]
            wanted = options.cases.split(",") if options.cases else [plan[0] for plan in plans]
            plans = [plan for plan in plans if plan[0] in wanted]
            has_local = subprocess.run([options.launchway, "image", "build", "--help"], capture_output=True).returncode == 0
            only = options.only.split(",") if options.only else None
            bench.prepare(sorted({plan[2] for plan in plans}))
            results = []
            for _, title, case, mode, builders in plans:
                builders = [one for one in builders if (one != "local" or has_local) and (not only or one in only)]
                results.append(bench.compare(title, case, builders, options.rounds, mode))
            if options.json:
                with open(options.json, "w") as out:
                    json.dump(results, out)
        finally:
            bench.registry.stop()


main()
