"""An API of external metrics that answers what it was last told.

PUT of {"value": "80"} to the address at which the autoscaler asks for a metric sets it, GET gives it. One process, TLS with
the certificate in /tls, port 8443.
"""

import datetime
import http.server
import json
import ssl
import urllib.parse

GROUP = "external.metrics.k8s.io/v1beta1"
ROOT = "/apis/" + GROUP
VALUES = {}


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def asked(self):
        """Path and selector: what tells one metric from another."""
        url = urllib.parse.urlsplit(self.path)
        return url.path, urllib.parse.parse_qs(url.query).get("labelSelector", [""])[0]

    def do_GET(self):
        path, _ = asked = self.asked()
        if path == ROOT:
            resource = {"name": "requests_per_second", "singularName": "", "namespaced": True}
            resource |= {"kind": "ExternalMetricValueList", "verbs": ["get"]}
            self.answer(200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP, "resources": [resource]})
        elif asked in VALUES:
            now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            item = {"metricName": path.rsplit("/", 1)[-1], "metricLabels": {}, "timestamp": now, "value": VALUES[asked]}
            self.answer(200, {"kind": "ExternalMetricValueList", "apiVersion": GROUP, "metadata": {}, "items": [item]})
        else:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            self.answer(404, status | {"message": "nobody has told the value of " + self.path})

    def do_PUT(self):
        VALUES[self.asked()] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["value"]
        self.answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def answer(self, code, body):
        body = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("", 8443), Api)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
# Who connects and says nothing keeps nobody waiting: hands are shaken by the thread of the connection.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
