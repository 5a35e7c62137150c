"""Why a question could not be asked, and what to do about it."""

from collections.abc import Mapping

_ADVICE = {
    401: "it is private, and --token or --user has to say who asks",
    403: "who asks may not read that; --token or --user of somebody who may",
    404: "name the site with its prefix, as https://example.org/files; an older fileserve has no such path",
    502: "the proxy does not reach fileserve; its error log says why",
    504: "fileserve does not answer the proxy in time; its error log says more",
}
_FILES = "/api/files/"


class NotChecked(Exception):
    """A question that cannot be asked here. The text says why, and what to do."""


class LeftOut(NotChecked):
    """A question that whoever checks did not want to ask."""


class Unlike(NotChecked):
    """An answer that fileserve does not give: something has changed it, or somebody else has given it."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"the answer to {_short(path)} is not what fileserve says: {what}")


def refused(status: int, fields: Mapping[str, str], path: str) -> NotChecked:
    """Return the reason for an answer to *path* that is not 200."""
    told = f"the site answers {status} to {_short(path)}"
    advice = _advice(status, fields, path)
    return NotChecked(f"{told}: {advice}" if advice else told)


def _advice(status: int, fields: Mapping[str, str], path: str) -> str:
    if 300 <= status < 400 and "location" in fields:
        return f"it redirects to {fields['location']}; ask there"
    if status in (429, 503):
        return f"it is busy; ask again in {fields.get('retry-after', 'some')} s"
    if status in (400, 404) and _short(path).startswith(_FILES) and _short(path) != _FILES:
        return "--path names a file below /download/, and % itself as %25"
    return _ADVICE.get(status, "")


def _short(path: str) -> str:
    return path.partition("?")[0]
