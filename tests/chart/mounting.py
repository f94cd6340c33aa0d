"""Puts what a pod mounts into a folder, as the kubelet would, so that the real program can be given its files."""

import base64
import datetime
import functools
import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

import joserfc.jwk
import joserfc.jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from program import PROGRAM
from rendering import REPOSITORY

# Where pods have their files; everything else in the rendered configuration stays as it is.
PLACES = re.compile(r"(?<![\w.])(/(?:etc/bursar|var/lib/bursar|run/bursar|run/spiffe|var/run/secrets/bursar))(?=[/\"])")


class Authority:
    """A certificate authority, and what it vouches for."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the tests")])
        self.certificate = self.signed(self.name, self.key.public_key(), None)

    def signed(self, name, public_key, host):
        begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(public_key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=2))
        builder = builder.add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, host):
        """Certificate and key in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return pem(self.signed(name, key.public_key(), host)), key.private_bytes(*form).decode()

    def bundle(self):
        return pem(self.certificate)


class Issuer:
    """Who signs callers' tokens."""

    def __init__(self):
        self.key = joserfc.jwk.ECKey.generate_key("P-256", {"kid": "one", "use": "sig", "alg": "ES256"})

    def keys(self):
        return {"keys": [self.key.as_dict(private=False)]}

    def token(self, **claims):
        now = int(time.time())
        header = {"alg": "ES256", "kid": "one"}
        return joserfc.jwt.encode(header, {"iat": now, "exp": now + 600, **claims}, self.key, algorithms=["ES256"])


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@functools.cache
def authority():
    return Authority()


@functools.cache
def there_already():
    """What an operator has put there before, by the name of the file that a Secret's or volume's key becomes."""
    certificate, key = authority().issue("bursar.bursar.svc")
    return {
        "tls.crt": certificate, "tls.key": key, "ca.crt": authority().bundle(), "keyset": keyset(),
        "password": "a password", "sentinel-password": "another one", "token": "a token", "jwt": "a token",
        "secret-id": "a secret id",
    }


# ConfigMaps of the examples that the chart does not make.
FOREIGN_MAPS = {
    "company-clients-ca": {"ca.crt": lambda: authority().bundle()},
    "kube-root-ca.crt": {"ca.crt": lambda: authority().bundle()},
    "trust-bundles": {"prod.example.org.pem": lambda: authority().bundle()},
    "corp-issuer": {"corp.jwks": lambda: json.dumps(Issuer().keys())},
    "bursar-rights": {
        path.name: path.read_text for path in (REPOSITORY / "docs/examples/policies").iterdir()
    },
}


@functools.cache
def keyset():
    """As `bursar keys generate` makes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keyset"
        subprocess.run([PROGRAM, "keys", "generate", "--out", path], check=True, capture_output=True)
        return path.read_text()


class Mounts:
    """The files of one pod below a folder."""

    def __init__(self, documents, folder):
        self.maps = {d["metadata"]["name"]: d["data"] for d in documents if d["kind"] == "ConfigMap"}
        self.secrets = {d["metadata"]["name"]: plain(d) for d in documents if d["kind"] == "Secret"}
        self.folder = folder

    def put(self, spec):
        """All that the pod's containers mount. A file may be read by its owner only."""
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            for mount in container.get("volumeMounts", []):
                at = self.at(mount["mountPath"])
                at.mkdir(parents=True, exist_ok=True)
                for name, text in self.files(volumes.get(mount["name"], {"emptyDir": {}})).items():
                    file = at / name
                    if not file.exists():
                        file.write_text(self.placed(text))
                        file.chmod(0o400)

    def at(self, path):
        return self.folder / path.lstrip("/")

    def placed(self, text):
        """With the pod's paths below the folder."""
        return PLACES.sub(lambda found: f"{self.folder}{found[1]}", text)

    def files(self, volume):
        if "configMap" in volume:
            return self.config_map(volume["configMap"])
        if "secret" in volume:
            return self.secret(volume["secret"]["secretName"], volume["secret"].get("items"))
        if "projected" in volume:
            files = {}
            for source in volume["projected"]["sources"]:
                files |= self.source(source)
            return files
        if "csi" in volume and "secretProviderClass" in volume["csi"].get("volumeAttributes", {}):
            return {"keyset": keyset()}
        return {}

    def source(self, source):
        if "configMap" in source:
            return self.config_map(source["configMap"])
        if "secret" in source:
            return self.secret(source["secret"]["name"], source["secret"].get("items"))
        path = source["serviceAccountToken"]["path"]
        return {path: there_already()[path]}

    def config_map(self, named):
        if named["name"] in self.maps:
            return self.maps[named["name"]]
        return {key: made() for key, made in FOREIGN_MAPS[named["name"]].items()}

    def secret(self, name, items):
        data = self.secrets.get(name)
        if data is None:
            # What a sidecar brings is no business of the broker.
            return {item["path"]: there_already()[item["path"]] for item in items or []}
        return {item["path"]: data[item["key"]] for item in items} if items else data


def plain(secret):
    data = {key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()}
    return data | secret.get("stringData", {})
