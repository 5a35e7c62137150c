"""Every setting with its unit, once: option, environment variable, TOML key and ``--help`` all come from this table.

Order of precedence: command line, environment (``FILESERVE_PORT=9000``), ``fileserve.toml`` in the current directory
(``port = 9000``), default. A name that no setting has is an error in each of the three, never silence.

Longer than other modules, because it is one table. A field that is left out of ``repr`` is a secret: no message shows
its value.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    DirectoryPath,
    Field,
    FilePath,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

ENVIRONMENT_PREFIX = "FILESERVE_"
CONFIGURATION_FILE = "fileserve.toml"
KIB = 1024
TOKEN_CHARACTERS = 16
SQLITE_MAGIC = b"SQLite format 3\0"
_ACCOUNT = re.compile(
    r"[^:\s]+:\$argon2(?:id|i|d)\$v=(?:16|19)\$m=([1-9][0-9]*),t=([1-9][0-9]*),p=([1-9][0-9]*)"
    r"\$([A-Za-z0-9+/]{11,})\$([A-Za-z0-9+/]{16,})"
)
_LOCATION = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+/")
# Policy: whoever guesses passwords has the server compare two at once, so no hash may ask for more.
_PASSWORD_KIB, _PASSWORD_PASSES, _PASSWORD_LANES = 1024 * KIB, 100, 64
OWN_PATHS = (
    *("api", "archive", "browse", "chat", "check-proxy", "checksum", "docs"),
    *("download", "events", "live", "sign-in", "ui", "upload", "uploads"),
)


class SettingsError(ValueError):
    """A setting that cannot be used. The text is one line that says which, where it came from and what would do."""


def _check_root_path(value: str) -> str:
    if value and (not value.startswith("/") or value.endswith("/")):
        raise ValueError("it begins with a slash and does not end with one, for example /files")
    if value.split("/")[1:2] and value.split("/")[1] in OWN_PATHS:
        raise ValueError("it begins like an address of fileserve's own; choose another")
    return value


def _check_field_value(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise ValueError("a field value is one line of printable ASCII")
    return value


def _check_root(value: Path) -> Path:
    if not os.access(value, os.X_OK):
        raise ValueError("the server may not enter this directory")
    return value


def _split(value: object) -> object:
    """Take several values from one text, as the environment has them: white space stands between them."""
    return tuple(value.split()) if isinstance(value, str) else value


def _split_lines(value: object) -> object:
    """Take several values from one text, each on a line of its own."""
    return tuple(value.splitlines()) if isinstance(value, str) else value


def _check_writable(values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    root = info.data.get("root")
    for value in values:
        if value.startswith("/") or not {"", ".", ".."}.isdisjoint(value.removesuffix("/").split("/")):
            raise ValueError("write the path of a folder below the served directory, such as incoming/photos")
        if root is not None and not (root / value).is_dir():
            raise ValueError(f"there is no folder {value} in the served directory; make it first")
    return values


def _check_auth(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        hashed = _ACCOUNT.fullmatch(value)
        if hashed is None or any(len(encoded) % 4 == 1 for encoded in hashed.groups()[3:]):
            raise ValueError("write NAME:HASH, as fileserve hash-password NAME prints it, in single quotes")
        kib, passes, lanes = map(int, hashed.groups()[:3])
        if not 8 * lanes <= kib <= _PASSWORD_KIB or passes > _PASSWORD_PASSES or lanes > _PASSWORD_LANES:
            raise ValueError("a hash asks for too much memory or time, or too little; make one with hash-password")
    names = [value.partition(":")[0] for value in values]
    if len(set(names)) < len(names):
        raise ValueError("a name stands there twice")
    return values


def _check_bearer(value: str) -> str:
    if value and (len(value) < TOKEN_CHARACTERS or not value.isascii() or not value.isprintable() or " " in value):
        raise ValueError(f"a token has {TOKEN_CHARACTERS} printable ASCII characters at least, and no space")
    return value


def _check_private(value: bool, info: ValidationInfo) -> bool:
    if value and not info.data.get("auth") and not info.data.get("token"):
        raise ValueError("nobody could read; --auth or --token says who may")
    return value


def _check_replace(value: bool, info: ValidationInfo) -> bool:
    if value and not info.data.get("upload"):
        raise ValueError("this goes with --upload")
    return value


def _check_existing(value: str, info: ValidationInfo) -> str:
    if value == "replace" and not info.data.get("replace"):
        raise ValueError("this goes with --replace")
    return value


def _check_proxies(value: str) -> str:
    for proxy in filter(None, value.split(",")):
        if proxy.strip() != "unix:":
            ip_network(proxy.strip(), strict=False)
    return value


def _check_accel(value: str, info: ValidationInfo) -> str:
    if value and (not _LOCATION.fullmatch(value) or value.split("/")[1] in OWN_PATHS):
        raise ValueError("it begins and ends with a slash, and like no address of fileserve's own: /_files/")
    if value and not info.data.get("trusted_proxies"):
        raise ValueError("this goes with --trusted-proxies, which says where that nginx is")
    return value


def _check_accel_log(value: Path | None, info: ValidationInfo) -> Path | None:
    if value is not None and not info.data.get("accel_redirect"):
        raise ValueError("this goes with --accel-redirect")
    return value


def _check_index(value: Path | None, info: ValidationInfo) -> Path | None:
    """Refuse what would be served, or is somebody's file."""
    if value is None:
        return None
    path, root = value.resolve(), info.data.get("root", Path("/nowhere"))
    if path.is_relative_to(root.resolve()):
        raise ValueError("it would be served; choose a place outside the served directory")
    if path.is_dir():
        raise ValueError("this is a directory; name a file in it")
    try:
        with path.open("rb") as file:
            beginning = file.read(len(SQLITE_MAGIC))
    except FileNotFoundError:
        return value
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None
    if beginning not in (b"", SQLITE_MAGIC):
        raise ValueError("this file is something else; choose another name")
    return value


