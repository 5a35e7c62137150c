"""``POST /chat``: what may be asked, and what is streamed, by the built-in answerer and from an upstream."""

import asyncio
import json
import os
import shlex
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from fileserve import Settings
from fileserve.settings import SettingsError, load_settings
from fileserve.web.chat import answerer, answering
from fileserve.web.chat import questions as chat
from fileserve.web.chat.answerer import words_of
from fileserve.web.chat.answering import AnswerFailed
from fileserve.web.chat.questions import Question
from fileserve.web.chat.upstream import read_chunk
from fileserve.web.foreign import refuse_cross_site
from fileserve.web.problems import Problem
from tests.asgi import Answer, Client, client_of, record
from tests.eventsource import EventSource
from tests.upstream import DONE, END, STALL, STREAM, Upstream, chunk, framed, refusal, upstream

PATIENCE_S = 10
KEY = "sk-very-secret"
HOST = {"host": "localhost:8000"}
REBOUND = {"host": "rebound.example:8000", "origin": "http://rebound.example:8000", "sec-fetch-site": "same-origin"}


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@dataclass
class Asked:
    """One question: its answer as far as it has come, and the ways to end it."""

    task: asyncio.Task[None]
    answer: Answer = field(default_factory=Answer)
    source: EventSource = field(default_factory=EventSource)
    messages: list[str] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    sent: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, count: int) -> list[str]:
        """Return the messages, once there are *count*."""
        async with asyncio.timeout(PATIENCE_S), self.sent:
            await self.sent.wait_for(lambda: len(self.messages) >= count)
        return self.messages

    async def ended(self) -> list[Any]:
        """Return all messages but the last, which is ``[DONE]``."""
        async with asyncio.timeout(PATIENCE_S):
            await self.task
        assert self.answer.status == 200, self.answer.content
        assert self.answer.finished
        assert self.messages[-1] == "[DONE]"
        return [json.loads(message) for message in self.messages[:-1]]

    async def refused(self) -> tuple[int, str]:
        """Return the status and the detail of a problem."""
        async with asyncio.timeout(PATIENCE_S):
            await self.task
        assert self.answer["content-type"] == "application/problem+json"
        return self.answer.status, json.loads(self.answer.content)["detail"]


