"""Asks a site over HTTP/1.1, and keeps what a client usually hides: raw paths, raw fields, instants.

The standard library's ``http.client``: it sends a path as it is given, reads what has come when it has come, and takes
an answer before the request's content is sent. Clients with more comfort do not let one see these.
"""

import base64
import http.client
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import SplitResult, urlsplit

from fileserve.checkproxy.bounded import BoundedResponse, Patience

LIMIT = 8 << 20  # of a document: the longest listing has a thousand names
_PORTS = {"http": 80, "https": 443}
_WRITABLE = re.compile("[!-~]+")  # as it is, in a request's line and fields


class NotAskable(ValueError):
    """There is nothing that could be asked. The text says why."""


@dataclass(frozen=True)
class Answer:
    """What came: *fields* by their lower-case names, a repeated one's values joined; *content* up to a limit."""

    status: int
    fields: Mapping[str, str]
    content: bytes = b""

    def __getitem__(self, name: str) -> str | None:
        return self.fields.get(name)


class Client:
    """Whoever asks the site at one URL, on a new connection each time, so that no answer depends on the one before.

    *timeout_s* is for a whole answer.
    """

    def __init__(self, url: str, authorization: str = "", timeout_s: float = 10, ca_file: str | None = None) -> None:
        """*authorization* is the value of the field; *ca_file* has the certificates to trust, in place of the system's.

        Raises:
            NotAskable: *url* is none of a site, or *ca_file* has no certificates.
        """
        self._url = _split(url)
        self._authorization = authorization
        self.timeout_s = timeout_s
        self._context = _trusting(ca_file) if self.scheme == "https" else None

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return self._url.scheme

    @property
    def host(self) -> str:
        """What stands in Host: the name, and the port where the URL has one."""
        return self._url.netloc

    @property
    def prefix(self) -> str:
        """The path under which the site is published; empty, or beginning with a slash and ending without one."""
        return self._url.path.rstrip("/")

    def ask(self, path: str, fields: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a GET with at most ``LIMIT`` bytes of its content; *path* is below the prefix."""
        with self.asking(path, fields) as response:
            content = response.read(LIMIT)
            return Answer(response.status, fields_of(response), content)

    def head_of(self, path: str, fields: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        """Return the answer without its content, which is not taken."""
        with self.asking(path, fields, method) as response:
            return Answer(response.status, fields_of(response))

    @contextmanager
    def asking(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        method: str = "GET",
        *,
        silence_s: float | None = None,
        within_s: float | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request without content, and hand out the answer for the block when its head is there.

        *silence_s* is how long to wait for the next byte, *within_s* for the last; ``timeout_s`` unless they are given.
        """
        silence_s = silence_s or self.timeout_s
        connection = self._connect(Patience(silence_s, time.monotonic() + (within_s or silence_s)))
        try:
            connection.putrequest(method, self.prefix + path, skip_host=True, skip_accept_encoding=True)
            known = {"Authorization": self._authorization} if self._authorization else {}
            for name, value in {"Host": self.host, **known, **(fields or {})}.items():
                connection.putheader(name, value)
            connection.endheaders()
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def _connect(self, patience: Patience) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port or _PORTS[self.scheme]
        if self._context is None:
            connection = http.client.HTTPConnection(host, port, timeout=patience.silence_s)
        else:
            connection = http.client.HTTPSConnection(host, port, timeout=patience.silence_s, context=self._context)
        connection.response_class = partial(BoundedResponse, patience=patience)  # type: ignore[assignment]
        return connection


def fields_of(response: http.client.HTTPResponse) -> dict[str, str]:
    """Return the fields by their lower-case names."""
    fields: dict[str, str] = {}
    for name, value in response.getheaders():
        fields[name.lower()] = f"{fields[name.lower()]}, {value}" if name.lower() in fields else value
    return fields


def basic(user: str, password: str) -> str:
    """Return the value of Authorization for a name and a password (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode(errors="surrogateescape")).decode("ascii")


def bearer(token: str) -> str:
    """Return the value of Authorization for a token (RFC 6750 §2.1). Raises ``NotAskable``: it is none."""
    if not _WRITABLE.fullmatch(token):
        raise NotAskable("the token has a character that no token has; it is letters, digits and -._~+/= in one line")
    return f"Bearer {token}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in _PORTS and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        is_whole = False
    if not is_whole or parts.username is not None or parts.query or parts.fragment or not _WRITABLE.fullmatch(url):
        raise NotAskable(f"{url!r} is no URL of a site; write it as https://files.example.org")
    return parts


def _trusting(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # SSLError is one
        raise NotAskable(f"--ca-file {ca_file} has no certificates, PEM: {error.strerror or error}") from None