def _check_base_url(value: str) -> str:
    """Refuse what nobody could be asked at, and an upstream where its client is missing."""
    if not value:
        return value
    parts = urlsplit(_check_field_value(value))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("it begins with http:// or https:// and a host, for example http://127.0.0.1:11434/v1")
    if parts.username is not None:
        raise ValueError("a name and password do not belong here; the key has a setting of its own")
    if find_spec("httpx2") is None:
        raise ValueError("this needs the extra llm: pip install 'fileserved[llm]'")
    return value.rstrip("/")


def _check_model(value: str, info: ValidationInfo) -> str:
    if not value and info.data.get("chat_base_url"):
        raise ValueError("an upstream is asked for a model by name; FILESERVE_CHAT__MODEL tells which")
    return value


def _chat_variable(name: str) -> str:
    return f"{ENVIRONMENT_PREFIX}CHAT__{name}"


class Settings(BaseSettings):
    """What a server is told before it starts. Frozen: a running server's settings do not change.

    Sizes are in bytes and may be written as ``64KiB`` or ``1MB``; durations are in seconds unless the name ends in
    ``_ms``.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_ignore_empty=True,
        toml_file=CONFIGURATION_FILE,
        extra="forbid",
        frozen=True,
        # Where a setting has an alias, that is its environment variable; everywhere else it goes by its name.
        populate_by_name=True,
        loc_by_alias=False,
    )

    root: Annotated[DirectoryPath, AfterValidator(_check_root)] = Field(Path("."), description="Directory to serve.")
    host: str = Field(
        "127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface by IPv4, :: by IPv6 and IPv4."
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    uds: Path | None = Field(None, description="Unix socket to listen on, instead of a port.")
    fd: int | None = Field(None, ge=0, description="Descriptor of a listening socket that was inherited, instead.")
    reuse_port: bool = Field(
        False, description="Let a second server listen on the same port, to take over from this one."
    )
    workers: int = Field(
        1, ge=1, le=256, description="Processes that serve the same port; SIGHUP renews two and more in turn."
    )
    supervise: bool = Field(
        False, description="Run a single worker under a supervisor as well, so that SIGHUP renews it, too."
    )
    root_path: Annotated[str, AfterValidator(_check_root_path)] = Field(
        "", description="Prefix under which a proxy publishes the site, for example /files."
    )
    hidden: bool = Field(False, description="Serve and list names that begin with a dot.")
    auth: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_auth)] = Field(
        (),
        repr=False,
        description="Name and password hash of somebody who may change files, from hash-password; may be repeated. "
        "Reading stays open to everybody without --private.",
    )
    token: Annotated[str, AfterValidator(_check_bearer)] = Field(
        "",
        repr=False,
        description="Bearer token that gives the same rights; the environment keeps it from the list of processes.",
    )
    private: Annotated[bool, AfterValidator(_check_private)] = Field(
        False, description="Ask for --auth or --token for reading, too."
    )
    upload: bool = Field(
        False, description="Take new files and directories; beyond loopback only with --auth or --token."
    )
    replace: Annotated[bool, AfterValidator(_check_replace)] = Field(
        False, description="Let uploads and moves take the place of files that exist."
    )
    delete: bool = Field(False, description="Let files and empty directories be deleted.")
    move: bool = Field(False, description="Let files and directories be moved and renamed.")
    writable: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_lines), AfterValidator(_check_writable)] = (
        Field((), description="Folder below which alone anything may be changed; may be repeated. Without one, all.")
    )
    upload_bytes: ByteSize = Field(ByteSize(0), description="Bytes of one uploaded file; more is 413; 0 is no limit.")
    form_bytes: ByteSize = Field(ByteSize(0), description="Bytes of one uploaded form; more is 413; 0 is no limit.")
    form_files: int = Field(
        1024,
        ge=1,
        description="Files of forms that a worker holds open at once, but no more than a quarter of its descriptors; "
        "more are answered 503, and more than 256 of one client 429.",
    )
    existing: Annotated[Literal["refuse", "rename", "replace"], AfterValidator(_check_existing)] = Field(
        "refuse",
        description="What becomes of a form's file whose name is taken; the form's field existing counts more.",
    )
    upload_digests: bool = Field(True, description="Compute digests of uploads as they pass, or only when asked for.")
    uploads: int = Field(64, ge=1, description="Uploads taken at once by a worker; more are answered 503.")
    uploads_per_client: int = Field(
        8, ge=1, description="Uploads taken at once of one client, an IPv4 address or an IPv6 /64; more are 429."
    )
    upload_expiry: float = Field(
        86_400, gt=0, description="Seconds after its last request in which an upload through /uploads may go on."
    )
    upload_sessions: int = Field(
        1000, ge=1, description="Uploads begun through /uploads and not ended, in all; more are answered 429."
    )
    upload_sessions_per_client: int = Field(100, ge=1, description="The same of one client; more are 429.")
    keep_free: ByteSize = Field(
        ByteSize(256 * KIB * KIB), description="Bytes of the disk that uploads leave free; an upload too large is 507."
    )
    etag: Literal["inode", "portable"] = Field(
        "inode",
        description="What entity tags are made of: inode, size and mtime; portable leaves the inode out, for replicas.",
    )
    weak_etag_ms: int = Field(
        20,
        ge=0,
        description="Milliseconds after a change in which entity tags are weak; more for network file systems.",
    )
    cache_control: Annotated[str, AfterValidator(_check_field_value)] = Field(
        "no-cache", description="Cache-Control of files; the default lets caches store and revalidate."
    )
    zero_copy: Literal["auto", "off"] = Field(
        "auto", description="Send files from the page cache by sendfile where that is possible, or never."
    )
    chunk_size: Annotated[ByteSize, Field(ge=4 * KIB, le=16 * KIB * KIB)] = Field(
        ByteSize(256 * KIB), description="Bytes of one read, at the most, where a file cannot be sent by zero-copy."
    )
    archive_members: int = Field(
        200_000, ge=1, description="Files and directories in one archive; a folder with more is refused."
    )
    archive_builds: int = Field(2, ge=1, le=64, description="Folders read at once for archives; others wait.")
    archive_cache: ByteSize = Field(
        ByteSize(64 * KIB * KIB), description="Memory for the tables of archives that were read before."
    )
    checksums: int = Field(2, ge=1, le=64, description="Files hashed at once; more are answered 503.")
    checksums_per_client: int = Field(2, ge=1, description="Files hashed at once for one address; more are 503.")
    index: bool = Field(False, description="Hash all files in the background after the start, at low priority.")
    index_rate: Annotated[ByteSize, Field(ge=64 * KIB)] = Field(
        ByteSize(64 * KIB * KIB), description="Bytes per second that the background pass reads, at the most."
    )
    index_file: Annotated[Path | None, AfterValidator(_check_index)] = Field(
        None,
        description="Database of digests; without it one in the user's cache directory, else in each worker's memory.",
    )
    index_rows: int = Field(1_000_000, ge=100, description="Files whose digests are kept; the oldest are forgotten.")
    event_rows: int = Field(
        10_000,
        ge=100,
        description="Log records, and other events of each kind, that are kept; the oldest are forgotten.",
    )
    operator_token: Annotated[str, AfterValidator(_check_bearer)] = Field(
        "",
        repr=False,
        description="What opens transfers, logs and /live; serve makes one where it is not set. "
        "The environment keeps it from the list of processes, a command line does not.",
    )
    resume_window: float = Field(
        60, gt=0, description="Seconds in which a download that was broken off may go on and still counts as the same."
    )
    chat: bool = Field(True, description="Answer questions about the files at /chat.")
    chat_base_url: Annotated[str, AfterValidator(_check_base_url)] = Field(
        "",
        validation_alias=_chat_variable("BASE_URL"),
        description="OpenAI-compatible server that answers, such as http://127.0.0.1:11434/v1; else a built-in one.",
    )
    chat_model: Annotated[str, AfterValidator(_check_model)] = Field(
        "", validation_alias=_chat_variable("MODEL"), validate_default=True, description="Model that is asked there."
    )
    chat_api_key: Annotated[str, AfterValidator(_check_field_value)] = Field(
        "",
        validation_alias=_chat_variable("API_KEY"),
        repr=False,
        description="Key for it; the environment keeps it from the list of processes, a command line does not.",
    )
    chat_bytes: Annotated[ByteSize, Field(ge=64, le=1024 * KIB)] = Field(
        ByteSize(8 * KIB), description="Bytes of a question's request; more is 413."
    )
    chat_answers: int = Field(8, ge=1, description="Questions answered at once by a worker; more are answered 503.")
    chat_tokens: int = Field(2000, ge=1, description="Tokens of an answer, at the most; it is cut there.")
    chat_timeout: float = Field(30, gt=0, description="Seconds to wait for an answer's next token.")
    ssl_certfile: FilePath | None = Field(None, description="Certificate chain, PEM; serves HTTPS.")
    ssl_keyfile: FilePath | None = Field(
        None, description="Key of the certificate, PEM, where the chain's file lacks it."
    )
    header_bytes: Annotated[ByteSize, Field(ge=1 * KIB, le=1024 * KIB)] = Field(
        ByteSize(64 * KIB), description="Bytes of a request's head; more is 431."
    )
    header_count: int = Field(100, ge=8, le=10_000, description="Fields of a request's head; more is 431.")
    head_timeout: float = Field(10, gt=0, description="Seconds for a whole request head to arrive; later is 408.")
    stall_timeout: float = Field(
        60, ge=0, description="Seconds without a byte taken by a client, after which it is cut off; 0 waits for ever."
    )
    content_rate: ByteSize = Field(
        ByteSize(256),
        description="Bytes per second that a client must send of an upload, on average over each stall timeout; "
        "slower is 408; 0 asks for one byte in that time.",
    )
    keep_alive: float = Field(5, ge=0, description="Seconds that a connection may idle between requests.")
    connections: int = Field(
        0, ge=0, description="Connections at once; more are answered 503; 0 takes what the descriptor limit allows."
    )
    connections_per_client: int = Field(0, ge=0, description="Connections at once from one address; 0 is no limit.")
    transfers_per_client: int = Field(0, ge=0, description="Requests answered at once for one address; 0 is no limit.")
    log_format: Literal["auto", "human", "json"] = Field(
        "auto",
        description="How standard error is written; auto: lines for people on a terminal, JSON elsewhere.",
    )
    access_log: bool = Field(
        False, description="Log each response: method, path, status, bytes, times, client, request id, user agent."
    )
    metrics_token: Annotated[str, AfterValidator(_check_bearer)] = Field(
        "",
        repr=False,
        description="Bearer token for /metrics; without it only this machine may ask, and not through a proxy. "
        "The environment keeps it from the list of processes.",
    )
    trusted_proxies: Annotated[str, AfterValidator(_check_proxies)] = Field(
        "",
        description="Addresses and networks whose X-Forwarded-For and X-Request-ID count, separated by commas; "
        "unix: for --uds.",
    )
    accel_redirect: Annotated[str, AfterValidator(_check_accel)] = Field(
        "",
        description="Location of nginx that sends files for this server, such as /_files/; nginx/fileserve-accel.conf "
        "has it. Only what a trusted proxy asks for is left to it.",
    )
    accel_log: Annotated[Path | None, AfterValidator(_check_accel_log)] = Field(
        None, description="Log of that nginx of what it has sent; from it transfers know how that has ended."
    )
    retry_after: int = Field(5, ge=0, description="Seconds that Retry-After asks for when a limit is reached.")
    drain_notice: float = Field(
        0, ge=0, description="Seconds after SIGTERM in which /readyz says 503 and new connections are still taken."
    )
    drain_timeout: float = Field(3600, ge=0, description="Seconds for downloads to finish after SIGTERM.")
    interrupt_timeout: float = Field(10, ge=0, description="Seconds for downloads to finish after Ctrl-C.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments before the environment before the TOML file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    def to_environment(self) -> dict[str, str]:
        """Return these settings as environment variables: how they reach a worker, which is a process of its own."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {_variable(name): _as_text(value) for name, value in values.items() if value is not None}


