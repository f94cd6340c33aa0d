"""An authorization server that we did not write (Authlib's), for the tests to run Bursar against: it takes signed JWTs
as grants (RFC 7523) and as client authentication, with a shared secret or a key pair.

Listens on a free loopback port, prints {"issuer": ...} on one line, and ends when its standard input does. Authlib is a
library: where it leaves storage to its user, that is dictionaries here.

Beside the real endpoints there is one of our own:
  POST /test/client   registers a client: the names of RFC 7591
"""

import json
import logging
import sys
import threading
import time

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion, JWTBearerGrant
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from flask import Flask, request
from joserfc.jwk import KeySet, OctKey
from werkzeug.serving import make_server

USER = "user"
METHODS = ["client_secret_basic", "client_secret_post", JWTBearerClientAssertion.CLIENT_AUTH_METHOD]
clients, tokens, seen = {}, [], set()


class Client(ClientMixin):
    def __init__(self, metadata):
        self.client_id = metadata["client_id"]
        self.metadata = metadata

    def get_client_id(self):
        return self.client_id

    def get_allowed_scope(self, scope):
        return scope

    def check_client_secret(self, client_secret):
        return self.metadata["client_secret"] == client_secret

    def check_endpoint_auth_method(self, method, endpoint):
        mine = self.metadata["token_endpoint_auth_method"]
        return method == (JWTBearerClientAssertion.CLIENT_AUTH_METHOD if mine.endswith("_jwt") else mine)

    def check_grant_type(self, grant_type):
        return grant_type in self.metadata["grant_types"]

    def key(self):
        if "jwks" in self.metadata:
            return KeySet.import_key_set(self.metadata["jwks"])
        return OctKey.import_key(self.metadata["client_secret"])


class Token(TokenMixin):
    def __init__(self, token, client, user):
        self.fields, self.client, self.user = token, client, user
        self.expires_at, self.revoked = time.time() + token["expires_in"], False

    def check_client(self, client):
        return self.client is client

    def get_scope(self):
        return self.fields.get("scope", "")

    def is_expired(self):
        return self.expires_at < time.time()

    def is_revoked(self):
        return self.revoked

    def get_client(self):
        return self.client

    def get_user(self):
        return self.user


class Assertion(JWTBearerClientAssertion):
    def get_audiences(self):
        return [issuer]

    def validate_jti(self, claims, jti):
        fresh = (claims["sub"], jti) not in seen
        seen.add((claims["sub"], jti))
        return fresh

    def resolve_client_public_key(self, client):
        return client.key()


class Bearer(JWTBearerGrant):
    def get_audiences(self):
        return [issuer]

    def resolve_issuer_client(self, issuer):
        return clients.get(issuer)

    def resolve_client_public_key(self, client):
        return client.key()

    def authenticate_user(self, subject):
        return subject if subject == USER else None

    def has_granted_permission(self, client, user):
        return True


class ClientCredentials(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS


class Kept:
    CLIENT_AUTH_METHODS = METHODS

    def query_token(self, token_string, token_type_hint):
        return next((token for token in tokens if token.fields["access_token"] == token_string), None)


class Revocation(Kept, RevocationEndpoint):
    def revoke_token(self, token, request):
        token.revoked = True


class Introspection(Kept, IntrospectionEndpoint):
    def check_permission(self, token, client, request):
        return client.check_grant_type("introspection")

    def introspect_token(self, token):
        about = {"client_id": token.client.client_id, "scope": token.get_scope(), "sub": token.user}
        return {name: value for name, value in about.items() if value}


app = Flask(__name__)
app.config["OAUTH2_TOKEN_EXPIRES_IN"] = {"client_credentials": 3600, Bearer.GRANT_TYPE: 3600}
server = AuthorizationServer(
    app, clients.get, lambda token, asking: tokens.append(Token(token, asking.client, asking.user))
)
server.register_client_auth_method(Assertion.CLIENT_AUTH_METHOD, Assertion())
for part in (ClientCredentials, Bearer):
    server.register_grant(part)
for part in (Revocation, Introspection):
    server.register_endpoint(part)


@app.post("/token")
def token():
    return server.create_token_response()


@app.post("/revoke")
def revoke():
    return server.create_endpoint_response(Revocation.ENDPOINT_NAME)


@app.post("/introspect")
def introspect():
    return server.create_endpoint_response(Introspection.ENDPOINT_NAME)


@app.post("/test/client")
def register():
    metadata = json.loads(request.data)
    clients[metadata["client_id"]] = Client(metadata)
    return {}


logging.getLogger("werkzeug").setLevel(logging.ERROR)
http = make_server("127.0.0.1", 0, app, threaded=True)
issuer = f"http://127.0.0.1:{http.server_port}"
threading.Thread(target=http.serve_forever, daemon=True).start()
print(json.dumps({"issuer": issuer}), flush=True)
sys.stdin.read()