@asynccontextmanager
async def asking(
    client: Client, content: Any, fields: Mapping[str, str] = HOST, *, path: str = "/chat", arrives: bool = True
) -> AsyncIterator[Asked]:
    """Ask for the length of the block; a task that is left behind is a failure."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": not arrives}]

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        await asked.gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        record(asked.answer, message)
        if message["type"] == "http.response.body" and asked.answer.status == 200:
            async with asked.sent:
                asked.messages += [found.data for found in asked.source.feed(message["body"])]
                asked.sent.notify_all()

    before = asyncio.all_tasks()
    scope = client._scope("POST", path, fields)
    asked = Asked(asyncio.ensure_future(_idle()))
    await asked.task
    scope["extensions"]["fileserve"]["draining"] = asked.draining
    asked.task = asyncio.ensure_future(client.app(scope, receive, send))
    try:
        yield asked
    finally:
        asked.gone.set()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(asked.task, return_exceptions=True)
    assert asyncio.all_tasks() <= before


async def _idle() -> None:
    """Stand in for a task that is made in a moment."""


def text_of(messages: list[Any]) -> str:
    """Return the whole answer, which the pieces are the parts of."""
    assert messages[-1]["type"] == "done"
    assert {message["type"] for message in messages[:-1]} <= {"token"}
    assert "".join(message["content"] for message in messages[:-1]) == messages[-1]["full"]
    return str(messages[-1]["full"])


@pytest.fixture
async def client(served_root: Path) -> AsyncIterator[Client]:
    async with client_of(Settings(root=served_root, weak_etag_ms=0, chat_bytes=512)) as opened:
        yield opened


class TestWhoMayAsk:
    """DESIGN §4: a request that a page of another site has sent is 403. W3C Fetch Metadata §2.4; RFC 6454 §7."""

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            pytest.param({}, 200, id="no_browser"),
            pytest.param({"sec-fetch-site": "same-origin"}, 200, id="own_page"),
            pytest.param({"sec-fetch-site": "none"}, 200, id="typed_by_the_user"),
            pytest.param({"origin": "http://localhost:8000"}, 200, id="own_origin"),
            pytest.param({"origin": "HTTP://LocalHost:8000"}, 200, id="own_origin_in_capitals"),
            pytest.param({"origin": "https://localhost:8000"}, 200, id="tls_ends_at_a_proxy"),
            pytest.param({"origin": "http://localhost"}, 403, id="another_port"),
            pytest.param({"origin": "http://evil.example"}, 403, id="another_host"),
            pytest.param({"origin": "null"}, 403, id="opaque_origin"),
            pytest.param({"origin": ""}, 403, id="empty_origin"),
            pytest.param({"sec-fetch-site": "cross-site"}, 403, id="cross_site"),
            pytest.param({"origin": "http://localhost:8000", "sec-fetch-site": "cross-site"}, 403, id="both"),
        ],
    )
    async def test_a_page_of_another_site_may_not(self, client: Client, fields: Mapping[str, str], status: int) -> None:
        async with asking(client, {"msg": "digits"}, {**HOST, **fields}) as asked:
            await asked.task
        assert asked.answer.status == status

    @pytest.mark.parametrize(
        ("settings", "fields", "came", "status"),
        [
            pytest.param({}, {"host": "127.0.0.1:8000"}, {}, 200, id="an_address_of_this_machine"),
            pytest.param({}, {"host": "[::1]:8000"}, {"server": ("::1", 8000)}, 200, id="over_ipv6"),
            pytest.param({}, {"host": f"{gethostname().upper()}:8000"}, {}, 200, id="as_serve_prints_it_for_all_hosts"),
            pytest.param({}, REBOUND, {}, 403, id="a_name_that_points_here"),
            pytest.param({}, REBOUND, {"server": ("::ffff:127.0.0.1", 8000)}, 403, id="over_a_socket_for_both"),
            pytest.param({}, REBOUND | {"x-forwarded-for": "192.0.2.1"}, {}, 403, id="which_calls_itself_a_proxy"),
            pytest.param({}, {"host": "127.0.0.1.evil.example"}, {}, 403, id="an_address_at_its_head"),
            pytest.param({}, REBOUND, {"server": ("192.0.2.7", 8000)}, 200, id="as_others_come_to_this_machine"),
            pytest.param({}, REBOUND, {"server": ("/run/socket", None)}, 200, id="over_a_unix_socket"),
            pytest.param({}, REBOUND, {"server": None}, 200, id="nobody_knows_where"),
            pytest.param({}, REBOUND, {"is_proxied": True}, 200, id="through_a_trusted_proxy"),
            pytest.param({"trusted_proxies": "127.0.0.1"}, REBOUND, {}, 403, id="past_the_trusted_proxy"),
            pytest.param(
                {"trusted_proxies": "127.0.0.1"}, REBOUND, {"extensions": {}}, 200, id="through_it_and_another_server"
            ),
            pytest.param({}, REBOUND, {"extensions": {}}, 403, id="another_server"),
            pytest.param({"token": "t" * 16}, REBOUND, {}, 403, id="a_token_that_is_not_asked_for"),
            pytest.param(
                {"token": "t" * 16, "private": True},
                REBOUND | {"authorization": f"Bearer {'t' * 16}"},
                {},
                200,
                id="known_to_a_private_server",
            ),
            pytest.param(
                {"operator_token": "o" * 16},
                REBOUND | {"cookie": f"fileserve_operator={'o' * 16}"},
                {},
                200,
                id="the_operator",
            ),
        ],
    )
    async def test_nor_one_whose_own_name_points_to_this_machine(
        self,
        served_root: Path,
        settings: dict[str, Any],
        fields: Mapping[str, str],
        came: dict[str, Any],
        status: int,
    ) -> None:
        """DNS rebinding: the browser takes it for the site's own page."""
        question = [json.dumps({"msg": "digits"}).encode()]
        async with client_of(Settings(root=served_root, **settings)) as client:
            client.is_proxied = came.pop("is_proxied", False)
            scope = client._scope
            client._scope = lambda *given: scope(*given) | came  # type: ignore[method-assign]
            answer = await client.request("POST", "/chat", fields, content=question, leave_after=1)
        assert answer.status == status, answer.content
        assert (status == 403) == (b"under the name localhost" in answer.content)

    @pytest.mark.parametrize(
        ("host", "origin"),
        [
            pytest.param("a.example", "https://a.example:443", id="origin_with_the_default_port"),
            pytest.param("a.example:80", "http://a.example", id="host_with_the_default_port"),
        ],
    )
    def test_the_default_port_may_be_left_out(self, host: str, origin: str) -> None:
        refuse_cross_site({"headers": [(b"host", host.encode()), (b"origin", origin.encode())]})

    def test_an_origin_without_a_host_to_compare_is_refused(self) -> None:
        with pytest.raises(Problem):
            refuse_cross_site({"headers": [(b"origin", b"http://")]})


