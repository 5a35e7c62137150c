"""Parts that are put together although nobody waits for it: whoever asks again joins, or learns what became of it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fileserve.storage.changes.sessions import Sessions
from fileserve.storage.changes.uploads import ResumedFile, Uploads
from fileserve.storage.errors import Busy
from fileserve.web.changes import concatenating, creating
from tests.asgi import Answer, Client, client_of
from tests.pool import settle
from tests.web.conftest import DIGITS
from tests.web.uploading import ask, hidden_in, metadata, offset_of, patch, settings

pytestmark = pytest.mark.usefixtures("nothing_else_changes")


class Copying:
    """Holds up the copying of parts, and counts it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.may_go_on = asyncio.Event(), asyncio.Event()
        self.parts = self.at_once = self.most = 0
        append = ResumedFile.append

        async def wait(whole: ResumedFile, part: ResumedFile) -> None:
            self.parts += 1
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            self.begun.set()
            await self.may_go_on.wait()
            await append(whole, part)
            self.at_once -= 1

        monkeypatch.setattr(ResumedFile, "append", wait)


@pytest.fixture
def copying(monkeypatch: pytest.MonkeyPatch) -> Copying:
    return Copying(monkeypatch)


async def begin_parts(client: Client, *contents: bytes, **told: str) -> str:
    """Upload parts, and return what puts them together."""
    urls = []
    for content in contents:
        answer = await ask(client, "POST", "/uploads", upload_length=str(len(content)), upload_concat="partial", **told)
        assert answer.status == 201, answer.content
        urls.append(answer["location"])
        assert (await patch(client, urls[-1], 0, content)).status == 204
    return "final;" + " ".join(urls)


async def put_together(client: Client, final: str, name: bytes = b"whole", **fields: str) -> Answer:
    told = {"upload_concat": final, "upload_metadata": metadata(filename=name), **fields}
    return await ask(client, "POST", "/uploads", **told)


async def test_who_asks_again_meanwhile_joins(uploader: Client, served_root: Path, copying: Copying) -> None:
    final = await begin_parts(uploader, DIGITS, DIGITS)
    asking = [asyncio.ensure_future(put_together(uploader, final)) for _ in range(3)]
    await copying.begun.wait()
    copying.may_go_on.set()
    answers = await asyncio.gather(*asking)
    assert {(answer.status, answer["location"], answer["etag"]) for answer in answers} == {
        (201, answers[0]["location"], answers[0]["etag"])
    }
    assert copying.parts == 2
    assert (served_root / "whole").read_bytes() == DIGITS * 2


async def test_the_work_goes_on_when_its_client_has_left(uploader: Client, served_root: Path, copying: Copying) -> None:
    final = await begin_parts(uploader, DIGITS, DIGITS)
    leaving = asyncio.ensure_future(put_together(uploader, final))
    await copying.begun.wait()
    leaving.cancel()
    await asyncio.wait((leaving,))
    copying.may_go_on.set()
    assert (await put_together(uploader, final)).status == 201
    assert copying.parts == 2
    assert (served_root / "whole").read_bytes() == DIGITS * 2


async def test_who_did_not_hear_of_the_end_is_told_once_more(served_root: Path) -> None:
    """Also after a restart. Nothing is replaced by it."""
    async with client_of(settings(served_root)) as client:
        final = await begin_parts(client, DIGITS, DIGITS)
        first = await put_together(client, final, if_none_match="*")
    async with client_of(settings(served_root)) as client:
        again = await put_together(client, final, if_none_match="*")
        assert (first.status, again.status) == (201, 201)
        for name in ("location", "content-location", "upload-offset"):
            assert first[name] == again[name]
        assert (await put_together(client, final, b"other")).status == 404
        assert (await put_together(client, final)).status == 404  # it has other preconditions
    assert not (served_root / "other").exists()


async def test_one_is_put_together_at_a_time(uploader: Client, served_root: Path, copying: Copying) -> None:
    """Each part holds descriptors meanwhile."""
    finals = [await begin_parts(uploader, DIGITS, b"%d" % number) for number in range(3)]
    asking = [
        asyncio.ensure_future(put_together(uploader, final, b"whole-%d" % number))
        for number, final in enumerate(finals)
    ]
    await copying.begun.wait()
    copying.may_go_on.set()
    assert [answer.status for answer in await asyncio.gather(*asking)] == [201] * 3
    assert copying.most == 1
    assert [(served_root / f"whole-{number}").read_bytes() for number in range(3)] == [
        DIGITS + b"%d" % number for number in range(3)
    ]


async def test_another_worker_waits_for_the_one_that_is_at_it(served_root: Path, copying: Copying) -> None:
    async with client_of(settings(served_root)) as first, client_of(settings(served_root)) as second:
        final = await begin_parts(first, DIGITS, DIGITS)
        asking = asyncio.ensure_future(put_together(first, final))
        await copying.begun.wait()
        assert (await put_together(second, final)).status == 423
        copying.may_go_on.set()
        answers = [await asking, await put_together(second, final)]
        assert [answer.status for answer in answers] == [201, 201]
        assert answers[0]["location"] == answers[1]["location"]


