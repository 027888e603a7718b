"""What the API shows: readings and deliveries, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import httpx
import msgspec

from ingest.errors import OperatorError, Unavailable
from simulators.options import os_errors

PAGE = 1_000  #: items a request, the most the API gives
_PATIENCE_S = 30.0

Item = TypeVar("Item")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A reading as the API shows it."""

    time: datetime
    site: str
    device: str
    received_at: datetime
    values: dict[str, float]
    states: dict[str, bool]
    late: str | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True, rename={"signal_class": "class"}):
    """A page as the API shows it."""

    id: str
    site: str
    target: str
    channel: str
    signal_class: str
    reason: str
    created_at: datetime
    state: str


class _Page(msgspec.Struct, Generic[Item], frozen=True):
    items: list[Item]
    next: str | None


class Api:
    """A running program's API. OperatorError and Unavailable say in a line why it does not answer."""

    def __init__(self, url: str, token_file: str) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.Client(
            base_url=self._url + "/api/v1/",
            headers={"Authorization": f"Bearer {_token(token_file)}"},
            timeout=_PATIENCE_S,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def readings(self, *, site: str, device: str | None, since: datetime, until: datetime) -> Iterator[Shown]:
        """Readings of a site or of one device there, newest first."""
        question = {"site": site, "from": since.isoformat(), "to": until.isoformat()}
        return self._pages("readings", question | ({"device": device} if device else {}), _Page[Shown])

    def deliveries(self) -> Iterator[Delivery]:
        """Every page ever made."""
        return self._pages("deliveries", {}, _Page[Delivery])

    def _pages(self, path: str, question: dict[str, str], shape: type[_Page[Item]]) -> Iterator[Item]:
        after: str | None = ""
        while after is not None:
            given = question | {"limit": str(PAGE)} | ({"after": after} if after else {})
            page = self._page(path, given, shape)
            yield from page.items
            after = page.next

    def _page(self, path: str, question: dict[str, str], shape: type[_Page[Item]]) -> _Page[Item]:
        try:
            answer = self._client.get(path, params=question)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise OperatorError(f"--api {self._url}: {error}; write it as http://127.0.0.1:8080") from None
        except httpx.HTTPError as error:
            what = str(error) or type(error).__name__
            raise Unavailable(f"--api {self._url}: {what}; is the program running there?") from None
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise OperatorError(f"--token-file: {self._url} refuses the token; name DATA_DIR/api.token, or make one")
        if answer.status_code != httpx.codes.OK:
            raise Unavailable(f"--api {self._url}: {path} answered HTTP {answer.status_code}; look into its log")
        try:
            return msgspec.json.decode(answer.content, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise OperatorError(f"--api {self._url}: {path} is not what Emberwatch answers; name its address") from None


def _token(path: str) -> str:
    with os_errors(f"--token-file {path}", "name a file with an API token in it"):
        token = Path(path).read_bytes().strip()
    if not token.isascii():
        raise OperatorError(f"--token-file {path}: not a token; name a file with an API token in it")
    return token.decode("ascii")
