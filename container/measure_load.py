#!/usr/bin/env python3
"""Measures a program under load for docs/sizing.md: memory, processor time and Redis for each connection.

    .tools/venv/bin/python container/measure_load.py target/image/amd64/bursar [CONNECTIONS]

Everything on this machine: one broker, one Redis with `appendfsync always`, a simulated authorization server whose tokens live two
minutes, so that each connection is refreshed every minute. `h2load` (nghttp2-client) asks for tokens. Asserts nothing.
"""

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import grpc

LIFETIME = "120s"
# How long refreshing is looked at, and tokens are asked for.
SECONDS = 30
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("BURSAR")}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started(command, folder, name, says):
    """The process, once it said that it is ready, and what it said."""
    log = folder / f"{name}.log"
    process = subprocess.Popen(command, stdout=log.open("w"), stderr=subprocess.STDOUT, env=ENVIRONMENT)
    for _ in range(600):
        if found := re.search(says, log.read_text()):
            return process, found
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(f"{name} did not start:\n{log.read_text()}")


def order(control, name, what):
    request = urllib.request.Request(f"{control}/control/{name}", json.dumps(what).encode(), {"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request))


def counters(control):
    return json.load(urllib.request.urlopen(f"{control}/control/counters"))["total"]


def rss(process):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]) / 1024


