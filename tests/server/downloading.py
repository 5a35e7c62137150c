"""A download that stays unfinished for as long as a test likes, while servers end, renew themselves or take over."""

import http.client
import os
import ssl
from contextlib import closing
from hashlib import sha256
from pathlib import Path

SIZE = 64 * 1024 * 1024  # more than the kernel's buffers hold, so that a client that does not read keeps it unfinished


def fill(root: Path) -> Path:
    """Put a file of that size and a small one into *root*, and return it."""
    (root / "large").write_bytes(os.urandom(SIZE))
    (root / "small").write_bytes(b"small")
    return root


def digest_of(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


class Download:
    """A client that has asked the server at *netloc* for the large file, and reads only when told to.

    Over TLS where there is a *context* for it.
    """

    def __init__(self, netloc: str, context: ssl.SSLContext | None = None) -> None:
        self.connection = (
            http.client.HTTPSConnection(netloc, timeout=60, context=context)
            if context is not None
            else http.client.HTTPConnection(netloc, timeout=60)
        )
        self.connection.request("GET", "/download/large")
        self.response = self.connection.getresponse()
        assert self.response.status == 200

    def finish(self) -> str:
        """Read the rest and return the digest of the whole."""
        with closing(self.connection):
            return sha256(self.response.read()).hexdigest()
