"""A web server on this machine with the habits of good and bad stores."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Web:
    """Serves `folder`. `habit`: "" for a good server, "ignores ranges", "fails" (every third request), "slow" (each
    answer after `delay` seconds), "dead" (always 503), "closed" (always 403), "short" (answers lack their last byte),
    "silent" (no sizes)."""

    def __init__(self, folder: Path, delay: float = 0.02) -> None:
        self.folder, self.habit, self.delay = folder, "", delay
        self.requests: list[tuple[str, str]] = []
        self.sent = self.open = self.most_open = 0
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def handler(self) -> type[BaseHTTPRequestHandler]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, body: bool) -> None:
                with web.lock:
                    web.requests.append((self.path, self.headers.get("Range", "")))
                    number = len(web.requests)
                    web.open += 1
                    web.most_open = max(web.most_open, web.open)
                try:
                    self.respond(body, number)
                except OSError:
                    self.close_connection = True
                finally:
                    with web.lock:
                        web.open -= 1

            def respond(self, body: bool, number: int) -> None:
                if web.habit == "slow":
                    time.sleep(web.delay)
                file = web.folder / self.path.lstrip("/")
                if web.habit == "dead" or (web.habit == "fails" and number % 3 == 0):
                    self.send(503, b"", body)
                elif web.habit == "closed":
                    self.send(403, b"", body)
                elif not file.is_file():
                    self.send(404, b"", body)
                else:
                    content, status = file.read_bytes(), 200
                    asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
                    total = len(content)
                    if asked and web.habit != "ignores ranges":
                        content, status = content[int(asked[1]):int(asked[2]) + 1], 206 if total else 416
                        content = content[:-1] if web.habit == "short" else content
                    self.send(status, content, body, f"bytes {asked[1]}-{asked[2]}/{total}" if asked else "")

            def send(self, status: int, content: bytes, body: bool, part: str = "") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                if part and web.habit not in ("silent", "ignores ranges"):
                    self.send_header("Content-Range", part)
                self.end_headers()
                if body:
                    with web.lock:  # counted first, for the reader may look as soon as it has everything
                        web.sent += len(content)
                    self.wfile.write(content)

            def handle(self) -> None:
                with suppress(ConnectionError):  # a client that left
                    super().handle()

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        return Handler


@contextmanager
def serving(folder: Path) -> Iterator[Web]:
    web = Web(folder)
    web.server.daemon_threads = True
    thread = threading.Thread(target=web.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield web
    finally:
        web.server.shutdown()
        thread.join()
        web.server.server_close()
