"""An authorization server that we did not write (django-oauth-toolkit), for the tests to run Bursar against.

Listens on a free loopback port, prints {"issuer": ...} on one line, and ends when its standard input does. Its
database is a file in the folder that is its argument.

Beside the real endpoints (under /o/) there are two of our own:
  POST /test/client   the fields of the toolkit's `Application` as JSON: registers one, anew if it exists
  GET  /test/login    logs in the one user there is; what the toolkit sends a browser to that is not logged in
"""

import json
import logging
import os
import sys
import threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import django
from django.conf import settings
from django.core.management import call_command
from django.http import HttpResponseRedirect, JsonResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # Each request has a connection of its own; the default backlog of five drops some of a crowd.
    request_queue_size = 128


class Handler(WSGIRequestHandler):
    def log_message(self, *_):
        pass


server = Server(("127.0.0.1", 0), Handler)
issuer = f"http://127.0.0.1:{server.server_port}"


def rsa_key():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    how = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*how).decode()


settings.configure(
    SECRET_KEY=os.urandom(32).hex(),
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    LOGIN_URL="/test/login",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    # The tests' client secrets are random; a slow hash would guard nothing and cost the tests seconds.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(sys.argv[1], "toolkit.sqlite3"),
            "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA synchronous=OFF"},
        }
    },
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "oauth2_provider",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    OAUTH2_PROVIDER={
        "PKCE_REQUIRED": True,
        "OIDC_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": rsa_key(),
        "OIDC_ISS_ENDPOINT": f"{issuer}/o",
        "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
        "OAUTH_DEVICE_VERIFICATION_URI": f"{issuer}/o/device/",
        "OAUTH_DEVICE_VERIFICATION_URI_COMPLETE": lambda code: f"{issuer}/o/device/?user_code={code}",
        "ROTATE_REFRESH_TOKEN": True,
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
        "REFRESH_TOKEN_EXPIRE_SECONDS": 86400,
        "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
        "SCOPES": {"openid": "Who you are", "read": "Reading", "write": "Writing", "introspection": "Looking up"},
        "DEFAULT_SCOPES": ["read", "write"],
    },
)
django.setup()
# It warns of what the tests do on purpose.
logging.getLogger("oauth2_provider").setLevel(logging.ERROR)
call_command("migrate", verbosity=0, interactive=False)

from django.contrib.auth import login as log_in  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from oauth2_provider.models import Application  # noqa: E402

user = User.objects.create_user("user", password=os.environ["USER_PASSWORD"])


@csrf_exempt
def register(request):
    fields = json.loads(request.body)
    Application.objects.filter(client_id=fields["client_id"]).delete()
    Application.objects.create(user=user, **fields)
    return JsonResponse({})


def login(request):
    log_in(request, user)
    return HttpResponseRedirect(request.GET["next"])


urlpatterns = [
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("test/client", register),
    path("test/login", login),
]

from django.core.wsgi import get_wsgi_application  # noqa: E402

server.set_app(get_wsgi_application())
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"issuer": f"{issuer}/o"}), flush=True)
sys.stdin.read()
