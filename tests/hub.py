"""As much of the Hugging Face Hub as reading a data set repository asks for: what it is, what lies in it, and files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, quote, unquote, urlsplit

REPOSITORY = "mimic/pictures"
COMMIT = "c0ffee" + "0" * 34
PAGE = 3  # entries of one answer; the Hub's own are 1,000
_API = f"/api/datasets/{REPOSITORY}"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def hub(files: Mapping[str, bytes]) -> type[BaseHTTPRequestHandler]:
    """A handler that serves these files as the data set `REPOSITORY`."""

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            path, query = unquote(url.path), parse_qs(url.query)
            if path in (_API, f"{_API}/revision/main"):
                self._answer(200, {"id": REPOSITORY, "sha": COMMIT})
            elif path.startswith(f"{_API}/tree/main"):
                self._tree(path.removeprefix(f"{_API}/tree/main").strip("/"), query)
            elif path.startswith(f"/datasets/{REPOSITORY}/resolve/main/"):
                self._resolve(path.partition("/resolve/main/")[2])
            elif path.startswith("/cdn/"):
                self._file(files[path.removeprefix("/cdn/")])
            else:  # the Hub does not say whether it is private or not there
                self._answer(401, {"error": "Invalid username or password."}, {"X-Error-Code": "RepoNotFound"})

        def _tree(self, folder: str, query: dict[str, list[str]]) -> None:
            recursive = query.get("recursive") == ["true"]
            below = [name for name in sorted(files) if not folder or name.startswith(f"{folder}/")]
            if folder and not below:
                self._missing()
                return
            depth = folder.count("/") + 1 if folder else 0
            parents = {"/".join(name.split("/")[:end]) for name in below for end in range(1, name.count("/") + 1)}
            entries: list[dict[str, object]] = [
                {"type": "directory", "path": each, "oid": _digest(each.encode()), "size": 0}
                for each in sorted(parents)
            ]
            entries += [
                {"type": "file", "path": each, "oid": _digest(files[each]), "size": len(files[each])} for each in below
            ]
            shown = [
                each
                for each in entries
                if (level := str(each["path"]).count("/")) == depth or (recursive and level > depth)
            ]
            first = int(query.get("cursor", ["0"])[0])
            headers = {}
            if first + PAGE < len(shown):
                host, where = self.headers["Host"], urlsplit(self.path).path
                asked = f"recursive={query.get('recursive', ['false'])[0]}&cursor={first + PAGE}"
                headers["Link"] = f'<http://{host}{where}?{asked}>; rel="next"'
            self._answer(200, shown[first : first + PAGE], headers)

        def _resolve(self, name: str) -> None:
            if name not in files:
                self._missing()
                return
            said = {
                "X-Repo-Commit": COMMIT,
                "X-Linked-Size": str(len(files[name])),
                "ETag": f'"{_digest(files[name])}"',
            }
            self._answer(302, {}, said | {"Location": f"/cdn/{quote(name)}"})

        def _file(self, data: bytes) -> None:
            asked = _RANGE.fullmatch(self.headers.get("Range", ""))
            if asked is None:
                self._send(200, data, {"ETag": f'"{_digest(data)}"'})
                return
            first = int(asked[1])
            last = min(int(asked[2] or len(data) - 1), len(data) - 1)
            if first > last:
                self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            self._send(206, data[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(data)}"})

        def _missing(self) -> None:
            self._answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})

        def _answer(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
            self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"} | (headers or {}))

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Hub


def _digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
