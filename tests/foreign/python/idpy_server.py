"""An authorization server that we did not write (idpyoidc), for the tests to run Bursar against: it exchanges tokens
(RFC 8693), and its clients authenticate with secrets, with MACs, and with key pairs.

Listens on a free loopback port, prints {"issuer": ...} on one line, and ends when its standard input does.

Beside the real endpoints there are two of our own:
  POST /test/client   registers a client: the names of RFC 7591
  POST /test/token    {"client_id"}: the access token that this client has of the one user there is
"""

import json
import logging
import os
import sys
import tempfile
import threading

from flask import Flask, Response, request
from idpyoidc.server import Server
from idpyoidc.server.configure import ASConfiguration
from idpyoidc.server.exception import UnAuthorizedClient
from idpyoidc.server.user_info import UserInfo
from werkzeug.serving import make_server

SECRETS = ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt"]
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ELSEWHERE = "https://elsewhere.test/callback"

logging.disable(logging.CRITICAL)
os.chdir(tempfile.mkdtemp())
app = Flask(__name__)
http = make_server("127.0.0.1", 0, app, threaded=False)
issuer = f"http://127.0.0.1:{http.server_port}"


def endpoint(path, name, methods):
    return {"path": path, "class": f"idpyoidc.server.{name}", "kwargs": {"client_authn_method": methods}}


def key_file(name):
    return {"private_path": name, "key_defs": [{"type": "OCT", "bytes": 24, "use": [use]} for use in ("enc", "sig")]}


def minting(*classes):
    return {"supports_minting": list(classes), "expires_in": 3600}


TOKENS = ("access_token", "refresh_token")
JWT_TOKEN = {"class": "idpyoidc.server.token.jwt_token.JWTToken", "kwargs": {"lifetime": 3600}}
server = Server(
    ASConfiguration(
        conf={
            "issuer": issuer,
            "httpc_params": {"verify": False, "timeout": 1},
            "preference": {"subject_types_supported": ["public"]},
            "keys": {"uri_path": "jwks.json", "key_defs": [{"type": "EC", "crv": "P-256", "use": ["sig"]}]},
            "endpoint": {
                "authorization": endpoint("authorization", "oauth2.authorization.Authorization", None),
                "token": endpoint("token", "oauth2.token.Token", SECRETS),
                "introspection": endpoint("introspection", "oauth2.introspection.Introspection", SECRETS),
                "token_revocation": endpoint("revocation", "oauth2.token_revocation.TokenRevocation", SECRETS),
            },
            "authentication": {
                "anon": {
                    "acr": "urn:oasis:names:tc:SAML:2.0:ac:classes:unspecified",
                    "class": "idpyoidc.server.user_authn.user.NoAuthn",
                    "kwargs": {"user": "user"},
                }
            },
            "userinfo": {"class": UserInfo, "kwargs": {"db": {"user": {}}}},
            "authz": {
                "class": "idpyoidc.server.authz.AuthzHandling",
                "kwargs": {
                    "grant_config": {
                        "usage_rules": {
                            "authorization_code": {"max_usage": 1, **minting(*TOKENS)},
                            "access_token": minting(*TOKENS),
                            "refresh_token": minting(*TOKENS),
                        },
                        "expires_in": 43200,
                    }
                },
            },
            "cookie_handler": {
                "class": "idpyoidc.server.cookie_handler.CookieHandler",
                "kwargs": {"keys": {"key_defs": key_file("cookie")["key_defs"]}},
            },
            "token_handler_args": {
                "key_conf": key_file("tokens"),
                "code": {"lifetime": 600, "kwargs": {"crypt_conf": {"kwargs": {"keys": key_file("code")}}}},
                "token": JWT_TOKEN,
                "refresh": JWT_TOKEN,
            },
            "session_params": {"encrypter": {"kwargs": {"keys": key_file("session")}}},
        },
        base_path=os.getcwd(),
    ),
    cwd=os.getcwd(),
)
server.context.map_supported_to_preferred()
# As a client's JWT is for the token endpoint, wherever it is sent.
server.get_endpoint("token_revocation").allowed_targets.append("token")


def answered(name):
    """Between Flask and the library, as its own example has it."""
    part = server.get_endpoint(name)
    about = {"headers": {key.lower(): value for key, value in request.headers.items()}, "url": request.url}
    asked = part.parse_request(dict(request.values), http_info=about)
    if "error" not in asked:
        asked = {"request": asked, **part.process_request(asked, http_info=about)}
    said = part.do_response(**asked)
    status = said.get("status_code", 400 if "error" in asked else 200)
    return Response(said["response"], status, said["http_headers"])


@app.errorhandler(UnAuthorizedClient)
def refused(_):
    return {"error": "invalid_client"}, 401


@app.post("/token")
def token():
    return answered("token")


@app.post("/introspection")
def introspection():
    return answered("introspection")


@app.post("/revocation")
def revocation():
    return answered("token_revocation")


@app.post("/test/client")
def register():
    client = json.loads(request.data)
    known = {
        "client_salt": "salt",
        "enforce_audience_restriction": False,
        "redirect_uris": [(ELSEWHERE, None)],
        "response_types_supported": ["code"],
        "grant_types_supported": client["grant_types"],
        "allowed_scopes": ["profile", "offline_access"],
        "token_endpoint_auth_method": client["token_endpoint_auth_method"],
    }
    if "client_secret" in client:
        known["client_secret"] = client["client_secret"]
        server.keyjar.add_symmetric(client["client_id"], client["client_secret"])
    if "jwks" in client:
        server.keyjar.import_jwks(client["jwks"], client["client_id"])
    server.context.cdb[client["client_id"]] = known
    return {}


@app.post("/test/token")
def users_token():
    client_id = json.loads(request.data)["client_id"]
    wanted = {
        "client_id": client_id, "redirect_uri": ELSEWHERE, "response_type": "code", "state": "state",
        "scope": ["profile", "offline_access"],
    }
    part = server.get_endpoint("authorization")
    asked = part.parse_request(wanted)
    code = part.process_request(asked)["response_args"]["code"]
    bought = server.get_endpoint("token").parse_request(
        {
            "grant_type": "authorization_code", "code": code, "redirect_uri": ELSEWHERE, "client_id": client_id,
            "client_secret": server.context.cdb[client_id]["client_secret"], "state": "state",
        }
    )
    return server.get_endpoint("token").process_request(bought)["response_args"]


threading.Thread(target=http.serve_forever, daemon=True).start()
print(json.dumps({"issuer": issuer}), flush=True)
sys.stdin.read()
