"""The table of sessions: what was told is kept, over processes; how many there may be; whom it forgets."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fileserve.storage.changes import sessions as sessions_module
from fileserve.storage.changes.session import Session, Staged
from fileserve.storage.changes.sessions import Sessions, TooManySessions
from fileserve.storage.errors import Busy, Locked, NotFound, Unreadable

SESSION = Session("one", (b"a", b"\xff\n"), Staged((b"a", b".fileserve-tus-1"), (1 << 64) - 1), None, 100, {"x": "y"})
MANY = 1000


def named(id: str, **changed: object) -> Session:
    return replace(SESSION, id=id, staged=Staged((b".fileserve-tus-" + id.encode(),), 7), **changed)  # type: ignore[arg-type]


@pytest.fixture(params=["in_a_file", "in_memory"])
def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sessions]:
    opened = Sessions(tmp_path / "uploads.sqlite" if request.param == "in_a_file" else None)
    yield opened
    opened.close()


def add(sessions: Sessions, session: Session, client: str = "client", most: int = MANY, of_client: int = MANY) -> None:
    sessions.add(session, client, most=most, most_of_client=of_client)


def test_what_is_kept_is_what_was_told(sessions: Sessions) -> None:
    add(sessions, SESSION)
    assert sessions.find("one") == SESSION
    with pytest.raises(NotFound):
        sessions.find("other")


def test_it_is_kept_over_processes(tmp_path: Path) -> None:
    first, second = Sessions(tmp_path / "uploads"), Sessions(tmp_path / "uploads")
    add(first, SESSION)
    assert second.find("one") == SESSION
    for one in (first, second):
        one.close()
    again = Sessions(tmp_path / "uploads")
    assert again.find("one") == SESSION
    again.close()


def test_an_id_is_given_once(sessions: Sessions) -> None:
    add(sessions, SESSION)
    with pytest.raises(Locked):
        add(sessions, named("one"))
    assert sessions.find("one") == SESSION


def test_what_changes_is_kept(sessions: Sessions) -> None:
    add(sessions, SESSION)
    sessions.set_length("one", 10)
    sessions.set_length("one", 11)  # once it is known, it is never another
    sessions.set_sure("one", 5)
    sessions.extend("one", 200)
    assert sessions.find("one") == replace(SESSION, length=10, sure=5, expires_s=200)
    sessions.set_sure("one", None)
    sessions.set_stored("one")
    assert sessions.find("one") == replace(SESSION, length=10, stored=True, expires_s=200)
    sessions.remove("one")
    with pytest.raises(NotFound):
        sessions.find("one")


@pytest.mark.parametrize(
    ("most", "of_client", "client"),
    [pytest.param(2, MANY, "other", id="in_all"), pytest.param(MANY, 2, "client", id="of_one_client")],
)
def test_so_many_may_be_open_and_no_more(sessions: Sessions, most: int, of_client: int, client: str) -> None:
    for id in ("one", "two"):
        add(sessions, named(id), most=most, of_client=of_client)
    with pytest.raises(TooManySessions):
        add(sessions, named("three"), client, most, of_client)
    with pytest.raises(NotFound):
        sessions.find("three")
    sessions.set_stored("one")  # what has its name is not open
    add(sessions, named("three"), client, most, of_client)


def test_the_limit_of_a_client_is_nobody_else_s(sessions: Sessions) -> None:
    add(sessions, named("one"), "a", of_client=1)
    add(sessions, named("two"), "b", of_client=1)
    with pytest.raises(TooManySessions):
        add(sessions, named("three"), "b", of_client=1)


def test_those_whose_time_is_over_are_told(sessions: Sessions) -> None:
    for id, expires_s in (("one", 10), ("two", 20), ("three", 30)):
        add(sessions, named(id, expires_s=expires_s))
    assert [session.id for session in sessions.expired(20)] == ["one", "two"]


def test_a_hidden_name_is_found_in_whatever_directory(sessions: Sessions) -> None:
    add(sessions, SESSION)
    assert sessions.staged_as(b".fileserve-tus-1") == SESSION
    assert sessions.staged_as(b".fileserve-tus-2") is None


def test_sessions_follow_what_is_moved(sessions: Sessions) -> None:
    add(sessions, SESSION)
    add(sessions, replace(named("beside"), name=(b"ab", b"x")))
    with sessions.following((b"a",), (b"new", b"place")):
        pass
    found = sessions.find("one")
    assert (found.name, found.staged.name) == ((b"new", b"place", b"\xff\n"), (b"new", b"place", b".fileserve-tus-1"))
    assert sessions.find("beside").name == (b"ab", b"x")


def test_where_nothing_was_moved_they_stay(sessions: Sessions) -> None:
    add(sessions, SESSION)
    with pytest.raises(NotFound), sessions.following((b"a",), (b"new",)):
        raise NotFound
    assert sessions.find("one") == SESSION


def test_who_follows_is_alone_and_waits_for_who_writes(tmp_path: Path) -> None:
    first, second = Sessions(tmp_path / "uploads"), Sessions(tmp_path / "uploads")
    add(first, SESSION)
    with first.settled("one"), pytest.raises(Busy), second.following((b"a",), (b"b",)):
        pytest.fail("the table is somebody else's")  # and nothing is moved

    def write() -> None:
        for number in range(200):
            first.extend("one", number)

    writing = threading.Thread(target=write)
    writing.start()
    for number in range(20):  # what another one has written meanwhile is not in the way
        with second.following((b"%d" % number,), (b"new",)):
            pass
    writing.join()
    first.close()
    second.close()


def test_of_those_that_have_their_names_the_oldest_are_forgotten(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "_MOST_STORED", 2)
    add(sessions, named("open"))
    for id in ("one", "two", "three"):
        add(sessions, named(id))
        sessions.set_stored(id)
    with pytest.raises(NotFound):
        sessions.find("one")
    assert [sessions.find(id).id for id in ("open", "two", "three")] == ["open", "two", "three"]


def test_a_file_that_is_no_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unreadable):
        Sessions(tmp_path)


def test_a_table_that_fails_is_busy(sessions: Sessions) -> None:
    sessions.close()
    with pytest.raises(Busy):
        sessions.find("one")
