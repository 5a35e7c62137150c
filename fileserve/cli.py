"""The command ``fileserve``. Its options are the table of settings; nothing is said twice."""

import os
import shlex
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click
from pydantic import ByteSize

import fileserve
from fileserve.settings import Settings, SettingsError, load_settings, option
from fileserve.storage.names import quote_name

USAGE_ERROR = 2
EXAMPLES = """\b
Examples:
  fileserve serve                       the current directory on http://127.0.0.1:8000
  fileserve serve ~/films --host ::     to everybody who can reach this machine
  FILESERVE_PORT=9000 fileserve serve   on another port
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(fileserve.__version__, prog_name="fileserve")
def main() -> None:
    """Serve very large files over HTTP, so that nobody ever starts a download over."""


def _settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command* one option for each setting, with the setting's own description."""
    for name, field in reversed(Settings.model_fields.items()):
        if name == "root":
            continue
        is_switch = field.annotation is bool
        declaration = f"{option(name)}/--no-{name.replace('_', '-')}" if is_switch else option(name)
        choices = getattr(field.annotation, "__args__", None)
        shown = click.option(
            declaration,
            name,
            type=bool if is_switch else click.Choice(choices) if choices else str,
            metavar=None if is_switch or choices else name.rpartition("_")[2].upper(),
            default=None,
            help=f"{field.description}  [default: {_default(field.default)}]",
        )
        command = shown(command)
    return command


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, ByteSize):
        return value.human_readable(separator="").replace(".0", "")
    return str(value) or "none"


@main.command(epilog=EXAMPLES)
@click.argument("directory", metavar="[DIR]", required=False)
@_settings_options
def serve(directory: str | None, **options: Any) -> None:
    """Serve DIR (default: the current directory) until Ctrl-C.

    Each option can also be given as an environment variable (--chunk-size as FILESERVE_CHUNK_SIZE, DIR as
    FILESERVE_ROOT) or in fileserve.toml in the current directory (chunk_size = "1MiB"). The command line counts
    first, then the environment, then the file.
    """
    from fileserve.server import run

    given = {name: value for name, value in {"root": directory, **options}.items() if value is not None}
    try:
        settings = load_settings(**given)
        listener = run.listen(settings.host, settings.port)
    except SettingsError as error:
        _refuse(str(error))
    except run.CannotListen as error:
        _refuse(f"cannot listen on {settings.host} port {settings.port}: {error.reason}")
    click.echo(_greeting(settings, listener), err=True)
    try:
        run.run(settings, listener)
    except KeyboardInterrupt:
        click.echo("fileserve: stopped", err=True)


def _refuse(reason: str) -> NoReturn:
    click.echo(f"fileserve: {reason}", err=True)
    sys.exit(USAGE_ERROR)


def _greeting(settings: Settings, listener: socket.socket) -> str:
    """Say what is served and where, with commands that can be copied."""
    url = _url(settings, listener)
    example = f"{url}/download/{_example(settings)}"
    return (
        f"fileserve {fileserve.__version__} serves {settings.root.resolve()} on {url}/\n"
        f"  download:  curl -fOJ {example}\n"
        f"  resume:    wget -c {example}\n"
        "Ctrl-C stops it."
    )


def _url(settings: Settings, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{settings.root_path}"


def _example(settings: Settings) -> str:
    """Return the path of the first file at the top of the served directory, quoted for a URL and so for a shell."""
    with os.scandir(os.fsencode(settings.root)) as entries:
        files = sorted(entry.name for entry in entries if entry.is_file() and not entry.name.startswith(b"."))
    return quote_name((files[0],)) if files else shlex.quote("FILE")