def load_settings(**arguments: object) -> Settings:
    """Return the settings from *arguments*, the environment, the TOML file and the defaults.

    Raises:
        SettingsError: a name is unknown or a value cannot be used.
    """
    _refuse_unknown_variables()
    try:
        return Settings(**arguments)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(detail, arguments) for detail in error.errors())) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{CONFIGURATION_FILE}: {error}") from None
    except OSError as error:
        raise SettingsError(f"{CONFIGURATION_FILE}: {error.strerror}") from None


def _as_text(value: object) -> str:
    return "\n".join(value) if isinstance(value, tuple) else str(value)


def option(name: str) -> str:
    """Return the command-line spelling of the setting *name*."""
    return "DIR" if name == "root" else "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    field = Settings.model_fields.get(name)
    alias = field.validation_alias if field else None
    return alias if isinstance(alias, str) else ENVIRONMENT_PREFIX + name.upper()


def _refuse_unknown_variables() -> None:
    known = {_variable(name) for name in Settings.model_fields}
    for variable in sorted(os.environ):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in known:
            raise SettingsError(f"{variable}: there is no such setting{_suggest(variable, known)}")


_SIZES = "write a number of bytes, such as 1000000, 64KiB or 1.5GB"


def _explain(detail: ErrorDetails, arguments: Mapping[str, object]) -> str:
    """Say in one line which setting cannot be used, as its source spells it, and why."""
    name = str(detail["loc"][0])
    if detail["type"] == "extra_forbidden":
        return f"{CONFIGURATION_FILE}: {name}: there is no such setting{_suggest(name, set(Settings.model_fields))}"
    if name in arguments:
        source = option(name)
    elif _variable(name) in os.environ:
        source = _variable(name)
    else:
        source = f"{CONFIGURATION_FILE}: {name}"
    message = _SIZES if detail["type"].startswith("byte_size") else detail["msg"].removeprefix("Value error, ")
    value = detail["input"]
    text = ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    given = f" (it is {text!r})" if Settings.model_fields[name].repr else ""
    return f"{source}: {message[:1].lower()}{message[1:]}{given}"


def _suggest(word: str, known: set[str]) -> str:
    near = difflib.get_close_matches(word, sorted(known), n=2)
    return f"; did you mean {' or '.join(near)}?" if near else ""
