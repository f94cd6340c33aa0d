"""Derives the vectors of seal.txt: the format of docs/sealing.md written a second time, on other libraries.

    pip install cryptography
    python3 tests/vectors/seal.py > tests/vectors/seal.txt      # or diff against it

Reads nothing and shares no code with the crate. The keys below are for vectors only.
"""

import base64
import hashlib
import hmac
import uuid

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SUITE = (1).to_bytes(2, "big")
TENANT_KEY, ROOT_KEY, KEYSET_KEY = bytes(range(0x00, 0x20)), bytes(range(0xC0, 0xE0)), bytes(range(0x80, 0xA0))
SALT, NONCE = bytes(range(0x20, 0x40)), bytes(range(0x40, 0x4C))
DEPLOYMENT = uuid.UUID("0190a000-0000-7000-8000-000000000001").bytes
FAMILY = uuid.UUID("0190a000-0000-7000-8000-000000000002").bytes
NIL = bytes(16)
OWNER, RESOURCE = b"tenants/acme", b"tenants/acme/connections/concur"


def frame(*fields):
    return b"".join(len(field).to_bytes(8, "big") + field for field in fields)


def hkdf(key, salt, info, length=32):
    return HKDF(algorithm=SHA512(), length=length, salt=salt, info=info).derive(key)


def seal(key, version, kek_id, context, plain):
    header = b"BSR1" + SUITE + bytes(2) + version.to_bytes(4, "big") + kek_id + SALT + NONCE
    aad = frame(b"bursar1", SUITE) + context + frame(version.to_bytes(4, "big"), header)
    place = hashlib.sha256(aad).digest()
    write_key = hkdf(key, SALT, b"bursar/enc" + SUITE + place)
    commitment = hkdf(key, SALT, b"bursar/com" + SUITE + place)
    padded = plain + b"\x80"
    padded += bytes(-len(padded) % 256)
    ciphertext = AESGCM(write_key).encrypt(NONCE, padded, aad)
    return header + commitment + len(ciphertext).to_bytes(4, "big") + ciphertext


def place(owner, resource, purpose, family, generation):
    return frame(DEPLOYMENT, owner, resource, purpose, family, generation.to_bytes(8, "big"))


def tag(key, holder, kind, name, version, body):
    mac_key = hkdf(key, b"bursar1", b"bursar/mac" + SUITE)
    fields = frame(b"bursar1", kind, DEPLOYMENT, holder, name, version.to_bytes(8, "big"), body)
    return hmac.new(mac_key, fields, hashlib.sha256).digest()


kek_id = hkdf(KEYSET_KEY, b"bursar1", b"bursar/kek" + SUITE, 8)
token_place = place(OWNER, RESOURCE, b"refresh_token", FAMILY, 7)
for name, plain in [("sealed_empty", b""), ("sealed_short", b"vector-refresh-token"), ("sealed_256", b"x" * 256)]:
    print(name, seal(TENANT_KEY, 3, kek_id, token_place, plain).hex())
chain_place = place(OWNER, b"keychain", b"tenant_key", NIL, 3)
print("wrapped_tenant_key", seal(ROOT_KEY, 1, kek_id, chain_place, TENANT_KEY).hex())
root_context = frame(b"root_key", DEPLOYMENT, (1).to_bytes(4, "big"))
print("wrapped_root_key", seal(KEYSET_KEY, 2, kek_id, frame(root_context), ROOT_KEY).hex())
print("document_tag", tag(TENANT_KEY, OWNER, b"document", b"connection/acme/concur", 9, b"body").hex())
versions = frame((3).to_bytes(4, "big"), b"active", b"wrapped", (1800000000000).to_bytes(8, "big"))
print("chain_tag", tag(ROOT_KEY, b"root", b"keychain", OWNER, 0, versions).hex())
print("keyset_line", f"key 2 primary {kek_id.hex()} {base64.b64encode(KEYSET_KEY).decode()}")
