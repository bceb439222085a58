#!/usr/bin/env python3
"""A Kubernetes API of a few objects, for what the templates of the chart look up.

    cluster.py NAMESPACE RELEASES SECRET=FILE,FILE...   serves them on a free port of 127.0.0.1, and prints the port

RELEASES are divided by commas, each NAME, with one pod, or NAME:CLUSTER:PODS.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def objects(namespace, releases, secrets):
    """Each object by its path."""
    at = f"/api/v1/namespaces/{namespace}"
    found = {}
    for release in releases.split(","):
        name, cluster, pods = release.split(":") if ":" in release else (release, "", "1")
        metadata = {"name": name, "namespace": namespace}
        toml = f'[cluster]\nname = "{cluster}"\n' if cluster else "[server]\n"
        found[f"{at}/configmaps/{name}"] = {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"starling.toml": toml},
        }
        found[f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"] = {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            # Kubernetes leaves out what is 0.
            "status": {"replicas": int(pods)} if int(pods) else {},
        }
    for secret in secrets:
        name, _, files = secret.partition("=")
        found[f"{at}/secrets/{name}"] = {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
            "data": {file: "eA==" for file in files.split(",")},
        }
    return found


def resource(name, kind):
    return {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get"]}


class Api(BaseHTTPRequestHandler):
    answers = {
        "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": [{
                "name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
                "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
            }],
        },
        "/apis/apps/v1": {
            "kind": "APIResourceList", "groupVersion": "apps/v1", "resources": [resource("deployments", "Deployment")],
        },
        "/api/v1": {
            "kind": "APIResourceList", "groupVersion": "v1",
            "resources": [resource("configmaps", "ConfigMap"), resource("secrets", "Secret")],
        },
    }

    def do_GET(self):
        found = self.answers.get(self.path.split("?")[0])
        missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        body = json.dumps(found or missing).encode()
        self.send_response(200 if found else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    namespace, releases, *secrets = sys.argv[1:]
    Api.answers |= objects(namespace, releases, secrets)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    print(server.server_port, flush=True)
    server.serve_forever()


main()
