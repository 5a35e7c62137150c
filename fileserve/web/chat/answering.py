"""An answer as events: whoever gives it, token by token, up to one of two ends.

Unnamed messages tell one piece each; then comes ``done`` with the whole, or ``error``, and ``[DONE]`` in either case.
The pieces come from an asynchronous generator, which is cancelled when the stream is (the client has left, the server
drains), and with it what it waits for.

An id is a mere count, because a stream of ``events`` has one: an answer that was broken off is not gone on with, it is
asked for again.
"""

import json
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from fileserve.web.streams.events import Event

log = logging.getLogger("fileserve.chat")

# Policy: a stream that repeats the answer with each piece sends bytes that grow with its square.
ANSWER_CHARACTERS = 64 * 1024


class AnswerFailed(Exception):
    """There is no more of the answer. The text is a sentence for the one who asked."""


class Answer:
    """The events of one answer, whose *pieces* it owns; *release* is called at its end, whatever that is."""

    start = "0"

    def __init__(
        self, pieces: AsyncGenerator[str], tokens: int, release: Callable[[], None], *, repeat: bool = False
    ) -> None:
        self._pieces = pieces
        self._tokens_left = tokens
        self._release = release
        self._repeat = repeat
        self._text = ""
        self._count = 0
        self._is_over = False

    async def next(self) -> Sequence[Event]:
        """Return the next piece; at the end the last messages, and then none."""
        if self._is_over:
            return ()
        try:
            return await self._piece()
        except AnswerFailed as failure:
            log.warning("an answer failed: %s", failure)
            return self._end({"type": "error", "detail": str(failure)})

    async def close(self) -> None:
        """End the generator of the answer, and give its place to the next question."""
        try:
            await self._pieces.aclose()
        finally:
            self._release()

    async def _piece(self) -> Sequence[Event]:
        while self._tokens_left and len(self._text) < ANSWER_CHARACTERS:
            piece = await anext(self._pieces, None)
            if piece is None:
                return self._end({"type": "done", "full": self._text})
            self._tokens_left -= 1  # an empty one too: reasoning takes the upstream as long
            if piece:
                self._text += piece
                full = {"full": self._text} if self._repeat else {}
                return (self._event({"type": "token", "content": piece} | full),)
        return self._end({"type": "done", "full": self._text, "truncated": True})

    def _end(self, last: dict[str, Any]) -> Sequence[Event]:
        self._is_over = True
        return self._event(last), Event("[DONE]", str(self._count + 1))

    def _event(self, message: dict[str, Any]) -> Event:
        self._count += 1
        return Event(json.dumps(message), str(self._count))
