"""What an upgrade finds in the cluster: secrets that were made at the installation stay as they are. Helm asks a server that
answers as far as `lookup` goes."""

import base64
import http.server
import json
import threading

import helm_python as helm
import yaml
from rendering import NAMESPACE, RELEASE, chart, only, rendered, values


class ApiServer:
    """The discovery that Helm begins with, and Secrets."""

    def __init__(self, secrets):
        resources = [{"name": "secrets", "singularName": "secret", "namespaced": True, "kind": "Secret", "verbs": ["get", "list"]}]
        self.answers = {
            "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
            "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": resources},
        } | {f"/api/v1/namespaces/{NAMESPACE}/secrets/{s['metadata']['name']}": s for s in secrets}
        self.asked = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path = self.path.split("?")[0]
                server.asked.append(path)
                answer = server.answers.get(path)
                missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
                body = json.dumps(answer or missing).encode()
                self.send_response(200 if answer else 404)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def rendered_with(server, tmp_path):
    at = f"http://127.0.0.1:{server.server.server_port}"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "c", "cluster": {"server": at}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }))
    with helm.Config(kubeconfig_path=kubeconfig, namespace=NAMESPACE, storage_driver="memory") as config:
        files = config.render(chart(), values("trial"), name=RELEASE, namespace=NAMESPACE)
    texts = [text for name, text in files.items() if not name.endswith("NOTES.txt")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def as_stored(secret):
    """As the API server gives it back: all in `data`."""
    plain = {key: base64.b64encode(text.encode()).decode() for key, text in secret.get("stringData", {}).items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": secret["metadata"], "data": secret.get("data", {}) | plain}


def test_an_upgrade_keeps_password_and_certificate(tmp_path):
    first = rendered(values("trial"))
    with ApiServer([as_stored(only(first, "Secret", name)) for name in ("bursar-redis", "bursar-tls")]) as server:
        again = rendered_with(server, tmp_path)
    assert any(path.endswith("/secrets/bursar-redis") for path in server.asked)
    assert only(again, "Secret", "bursar-redis")["stringData"] == only(first, "Secret", "bursar-redis")["stringData"]
    assert only(again, "Secret", "bursar-tls")["data"] == only(first, "Secret", "bursar-tls")["data"]


def test_an_installation_makes_new_ones(tmp_path):
    first = rendered(values("trial"))
    with ApiServer([]) as server:
        other = rendered_with(server, tmp_path)
    for name, key in (("bursar-redis", "stringData"), ("bursar-tls", "data")):
        assert only(other, "Secret", name)[key] != only(first, "Secret", name)[key]
