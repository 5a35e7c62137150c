"""What is wrong with what was observed: pure functions, each of which says it in a few words; ``None``: nothing."""

import re
from collections.abc import Callable

from fileserve.checkproxy.client import Answer
from fileserve.checkproxy.documents import listed
from fileserve.checkproxy.observing import MIB, NAMES, Arrival, Download, Events, Paused
from fileserve.checkproxy.reasons import Unlike
from fileserve.checkproxy.site import LISTING

AHEAD = 32 * MIB  # more than the kernels on the way hold
PROBLEM = "application/problem+json"


def each_event_alone(seen: Events) -> str | None:
    """Compare when events came with when they were sent: what is held back comes at once with what follows it."""
    if len(seen.came) < 2:
        return "no events came"
    if seen.came[-1] < seen.sent[-1] / 2:
        return f"events that were sent over {seen.sent[-1]} ms came within {seen.came[-1]} ms"
    return None


def is_borne(seen: Events) -> str | None:
    """Say where a silent stream did not come to its end."""
    return None if seen.is_whole else "the stream was ended before its next event"


def is_read_as_it_is_taken(seen: Paused) -> str | None:
    """Say how much a proxy has taken that its client did not ask for yet."""
    return f"it took {seen.ahead // MIB} MiB of a download that nobody read" if seen.ahead > AHEAD else None


def comes_whole(seen: Paused) -> str | None:
    """Say how much of a content came that was announced."""
    return None if seen.got == seen.length else f"{seen.got} of {seen.length} bytes came"


def is_refused_at_once(seen: Answer | None) -> str | None:
    """Say where nobody answers before the content has come."""
    return "an upload is answered only when it has come whole" if seen is None else None


def is_refused_by_the_site(seen: Answer | None) -> str | None:
    """Say where the proxy refuses what the site would judge."""
    by_proxy = seen is not None and seen.status == 413 and seen["content-type"] != PROBLEM
    return "the proxy refuses large uploads itself" if by_proxy else None


def field_is(name: str, pattern: str) -> Callable[[Download], str | None]:
    """Return what judges a field of a download: it has to match."""

    def judge(seen: Download) -> str | None:
        value = seen[1][name]
        return None if value is not None and re.fullmatch(pattern, value) else f"{name} is {value or 'missing'}"

    return judge


def same_tag(seen: Download) -> str | None:
    """Compare the entity tag with the one that the site tells in a document."""
    file, answer = seen
    return (
        None if answer["etag"] == file.etag else f"the entity tag is {answer['etag'] or 'missing'}, and not {file.etag}"
    )


def not_coded(seen: Download) -> str | None:
    """Say which content coding was put on."""
    coding = seen[1]["content-encoding"]
    return f"it comes with the content coding {coding}" if coding not in (None, "identity") else None


def status_is(status: int, content_range: str = "") -> Callable[[Download], str | None]:
    """Return what judges a status and, by the file's size, Content-Range."""

    def judge(seen: Download) -> str | None:
        file, answer = seen
        if answer.status != status:
            return f"the status is {answer.status}, and not {status}"
        wanted = content_range.format(size=file.size, last=file.size - 1, fifth=file.size - 5)
        told = answer["content-range"]
        return f"Content-Range is {told or 'missing'}, and not {wanted}" if wanted and told != wanted else None

    return judge


def two_parts(seen: Download) -> str | None:
    """Say what came in place of two ranges."""
    kind = seen[1]["content-type"] or ""
    is_multipart = seen[1].status == 206 and kind.startswith("multipart/byteranges")
    return None if is_multipart else f"two ranges are answered with {seen[1].status} {kind}"


def is_as_told(seen: Answer) -> str | None:
    """Say where a document is not what the site tells."""
    try:
        listed(seen, LISTING)
    except Unlike as reason:
        return str(reason)
    return None


def names_are_kept(seen: Arrival) -> str | None:
    """Say what has become of a path with escapes and two slashes."""
    arrived = seen.arrived["path"]
    return None if str(arrived).endswith(f"/{NAMES}") else f"{NAMES} arrives as {arrived.rpartition('/request/')[2]}"


def http_11(seen: Arrival) -> str | None:
    """Say what the proxy speaks."""
    version = seen.arrived["http_version"]
    return None if version != "1.0" else "the proxy speaks HTTP/1.0"


def is_kept_open(seen: Arrival) -> str | None:
    """Say where each request takes a connection of its own."""
    value = (seen.arrived["connection"] or "").lower()
    return "the proxy opens a connection for each request" if value == "close" else None


def host_is_kept(seen: Arrival) -> str | None:
    """Compare Host."""
    arrived = seen.arrived["host"]
    return None if arrived == seen.host else f"Host arrives as {arrived}, and not {seen.host}"


def address_is_told(seen: Arrival) -> str | None:
    """Say where the client's address does not arrive, or one that the client made up does."""
    if not seen.arrived["hops"]:
        return "the client's address does not arrive"
    if seen.arrived["hops"] == 1 and seen.arrived["client"] == seen.forged:
        return "a client can claim any address: its own X-Forwarded-For arrives, and nothing else"
    return None  # one that asks from a trusted proxy's own machine is believed


def address_is_believed(seen: Arrival) -> str | None:
    """Say where the site does not believe what arrives."""
    is_doubted = seen.arrived["hops"] and not seen.arrived["client"]
    return "X-Forwarded-For arrives and is not believed" if is_doubted else None


def scheme_is_told(seen: Arrival) -> str | None:
    """Say where the client's scheme does not arrive, or one that the client made up does."""
    if not seen.arrived["is_forwarded_proto"]:
        return "whether the client came by HTTPS does not arrive"
    if seen.arrived["client"] and seen.arrived["scheme"] != seen.scheme:
        return f"a client that came by {seen.scheme} arrives as one that came by {seen.arrived['scheme']}"
    return None


def id_is_given(seen: Arrival) -> str | None:
    """Say where requests have no id."""
    return None if seen.arrived["request_id"] else "requests arrive without an id"
