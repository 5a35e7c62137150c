"""What the values of settings have to be: the types that the table in `settings` names, each a type with its check.

A check returns the value, or raises ``ValueError`` with what would do. Those that take ``info`` look at settings that
stand before theirs in the table, and find nothing of one that was itself refused.
"""

import os
import re
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, DirectoryPath, ValidationInfo
from pydantic_settings import NoDecode

__all__ = [
    "AccelLocation",
    "AccelLog",
    "Accounts",
    "BaseUrl",
    "BearerToken",
    "ExistingFiles",
    "FieldValue",
    "IndexFile",
    "ModelName",
    "PrivateReading",
    "Proxies",
    "Replacing",
    "RootDirectory",
    "RootPath",
    "WritableFolders",
]

TOKEN_CHARACTERS = 16
SQLITE_MAGIC = b"SQLite format 3\0"
_ACCOUNT = re.compile(
    r"[^:\s]+:\$argon2(?:id|i|d)\$v=(?:16|19)\$m=([1-9][0-9]*),t=([1-9][0-9]*),p=([1-9][0-9]*)"
    r"\$([A-Za-z0-9+/]{11,})\$([A-Za-z0-9+/]{16,})"
)
_LOCATION = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+/")
# Policy: whoever guesses passwords has the server compare two at once, so no hash may ask for more.
_PASSWORD_KIB, _PASSWORD_PASSES, _PASSWORD_LANES = 1024 * 1024, 100, 64
OWN_PATHS = (
    *("api", "archive", "browse", "chat", "check-proxy", "checksum", "docs"),
    *("download", "events", "live", "sign-in", "ui", "upload", "uploads"),
)


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


RootDirectory = Annotated[DirectoryPath, AfterValidator(_check_root)]
RootPath = Annotated[str, AfterValidator(_check_root_path)]
Accounts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_auth)]
BearerToken = Annotated[str, AfterValidator(_check_bearer)]
PrivateReading = Annotated[bool, AfterValidator(_check_private)]
Replacing = Annotated[bool, AfterValidator(_check_replace)]
WritableFolders = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_lines), AfterValidator(_check_writable)]
ExistingFiles = Annotated[Literal["refuse", "rename", "replace"], AfterValidator(_check_existing)]
FieldValue = Annotated[str, AfterValidator(_check_field_value)]
IndexFile = Annotated[Path | None, AfterValidator(_check_index)]
BaseUrl = Annotated[str, AfterValidator(_check_base_url)]
ModelName = Annotated[str, AfterValidator(_check_model)]
Proxies = Annotated[str, AfterValidator(_check_proxies)]
AccelLocation = Annotated[str, AfterValidator(_check_accel)]
AccelLog = Annotated[Path | None, AfterValidator(_check_accel_log)]
