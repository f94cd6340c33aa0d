"""The trial, run: everything that examples/trial.yaml renders, as processes of this machine. The program, a real Redis with the
rendered configuration, the simulated authorization server; an API server that shows its keys to who brings a token stands
in for Kubernetes. Then what `helm test` would do, container by container."""

import http.server
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

import pytest
from mounting import Issuer, Mounts, authority, there_already
from program import PROGRAM, environment
from rendering import NAMESPACE, RELEASE, broker, only, rendered, values
from test_docs import commands

# What this machine may take for anything.
PATIENCE = 60


class Cluster:
    """What the API server of Kubernetes does for the broker: it tells its keys, to who shows a token."""

    def __init__(self, folder):
        self.issuer = Issuer()
        issuer, certificate = self.issuer, authority().issue("localhost")
        (folder / "api.pem").write_text("".join(certificate))

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                good = self.path == "/openid/v1/jwks" and self.headers["authorization"] == f"Bearer {there_already()['token']}"
                body = json.dumps(issuer.keys() if good else {"kind": "Status"}).encode()
                self.send_response(200 if good else 401)
                self.send_header("content-type", "application/jwk-set+json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "api.pem")
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Running:
    """A process, and what it has said so far."""

    def __init__(self, command, **more):
        self.said = []
        self.process = subprocess.Popen(
            command, env=environment(**more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines = threading.Thread(target=self._read, daemon=True)
        self.lines.start()

    def _read(self):
        for line in self.process.stdout:
            self.said.append(line)

    def until_it_says(self, regex):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := re.search(regex, "".join(self.said)):
                return found
            assert self.process.poll() is None, "".join(self.said)
            time.sleep(0.02)
        raise AssertionError(f"{regex} was not said:\n" + "".join(self.said))

    def terminated(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=PATIENCE)
        self.lines.join(timeout=PATIENCE)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=PATIENCE)


def free_ports(count):
    """Free at this moment. They are asked for together, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@pytest.fixture
def redis_server():
    return shutil.which("redis-server") or pytest.fail("install redis-server: `make redis`")


def test_helm_test_gets_the_first_token(tmp_path, redis_server):
    redis_port, = free_ports(1)
    with Cluster(tmp_path) as cluster:
        jwks = f"https://localhost:{cluster.port}/openid/v1/jwks"
        # The API server is elsewhere and signs with another algorithm than a cluster's; all else is the example's.
        documents = rendered(values("trial", callers__tokens__cluster__jwksUri=jwks))
        issuers = only(documents, "ConfigMap", "bursar-issuers")["data"]
        issuers["cluster.toml"] += 'algorithms = "ES256"\n'
        pod = broker(documents)["spec"]["template"]["spec"]
        sidecar = next(c for c in pod["initContainers"] if c["name"] == "simulator")
        with Running([PROGRAM, *with_free_ports(sidecar["args"])]) as simulator:
            at = simulator.until_it_says(r"(?m)^oauth (http://127\.0\.0\.1:\d+)$")[1]
            profile = only(documents, "ConfigMap", "bursar-providers")["data"]
            assert sidecar["args"][3] in profile["oauth-simulator.toml"]
            profile["oauth-simulator.toml"] = profile["oauth-simulator.toml"].replace("http://127.0.0.1:9100", at)
            with started_redis(redis_server, documents, redis_port, tmp_path):
                with started_broker(documents, pod, redis_port, tmp_path) as (running, port):
                    run_the_test_pod(documents, cluster, port, tmp_path)
                    run_what_the_page_says(documents, port, tmp_path)
                    running.is_healthy()
                    assert running.terminated() == 0, "".join(running.said)
    trail = list((tmp_path / "pod/var/lib/bursar/audit").glob("*/*.jsonl"))
    lines = [json.loads(line) for path in trail for line in path.read_text().splitlines()]
    caller = f"oidc:cluster:system:serviceaccount:{NAMESPACE}:{RELEASE}-test"
    assert [line["caller"] for line in lines if line["event"] == "release"] == [caller]
    # The second sink: what is kept when the pod's volume is gone, and as good as that.
    collected = tmp_path / "collected/bursar-0"
    collected.mkdir(parents=True)
    (collected / "00000001.jsonl").write_text("".join(line for line in running.said if line.startswith('{"v":')))
    for folder in (collected, trail[0].parent):
        told = subprocess.run([PROGRAM, "audit", "verify", folder], env=environment(), capture_output=True, text=True)
        assert told.returncode == 0, told.stdout + told.stderr


def with_free_ports(args):
    return [re.sub(r"^91\d\d$", "0", arg) for arg in args]


def started_redis(server, documents, port, folder):
    secret = only(documents, "Secret", "bursar-redis")["stringData"]
    data = folder / "redis"
    data.mkdir()
    conf = secret["redis.conf"].replace("dir /data", f"dir {data}").replace("port 6379", f"port {port}\nbind 127.0.0.1")
    (folder / "redis.conf").write_text(conf)
    running = Running([server, str(folder / "redis.conf")])
    running.until_it_says(r"Ready to accept connections")
    return running


class started_broker:
    def __init__(self, documents, pod, redis_port, folder):
        Mounts(documents, folder / "pod").put(pod)
        config = folder / "pod/etc/bursar/config/bursar.toml"
        # Where things are on this machine; all else is as rendered.
        self.running = Running(
            [PROGRAM, "serve", "--config", str(config)],
            BURSAR_REPLICA="bursar-0", BURSAR_LISTEN="127.0.0.1:0", BURSAR_MONITORING_LISTEN="127.0.0.1:0",
            BURSAR_STORE_REDIS_URL=f"redis://127.0.0.1:{redis_port}",
        )
        self.probes = [probe["httpGet"]["path"] for container in pod["containers"] for name, probe in container.items()
                       if name.endswith("Probe")]

        self.running.is_healthy = lambda: self.healthy(config, redis_port)

    def healthy(self, config, redis_port):
        """`bursar doctor`, as docs/install.md runs it in the pod."""
        told = subprocess.run(
            [PROGRAM, "doctor", "--config", config, "--output", "json"], capture_output=True, text=True, timeout=PATIENCE,
            env=environment(
                BURSAR_REPLICA="bursar-0", BURSAR_LISTEN="127.0.0.1:0", BURSAR_STORE_REDIS_URL=f"redis://127.0.0.1:{redis_port}"))
        report = json.loads(told.stdout)
        failed = [finding for finding in report["findings"] if finding["level"] == "fail"]
        assert told.returncode == 0 and failed == [], failed
        assert {finding["check"] for finding in report["findings"] if finding["level"] == "ok"} >= {"config", "kek", "store", "policies"}

    def __enter__(self):
        self.running.until_it_says(r"(?m)^ready$")
        port = self.running.until_it_says(r'"message":"serving","address":"127\.0\.0\.1:(\d+)"')[1]
        asked = self.running.until_it_says(r'"message":"listening for probes","address":"(127\.0\.0\.1:\d+)"')[1]
        for path in [*self.probes, "/metrics"]:
            with urllib.request.urlopen(f"http://{asked}{path}", timeout=PATIENCE) as answer:
                assert answer.status == 200, path
        return self.running, port

    def __exit__(self, *_):
        self.running.__exit__()


def run_what_the_page_says(documents, port, folder):
    """docs/install.md: a token in one's own hands."""
    here = folder / "desk"
    here.mkdir()
    mounted = folder / "test"
    (here / "ca.crt").write_bytes((mounted / "etc/bursar/server-ca/ca.crt").read_bytes())
    (here / "caller-token").write_bytes((mounted / "var/run/secrets/bursar/token").read_bytes())
    asked = [words for words in commands("install", "bursar") if words[0] == "--endpoint"]
    assert len(asked) == 2
    for words in asked:
        words = [word.replace(":7600", f":{port}") for word in words]
        done = subprocess.run(
            [PROGRAM, *words], cwd=here, env=environment(), capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
    assert "tenants/trial/connections/first" in done.stdout and "ACTIVE" in done.stdout


def run_the_test_pod(documents, cluster, port, folder):
    """The containers of the pod of `helm test`, one after the other, as the kubelet would."""
    pod = only(documents, "Pod", "bursar-test")["spec"]
    token = next(v for v in pod["volumes"] if v["name"] == "token")["projected"]["sources"][0]["serviceAccountToken"]
    mounts = Mounts(documents, folder / "test")
    mounts.put(pod)
    written = mounts.at("/var/run/secrets/bursar/token")
    written.unlink()
    subject = f"system:serviceaccount:{NAMESPACE}:{pod['serviceAccountName']}"
    written.write_text(cluster.issuer.token(
        iss="https://kubernetes.default.svc.cluster.local", aud=[token["audience"]], sub=subject))
    written.chmod(0o400)
    # Twice: whoever runs `helm test` again finds everything there.
    for _ in range(2):
        for container in [*pod["initContainers"], *pod["containers"]]:
            variables = {entry["name"]: mounts.placed(entry["value"] + "/")[:-1] for entry in container["env"]}
            host = re.fullmatch(r"https://([^:]+):7600", variables["BURSAR_ENDPOINT"])[1]
            variables |= {"BURSAR_ENDPOINT": f"https://127.0.0.1:{port}", "BURSAR_TLS_SERVER_NAME": host}
            args = [mounts.placed(arg + "/")[:-1] for arg in container["args"]]
            done = subprocess.run(
                [PROGRAM, *args], env=environment(**variables), capture_output=True, text=True, timeout=PATIENCE,
                stdin=subprocess.DEVNULL)
            assert done.returncode == 0, f"{container['name']}: {done.stdout}{done.stderr}"
    assert "tenants/trial/connections/first: there is a token, good until" in done.stdout, done.stdout
    assert not re.search(r"eyJ|access_token", done.stdout), "the token itself was printed"
