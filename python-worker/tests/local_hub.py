"""
A Hugging Face hub on this machine: the part of its API that a download needs, serving the embedded
checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = "zai-org/GLM-4.1V-9B-Thinking"
OLD_NAME = "THUDM/GLM-4.1V-9B-Thinking"
TOKEN = "hf_secret"


@dataclass
class LocalHub:
    """
    `break_after` cuts the connection once, after so many bytes of a file; `hold_after` sends that many of it
    and no more until the hub ends. `private` wants TOKEN. `storage` is where it redirects to for weights, to
    a signed URL. Without `ranges` every answer is the whole file.
    """

    files: dict[str, bytes]
    url: str = ""
    break_after: int | None = None
    hold_after: int | None = None
    private: bool = False
    gated: bool = False
    ranges: bool = True
    storage: LocalHub | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and Range of every request."""
    tokens: list[str | None] = field(default_factory=list)
    """The Authorization of every request."""

    def ranges_of(self, file: str) -> list[str | None]:
        """The Range of every GET of a file."""
        return [range for method, path, range in self.requests if method == "GET" and path.endswith(file)]

    def downloads(self) -> list[str]:
        """Names of the files that were asked for with GET."""
        matches = [
            re.search(r"/resolve/[^/]+/(.+)", path) for method, path, _ in self.requests if method == "GET"
        ]
        return [match[1] for match in matches if match]


@contextmanager
def local_hub(directory: Path) -> Iterator[LocalHub]:
    hub = LocalHub({path.name: path.read_bytes() for path in directory.iterdir() if path.name != "README.md"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(hub: LocalHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def log_message(self, *_args: object) -> None: ...

        def _answer(self) -> None:
            path = self.path.split("?")[0]
            hub.requests.append((self.command, path, self.headers.get("Range")))
            hub.tokens.append(self.headers.get("Authorization"))
            if OLD_NAME in path:
                self._send(307, b"", {"Location": self.path.replace(OLD_NAME, MODEL)})
            elif MODEL not in path or (
                hub.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"
            ):
                self._refuse(401, "RepoNotFound", "Repository not found")
            elif path.startswith("/api/"):
                self._answer_api(path.removeprefix(f"/api/models/{MODEL}").strip("/").split("/"))
            else:
                self._answer_file(path)

        def _answer_api(self, words: list[str]) -> None:
            revision = words[1] if len(words) > 1 else "main"
            if revision not in ("main", COMMIT):
                self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
                return
            sizes = {name: len(data) for name, data in hub.files.items()}
            if words[0] == "tree":
                answer: object = [
                    {"type": "file", "path": name, "size": size, "oid": name} for name, size in sizes.items()
                ]
            else:
                siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
                answer = {
                    "id": MODEL,
                    "modelId": MODEL,
                    "sha": COMMIT,
                    "private": False,
                    "siblings": siblings,
                }
            self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

        def _answer_file(self, path: str) -> None:
            name = re.split("/resolve/[^/]+/", path)[1]
            data = hub.files.get(name)
            if data is None:
                self._refuse(404, "EntryNotFound", f"no {name}")
                return
            if hub.gated:
                self._refuse(403, "GatedRepo", "Access to this model is restricted")
                return
            headers = {"ETag": f'"{_etag(name, data)}"', "X-Repo-Commit": COMMIT}
            if hub.storage is not None and name.endswith(".safetensors"):
                signed = f"{hub.storage.url}{path}?Signature=secret"
                linked = {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(data))}
                self._send(302, b"", headers | linked | {"Location": signed})
                return
            wanted = self.headers.get("Range") if hub.ranges else None
            start = int((wanted or "bytes=0-").removeprefix("bytes=").split("-")[0])
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._send(206 if start else 200, data[start:], headers)

        def _refuse(self, status: int, code: str, message: str) -> None:
            self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if hub.break_after is not None and len(body) > hub.break_after:
                body, hub.break_after = body[: hub.break_after], None
                self.close_connection = True
            if hub.hold_after is not None and len(body) > hub.hold_after:
                self.wfile.write(body[: hub.hold_after])
                hub.ended.wait()
                self.close_connection = True
            else:
                self.wfile.write(body)

    return Handler


def _etag(name: str, data: bytes) -> str:
    """As the real hub's: weights are stored by their SHA-256, what is small is in git."""
    if name.endswith(".safetensors"):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