class TestWhatMayBeAsked:
    @pytest.mark.parametrize(
        ("content", "status", "detail"),
        [
            pytest.param(b"{", 422, "JSON", id="broken_json"),
            pytest.param(b"", 422, "JSON", id="nothing"),
            pytest.param(b'{"msg": "\xff"}', 422, "JSON", id="bad_utf8"),
            pytest.param([], 422, "object", id="no_object"),
            pytest.param({}, 422, "msg", id="no_message"),
            pytest.param({"msg": " \n"}, 422, "msg", id="blank_message"),
            pytest.param({"msg": 1}, 422, "msg", id="message_that_is_no_text"),
            pytest.param({"msg": "a", "dri": "b"}, 422, "dri", id="misspelt_field"),
            pytest.param({"msg": "a", "dir": "missing"}, 404, "", id="missing_folder"),
            pytest.param({"msg": "a", "dir": "digits.txt"}, 404, "", id="file_for_a_folder"),
            pytest.param({"msg": "a", "dir": ".hidden"}, 404, "", id="hidden"),
            pytest.param({"msg": "a", "dir": "folder/../.."}, 400, "", id="parent"),
            pytest.param({"msg": "a", "dir": "/etc"}, 400, "", id="absolute"),
            pytest.param({"msg": "a", "dir": "leaving"}, 404, "", id="link_that_leaves"),
            pytest.param({"msg": "a" * 512}, 413, "512", id="too_large"),
        ],
    )
    async def test_what_cannot_be_answered_is_a_problem(
        self, client: Client, content: Any, status: int, detail: str, tmp_path: Path
    ) -> None:
        async with asking(client, content) as asked:
            found, text = await asked.refused()
        assert (found, detail in text) == (status, True), text
        assert str(tmp_path) not in text

    async def test_a_switch_is_yes_or_no(self, client: Client) -> None:
        async with asking(client, {"msg": "a"}, path="/chat?full=perhaps") as asked:
            assert (await asked.refused())[0] == 422

    @pytest.mark.parametrize("leaves", [pytest.param(True, id="client_leaves"), pytest.param(False, id="stalls")])
    async def test_a_question_that_does_not_arrive_ends(
        self, client: Client, leaves: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(chat, "ARRIVAL_S", PATIENCE_S if leaves else 0.05)
        async with asking(client, b'{"msg"', arrives=False) as asked:
            if leaves:
                asked.gone.set()
            assert (await asked.refused())[0] == 408

    async def test_other_methods_are_not_answered(self, client: Client) -> None:
        answer = await client.get("/chat")
        assert (answer.status, answer["allow"]) == (405, "POST")

    async def test_a_chat_that_is_switched_off_is_not_there(self, served_root: Path) -> None:
        async with client_of(Settings(root=served_root, chat=False)) as client, asking(client, {"msg": "a"}) as asked:
            assert (await asked.refused())[0] == 404

    @given(st.lists(st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1)))
    def test_a_folder_is_named_by_its_path(self, components: list[str]) -> None:
        name = tuple(component.encode() for component in components)
        assert Question(msg="a", dir="/".join(components)).directory == name
        assert Question(msg="a", dir="".join(f"{component}/" for component in components)).directory == name


