"""Explorers of small runs, asked as a browser asks: with headers and paths just as a test has them."""

from __future__ import annotations

import asyncio
import dataclasses
import urllib.parse
from collections.abc import Mapping

from heatbeam.explore import app, safety, shown_run

HOST = "127.0.0.1:8750"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the explorer said."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()


class Client:
    """A browser that has opened the explorer's address.

    Args:
        paths: of one run or two.
    """

    def __init__(self, *paths: str):
        self.runs = [shown_run.opened(side, path, None) for side, path in zip("ab", paths, strict=False)]
        self.secrets = safety.Secrets(8750)
        self.app = app.Explorer(self.runs, self.secrets).app()
        self.cookie = f"{self.secrets.cookie}={self.secrets.token}"

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, object] | None = None,
    ) -> Answer:
        """The answer to one request.

        Args:
            path: with its query, as it stands on the wire.
            method: of the request.
            headers: beside the usual ones; an empty value leaves a usual one out.
            form: what is sent as the body.
        """
        body = b"" if form is None else urllib.parse.urlencode(form).encode()
        usual = {"host": HOST, "cookie": self.cookie}
        if form is not None:
            usual |= {"content-type": "application/x-www-form-urlencoded", "origin": f"http://{HOST}"}
        sent = {name: value for name, value in {**usual, **(headers or {})}.items() if value}
        where, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": urllib.parse.unquote(where), "raw_path": where.encode(), "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()], "server": ("127.0.0.1", 8750),
            "client": ("127.0.0.1", 5), "root_path": "",
        }  # fmt: skip
        messages: list[dict] = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            messages.append(message)

        asyncio.run(self.app(scope, receive, send))
        head = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        return Answer(messages[0]["status"], head, b"".join(one.get("body", b"") for one in messages[1:]))

    def page(self, path: str, **parameters: object) -> str:
        """The text of a page that is there."""
        answer = self.ask(path + ("?" + urllib.parse.urlencode(parameters) if parameters else ""))
        assert answer.status == 200, answer.text
        return answer.text
