"""The answer of an OpenAI-compatible server, token by token.

Implements what its clients share of ``POST /chat/completions`` with ``stream``: data-only events, each a JSON chunk
whose first choice has a ``delta``, and ``[DONE]``. A server that leaves ``[DONE]`` out has to tell why it finished.

Strategy: one client for each answer. Leaving the generator, or cancelling it, closes the connection, which is how
an upstream learns that nobody waits. The key is in the Authorization field and nowhere else, redirects are not
followed with it, and what an upstream says of an error is not passed on: it may repeat the key.

Left out: limits on the answer, and what is asked; ``chat`` knows both. Tools, images and other choices than the first.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import cache
from http import HTTPStatus

import httpx2

from fileserve.settings import Settings
from fileserve.web.chat.answering import AnswerFailed

CONNECT_S = 10.0
EVENT_BYTES = 64 * 1024  # one token and what is said about it is some hundred bytes
DONE = "[DONE]"

ChatMessage = dict[str, str]


_FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "was silent for too long"),
    (httpx2.ConnectTimeout, "cannot be reached"),
    (httpx2.ConnectError, "cannot be reached"),
    (httpx2.SSEError, "did not answer with a stream"),
    (httpx2.HTTPError, "broke off"),
)


async def ask(settings: Settings, messages: Sequence[ChatMessage]) -> AsyncGenerator[str]:
    """Yield what the upstream answers to *messages*, one piece for each chunk; some are empty.

    Raises ``AnswerFailed``: it cannot be reached, refuses, is silent for longer than ``chat_timeout`` seconds, or
    breaks off. Comments keep its connection alive, but do not count as an answer.
    """
    has_finished = False
    try:
        async with AsyncExitStack() as held:
            async with asyncio.timeout(settings.chat_timeout):
                events = await _ask(held, settings, messages)
            while (event := await _next(events, settings.chat_timeout)) and event.data != DONE:
                piece, finishes = read_chunk(event.data)
                has_finished = has_finished or finishes
                yield piece
    except (TimeoutError, httpx2.HTTPError) as error:
        what = next(what for kind, what in _FAILURES if isinstance(error, kind))
        raise AnswerFailed(f"The answering server {what}.") from None
    if event is None and not has_finished:
        raise AnswerFailed("The answering server broke off.")


async def _ask(
    held: AsyncExitStack, settings: Settings, messages: Sequence[ChatMessage]
) -> AsyncIterator[httpx2.ServerSentEvent]:
    """Send the question and return the events of the answer; *held* closes them and the connection.

    Only connecting has a time of its own here; the caller waits for everything else no longer than it likes.
    """
    timeout = httpx2.Timeout(None, connect=CONNECT_S)
    client = await held.enter_async_context(httpx2.AsyncClient(timeout=timeout, verify=_trust()))
    answered = await held.enter_async_context(_asked(client, settings, messages))
    status = answered.response.status_code
    if status != HTTPStatus.OK:
        raise AnswerFailed(f"The answering server refused with status {status}.")
    events = aiter(answered)
    held.push_async_callback(events.aclose)  # type: ignore[attr-defined]  # a generator, which is typed as an iterator
    return events


@cache
def _trust() -> ssl.SSLContext:
    """Return the system's certificates, which take some milliseconds to read."""
    return ssl.create_default_context()


def _asked(
    client: httpx2.AsyncClient, settings: Settings, messages: Sequence[ChatMessage]
) -> AbstractAsyncContextManager[httpx2.EventSource]:
    return client.sse(
        f"{settings.chat_base_url}/chat/completions",
        method="POST",
        headers={"authorization": f"Bearer {settings.chat_api_key}"} if settings.chat_api_key else {},
        json={"model": settings.chat_model, "stream": True, "messages": list(messages)},
        max_event_size=EVENT_BYTES,
    )


async def _next(events: AsyncIterator[httpx2.ServerSentEvent], timeout_s: float) -> httpx2.ServerSentEvent | None:
    async with asyncio.timeout(timeout_s):
        return await anext(events, None)


def read_chunk(data: str) -> tuple[str, bool]:
    """Return the text that a chunk adds to the answer, and whether it is the last that does.

    A chunk may have no choice (usage) and a choice no text (a role, reasoning). Raises ``AnswerFailed`` for an
    error, and for what is no chunk.

    >>> read_chunk('{"choices": [{"delta": {"content": "Hel"}, "finish_reason": null}]}')
    ('Hel', False)
    """
    try:
        chunk = json.loads(data)
        if "error" in chunk:
            raise AnswerFailed("The answering server reported an error.")
        choice = (chunk["choices"] or [{}])[0]
        piece = (choice.get("delta") or {}).get("content") or ""
        finishes = choice.get("finish_reason") is not None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise AnswerFailed("The answering server sent what is no answer.") from None
    if not isinstance(piece, str):
        raise AnswerFailed("The answering server sent what is no answer.")
    return piece, finishes
