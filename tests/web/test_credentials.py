"""Passwords and tokens: who is known, what a comparison costs, and how many run at once."""

import asyncio
import base64
import threading
from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from fileserve.web import credentials as credentials_module
from fileserve.web.credentials import Credentials, hash_password, parse_basic
from fileserve.web.problems import Problem

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
TOKEN = "t0ken-of-sixteen-characters"


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
async def known() -> AsyncIterator[Credentials]:
    opened = Credentials([f"anna:{CHEAP.hash('a:b ü')}", f"bob:{CHEAP.hash('secret')}"], TOKEN)
    yield opened
    opened.close()


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passwords that were compared with a hash, in order."""
    passwords: list[bytes] = []
    matches = credentials_module._matches

    def note(hashed: str, password: bytes) -> bool:
        passwords.append(password)
        return matches(hashed, password)

    monkeypatch.setattr(credentials_module, "_matches", note)
    return passwords


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        pytest.param(basic("anna", "a:b ü"), True, id="password_with_a_colon_and_beyond_ascii_rfc7617_2"),
        pytest.param(basic("anna", "a:b ü").replace("Basic", "bASIC"), True, id="scheme_has_no_case_rfc9110_11_1"),
        pytest.param(basic("bob", "secret").replace(" ", "  "), True, id="more_than_one_space"),
        pytest.param(f"Bearer {TOKEN}", True, id="token"),
        pytest.param(f"bearer {TOKEN}", True, id="token_scheme_has_no_case"),
        pytest.param(basic("bob", "a:b ü"), False, id="somebody_else's_password"),
        pytest.param(basic("Anna", "a:b ü"), False, id="names_have_case"),
        pytest.param(basic("nobody", "secret"), False, id="unknown_name"),
        pytest.param(basic("bob", ""), False, id="empty_password"),
        pytest.param(basic("", ""), False, id="nothing"),
        pytest.param(f"Bearer {TOKEN}x", False, id="longer_token"),
        pytest.param(f"Bearer {TOKEN[:-1]}", False, id="shorter_token"),
        pytest.param(f"Basic {TOKEN}", False, id="token_as_basic"),
        pytest.param("Bearer \xff", False, id="token_that_is_no_ascii"),
        pytest.param("Basic !!!", False, id="no_base64"),
        pytest.param("Basic Ym9iOnNlY3JldA==\xff", False, id="no_ascii"),
        pytest.param("Basic /w==", False, id="no_utf8"),
        pytest.param("Basic Ym9i", False, id="no_colon"),
        pytest.param("Basic", False, id="scheme_alone"),
        pytest.param("Digest username=bob", False, id="other_scheme"),
        pytest.param("", False, id="no_field"),
        pytest.param(f"{basic('bob', 'secret')}, {basic('bob', 'secret')}", False, id="field_sent_twice"),
    ],
)
async def test_only_who_is_known_is_accepted(known: Credentials, value: str, accepted: bool) -> None:
    assert await known.accept(value, "192.0.2.1") is accepted


async def test_without_a_token_an_empty_one_is_none() -> None:
    no_token = Credentials([f"bob:{CHEAP.hash('secret')}"], "")
    try:
        assert not await no_token.accept("Bearer ", None)
        assert not await no_token.accept("Bearer", None)
    finally:
        no_token.close()


async def test_a_right_password_is_compared_once(known: Credentials, compared: list[bytes]) -> None:
    for _ in range(3):
        assert await known.accept(basic("bob", "secret"), None)
    assert compared == [b"secret"]


async def test_a_wrong_password_is_compared_each_time(known: Credentials, compared: list[bytes]) -> None:
    for _ in range(2):
        assert not await known.accept(basic("bob", "wrong"), None)
    assert compared == [b"wrong"] * 2


async def test_a_password_is_remembered_for_its_own_name_alone(known: Credentials) -> None:
    assert await known.accept(basic("bob", "secret"), None)
    assert not await known.accept(basic("anna", "secret"), None)


async def test_connections_that_come_together_wait_for_one_comparison(
    known: Credentials, compared: list[bytes]
) -> None:
    answers = await asyncio.gather(*(known.accept(basic("bob", "secret"), "192.0.2.1") for _ in range(16)))
    assert (all(answers), compared) == (True, [b"secret"])


async def test_an_unknown_name_is_compared_with_a_hash_of_the_same_price(
    known: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes: list[str] = []

    def note(hashed: str, password: bytes) -> bool:
        hashes.append(hashed)
        return False

    monkeypatch.setattr(credentials_module, "_matches", note)
    for name in ("anna", "nobody"):
        assert not await known.accept(basic(name, "x"), None)
    real, none = (hashed.split("$") for hashed in hashes)
    assert real[:5] == none[:5]
    assert len(real[5]) == len(none[5])
    assert real[5] != none[5]


@pytest.mark.parametrize(
    ("clients", "status"),
    [
        pytest.param(["192.0.2.1"] * 5, 429, id="for_one_address"),
        pytest.param([f"192.0.2.{number}" for number in range(65)], 503, id="in_all"),
    ],
)
async def test_comparisons_that_wait_are_bounded(
    known: Credentials, clients: list[str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, at_once, most = threading.Event(), 0, 0

    def wait(hashed: str, password: bytes) -> bool:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        assert may_end.wait(10)
        at_once -= 1
        return False

    monkeypatch.setattr(credentials_module, "_matches", wait)
    *waiting, one_too_many = (
        asyncio.ensure_future(known.accept(basic("bob", str(number)), client)) for number, client in enumerate(clients)
    )
    with pytest.raises(Problem) as caught:
        await one_too_many
    assert caught.value.status == status
    assert "retry-after" in caught.value.fields
    may_end.set()
    assert not any(await asyncio.gather(*waiting))
    assert most <= 2
    assert not await known.accept(basic("bob", "again"), clients[0])  # the places are free again


@pytest.mark.parametrize(
    "error", [VerificationError("Memory allocation error"), MemoryError()], ids=["argon2", "python"]
)
async def test_a_comparison_that_the_system_has_no_memory_for_is_503_and_no_wrong_password(
    known: Credentials, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(hasher: PasswordHasher, hashed: str, password: bytes) -> bool:
        raise error

    verify = PasswordHasher.verify
    monkeypatch.setattr(PasswordHasher, "verify", fail)
    with pytest.raises(Problem) as caught:
        await known.accept(basic("bob", "secret"), "192.0.2.1")
    assert (caught.value.status, "retry-after" in caught.value.fields) == (503, True)
    assert "bob" in caplog.text
    assert "secret" not in caplog.text
    monkeypatch.setattr(PasswordHasher, "verify", verify)
    assert await known.accept(basic("bob", "secret"), "192.0.2.1")


async def test_who_is_known_does_not_wait_for_those_who_guess(
    known: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await known.accept(basic("bob", "secret"), "192.0.2.1")
    may_end = threading.Event()
    monkeypatch.setattr(credentials_module, "_matches", lambda hashed, password: may_end.wait(10) and False)
    guesses = [
        asyncio.ensure_future(known.accept(basic("bob", str(number)), f"192.0.2.{number}")) for number in range(64)
    ]
    await asyncio.sleep(0)
    assert await known.accept(basic("bob", "secret"), "192.0.2.1")
    assert not any(guess.done() for guess in guesses)
    may_end.set()
    assert not any(await asyncio.gather(*guesses))


async def test_who_leaves_does_not_end_the_comparison_for_the_others(known: Credentials) -> None:
    leaving, staying = (asyncio.ensure_future(known.accept(basic("bob", "secret"), None)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying


@pytest.mark.parametrize(
    ("accounts", "token", "challenge"),
    [
        pytest.param([f"bob:{CHEAP.hash('secret')}"], "", 'Basic realm="fileserve", charset="UTF-8"', id="names"),
        pytest.param([], TOKEN, 'Bearer realm="fileserve"', id="token"),
        pytest.param(
            [f"bob:{CHEAP.hash('secret')}"],
            TOKEN,
            'Basic realm="fileserve", charset="UTF-8", Bearer realm="fileserve"',
            id="both",
        ),
    ],
)
def test_the_challenge_names_what_would_do(accounts: list[str], token: str, challenge: str) -> None:
    opened = Credentials(accounts, token)
    assert (opened.exist, opened.challenge) == (True, challenge)
    opened.close()


def test_a_hash_is_argon2id_and_has_a_salt_of_its_own() -> None:
    first, second = hash_password("secret"), hash_password("secret")
    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert first != second


def test_a_name_may_not_have_a_colon_so_the_first_one_ends_it() -> None:
    assert parse_basic(base64.b64encode(b"a:b:c").decode()) == ("a", b"b:c")
