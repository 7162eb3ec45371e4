"""A small OpenID Connect provider: real codes, real signed tokens, over HTTP on this machine; who asks is `claims`."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "mimic-tests", "a secret between the two"


class Provider:
    """What it knows: its key, the codes that it gave out, and who would sign in now."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.claims: dict[str, object] = {}
        self.codes: dict[str, dict[str, object]] = {}
        self.base = ""

    def metadata(self) -> dict[str, object]:
        return {
            "issuer": self.base,
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "jwks_uri": f"{self.base}/jwks",
            "end_session_endpoint": f"{self.base}/end",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }

    def authorize(self, asked: dict[str, list[str]]) -> str:
        """Where the browser goes on to: back, with a code that is good once."""
        code = secrets.token_urlsafe(16)
        self.codes[code] = dict(self.claims) | {"nonce": asked.get("nonce", [None])[0]}
        return f"{asked['redirect_uri'][0]}?{urlencode({'code': code, 'state': asked['state'][0]})}"

    def token(self, asked: dict[str, list[str]]) -> dict[str, object] | None:
        claims = self.codes.pop(asked["code"][0], None)
        if claims is None:
            return None
        now = int(time.time())
        claims |= {"iss": self.base, "aud": CLIENT, "sub": str(claims.get("email")), "iat": now, "exp": now + 300}
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
        return {
            "access_token": secrets.token_urlsafe(16),
            "token_type": "Bearer",
            "expires_in": 300,
            "id_token": signed,
        }


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            asked = parse_qs(address.query)
            if address.path == "/.well-known/openid-configuration":
                self._answer(provider.metadata())
            elif address.path == "/jwks":
                self._answer({"keys": [provider.key.as_dict(private=False)]})
            elif address.path == "/authorize":
                self._redirect(provider.authorize(asked))
            elif address.path == "/end":
                self._redirect(asked["post_logout_redirect_uri"][0].removesuffix("/oauth2callback") + "/")
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            told = provider.token(asked)
            self._answer(told or {"error": "invalid_grant"}, 200 if told else 400)

        def _redirect(self, where: str) -> None:
            self.send_response(302)
            self.send_header("Location", where)
            self.end_headers()

        def _answer(self, told: dict[str, object], status: int = 200) -> None:
            data = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Nothing."""

    return Handler


@contextmanager
def providing() -> Iterator[Provider]:
    """A provider on a free port of this machine."""
    provider = Provider()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(provider)) as server:
        provider.base = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield provider
        server.shutdown()
