"""Who may come in: names with password hashes (HTTP Basic, RFC 7617), and a bearer token (RFC 6750 §2.1).

Passwords are kept as argon2 hashes (RFC 9106), which take some 50 ms and 64 MiB to compare. So a password is compared
once in the life of a worker: what was right is remembered by an HMAC under a key that nobody else has, and the many
connections of one download that come with it at once wait for one comparison. Comparisons have turns (``guessing``);
whoever guesses passwords waits, and holds up nobody whose password is remembered.

A name that nobody has is compared with a hash that no password fits, so that it takes the time of any other.

Left out: what somebody may do (``access``), and rights that differ between names.
"""

import asyncio
import base64
import hmac
import logging
import secrets
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, VerifyMismatchError

from fileserve.storage.names import display_name
from fileserve.web.guessing import Turns, refused

log = logging.getLogger("fileserve.web")

Account = tuple[str, str]


def hash_password(password: str) -> str:
    """Return the argon2id hash of *password*, with the parameters of RFC 9106 §4 for little memory. Blocks."""
    return PasswordHasher().hash(password)


def parse_basic(value: str) -> tuple[str, bytes] | None:
    """Return name and password of Basic credentials; ``None`` when they are none. RFC 7617 §2, §2.1.

    >>> parse_basic("aladdin:opensesame"), parse_basic("YWxhZGRpbjpvcGVuc2VzYW1l")
    (None, ('aladdin', b'opensesame'))
    """
    try:
        name, colon, password = base64.b64decode(value, validate=True).partition(b":")
        return (name.decode(), password) if colon else None
    except ValueError:  # no ASCII, no base64, or no UTF-8 in it
        return None


class Credentials:
    """The *accounts* (``NAME:HASH``) and the *token* of a server; used on one event loop's thread."""

    __slots__ = ("_hashes", "_key", "_nobody", "_right", "_running", "_token", "_turns")

    def __init__(self, accounts: Sequence[str], token: str) -> None:
        self._hashes = dict(_parse_account(account) for account in accounts)
        self._token = token.encode()
        self._nobody = _unmatched(next(iter(self._hashes.values()), ""))
        self._key = secrets.token_bytes(32)
        self._right: dict[str, bytes] = {}
        self._running: dict[tuple[str, bytes], asyncio.Future[bool]] = {}
        self._turns = Turns()

    @property
    def exist(self) -> bool:
        """Whether anybody can be told from anybody else."""
        return bool(self._hashes or self._token)

    @property
    def has_passwords(self) -> bool:
        """Whether a person can sign in: browsers ask for names and passwords, never for a token."""
        return bool(self._hashes)

    @property
    def challenge(self) -> str:
        """What a client is asked for: the value of WWW-Authenticate. RFC 9110 §11.6.1."""
        basic = ['Basic realm="fileserve", charset="UTF-8"'] if self._hashes else []
        bearer = ['Bearer realm="fileserve"'] if self._token else []
        return ", ".join(basic + bearer)

    async def accept(self, authorization: str, client: str | None) -> bool:
        """Return whether the value of an Authorization field is that of somebody known.

        Raises:
            Problem: 429 or 503, too many passwords are being compared, for *client* or in all; or 503, because the
                system has no memory for it.
        """
        scheme, _, rest = authorization.partition(" ")
        match scheme.lower():
            case "bearer" if self._token:
                return hmac.compare_digest(rest.strip(" ").encode("latin-1"), self._token)
            case "basic" if self._hashes and (basic := parse_basic(rest.strip(" "))):
                return await self._is_right(*basic, client)
        return False

    def close(self) -> None:
        """Let the threads end; comparisons that wait are dropped."""
        self._turns.close()

    async def _is_right(self, name: str, password: bytes, client: str | None) -> bool:
        mark = hmac.digest(self._key, password, "sha256")
        if hmac.compare_digest(self._right.get(name, b""), mark):
            return True
        running = self._running.get((name, mark))
        if running is None:
            running = self._compare(name, password, mark, client)
        try:
            return await asyncio.shield(running)  # who leaves does not end it for the others
        except (Argon2Error, MemoryError) as error:
            log.warning("the password of %s could not be compared: %s", display_name(name.encode()), error)
            raise refused(HTTPStatus.SERVICE_UNAVAILABLE, "Passwords cannot be compared just now.") from error

    def _compare(self, name: str, password: bytes, mark: bytes, client: str | None) -> asyncio.Future[bool]:
        """Begin a comparison, which ends in a thread whether somebody waits for it or not."""
        hashed = self._hashes.get(name)
        running = self._turns.take(client, partial(_matches, hashed or self._nobody, password))
        self._running[name, mark] = running

        def end(done: asyncio.Future[bool]) -> None:
            del self._running[name, mark]
            if not done.cancelled() and done.exception() is None and done.result():
                self._right[name] = mark

        running.add_done_callback(end)
        return running


def _parse_account(account: str) -> Account:
    name, _, hashed = account.partition(":")
    return name, hashed


def _matches(hashed: str, password: bytes) -> bool:
    try:
        return PasswordHasher().verify(hashed, password)
    except VerifyMismatchError:
        return False


def _unmatched(hashed: str) -> str:
    """Return a hash like *hashed*, as dear to compare, that no password fits."""
    head, _, digest = hashed.rpartition("$")
    length = len(base64.b64decode(digest + "=" * (-len(digest) % 4)))
    return f"{head}${base64.b64encode(secrets.token_bytes(length)).decode().rstrip('=')}"
