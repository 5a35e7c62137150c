"""Every setting with its unit, once: option, environment variable, TOML key and ``--help`` all come from this table.

Order of precedence: command line, environment (``FILESERVE_PORT=9000``), ``fileserve.toml`` in the current directory
(``port = 9000``), default. A name that no setting has is an error in each of the three, never silence. A variable that
is empty counts for nothing, but where a server hands all settings on to its workers (``FILESERVE_COMPLETE``).

Longer than other modules, because it is one table; what its types accept beyond their names is in `values`. A field
that is left out of ``repr`` is a secret: no message shows its value.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ByteSize, Field, FilePath, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from fileserve.values import (
    AccelLocation,
    AccelLog,
    Accounts,
    BaseUrl,
    BearerToken,
    ExistingFiles,
    FieldValue,
    IndexFile,
    ModelName,
    PrivateReading,
    Proxies,
    Replacing,
    RootDirectory,
    RootPath,
    WritableFolders,
)

ENVIRONMENT_PREFIX = "FILESERVE_"
COMPLETE = f"{ENVIRONMENT_PREFIX}COMPLETE"  # set where the other variables are all there is to know
CONFIGURATION_FILE = "fileserve.toml"
KIB = 1024


class SettingsError(ValueError):
    """A setting that cannot be used. The text is one line that says which, where it came from and what would do."""


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
        extra="forbid",
        frozen=True,
        # Where a setting has an alias, that is its environment variable; everywhere else it goes by its name.
        populate_by_name=True,
        loc_by_alias=False,
    )

    root: RootDirectory = Field(Path("."), description="Directory to serve.")
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
    root_path: RootPath = Field("", description="Prefix under which a proxy publishes the site, for example /files.")
    hidden: bool = Field(False, description="Serve and list names that begin with a dot.")
    auth: Accounts = Field(
        (),
        repr=False,
        description="Name and password hash of somebody who may change files, from hash-password; may be repeated. "
        "Reading stays open to everybody without --private.",
    )
    token: BearerToken = Field(
        "",
        repr=False,
        description="Bearer token that gives the same rights; the environment keeps it from the list of processes.",
    )
    private: PrivateReading = Field(False, description="Ask for --auth or --token for reading, too.")
    upload: bool = Field(
        False, description="Take new files and directories; beyond loopback only with --auth or --token."
    )
    replace: Replacing = Field(False, description="Let uploads and moves take the place of files that exist.")
    delete: bool = Field(False, description="Let files and empty directories be deleted.")
    move: bool = Field(False, description="Let files and directories be moved and renamed.")
    writable: WritableFolders = Field(
        (), description="Folder below which alone anything may be changed; may be repeated. Without one, all."
    )
    upload_bytes: ByteSize = Field(ByteSize(0), description="Bytes of one uploaded file; more is 413; 0 is no limit.")
    form_bytes: ByteSize = Field(ByteSize(0), description="Bytes of one uploaded form; more is 413; 0 is no limit.")
    form_files: int = Field(
        1024,
        ge=1,
        description="Files of forms that a worker holds open at once, but no more than a quarter of its descriptors; "
        "more are answered 503, and more than 256 of one client 429.",
    )
    existing: ExistingFiles = Field(
        "refuse",
        description="What becomes of a form's file whose name is taken; the form's field existing counts more.",
    )
    upload_digests: bool = Field(True, description="Compute digests of uploads as they pass, or only when asked for.")
    uploads: int = Field(64, ge=1, description="Uploads taken at once by a worker; more are answered 503.")
    uploads_per_client: int = Field(
        8, ge=1, description="Uploads taken at once of one client, an IPv4 address or an IPv6 /64; more are 429."
    )
    upload_expiry: float = Field(
        86_400, gt=0, description="Seconds after its last bytes in which an upload through /uploads may go on."
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
    cache_control: FieldValue = Field(
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
    checksums_per_client: int = Field(
        2, ge=1, description="Files hashed at once for one client, an IPv4 address or an IPv6 /64; more are 503."
    )
    index: bool = Field(False, description="Hash all files in the background after the start, at low priority.")
    index_rate: Annotated[ByteSize, Field(ge=64 * KIB)] = Field(
        ByteSize(64 * KIB * KIB), description="Bytes per second that the background pass reads, at the most."
    )
    index_file: IndexFile = Field(
        None,
        description="Database of digests; without it one in the user's cache directory, else in each worker's memory.",
    )
    index_rows: int = Field(1_000_000, ge=100, description="Files whose digests are kept; the oldest are forgotten.")
    event_rows: int = Field(
        10_000,
        ge=100,
        description="Log records, and other events of each kind, that are kept; the oldest are forgotten.",
    )
    operator_token: BearerToken = Field(
        "",
        repr=False,
        description="What opens transfers, logs and /live; serve makes one where it is not set. "
        "The environment keeps it from the list of processes, a command line does not.",
    )
    resume_window: float = Field(
        60, gt=0, description="Seconds in which a download that was broken off may go on and still counts as the same."
    )
    chat: bool = Field(True, description="Answer questions about the files at /chat.")
    chat_base_url: BaseUrl = Field(
        "",
        validation_alias=_chat_variable("BASE_URL"),
        description="OpenAI-compatible server that answers, such as http://127.0.0.1:11434/v1; else a built-in one.",
    )
    chat_model: ModelName = Field(
        "", validation_alias=_chat_variable("MODEL"), validate_default=True, description="Model that is asked there."
    )
    chat_api_key: FieldValue = Field(
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
    connections_per_client: int = Field(
        0, ge=0, description="Connections at once of one client, an IPv4 address or an IPv6 /64; 0 is no limit."
    )
    transfers_per_client: int = Field(
        0, ge=0, description="Requests answered at once for one client, an IPv4 address or an IPv6 /64; 0 is no limit."
    )
    log_format: Literal["auto", "human", "json"] = Field(
        "auto",
        description="How standard error is written; auto: lines for people on a terminal, JSON elsewhere.",
    )
    access_log: bool = Field(
        False, description="Log each response: method, path, status, bytes, times, client, request id, user agent."
    )
    metrics_token: BearerToken = Field(
        "",
        repr=False,
        description="Bearer token for /metrics; without it only this machine may ask, and not through a proxy. "
        "The environment keeps it from the list of processes.",
    )
    trusted_proxies: Proxies = Field(
        "",
        description="Addresses and networks whose X-Forwarded-For, X-Forwarded-Proto and X-Request-ID count, separated "
        "by commas; unix: for --uds.",
    )
    accel_redirect: AccelLocation = Field(
        "",
        description="Location of nginx that sends files for this server, such as /_files/; nginx/fileserve-accel.conf "
        "has it. Only what a trusted proxy asks for is left to it.",
    )
    accel_log: AccelLog = Field(
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
        """Take arguments before the environment before the TOML file; a complete environment leaves nothing to that."""
        if COMPLETE in os.environ:
            return init_settings, EnvSettingsSource(settings_cls, env_ignore_empty=False)
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, CONFIGURATION_FILE)

    def to_environment(self) -> dict[str, str]:
        """Return these settings as a complete environment: how they reach a worker, which is a process of its own."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        given = {variable(name): _as_text(value) for name, value in values.items() if value is not None}
        return {COMPLETE: "1", **given}


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


def variable(name: str) -> str:
    """Return the environment variable of the setting *name*."""
    field = Settings.model_fields.get(name)
    alias = field.validation_alias if field else None
    return alias if isinstance(alias, str) else ENVIRONMENT_PREFIX + name.upper()


def _refuse_unknown_variables() -> None:
    known = {variable(name) for name in Settings.model_fields}
    for given in sorted(os.environ.keys() - {COMPLETE}):
        if given.startswith(ENVIRONMENT_PREFIX) and given not in known:
            raise SettingsError(f"{given}: there is no such setting{_suggest(given, known)}")


_SIZES = "write a number of bytes, such as 1000000, 64KiB or 1.5GB"


def _explain(detail: ErrorDetails, arguments: Mapping[str, object]) -> str:
    """Say in one line which setting cannot be used, as its source spells it, and why."""
    name = str(detail["loc"][0])
    if detail["type"] == "extra_forbidden":
        return f"{CONFIGURATION_FILE}: {name}: there is no such setting{_suggest(name, set(Settings.model_fields))}"
    if name in arguments:
        source = option(name)
    elif variable(name) in os.environ:
        source = variable(name)
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
