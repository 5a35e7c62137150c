"""What ``serve`` says at its start: what is served and where, with commands to copy."""

import logging
import os

import click

import fileserve
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
    log.info("fileserve %s serves %s on %s/", fileserve.__version__, settings.root.resolve(), url)
    if made:
        log.info("nobody knows the operator's token, which was made at random; FILESERVE_OPERATOR_TOKEN sets one")


def _greeting(settings: Settings, url: str, made: str) -> str:
    """Say what is served and where, with commands that can be copied.

    Policy: the link to watch carries a token that was *made*, which nobody knows otherwise. One that was set is not
    repeated: what is said here often ends up in a log.
    """
    link = f"/live?token={made or '...'}"
    serves = f"fileserve {fileserve.__version__} serves {settings.root.resolve()} on {url}"
    path = f"/download/{_example(settings)}"
    if settings.uds is not None:
        download = f"curl -fOJ --unix-socket {settings.uds} http://localhost{path}"
        return f"{serves}\n  download:  {download}\n  watch:     {settings.root_path}{link}\nCtrl-C stops it."
    lines = (
        f"{serves}/",
        f"download:  curl -fOJ {url}{path}",
        f"resume:    wget -c {url}{path}",
        *([f"upload:    {_upload_command(settings, url)}"] if settings.upload else []),
        f"watch:     {url}{link}",
    )
    return "\n  ".join(lines) + "\nCtrl-C stops it."


def _upload_command(settings: Settings, url: str) -> str:
    """Return a command that uploads: to a folder that may be written to, and with credentials where they are needed."""
    shown = "-u NAME " if settings.auth else '-H "Authorization: Bearer $TOKEN" ' if settings.token else ""
    folder = os.fsencode(settings.writable[0].removesuffix("/")).split(b"/") if settings.writable else []
    return f"curl -fT FILE {shown}{url}/upload/{quote_name(tuple(folder))}{'/' if folder else ''}"


def _example(settings: Settings) -> str:
    """Return the path of the first file at the top of the served directory, quoted for a URL and so for a shell."""
    try:
        with os.scandir(os.fsencode(settings.root)) as entries:
            files = (entry.name for entry in entries if entry.is_file(follow_symlinks=False))
            first = min((name for name in files if not name.startswith(b".")), default=b"FILE")
    except PermissionError:  # it may be entered all the same
        first = b"FILE"
    return quote_name((first,))
