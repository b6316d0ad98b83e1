"""Who may ask the explorer, and what a page of it may do.

The explorer listens on loopback, but every page of every site that is open in a browser can send requests there. So

* the ``Host`` header must name this machine: a foreign name that was made to lead to loopback (DNS rebinding) is
  refused;
* a secret token opens it, which stands in the address that ``heatbeam explore`` prints and then in a cookie that no
  other site's request carries;
* what changes something must be a POST from a page of its own: its origin, and a second token that only the pages know;
* a page loads nothing but the explorer's own files, runs no script and no style that stands in its markup, and stands
  in no frame.
"""

from __future__ import annotations

import hmac
import secrets
import urllib.parse

from starlette import datastructures, responses, types

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Names of this machine; any port, since a tunnel (``ssh -L``) may give it another."""

TOKEN = "open"
"""Name of the token in an address; one that what hides secrets in a terminal does not know."""
_MADE = 32

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Secrets:
    """The two tokens of one explorer.

    Attributes:
        token: opens it.
        form: proves that a form was made by it.
        cookie: name of the cookie with `token`; cookies know no ports, so it has the port in it.
    """

    def __init__(self, port: int):
        self.token = secrets.token_urlsafe(_MADE)
        self.form = secrets.token_urlsafe(_MADE)
        self.cookie = f"heatbeam_explore_{port}"

    def opened_by(self, given: str | None) -> bool:
        """Whether that is the token."""
        return given is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def made(self, given: object) -> bool:
        """Whether that is the token of a form."""
        return isinstance(given, str) and hmac.compare_digest(given.encode(), self.form.encode())


class Guard:
    """Refuses what must not ask, before the app sees it, and says to the browser what a page may do."""

    def __init__(self, app: types.ASGIApp, known: Secrets):
        self._app, self._secrets = app, known

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """Answer a request (ASGI)."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = datastructures.Headers(scope=scope)
        answer = self._refusal(scope, headers) or self._entry(scope, headers)

        async def guarded(message: types.Message) -> None:
            if message["type"] == "http.response.start":
                kept = datastructures.MutableHeaders(raw=message["headers"])
                for name, value in HEADERS.items():
                    kept[name] = value
                kept.setdefault("cache-control", "no-store")
            await send(message)

        await (answer or self._app)(scope, receive, guarded)

    def _refusal(self, scope: types.Scope, headers: datastructures.Headers) -> responses.Response | None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or _name(host) not in LOOPBACK:
            return _plain(421, "This explorer answers to localhost only.")
        if scope["method"] in {"GET", "HEAD"}:
            return None
        if scope["method"] != "POST":
            return _plain(405, "Only GET and POST.")
        origin = urllib.parse.urlsplit(headers.get("origin", ""))
        if origin.scheme not in {"http", "https"} or origin.netloc != host:
            return _plain(403, "A change must come from a page of this explorer.")
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return _plain(403, "A change must come from a page of this explorer.")
        return None

    def _entry(self, scope: types.Scope, headers: datastructures.Headers) -> responses.Response | None:
        """What is said to who has not the cookie; the address with the token gives it."""
        query = urllib.parse.parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == TOKEN]
        if given:
            if len(given) != 1 or not self._secrets.opened_by(given[0]) or scope["method"] != "GET":
                return _plain(403, "Wrong token. Open the address that heatbeam explore printed.")
            rest = urllib.parse.urlencode([(name, value) for name, value in query if name != TOKEN])
            # One slash: two would lead to another host.
            path = "/" + urllib.parse.quote(scope["path"].lstrip("/\\"))
            answer = responses.RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(self._secrets.cookie, self._secrets.token, httponly=True, samesite="lax", path="/")
            return answer
        cookies = [part.strip().partition("=") for part in headers.get("cookie", "").split(";")]
        if any(name == self._secrets.cookie and self._secrets.opened_by(value) for name, _, value in cookies):
            return None
        return _plain(403, "Open the address that heatbeam explore printed: it holds the token that opens this.")


def _name(host: str) -> str:
    """The name in a ``Host`` header, without the port."""
    name, colon, port = host.rpartition(":")
    if colon and port.isascii() and port.isdigit():
        return name.lower()
    return host.lower()


def _plain(status: int, text: str) -> responses.Response:
    return responses.PlainTextResponse(text + "\n", status)
