"""The same generic client over TLS, who says by a token who it is.

usage: with_token.py ADDRESS CA_FILE TOKEN_FILE TENANT

Asks for TENANT, which does not exist, with the token and with one whose signature has letters in another order, and prints both answers
as JSON.
"""

import json
import sys
from pathlib import Path

import grpc

from get_token import Client, failure


def asked(address, authority, token, tenant):
    """Goes with every call, as the library offers it."""
    credentials = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(authority), grpc.access_token_call_credentials(token)
    )
    with grpc.secure_channel(address, credentials, options=[("grpc.enable_http_proxy", 0)]) as channel:
        return failure(lambda: Client(channel).call("bursar.v1.TenantService", "GetTenant", {"name": tenant}))


def main(address, ca_file, token_file, tenant):
    authority, token = Path(ca_file).read_bytes(), Path(token_file).read_text()
    forged = token[:-20] + token[-20:-12][::-1] + token[-12:]
    report = {
        "known": asked(address, authority, token, tenant),
        "forged": asked(address, authority, forged, tenant),
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
