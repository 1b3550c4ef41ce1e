"""A hub of one's own: what huggingface_hub asks of a server, on a port of this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """`repositories`: name -> file -> content. `asked` is every request so far, but those that the library makes for
    itself; `tokens` what they carried."""

    def __init__(self, repositories: dict[str, dict[str, bytes]]) -> None:
        self.repositories = repositories
        self.commit = COMMIT
        self.silent = False
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.wakes = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            def do_HEAD(self) -> None:
                hub.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.path == "/api/agent-harnesses":  # a registry for its user agent, once a day
            return send(request, 404, {})
        self.asked.append(f"{request.command} {request.path}")
        self.tokens.add(request.headers.get("authorization"))
        if self.silent:
            self.wakes.wait(20)
        parts = request.path.split("?")[0].strip("/").split("/")
        listing = parts[:2] == ["api", "models"]
        name, *rest = ["/".join(parts[2:4]), *parts[5:]] if listing else ["/".join(parts[:2]), *parts[3:]]
        files = self.repositories.get(name)
        if files is None:
            return send(request, 404, {"X-Error-Code": "RepoNotFound"})
        if (rest or ["main"])[0] not in ("main", self.commit):
            return send(request, 404, {"X-Error-Code": "RevisionNotFound"})
        if listing:
            return send(request, 200, {}, json.dumps(
                {"id": name, "sha": self.commit, "siblings": [{"rfilename": file} for file in files]}).encode())
        content = files["/".join(rest[1:])]
        return send(request, 200, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": self.commit},
                    content)


def send(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], content: bytes = b"") -> None:
    request.send_response(status)
    for name, value in (headers | {"Content-Length": str(len(content))}).items():
        request.send_header(name, value)
    request.end_headers()
    if request.command == "GET":
        request.wfile.write(content)


@contextmanager
def serving(repositories: dict[str, dict[str, bytes]]) -> Iterator[Hub]:
    hub = Hub(repositories)
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.wakes.set()
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()
