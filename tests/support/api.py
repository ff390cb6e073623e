"""The API as a client meets it over HTTP; every reply is held to the contract."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from scripts.local.examples import Example
from tests.support import contract


class Api:
    """HTTP to one base URL; every reply is checked against the contract before anybody sees it."""

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str] | None = None,
        able: Callable[[Sequence[str]], Mapping[str, str]] | None = None,
    ):
        """`able` makes the headers of somebody who may do what takes these scopes, for each request that has no
        Authorization of its own."""
        self.base_url = base_url
        self.able = able
        self._client = httpx.Client(headers=headers, timeout=10, trust_env=False)

    def request(self, method: str, path: str, *, target: bytes | None = None, **options: Any) -> httpx.Response:
        """Sends a request as httpx does; `target` goes on the wire as it is, in the path's place."""
        if self.able:
            operation, _ = contract.find(method, path)
            scopes = operation.document["x-scopes"] if operation else ()
            options["headers"] = {**self.able(scopes), **(options.get("headers") or {})}
        if target is not None:
            prefix = httpx.URL(self.base_url).raw_path.rstrip(b"/")
            options["extensions"] = {"target": prefix + target}
            path = target.decode("latin-1")
            response = self._client.request(method, self.base_url + "/", **options)
        else:
            response = self._client.request(method, self.base_url + path, **options)
        contract.check(method, path, response.status_code, response.headers, response.content)
        return response

    def ask(self, example: Example, **options: Any) -> httpx.Response:
        """Sends an operation's example."""
        return self.request(example.method, example.target, json=example.body, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self.request("PUT", path, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.request("DELETE", path, **options)

    def create(self, **members: Any) -> dict[str, Any]:
        """A new player with a fresh id, unless `members` say otherwise; None leaves a member out."""
        body = {"userId": fresh_id(), "username": "Ada Lovelace", "email": "ada@example.com", **members}
        response = self.post("/users", json={name: value for name, value in body.items() if value is not None})
        assert response.status_code == 201, response.text
        user: dict[str, Any] = response.json()["user"]
        return user

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()


def fresh_id(prefix: str = "test") -> str:
    """An id that no player has."""
    return f"{prefix}-{uuid.uuid4().hex}"