async def test_who_asks_another_worker_again_does_not_destroy_the_whole(
    served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first worker makes its parts durable again, and takes its time; the other one has only begun."""
    is_pausing, first_has_ended, second_has_begun = asyncio.Event(), asyncio.Event(), asyncio.Event()
    pause, begin = ResumedFile.pause, creating.begin
    answers: list[Answer] = []

    async def pause_slowly(staged: ResumedFile, *arguments: Any) -> None:
        if not is_pausing.is_set() and staged.session.details["concat"] == "partial":
            is_pausing.set()
            await second_has_begun.wait()
        await pause(staged, *arguments)

    async def begin_slowly(*arguments: Any) -> Any:
        session = await begin(*arguments)
        if is_pausing.is_set():
            second_has_begun.set()
            await first_has_ended.wait()
        return session

    async with client_of(settings(served_root, replace=False)) as first, client_of(settings(served_root)) as second:
        final = await begin_parts(first, DIGITS, DIGITS)
        monkeypatch.setattr(ResumedFile, "pause", pause_slowly)
        monkeypatch.setattr(concatenating, "begin", begin_slowly)
        asking = asyncio.ensure_future(put_together(first, final))
        await is_pausing.wait()
        again = asyncio.ensure_future(put_together(second, final))
        again.add_done_callback(lambda _: second_has_begun.set())
        answers.append(await asking)
        first_has_ended.set()
        answers.append(await again)
        answers.append(await put_together(second, final))
    assert (served_root / "whole").read_bytes() == DIGITS * 2
    assert [answer.status for answer in answers] == [201, 423, 201]
    assert hidden_in(served_root) == []


async def test_who_is_overtaken_by_another_worker_leaves_what_that_one_has_stored(
    served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one has begun the whole, and has not locked it yet."""
    has_begun, may_go_on = asyncio.Event(), asyncio.Event()
    begin = creating.begin

    async def begin_slowly(*arguments: Any) -> Any:
        session = await begin(*arguments)
        if not has_begun.is_set():
            has_begun.set()
            await may_go_on.wait()
        return session

    monkeypatch.setattr(concatenating, "begin", begin_slowly)
    async with client_of(settings(served_root)) as first, client_of(settings(served_root)) as second:
        final = await begin_parts(first, DIGITS, DIGITS)
        asking = asyncio.ensure_future(put_together(first, final))
        await has_begun.wait()
        assert (await put_together(second, final)).status == 201
        may_go_on.set()
        assert (await asking).status == 423
        assert (await put_together(first, final)).status == 201
    assert (served_root / "whole").read_bytes() == DIGITS * 2


async def test_who_finds_its_whole_ended_by_another_worker_is_told_to_wait(
    served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one takes it for what a crash has left, and has not begun its own yet."""
    first_has_begun, first_may_go_on, second_begins, second_may_begin = (asyncio.Event() for _ in range(4))
    begin = creating.begin

    async def begin_slowly(*arguments: Any) -> Any:
        if first_has_begun.is_set():
            second_begins.set()
            await second_may_begin.wait()
            return await begin(*arguments)
        session = await begin(*arguments)
        first_has_begun.set()
        await first_may_go_on.wait()
        return session

    monkeypatch.setattr(concatenating, "begin", begin_slowly)
    async with client_of(settings(served_root)) as first, client_of(settings(served_root)) as second:
        final = await begin_parts(first, DIGITS, DIGITS)
        asking = asyncio.ensure_future(put_together(first, final))
        await first_has_begun.wait()
        again = asyncio.ensure_future(put_together(second, final))
        await second_begins.wait()
        first_may_go_on.set()
        assert (await asking).status == 423
        second_may_begin.set()
        assert (await again).status == 201
    assert (served_root / "whole").read_bytes() == DIGITS * 2


async def test_who_comes_when_another_worker_has_put_in_the_parts_is_told_of_the_whole(
    served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(settings(served_root)) as first, client_of(settings(served_root)) as second:
        final = await begin_parts(first, DIGITS, DIGITS)
        store, overtaken = concatenating._store, asyncio.Event()

        async def store_late(*arguments: Any) -> dict[str, str]:
            if not overtaken.is_set():
                overtaken.set()
                assert (await put_together(second, final)).status == 201
            return await store(*arguments)

        monkeypatch.setattr(concatenating, "_store", store_late)
        assert (await put_together(first, final)).status == 201


async def test_a_crash_between_the_name_and_its_note_is_seen_by_who_asks_again(
    served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*arguments: Any) -> None:
        raise OSError

    async with client_of(settings(served_root, replace=False)) as client:
        final = await begin_parts(client, DIGITS, DIGITS)
        with monkeypatch.context() as crashing:
            for what in ("set_stored", "end", "give_up"):
                crashing.setattr(Uploads, what, crash, raising=False)
            assert (await put_together(client, final)).status == 500
        for _ in range(2):
            answer = await put_together(client, final)
            assert (answer.status, answer["content-location"]) == (201, "/download/whole")
    assert (served_root / "whole").read_bytes() == DIGITS * 2
    assert hidden_in(served_root) == []


@pytest.mark.parametrize("replace", [False, True])
async def test_a_table_that_is_busy_behind_the_name_fails_nothing(
    served_root: Path, replace: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    extend, busy = Sessions.extend, [Busy("the table is locked")]

    def extend_once_in_vain(sessions: Sessions, *arguments: Any) -> None:
        if busy and (served_root / "whole").exists():
            raise busy.pop()
        extend(sessions, *arguments)

    async with client_of(settings(served_root, replace=replace)) as client:
        final = await begin_parts(client, DIGITS, DIGITS)
        monkeypatch.setattr(Sessions, "extend", extend_once_in_vain)
        assert [(await put_together(client, final)).status for _ in range(2)] == [201, 201]
    assert not busy
    assert (served_root / "whole").read_bytes() == DIGITS * 2
    assert hidden_in(served_root) == []


async def test_what_has_its_name_is_known_although_that_could_not_be_noted_at_first(
    served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note, busy = Sessions.set_stored, [Busy("the table is locked")]

    def note_once_in_vain(sessions: Sessions, id: str) -> None:
        if busy:
            raise busy.pop()
        note(sessions, id)

    monkeypatch.setattr(Sessions, "set_stored", note_once_in_vain)
    async with client_of(settings(served_root, replace=False)) as client:
        final = await begin_parts(client, DIGITS, DIGITS)
        answers = [await put_together(client, final) for _ in range(2)]
    assert [answer.status for answer in answers] == [503, 201]
    assert answers[1]["content-location"] == "/download/whole"
    assert (served_root / "whole").read_bytes() == DIGITS * 2


async def test_a_server_that_ends_meanwhile_keeps_the_parts(served_root: Path, copying: Copying) -> None:
    async with client_of(settings(served_root)) as client:
        final = await begin_parts(client, DIGITS, DIGITS)
        asking = asyncio.ensure_future(put_together(client, final))
        await copying.begun.wait()
    with pytest.raises(asyncio.CancelledError):
        await asking
    settle()
    copying.may_go_on.set()
    async with client_of(settings(served_root)) as client:
        for url in final.removeprefix("final;").split(" "):
            assert await offset_of(client, url) == len(DIGITS)
        assert (await put_together(client, final)).status == 201
    assert (served_root / "whole").read_bytes() == DIGITS * 2
    assert hidden_in(served_root) == []


async def test_what_a_crash_has_left_of_it_is_begun_anew(
    uploader: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = await begin_parts(uploader, DIGITS, DIGITS)

    async def crash(*arguments: Any) -> dict[str, str]:
        raise OSError

    async def leave(*arguments: Any) -> None:
        """Do nothing."""

    with monkeypatch.context() as crashing:
        crashing.setattr(concatenating, "store", crash)
        crashing.setattr(Uploads, "give_up", leave)
        assert (await put_together(uploader, final)).status == 500
    assert len(hidden_in(served_root)) == 3
    assert (await put_together(uploader, final)).status == 201
    assert (served_root / "whole").read_bytes() == DIGITS * 2
    assert hidden_in(served_root) == []


async def test_what_is_refused_leaves_the_parts(served_root: Path) -> None:
    async with client_of(settings(served_root, replace=False)) as client:
        final = await begin_parts(client, DIGITS)
        assert (await put_together(client, final, b"digits.txt")).status == 403
        assert (await put_together(client, final, b"digits.txt", if_none_match="*")).status == 412
        assert (await put_together(client, final)).status == 201


@pytest.mark.parametrize(
    ("told", "status"),
    [
        pytest.param({}, 201, id="no_folder_is_named"),
        pytest.param({"dir": b"folder/deeper"}, 201, id="within"),
        pytest.param({"dir": b"folder/../other"}, 400, id="dots"),
        pytest.param({"dir": b"other"}, 403, id="beside"),
    ],
)
async def test_parts_are_kept_in_the_folders_that_are_writable(
    served_root: Path, told: dict[str, bytes], status: int
) -> None:
    (served_root / "other").mkdir()
    async with client_of(settings(served_root, writable=("folder",))) as client:
        fields = {"upload_metadata": metadata(filename=b"x", **told)} if told else {}
        answer = await ask(client, "POST", "/uploads", upload_length="10", upload_concat="partial", **fields)
        assert answer.status == status
        assert len(list((served_root / "folder").rglob(".fileserve-*"))) == len(hidden_in(served_root))
        if status == 201:
            await ask(client, "DELETE", answer["location"])