class TestBuiltIn:
    async def test_a_file_is_found_with_all_that_is_known_of_it(self, client: Client) -> None:
        await client.get("/checksum/digits.txt")
        async with asking(client, {"msg": "Where is DIGITS?"}) as asked:
            text = text_of(await asked.ended())
        assert text == (
            "digits.txt: 10 B (10 bytes), changed 2023-11-14 22:13 UTC\n"
            "SHA-256 84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882\n"
            "curl -fOJ http://localhost:8000/download/digits.txt\n"
            "wget -c http://localhost:8000/download/digits.txt"
        )

    async def test_it_is_an_event_stream_of_words(self, client: Client) -> None:
        async with asking(client, {"msg": "digits"}) as asked:
            messages = await asked.ended()
        assert asked.answer["content-type"] == "text/event-stream"
        assert asked.answer["cache-control"] == "no-store"
        assert asked.answer["x-accel-buffering"] == "no"
        assert asked.source.fields[:2] == ["retry", "id"]
        assert [message["content"] for message in messages[:2]] == ["digits.txt: ", "10 "]
        assert messages[0] == {"type": "token", "content": "digits.txt: "}

    async def test_full_repeats_the_text_so_far(self, client: Client) -> None:
        async with asking(client, {"msg": "digits"}, path="/chat?full=1") as asked:
            messages = await asked.ended()
        assert [message["full"] for message in messages[:2]] == ["digits.txt: ", "digits.txt: 10 "]

    @pytest.mark.parametrize(
        ("question", "first"),
        [
            pytest.param({"msg": "inner"}, "folder/inner.txt:", id="deeper"),
            pytest.param({"msg": "inner", "dir": "folder"}, "folder/inner.txt:", id="in_the_folder"),
            pytest.param({"msg": "inner", "dir": "folder/"}, "folder/inner.txt:", id="written_as_a_folder"),
            pytest.param({"msg": "digits", "dir": "folder"}, "No", id="not_in_the_folder"),
            pytest.param({"msg": "folder", "dir": "folder"}, "No", id="the_folders_own_name_is_no_match"),
            pytest.param({"msg": "txt inner"}, "folder/inner.txt:", id="most_words_first"),
            pytest.param({"msg": "hidden"}, "No", id="hidden"),
            pytest.param({"msg": "passwd leaving"}, "No", id="link_that_leaves"),
            pytest.param({"msg": "where is the file?"}, "No", id="no_word_of_a_name"),
        ],
    )
    async def test_the_words_of_a_question_are_looked_for_in_names(
        self, client: Client, question: dict[str, str], first: str
    ) -> None:
        async with asking(client, question) as asked:
            assert text_of(await asked.ended()).split()[0] == first

    async def test_another_folder_is_not_meant(self, client: Client, served_root: Path) -> None:
        (served_root / "other").mkdir()
        (served_root / "other" / "wanted").touch()
        (served_root / "folder" / "deeper" / "wanted").touch()
        async with asking(client, {"msg": "wanted", "dir": "folder"}) as asked:
            text = text_of(await asked.ended())
        assert [line.split(":")[0] for line in text.splitlines() if " bytes)" in line] == ["folder/deeper/wanted"]

    async def test_nothing_found_says_how_to_list(self, client: Client) -> None:
        async with asking(client, {"msg": "nowhere", "dir": "folder"}) as asked:
            text = text_of(await asked.ended())
        assert text.endswith("\ncurl -f http://localhost:8000/api/files/folder")

    @pytest.mark.parametrize("name", ["quote", "newline", "back", "utf8", "emoji"])
    async def test_a_command_is_one_argument_for_a_shell_and_leads_to_the_file(self, client: Client, name: str) -> None:
        word = {"newline": "new", "utf8": "not-utf8"}.get(name, name)
        async with asking(client, {"msg": word}) as asked:
            command = next(line for line in text_of(await asked.ended()).splitlines() if line.startswith("curl"))
        url = shlex.split(command)[2:]
        assert len(url) == 1
        assert (await client.get(url[0].removeprefix("http://localhost:8000"))).status == 200

    @pytest.mark.parametrize("host", ["a b", "$(id)", "a'b", "a\nb", ""])
    async def test_a_host_that_is_none_is_not_repeated(self, client: Client, host: str) -> None:
        client.is_proxied = True  # who comes to this machine itself is refused under such a name
        async with asking(client, {"msg": "digits"}, {"host": host}) as asked:
            assert "http://localhost/download/" in text_of(await asked.ended())

    async def test_its_urls_are_beneath_the_root_path(self, served_root: Path) -> None:
        async with (
            client_of(Settings(root=served_root, root_path="/files")) as client,
            asking(client, {"msg": "digits"}, path="/files/chat") as asked,
        ):
            assert "curl -fOJ http://localhost:8000/files/download/digits.txt" in text_of(await asked.ended())

    async def test_it_says_when_it_did_not_look_at_everything(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(answerer, "LOOKED_AT", 3)
        async with asking(client, {"msg": "nowhere"}) as asked:
            assert "Only the first 3 files were looked at." in text_of(await asked.ended())

    async def test_files_of_other_folders_do_not_count(
        self, client: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(answerer, "LOOKED_AT", 3)
        (served_root / "z" / "deeper").mkdir(parents=True)
        (served_root / "z" / "deeper" / "sought.txt").touch()
        async with asking(client, {"msg": "sought", "dir": "z"}) as asked:
            text = text_of(await asked.ended())
        assert "z/deeper/sought.txt" in text
        assert "files were looked at" not in text

    async def test_it_shows_a_few_of_many(self, client: Client, served_root: Path) -> None:
        for number in range(9):
            (served_root / f"many-{number}").touch()
        async with asking(client, {"msg": "many"}) as asked:
            text = text_of(await asked.ended())
        assert [line[:6] for line in text.splitlines() if line.startswith("many")] == [
            f"many-{number}" for number in range(answerer.SHOWN)
        ]

    @given(st.text())
    def test_any_text_is_a_question(self, text: str) -> None:
        words = words_of(text)
        assert len(words) == len(set(words)) <= answerer.WORDS


class TestLimits:
    async def test_an_answer_is_cut_at_its_tokens(self, served_root: Path) -> None:
        settings = Settings(root=served_root, chat_tokens=2)
        async with client_of(settings) as client, asking(client, {"msg": "digits"}) as asked:
            messages = await asked.ended()
        assert messages[2:] == [{"type": "done", "full": "digits.txt: 10 ", "truncated": True}]

    async def test_an_answer_is_cut_at_its_characters(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(answering, "ANSWER_CHARACTERS", 5)
        async with asking(client, {"msg": "digits"}) as asked:
            messages = await asked.ended()
        assert messages[1:] == [{"type": "done", "full": "digits.txt: ", "truncated": True}]

    async def test_the_end_of_an_answer_ends_its_generator_and_frees_its_place(self) -> None:
        async def endless() -> AsyncGenerator[str]:
            while True:
                yield "a"

        pieces, released = endless(), asyncio.Event()
        source = answering.Answer(pieces, 2, released.set)
        assert [event.data for event in await source.next()] == ['{"type": "token", "content": "a"}']
        await source.close()
        assert await anext(pieces, None) is None
        assert released.is_set()

    async def test_a_place_is_taken_for_the_length_of_an_answer(self, served_root: Path) -> None:
        async with upstream(STREAM, framed(chunk("a")), STALL) as server:
            settings = asked_of(server.base_url, served_root, chat_answers=1, retry_after=7)
            async with client_of(settings) as client:
                async with asking(client, {"msg": "a"}) as first:
                    await first.until(1)
                    async with asking(client, {"msg": "b"}) as second:
                        assert (await second.refused())[0] == 503
                    assert second.answer["retry-after"] == "7"
                async with asking(client, {"msg": "c"}) as third:
                    await third.until(1)


def asked_of(base_url: str, root: Path, **more: Any) -> Settings:
    """Return settings with an upstream."""
    return Settings(root=root, chat_base_url=base_url, chat_model="m", chat_api_key=KEY, **more)


@asynccontextmanager
async def chatting(root: Path, *script: bytes, **more: Any) -> AsyncIterator[tuple[Upstream, Client]]:
    """Run an upstream that follows *script*, and an application that asks it."""
    async with upstream(*script) as server, client_of(asked_of(server.base_url, root, **more)) as client:
        yield server, client


class TestUpstream:
    @pytest.mark.parametrize(
        "script",
        [
            pytest.param([framed(chunk("Hel")), framed(chunk("lo")), framed(DONE), END], id="one_by_one"),
            pytest.param([framed(chunk("Hel"), chunk("lo"), DONE), END], id="at_once"),
            pytest.param([framed(chunk("Hel"), chunk("lo"), chunk(None, "stop")), END], id="reason_instead_of_done"),
            pytest.param([framed(chunk(None), chunk("Hel"), chunk(""), chunk("lo"), DONE), END], id="empty_deltas"),
            pytest.param([framed(": comment\n\n", chunk("Hel"), chunk("lo"), DONE), END], id="comment"),
            pytest.param(
                [framed(chunk("Hel"), chunk("lo"), 'data: {"choices": [], "usage": {}}\n\n', DONE), END], id="usage"
            ),
            pytest.param([framed(chunk("Hel"), chunk("lo"), DONE), STALL], id="open_after_done"),
        ],
    )
    async def test_its_answer_is_passed_on_piece_by_piece(self, served_root: Path, script: list[bytes]) -> None:
        async with chatting(served_root, STREAM, *script) as (_, client), asking(client, {"msg": "Hi"}) as asked:
            messages = await asked.ended()
        assert [message.get("content") for message in messages] == ["Hel", "lo", None]
        assert text_of(messages) == "Hello"

    async def test_it_is_told_the_folder_and_nothing_else(self, served_root: Path) -> None:
        async with (
            chatting(served_root, STREAM, framed(DONE), END) as (server, client),
            asking(client, {"msg": "What is here?", "dir": "folder"}) as asked,
        ):
            await asked.ended()
        question = server.questions[0]
        assert (question["model"], question["stream"]) == ("m", True)
        system, user = question["messages"]
        assert (system["role"], user) == ("system", {"role": "user", "content": "What is here?"})
        assert "inner.txt\t5 bytes\t2023-11-14 22:13 UTC" in system["content"]
        assert "http://localhost:8000/download/folder/" in system["content"]
        for unsaid in ("digits", "hidden", str(served_root), KEY):
            assert unsaid not in system["content"]

    async def test_the_listing_it_is_told_is_bounded(self, served_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chat, "LISTED", 2)
        async with (
            chatting(served_root, STREAM, framed(DONE), END) as (server, client),
            asking(client, {"msg": "Hi"}) as asked,
        ):
            await asked.ended()
        told = server.questions[0]["messages"][0]["content"]
        assert (told.count("\t"), told.endswith("The others are not listed here.")) == (4, True)

    async def test_the_key_is_in_the_authorization_field_alone(self, served_root: Path) -> None:
        async with (
            chatting(served_root, STREAM, framed(DONE), END) as (server, client),
            asking(client, {"msg": "Hi"}) as asked,
        ):
            await asked.ended()
        assert server.heads[0].count(KEY) == 1
        assert f"authorization: Bearer {KEY}\r\n" in server.heads[0].replace("Authorization", "authorization")
        assert KEY not in json.dumps(server.questions)

    @pytest.mark.parametrize(
        ("script", "detail"),
        [
            pytest.param([refusal(401, f"bad key {KEY}")], "refused with status 401", id="refused"),
            pytest.param([refusal(500, KEY)], "refused with status 500", id="failed"),
            pytest.param([refusal(307, KEY)], "refused with status 307", id="redirect_is_not_followed"),
            pytest.param([refusal(200, KEY)], "did not answer with a stream", id="no_stream"),
            pytest.param([STREAM, STALL], "was silent for too long", id="silent_from_the_start"),
            pytest.param([STREAM, framed(chunk("a")), STALL], "was silent for too long", id="silent_between_tokens"),
            pytest.param([STALL], "was silent for too long", id="no_answer"),
            pytest.param([], "broke off", id="closes_at_once"),
            pytest.param([STREAM, framed(chunk("a"))], "broke off", id="breaks_off"),
            pytest.param([STREAM, framed(chunk("a")), END], "broke off", id="ends_without_an_end"),
            pytest.param([STREAM, framed(chunk("a"), f"data: {KEY}\n\n")], "sent what is no answer", id="bad_json"),
            pytest.param(
                [STREAM, framed(f'data: {{"error": {{"message": "{KEY}"}}}}\n\n')], "reported an error", id="error"
            ),
            pytest.param([STREAM, framed("data: " + "a" * 100_000), STALL], "with a stream", id="endless_event"),
        ],
    )
    async def test_its_failure_is_one_message_without_a_secret(
        self, served_root: Path, script: list[bytes], detail: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with (
            chatting(served_root, *script, chat_timeout=0.3) as (server, client),
            asking(client, {"msg": "Hi"}) as asked,
        ):
            messages = await asked.ended()
        assert messages[-1]["type"] == "error"
        assert detail in messages[-1]["detail"]
        assert [message["type"] for message in messages[:-1]] in ([], ["token"])
        assert KEY not in asked.answer.content.decode() + caplog.text
        assert server.base_url not in asked.answer.content.decode()

    async def test_one_that_is_not_there_is_one_message_too(self, served_root: Path) -> None:
        async with upstream() as server:
            pass
        async with client_of(asked_of(server.base_url, served_root)) as client, asking(client, {"msg": "a"}) as asked:
            assert await asked.ended() == [{"type": "error", "detail": "The answering server cannot be reached."}]

    @pytest.mark.parametrize("how", ["gone", "draining"])
    @pytest.mark.parametrize(
        ("script", "tokens"),
        [
            pytest.param([STREAM, framed(chunk("a")), STALL], 1, id="between_tokens"),
            pytest.param([STALL], 0, id="before_the_answer"),
        ],
    )
    async def test_it_is_left_at_once_when_nobody_waits(
        self, served_root: Path, how: str, script: list[bytes], tokens: int
    ) -> None:
        async with chatting(served_root, *script) as (server, client), asking(client, {"msg": "Hi"}) as asked:
            await asked.until(tokens)
            async with asyncio.timeout(PATIENCE_S):
                await server.asked.wait()
                getattr(asked, how).set()
                await server.left.wait()
                await asked.task

    async def test_it_is_left_at_once_when_the_answer_is_cut(self, served_root: Path) -> None:
        async with (
            chatting(served_root, STREAM, framed(chunk("a"), chunk("b")), STALL, chat_tokens=1) as (server, client),
            asking(client, {"msg": "Hi"}) as asked,
        ):
            assert (await asked.ended())[-1] == {"type": "done", "full": "a", "truncated": True}
            async with asyncio.timeout(PATIENCE_S):
                await server.left.wait()

    @given(
        st.recursive(
            st.none() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.sampled_from(["choices", "delta", "content", "error", "finish_reason"]), inner)
            ),
        )
    )
    def test_any_json_is_a_chunk_or_a_failure(self, document: Any) -> None:
        try:
            piece, _ = read_chunk(json.dumps(document))
        except AnswerFailed:
            return
        assert isinstance(piece, str)

    @pytest.mark.parametrize("data", ["", "{", "[" * 100_000, "NaN", '{"choices": [{"delta": {"content": 1}}]}'])
    def test_what_is_no_chunk_is_a_failure(self, data: str) -> None:
        with pytest.raises(AnswerFailed):
            read_chunk(data)


class TestSettings:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def test_they_reach_a_worker_through_the_environment(
        self, served_root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = asked_of("http://127.0.0.1:1/v1", served_root, chat=False, chat_bytes=1024, chat_timeout=1.5)
        for name, value in given.to_environment().items():
            monkeypatch.setenv(name, value)
        assert os.environ["FILESERVE_CHAT__API_KEY"] == KEY
        assert load_settings() == given

    def test_the_key_is_not_shown(self, served_root: Path) -> None:
        assert KEY not in repr(asked_of("http://127.0.0.1:1/v1", served_root))
        with pytest.raises(SettingsError) as caught:
            load_settings(chat_api_key=KEY + "\n")
        assert KEY not in str(caught.value)

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            pytest.param({"chat_base_url": "files"}, "--chat-base-url: .*http://", id="no_url"),
            pytest.param({"chat_base_url": "ftp://a/v1"}, "--chat-base-url: .*http://", id="another_scheme"),
            pytest.param({"chat_base_url": "http://a/?b"}, "--chat-base-url", id="query"),
            pytest.param({"chat_base_url": "http://a:b@c/"}, "--chat-base-url: .*setting of its own", id="password"),
            pytest.param({"chat_base_url": "http://a/v1"}, "FILESERVE_CHAT__MODEL", id="no_model"),
            pytest.param({"chat_bytes": "1"}, "--chat-bytes", id="too_small"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, given: dict[str, str], words: str) -> None:
        with pytest.raises(SettingsError, match=words):
            load_settings(**given)

    def test_an_upstream_needs_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fileserve.values.find_spec", lambda name: None)
        with pytest.raises(SettingsError, match=r"fileserved\[llm\]"):
            load_settings(chat_base_url="http://127.0.0.1:1/v1", chat_model="m")
