"""The command ``fileserve``. Its options are the table of settings; nothing is said twice."""

import logging
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NoReturn, get_args, get_origin

import click
from pydantic import ByteSize

import fileserve
from fileserve.settings import ENVIRONMENT_PREFIX, Settings, SettingsError, load_settings, option, variable

log = logging.getLogger("fileserve")

USAGE_ERROR = 2
NOT_ALL_CHECKED = 3
TOKEN_BYTES = 24
_METAVARS = {"auth": "NAME:HASH", "writable": "FOLDER"}
EXAMPLES = """\b
Examples:
  fileserve serve                       the current directory on http://127.0.0.1:8000
  fileserve serve ~/films --host ::     to everybody who can reach this machine
  FILESERVE_PORT=9000 fileserve serve   on another port
"""


class _Commands(click.Group):
    """Commands that refuse a mistake on the command line in one line, like a mistake in any other setting."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _refusing_in_one_line():
            return super().make_context(*args, **extra)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            hint = f"; to serve a directory: fileserve serve {args[0]}" if not args[0].startswith("-") else ""
            raise click.UsageError(f"there is no command {args[0]!r}{hint}") from None

    def invoke(self, ctx: click.Context) -> Any:
        with _refusing_in_one_line():
            return super().invoke(ctx)


@contextmanager
def _refusing_in_one_line() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        _refuse(error.format_message())


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else None
        is_repeated = get_origin(field.annotation) is tuple
        shown = click.option(
            declaration,
            name,
            type=bool if is_switch else click.Choice(choices) if choices else str,
            metavar=None if is_switch or choices else _metavar(name, field.annotation),
            multiple=is_repeated,
            default=None,
            help=f"{field.description}{_other_variable(name)}  [default: {_default(field.default)}]",
        )
        command = shown(command)
    return command


def _metavar(name: str, annotation: object) -> str:
    """Say what a value looks like, after the setting's type."""
    if name.endswith("_ms"):
        return "MILLISECONDS"
    if name in _METAVARS:
        return _METAVARS[name]
    kinds = {ByteSize: "SIZE", int: "NUMBER", float: "SECONDS", str: "TEXT"}
    return next((shown for kind, shown in kinds.items() if annotation in (kind, kind | None)), "PATH")


def _other_variable(name: str) -> str:
    """Say what the environment variable is called where that does not follow from the option."""
    return "" if variable(name) == f"{ENVIRONMENT_PREFIX}{name.upper()}" else f"  [variable: {variable(name)}]"


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, ByteSize):
        return value.human_readable(separator="").replace(".0", "")
    return "none" if value in (None, "", ()) else str(value)


@main.command(epilog=EXAMPLES)
@click.argument("directory", metavar="[DIR]", required=False)
@_settings_options
def serve(directory: str | None, **options: Any) -> None:
    """Serve DIR (default: the current directory) until Ctrl-C.

    Each option can also be given as an environment variable (--chunk-size as FILESERVE_CHUNK_SIZE, DIR as
    FILESERVE_ROOT; an option whose variable has another name says so) or in fileserve.toml in the current directory
    (chunk_size = "1MiB"). The command line counts first, then the environment, then the file.
    """
    from fileserve.greeting import greet
    from fileserve.server import run

    given = {name: value for name, value in {"root": directory, **options}.items() if value not in (None, ())}
    try:
        settings = load_settings(**given)
        run.check_certificate(settings)
        listeners = run.listen(settings)
        run.check_exposure(settings, listeners)
        _check_sessions(settings)
    except (SettingsError, run.CannotListen) as error:
        _refuse(str(error))
    scheme = "https" if settings.ssl_certfile else "http"
    url = run.url_of(listeners[0], scheme, settings.root_path)
    made = "" if settings.operator_token else secrets.token_urlsafe(TOKEN_BYTES)
    greet(settings, url, made)
    settings = settings.model_copy(update={"operator_token": settings.operator_token or made})
    try:
        run.run(settings, listeners)
    except run.StartFailed as error:
        log.critical("%s", error)
        sys.exit(1)


def _check_sessions(settings: Settings) -> None:
    if settings.upload and settings.workers > 1:
        from fileserve.web.stores import check_sessions

        check_sessions(settings)


@main.command("hash-password")
@click.argument("name", metavar="[NAME]", required=False)
def hash_password_of(name: str | None) -> None:
    """Print the hash of a password, for --auth; with NAME, as NAME:HASH.

    The password is asked for, or read from the first line of what is piped in.
    """
    from fileserve.web.credentials import hash_password

    if name and (":" in name or any(map(str.isspace, name))):
        _refuse(f"a name has no colon and no space (it is {name!r})")
    password = (
        click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        if sys.stdin.isatty()
        else sys.stdin.readline().rstrip("\n")
    )
    if not password:
        _refuse("an empty password is none")
    click.echo(f"{name}:{hash_password(password)}" if name else hash_password(password))


@main.command("check-proxy")
@click.argument("url", metavar="URL")
@click.option("--path", metavar="PATH", help="A file to check with, below /download/; without it, one at the top.")
@click.option("--token", envvar="FILESERVE_TOKEN", help="Bearer token of a private site; the environment hides it.")
@click.option("--user", metavar="NAME[:PASSWORD]", help="Name for a private site; a missing password is asked for.")
@click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), help="Certificates to trust, PEM.")
@click.option("--idle", default=65, show_default=True, type=click.IntRange(0, 120), help="Seconds of silence to try.")
@click.option("--timeout", default=10, show_default=True, type=click.IntRange(1, 600), help="Seconds for an answer.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def check_proxy(url: str, as_json: bool, **options: Any) -> None:
    """Ask the running site at URL whether the proxy in front of it passes on what it should.

    It says for each question what was found, and which directive of nginx mends a fault. The status is 0 where all
    was asked and is right; 1 where there is a fault; 2 where nothing could be asked; 3 where no fault was found, but
    some question could not be asked, and the reason says what to do. What --idle 0 leaves out does not count.
    """
    from fileserve.checkproxy import client, report, running

    try:
        results = running.run_checks(_site_to_check(url, **options))
    except client.NotAskable as error:
        _refuse(f"{url}: {error}")
    wait = f", and waits through {options['idle']} s of silence (--idle 0 does not)" if options["idle"] else ""
    click.echo(f"This fetches 64 MiB{wait}.", err=True)
    seen = []
    for result in results:
        seen.append(result)
        if not as_json:
            click.echo(report.line(result))
    if as_json:
        click.echo(report.document(url, seen))
    sys.exit(_status_of([result.verdict.value for result in seen]))


def _status_of(verdicts: list[str]) -> int:
    unasked = verdicts.count("not checked")
    if unasked:
        click.echo(f"fileserve: {unasked} of {len(verdicts)} questions could not be asked; they say why.", err=True)
    return 1 if "fault" in verdicts else NOT_ALL_CHECKED if unasked else 0


def _site_to_check(
    url: str, path: str | None, token: str | None, user: str | None, ca_file: str | None, idle: int, timeout: int
) -> Any:
    from fileserve.checkproxy import client, running, site

    if token and user:
        raise click.UsageError("--token or --user, not both")
    authorization = client.bearer(token) if token else ""
    if user:
        name, colon, password = user.partition(":")
        authorization = client.basic(name, password if colon else click.prompt("Password", hide_input=True, err=True))
    asked = client.Client(url, authorization, timeout, ca_file)
    running.expect_fileserve(asked)
    return site.Site(asked, path and site.written(path), idle)


def _refuse(reason: str) -> NoReturn:
    click.echo(f"fileserve: {reason}", err=True)
    sys.exit(USAGE_ERROR)
