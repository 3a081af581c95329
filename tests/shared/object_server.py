"""An API server that keeps what it is given, as Kubernetes answers, and tells watches of it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import yaml

_PATH = re.compile(
    r"/apis?/(?:[^/]+/)?v[^/]+(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?"
)


class ObjectServer:
    """Keeps objects of one namespace by plural and name.

    - `refused`: plurals of what may not be patched by a merge. `unreadable`: plurals of what may not be listed.
    - `written`: plural and name of what clients have written, in order.
    - `nudges`: plural, key and value of the annotations that were merged.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.nudges: list[tuple[str, str, str]] = []
        self.refused: set[str] = set()
        self.unreadable: set[str] = set()
        self.written: list[tuple[str, str]] = []
        self._version = 0
        self._changed = threading.Condition()
        self.log: list[tuple[int, str, dict[str, Any]]] = []

    def put(self, plural: str, name: str, **content: Any) -> dict[str, Any]:
        with self._changed:
            self._version += 1
            before = self.objects.get((plural, name))
            uid = before["metadata"]["uid"] if before else f"uid-{plural}-{name}-{self._version}"
            metadata = {"uid": uid, "managedFields": [{"manager": "serinus"}]}
            metadata |= content.pop("metadata", {})
            metadata |= {"name": name, "namespace": "serinus", "resourceVersion": str(self._version)}
            one = {**(before or {}), **content, "metadata": metadata}
            self.objects[plural, name] = one
            self.log.append((self._version, plural, {"type": "MODIFIED" if before else "ADDED", "object": one}))
            self._changed.notify_all()
            return one

    def delete(self, plural: str, name: str) -> None:
        with self._changed:
            self._version += 1
            one = self.objects.pop((plural, name))
            one = {**one, "metadata": {**one["metadata"], "resourceVersion": str(self._version)}}
            self.log.append((self._version, plural, {"type": "DELETED", "object": one}))
            self._changed.notify_all()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        found = _PATH.fullmatch(request.url.path)
        assert found is not None, request.url.path
        plural, name = found["plural"], found["name"]
        if request.method == "GET" and name is None:
            if plural in self.unreadable:
                return httpx2.Response(403, json=_status(403, "Forbidden", {}))
            if request.url.params.get("watch"):
                since = int(request.url.params["resourceVersion"])
                return httpx2.Response(200, stream=_Stream(self._events(plural, since)))
            items = [one for (of, _), one in self.objects.items() if of == plural]
            return httpx2.Response(200, json={"metadata": {"resourceVersion": str(self._version)}, "items": items})
        if request.method == "PATCH" and request.headers["content-type"].startswith("application/apply"):
            document = yaml.safe_load(request.content)
            self.written.append((plural, name))
            return httpx2.Response(200, json=self.put(plural, name, **document))
        if request.method == "POST":
            document = json.loads(request.content)
            name = document["metadata"]["name"]
            if (plural, name) in self.objects:
                return httpx2.Response(409, json=_status(409, "AlreadyExists", {"kind": plural, "name": name}))
            self.written.append((plural, name))
            return httpx2.Response(201, json=self.put(plural, name, **document))
        if (plural, name) not in self.objects:
            return httpx2.Response(404, json=_status(404, "NotFound", {"kind": plural, "name": name}))
        if request.method == "PATCH":
            if plural in self.refused:
                return httpx2.Response(403, json=_status(403, "Forbidden", {}))
            patch = json.loads(request.content)
            for key, value in (patch.get("metadata") or {}).get("annotations", {}).items():
                self.nudges.append((plural, key, value))
            if data := patch.get("data"):
                self.written.append((plural, name))
                self.put(plural, name, data={**(self.objects[plural, name].get("data") or {}), **data})
        if request.method == "DELETE":
            self.delete(plural, name)
            return httpx2.Response(200, json=_status(200, "", {}))
        return httpx2.Response(200, json=self.objects[plural, name])

    def _events(self, plural: str, since: int) -> Iterator[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: any(n > since and of == plural for n, of, _ in self.log), 0.3)
            for number, of, event in list(self.log):
                if number > since and of == plural:
                    yield json.dumps(event).encode() + b"\n"


class _Stream(httpx2.SyncByteStream):
    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines

    def __iter__(self) -> Iterator[bytes]:
        return self._lines


def _status(code: int, reason: str, details: Mapping[str, str]) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": reason, "details": details}
