"""OpenAPI descriptions of the event streams."""

from typing import Any

from fileserve.web.openapi.parts import PATH, PRIVATE, header, problem, problems, query, response


def event_paths() -> dict[str, Any]:
    """Return the operation of each stream, by path."""
    return {
        "/events": _events("events", *_SEVERAL, [_TOPIC, _FROM, *_LOG, *_LAST_EVENT], _TOLD_ALL | _ASKED),
        "/events/tail/{path}": _events("tail", *_TAIL, [PATH, _FROM, *_LAST_EVENT], PRIVATE),
        "/events/checksum/{path}": _events("digesting", *_DIGESTING, [PATH, *_LAST_EVENT], _TOLD_ALL | PRIVATE),
        "/events/logs": _events("logs", *_LOGS, [*_LOG, *_LAST_EVENT], problems("401")),
        "/events/transfers": _events("transfers", *_TRANSFERS, [*_LAST_EVENT], problems("401")),
    }


def _events(
    operation: str,
    summary: str,
    description: str,
    parameters: list[dict[str, Any]],
    responses: dict[str, Any],
) -> dict[str, Any]:
    content = {"text/event-stream": {"schema": {"type": "string"}}}
    return {
        "tags": ["events"],
        "operationId": operation,
        "summary": summary,
        "description": description,
        "parameters": parameters,
        "responses": {
            "200": response("The events.", content),
            **responses,
            **problems("400", "403", "404", "422", "503"),
        },
    }


_TAIL = (
    "Follow a growing file, as tail -F does",
    "Each line is an unnamed message; of a line of more than 64 KiB all pieces but the last are part events. lost "
    "tells that lines may be missing, reset that the id was not understood.",
)
_DIGESTING = (
    "Follow the computation of a file's SHA-256",
    "Unnamed messages tell the progress, checkpoint events each tenth, done the digest; close the EventSource then.",
)
_LOGS = (
    "Follow what the server logs",
    "Unnamed messages with a line of JSON: time, level, logger, pid, message, and fields where there are some. lost "
    "tells that records are missing, reset that the id was not understood. Needs the operator's token.",
)
_TRANSFERS = (
    "Follow who downloads what",
    "Named events with JSON: snapshot tells all logical transfers under way, started and progress one, finished how it "
    "ended. lost tells that some ends are missing, reset that the id was not understood. Needs the operator's token.",
)
_SEVERAL = (
    "Several streams on one connection",
    "An unnamed message of a topic is an event with the topic's name, a named one is {topic}:{name}; a topic that "
    "fails ends in {topic}:error. The id is those of all topics. What else the query says is for all topics.",
)
_TOPIC = query(
    "topic",
    {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 16},
    "logs, transfers, tail:{path} or checksum:{path}; the path is percent-encoded as in an address.",
)
_LOG = [
    query("level", {"type": "string", "default": "DEBUG"}, "The least grave level of the records."),
    query("last", {"type": "integer", "minimum": 0, "default": 100}, "Records that come first; 1,000 at most."),
]
_FROM = query(
    "from", {"type": "string", "default": "end"}, "Where a new client begins: end, start, or -N for the last N lines."
)
_LAST_EVENT = [
    header("Last-Event-ID"),
    query("last_event_id", {"type": "string"}, "The same, for a new EventSource."),
]
_ASKED = problem("401", "Logs and transfers are the operator's; with --private, the server wants to know who asks.")
_TOLD_ALL = {"204": {"description": "The id is that of done: nothing is left to be told."}}
