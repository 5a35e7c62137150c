"""A reading of event streams by the letter of HTML §9.2.6, independent of what writes them."""

import codecs
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Message:
    """What an EventSource would dispatch: the event's type, its data, and the id to come back with."""

    type: str
    data: str
    id: str


@dataclass
class EventSource:
    """Takes a stream in pieces of any size; ``comments`` and ``fields`` are what it has seen, in order."""

    id: str = ""
    retry: int | None = None
    comments: int = 0
    fields: list[str] = field(default_factory=list)
    _line: str = ""
    _after_cr: bool = False
    _id_buffer: str = ""
    _type: str = ""
    _data: list[str] = field(default_factory=list)
    _decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8-sig")())

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that end in *data*."""
        messages = []
        for character in self._decoder.decode(data):
            if character == "\n" and self._after_cr:
                self._after_cr = False
                continue
            self._after_cr = character == "\r"
            if character not in "\r\n":
                self._line += character
                continue
            line, self._line = self._line, ""
            messages += self._take(line)
        return messages

    def _take(self, line: str) -> list[Message]:
        if not line:
            return self._dispatch()
        if line.startswith(":"):
            self.comments += 1
            return []
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        self.fields.append(name)
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id_buffer = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)
        return []

    def _dispatch(self) -> list[Message]:
        self.id = self._id_buffer
        data, kind = self._data, self._type
        self._data, self._type = [], ""
        return [Message(kind or "message", "\n".join(data), self.id)] if data else []
