#!/usr/bin/env python3
"""Measures a program for docs/container.md: size, start to ready, memory when idle and with many connections.

    .tools/venv/bin/python container/measure.py target/image/amd64/bursar [CONNECTIONS]

Everything on this machine: an embedded store, a keyset, TLS 1.3 with client certificates, as many connections as asked for
(10 000), each of which has exchanged its HTTP/2 settings and then waits. Raise `ulimit -n` above twice that number.
"""

import asyncio
import os
import platform
import resource
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

STARTS = 20
AT_ONCE = 64
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
SETTINGS_ACK = b"\x00\x00\x00\x04\x01\x00\x00\x00\x00"


def issue(folder, name, names, issuer=None):
    """A certificate and its key as NAME.crt and NAME.key; without an issuer, an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer or (subject, key)
    now = datetime.now(timezone.utc)
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign",
                           "encipher_only", "decipher_only"), False)
    built = (x509.CertificateBuilder().subject_name(subject).issuer_name(signer[0]).public_key(key.public_key())
             .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
             .not_valid_after(now + timedelta(days=1))
             .add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
             .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=issuer is None, **usage), critical=True))
    if names:
        built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
    (folder / f"{name}.crt").write_bytes(
        built.sign(signer[1], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    at = folder / f"{name}.key"
    at.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                     serialization.NoEncryption()))
    at.chmod(0o600)
    return subject, key


def configure(folder, program, connections):
    authority = issue(folder, "ca", [])
    issue(folder, "server", [x509.IPAddress(ip_address("127.0.0.1"))], authority)
    issue(folder, "client", [x509.DNSName("client.test")], authority)
    subprocess.run([program, "keys", "generate", "--out", str(folder / "keyset")], check=True, capture_output=True)
    (folder / "policies").mkdir()
    (folder / "policies/a.cedar").write_text('@across("environments") permit (principal, action, resource);\n')
    (folder / "bursar.toml").write_text(f"""
listen = "127.0.0.1:0"
data_dir = "{folder}/data"
[keys]
keyset_file = "{folder}/keyset"
[policy]
dir = "{folder}/policies"
[tls]
certificate = "files"
cert_file = "{folder}/server.crt"
key_file = "{folder}/server.key"
[identity.dns]
ca_file = "{folder}/ca.crt"
names = "client.test"
[process]
memory_lock = "off"
[limits]
connections = {connections + 100}
connection_age = "24h"
[log]
format = "pretty"
""")


class Serving:
    def __init__(self, program, folder):
        self.log = (folder / "log").open("w+")
        begin = time.monotonic()
        self.process = subprocess.Popen([program, "serve", "--config", str(folder / "bursar.toml")],
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        self.ready_after = time.monotonic() - begin
        assert line == "ready\n", Path(self.log.name).read_text()

    def port(self):
        line = next(line for line in Path(self.log.name).read_text().splitlines() if "serving" in line)
        return int(line.split("address=")[1].split()[0].strip('"').rsplit(":", 1)[1])

    def memory(self):
        """Resident, in MiB, and the most it ever was."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        return tuple(int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        assert self.process.wait(120) == 0, Path(self.log.name).read_text()
        return time.monotonic() - begin


async def connect(port, count, folder):
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "client.crt", folder / "client.key")
    context.set_alpn_protocols(["h2"])
    turns, opened = asyncio.Semaphore(AT_ONCE), []

    async def one():
        async with turns:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="127.0.0.1")
            writer.write(PREFACE + SETTINGS)
            length = int.from_bytes((await reader.readexactly(9))[:3])
            await reader.readexactly(length)
            writer.write(SETTINGS_ACK)
            await writer.drain()
            opened.append((reader, writer))

    await asyncio.gather(*(one() for _ in range(count)))
    return opened


async def crowd(serving, count, folder):
    begin = time.monotonic()
    opened = await connect(serving.port(), count, folder)
    took = time.monotonic() - begin
    await asyncio.sleep(5)
    assert len(opened) == count and not any(reader.at_eof() for reader, _ in opened)
    print(f"{count} connections (TLS 1.3, client certificates) made in {took:.0f} s: "
          f"{serving.memory()[0]:.0f} MiB resident, at most {serving.memory()[1]:.0f} MiB")
    for _, writer in opened:
        writer.transport.abort()
    await asyncio.sleep(5)
    print(f"after they are gone: {serving.memory()[0]:.0f} MiB")


def main():
    program = str(Path(sys.argv[1]).resolve())
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    model = next((line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    print(f"{model}, {os.cpu_count()} cores, Linux {platform.release()}")
    print(f"size: {Path(program).stat().st_size / 1024 / 1024:.1f} MiB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configure(folder, program, count)
        first = Serving(program, folder)
        print(f"first start, which makes the store and its keys: ready after {first.ready_after * 1000:.0f} ms")
        first.stop()
        times = []
        for _ in range(STARTS):
            serving = Serving(program, folder)
            times.append(serving.ready_after * 1000)
            serving.stop()
        print(f"start to ready, {STARTS} starts: median {statistics.median(times):.0f} ms, "
              f"least {min(times):.0f} ms, most {max(times):.0f} ms")
        serving = Serving(program, folder)
        time.sleep(10)
        print(f"idle: {serving.memory()[0]:.0f} MiB resident")
        asyncio.run(crowd(serving, count, folder))
        print(f"SIGTERM to the end: {serving.stop() * 1000:.0f} ms")


if __name__ == "__main__":
    main()