def processor(process):
    """Seconds of user and system time."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def used(port, what="used_memory"):
    with socket.create_connection(("127.0.0.1", port)) as one:
        one.sendall(b"INFO\r\n")
        text = b""
        while f"{what}:".encode() not in text or not text.endswith(b"\r\n"):
            text += one.recv(65536)
    return int(re.search(rf"{what}:(\d+)", text.decode())[1])


def message(name):
    """A GetTokenRequest."""
    return b"\x0a" + bytes([len(name)]) + name.encode()


def config(folder, redis_port, token_endpoint):
    (folder / "providers").mkdir()
    (folder / "providers/load.toml").write_text(
        f'extends = "generic-oauth2"\nname = "load"\ndisplay_name = "Load"\ntoken_endpoint = "{token_endpoint}"\n'
        'hosts = ["127.0.0.1:*"]\nexchange_timeout = "5s"\nrotation = "always"\nreuse = "revoke_family"\n')
    (folder / "bursar.toml").write_text(
        f'listen = "127.0.0.1:0"\ndata_dir = "{folder}/data"\n[store]\nkind = "redis"\n[store.redis]\n'
        f'url = "redis://127.0.0.1:{redis_port}"\n[keys]\nkeyset_file = "{folder}/keyset"\n[providers]\n'
        f'dir = "{folder}/providers"\n[egress]\naddresses = "loopback"\n[limits]\nserve_per_second = 0\n'
        'exchange_per_second = 0\nwrite_per_second = 0\nread_per_second = 0\n')


def run(program, connections, folder):
    redis_port = free_port()
    conf = f"port {redis_port}\nbind 127.0.0.1\ndir {folder}\nappendonly yes\nappendfsync always\nmaxmemory-policy noeviction\n"
    (folder / "redis.conf").write_text(conf)
    redis, _ = started(["redis-server", folder / "redis.conf"], folder, "redis", "Ready to accept connections")
    simulator, found = started(
        [program, "simulate", "oauth", "--lifetime", LIFETIME], folder, "simulator",
        r"(?s)oauth (\S+)\ncontrol (\S+)\n.*\nready\n")
    provider, control = found.groups()
    subprocess.run([program, "keys", "generate", "--out", folder / "keyset"], check=True, capture_output=True)
    config(folder, redis_port, f"{provider}/token")
    broker, found = started(
        [program, "serve", "--config", folder / "bursar.toml"], folder, "broker", r'"message":"serving","address":"([^"]+)"(?s:.*)\nready\n')
    try:
        measure(program, connections, folder, (broker, redis, redis_port, control, found[1]))
    finally:
        for process in (broker, simulator, redis):
            process.terminate()
            process.wait()


def measure(program, connections, folder, parts):
    broker, redis, redis_port, control, address = parts

    def bursar(*words):
        command = [program, "--endpoint", f"http://{address}", "--timeout", "2h", *words]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{words}: {done.stderr[-2000:]}")

    bursar("tenant", "create", "tenants/load", "--display-name", "Load")
    (folder / "secret").write_text("demo-secret")
    bursar("client", "create", "tenants/load/clients/c", "--provider", "providers/load", "--client-id", "demo-client", "--environment",
           "sandbox", "--allowed-grant", "refresh-token", "--client-secret-file", str(folder / "secret"))
    print(f"memory with no connection: {rss(broker):.0f} MiB")
    empty, empty_file = used(redis_port), used(redis_port, "aof_current_size")
    seeds = order(control, "seed_connections", {"client": "demo-client", "count": connections})
    rows = ["connection,refresh_token", *(f"n{n},{seed['refresh_token']}" for n, seed in enumerate(seeds))]
    (folder / "old.csv").write_text("\n".join(rows) + "\n")
    begin, spent = time.monotonic(), processor(broker)
    bursar("connection", "import", str(folder / "old.csv"), "--tenant", "tenants/load", "--client", "tenants/load/clients/c",
           "--rate", "1000/s", "--parallel", "32")
    took = time.monotonic() - begin
    print(f"import of {connections}: {took:.0f} s, {connections / took:.0f} a second, processor "
          f"{(processor(broker) - spent) * 1000 / connections:.2f} ms each")
    print(f"Redis: {(used(redis_port) - empty) / connections:.0f} bytes of memory a connection, "
          f"{(used(redis_port, 'aof_current_size') - empty_file) / connections:.0f} of the append-only file")

    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        get = channel.unary_unary("/bursar.v1.TokenService/GetToken")
        for n in range(connections):
            get(message(f"tenants/load/connections/n{n}"))
    print(f"memory with {connections} connections, all asked for: {rss(broker):.0f} MiB")

    # Until every third of them has come due.
    for _ in range(600):
        if counters(control)["refreshed"] > connections * 4 / 3:
            break
        time.sleep(0.5)
    before, spent, redis_spent = counters(control)["refreshed"], processor(broker), processor(redis)
    time.sleep(SECONDS)
    refreshed = counters(control)["refreshed"] - before
    print(f"refreshing: {refreshed / SECONDS:.0f} a second, processor {(processor(broker) - spent) * 1000 / refreshed:.2f} ms each "
          f"in the broker, {(processor(redis) - redis_spent) * 1000 / refreshed:.2f} ms in Redis, memory {rss(broker):.0f} MiB")
    total = counters(control)
    print(f"lost {total['lost']}, double uses {total['double_uses']}, refused {total['refused']}")

    body = folder / "body"
    text = message("tenants/load/connections/n0")
    body.write_bytes(b"\0" + len(text).to_bytes(4, "big") + text)
    spent, begin = processor(broker), time.monotonic()
    done = subprocess.run(
        ["h2load", "-D", str(SECONDS), "-c", "8", "-m", "16", "-t", "1", "-d", body, "-H", "content-type: application/grpc",
         "-H", "te: trailers", f"http://{address}/bursar.v1.TokenService/GetToken"], capture_output=True, text=True, check=True)
    took = time.monotonic() - begin
    calls = int(re.search(r"(\d+) succeeded", done.stdout)[1])
    print(f"tokens: {calls / took:.0f} a second, processor {(processor(broker) - spent) * 1e6 / calls:.0f} µs each; "
          f"{re.search(r'time for request:(.*)', done.stdout)[0]}")


def main():
    program = str(Path(sys.argv[1]).resolve())
    connections = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    if not shutil.which("h2load"):
        raise SystemExit("install nghttp2-client: h2load asks for the tokens")
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(f"{platform.machine()}, {os.cpu_count()} cores, {model[1] if model else 'unknown'}; load before {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        run(program, connections, Path(folder))


if __name__ == "__main__":
    main()
