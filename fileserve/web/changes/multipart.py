"""A form's content, taken apart as it arrives: ``multipart/form-data`` (RFC 7578, RFC 2046 §5.1).

python-multipart's push parser finds the boundaries; what it finds becomes a list of events for each chunk. Data are
views of the chunk, so a file's bytes are not copied here, and nothing is kept but the head of a part and the value of a
field, both bounded.

Left out: where files go (``forms``); content transfer codings, which RFC 7578 §4.7 has given up.
"""

import logging
import re
from dataclasses import dataclass
from typing import TypeAlias

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from fileserve.semantics.disposition import base_name, parse_form_data, parse_parameters

__all__ = ["Event", "Field", "FileBegins", "FileData", "FileEnds", "FormEnds", "FormError", "FormParser", "boundary_of"]

MOST_PARTS = 1000
FIELD_BYTES = 16 * 1024
HEADERS = 8
HEADER_BYTES = 4096
# Policy: nothing should follow the last boundary; a line end or a word does no harm.
EPILOGUE_BYTES = 64 * 1024

# RFC 2046 §5.1.1: 1 to 70 characters; the last is no space.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of each malformed form, in the client's words


class FormError(ValueError):
    """The content is no form, or one that is too large in some way; the text says so to the client."""


@dataclass(frozen=True, slots=True)
class FileBegins:
    """A file begins, with the base name that the client gave it."""

    filename: bytes


@dataclass(frozen=True, slots=True)
class FileData:
    """More bytes of the file, valid as long as it is held."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class FileEnds:
    """The file is complete."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field that is no file, whole."""

    name: str
    value: bytes


@dataclass(frozen=True, slots=True)
class FormEnds:
    """The last boundary was there."""


Event: TypeAlias = FileBegins | FileData | FileEnds | Field | FormEnds


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary that a Content-Type names, or ``None`` when it is no form's.

    >>> boundary_of('multipart/form-data; boundary="a b"'), boundary_of("text/plain")
    (b'a b', None)
    """
    kind, separator, rest = content_type.partition(";")
    if kind.strip(" \t").lower() != "multipart/form-data":
        return None
    boundary = (parse_parameters(separator + rest) or {}).get("boundary", "")
    return boundary.encode("latin-1") if _BOUNDARY.fullmatch(boundary) else None


class FormParser:
    """Takes chunks, and returns what they hold. Use it for one form."""

    __slots__ = ("_events", "_field", "_header", "_headers", "_parser", "_parts", "_trailing", "ended")

    def __init__(self, boundary: bytes) -> None:
        self.ended = False
        self._events: list[Event] = []
        self._headers: dict[str, bytes] = {}
        self._header: tuple[bytes, bytes] = (b"", b"")
        self._field: tuple[str, bytearray] | None = None
        self._parts = 0
        self._trailing = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_to_header_name,
                "on_header_value": self._add_to_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
            max_header_count=HEADERS,
            max_header_size=HEADER_BYTES,
        )

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events in *chunk*, in their order. Raises ``FormError``."""
        if self.ended:
            self._trailing += len(chunk)
            if self._trailing > EPILOGUE_BYTES:
                raise FormError("Too much follows the end of the form.")
            return []
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise FormError("The form is malformed.") from None
        events, self._events = self._events, []
        return events

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise FormError(f"A form has {MOST_PARTS} parts at the most.")
        self._headers = {}

    def _add_to_header_name(self, data: bytes, start: int, end: int) -> None:
        name, value = self._header
        self._header = (name + data[start:end], value)

    def _add_to_header_value(self, data: bytes, start: int, end: int) -> None:
        name, value = self._header
        self._header = (name, value + data[start:end])

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[name.lower().decode("latin-1")] = value
        self._header = (b"", b"")

    def _end_headers(self) -> None:
        parameters = parse_form_data(self._headers.get("content-disposition", b"").decode("latin-1"))
        if parameters is None or "name" not in parameters:
            raise FormError("A part of the form has no name.")
        filename = parameters.get("filename")
        if filename is not None:
            self._field = None
            self._events.append(FileBegins(base_name(filename).encode("latin-1")))
        else:
            self._field = (parameters["name"], bytearray())

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._events.append(FileData(memoryview(data)[start:end]))
            return
        _, value = self._field
        value += data[start:end]
        if len(value) > FIELD_BYTES:
            raise FormError(f"A field has {FIELD_BYTES} bytes at the most.")

    def _end_part(self) -> None:
        if self._field is None:
            self._events.append(FileEnds())
        else:
            name, value = self._field
            self._events.append(Field(name, bytes(value)))

    def _end(self) -> None:
        self.ended = True
        self._events.append(FormEnds())
