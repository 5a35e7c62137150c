"""What ``serve`` says at its start: what is served and where, with commands to copy."""

import logging
import os
import shlex

import click

import fileserve
from fileserve.server.listeners import SOCKET
from fileserve.server.logs import is_json, set_up_logging
from fileserve.settings import Settings
from fileserve.storage.names import quote_name

__all__ = ["greet"]

log = logging.getLogger("fileserve")


def greet(settings: Settings, url: str, made: str) -> None:
    """Say what is served and where: with commands to copy, or as records of a log, which has no place for a token."""
    set_up_logging(settings.log_format)
    if not is_json(settings.log_format):
        return click.echo(_greeting(settings, url, made), err=True)
    log.info("%s", _serves(settings, url))
    if made:
        log.info("nobody knows the operator's token, which was made at random; FILESERVE_OPERATOR_TOKEN sets one")


def _greeting(settings: Settings, url: str, made: str) -> str:
    """Say what is served and where, with commands that can be copied.

    Policy: the link to watch carries a token that was *made*, which nobody knows otherwise. One that was set is not
    repeated: what is said here often ends up in a log.
    """
    link = f"/live?token={made or '...'}"
    path = f"/download/{_example(settings)}"
    curl = f"curl -fOJ {_credentials(settings) if settings.private else ''}"
    if url.startswith(SOCKET):
        download = f"{curl}--unix-socket {shlex.quote(url.removeprefix(SOCKET))} http://localhost{path}"
        watch = f"{settings.root_path}{link}"
        return f"{_serves(settings, url)}\n  download:  {download}\n  watch:     {watch}\nCtrl-C stops it."
    wget = f"wget -c {_wget_credentials(settings) if settings.private else ''}"
    lines = (
        _serves(settings, url),
        f"download:  {curl}{url}{path}",
        f"resume:    {wget}{url}{path}",
        *([f"upload:    {_upload_command(settings, url)}"] if settings.upload else []),
        f"watch:     {url}{link}",
    )
    return "\n  ".join(lines) + "\nCtrl-C stops it."


def _serves(settings: Settings, url: str) -> str:
    """Say what is served where: *url* is a URL without its last slash, or says which socket it is."""
    where = url if url.startswith(SOCKET) else f"{url}/"
    return f"fileserve {fileserve.__version__} serves {settings.root.resolve()} on {where}"


def _upload_command(settings: Settings, url: str) -> str:
    """Return a command that uploads: to a folder that may be written to, and with credentials where they are needed."""
    folder = os.fsencode(settings.writable[0].removesuffix("/")).split(b"/") if settings.writable else []
    place = f"{quote_name(tuple(folder))}{'/' if folder else ''}"
    return f"curl -fT FILE {_credentials(settings)}{url}/upload/{place}"


def _credentials(settings: Settings) -> str:
    """Return the options with which curl shows who asks, and a space behind them; nothing where nobody can be known."""
    return "-u NAME " if settings.auth else '-H "Authorization: Bearer $TOKEN" ' if settings.token else ""


def _wget_credentials(settings: Settings) -> str:
    """Return the same for wget."""
    return "--user NAME --ask-password " if settings.auth else '--header "Authorization: Bearer $TOKEN" '


def _example(settings: Settings) -> str:
    """Return the path of the first file at the top of the served directory, quoted for a URL and so for a shell."""
    try:
        with os.scandir(os.fsencode(settings.root)) as entries:
            files = (entry.name for entry in entries if entry.is_file(follow_symlinks=False))
            first = min((name for name in files if not name.startswith(b".")), default=b"FILE")
    except PermissionError:  # it may be entered all the same
        first = b"FILE"
    return quote_name((first,))
