"""The stand-in runtime: keeps the contract of an AEM base image, without any AEM or Sling in it."""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

# Python runs isolated: its own folder has to be named.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import pages  # noqa: E402
from readiness import Readiness  # noqa: E402
from repository import Index, Repository  # noqa: E402

SLOWEST_SECONDS = 60


class Runtime:
    """The packages, and whether they are all there."""

    def __init__(self, tier, run_modes, start_seconds):
        self.repository = Repository(Index(tier), run_modes)
        self.readiness = Readiness(
            f"pending {id_}: waits for the stand-in to start" for id_ in self.repository.wanted or ["runtime"]
        )
        self._start_seconds = start_seconds

    def start(self):
        """Installs; says meanwhile what is missing."""
        time.sleep(self._start_seconds)
        self.repository.install()
        missing = self.repository.report()
        told = "; ".join(missing) or "everything is installed"
        print(f"standin: {len(self.repository.unpacked)} packages installed, {told}", flush=True)
        self.readiness.say(missing)


class Handler(BaseHTTPRequestHandler):
    """One request, one connection: nothing is in the way of a runtime that ends."""

    runtime = None

    def do_GET(self):
        asked = urlsplit(self.path)
        if asked.path.startswith("/system/"):
            return self._probe(asked.path)
        # A slow page is asked for, so that a test can catch it in flight.
        time.sleep(min(float(parse_qs(asked.query).get("standin-seconds", ["0"])[0]), SLOWEST_SECONDS))
        if not self.runtime.repository.unpacked and not self.runtime.readiness.ready:
            return self._send(503, "text/plain; charset=utf-8", b"the stand-in starts\n")
        # Pages with a query are in no cache: so many of them are asked for, and so many fail.
        if asked.query and self.runtime.repository.errors.next():
            return self._send(500, "text/plain; charset=utf-8", b"a package asks for this error\n")
        return self._send(*pages.answer(self.runtime.repository, asked.path))

    do_HEAD = do_GET

    def _probe(self, path):
        if path in ("/system/probes/live", "/system/probes/start"):
            return self._send(200, "application/json", b'{"overallResult":"OK"}')
        if path not in ("/system/probes/ready", "/system/probes/health"):
            return self._send(404, "text/plain; charset=utf-8", b"no such probe\n")
        ready = self.runtime.readiness.ready
        status = "OK" if ready else "TEMPORARILY_UNAVAILABLE"
        results = [{"name": "Packages", "status": status}]
        body = json.dumps({"overallResult": status, "results": results}, separators=(",", ":"))
        return self._send(200 if ready else 503, "application/json", body.encode())

    def _send(self, status, type_, body):
        self.send_response(status)
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(len(body)))
        # As Sling does: the security test asks for it.
        self.send_header("X-Frame-Options", "SAMEORIGIN")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        """Visitors are not logged: a container's log is for what goes wrong."""


class Server(ThreadingHTTPServer):
    """Ends after the requests in flight."""

    daemon_threads = False
    request_queue_size = 128


def main():
    tier = os.environ.get("LAUNCHWAY_TIER", "author")
    if tier not in ("author", "publish"):
        sys.exit(f'standin: LAUNCHWAY_TIER is "{tier}": it must be author or publish')
    run_modes = {tier, *os.environ.get("LAUNCHWAY_RUN_MODES", tier).split(",")}
    seconds = float(os.environ.get("STANDIN_START_SECONDS", "0"))
    Handler.runtime = Runtime(tier, run_modes, seconds)
    server = Server(("", 8080), Handler)
    release = os.environ.get("LAUNCHWAY_RELEASE", "none")
    print(f"standin: {tier}, run modes {','.join(sorted(run_modes))}, release {release}", flush=True)
    # The first process of a container has no default for any signal. Ending waits for the server's own thread.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    for work in (Handler.runtime.start, Handler.runtime.readiness.repeat):
        threading.Thread(target=work, daemon=True).start()
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
