"""A served root full of awkward names and links, both ways to resolve a name, and a watch on descriptors."""

import gc
import os
import resource
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from fileserve.storage.names import Name
from fileserve.storage.root import Root
from tests.hostile import SECRET, SECRET_PATH

OpenRoot = Callable[..., Root]
MakeLink = Callable[[Path, str], None]

#: Regular files that are served; each one's content is its own name.
AWKWARD = {
    "plain": b"plain.txt",
    "spaces": b" with  spaces .bin",
    "quotes": b"quote \" apostrophe ' backtick `",
    "newline": b"new\nline",
    "carriage_return": b"carriage\rreturn\n",
    "control_characters": b"tab\tescape\x1bdelete\x7f",
    "emoji": "emoji \N{GRINNING FACE}".encode(),
    "decomposed": "cafe\N{COMBINING ACUTE ACCENT}".encode(),
    "composed": "caf\N{LATIN SMALL LETTER E WITH ACUTE}".encode(),
    "backslash": b"back\\slash",
    "no_utf8": b"latin-1 \xe9\xff",
    "escape_as_text": b"percent%2e%2e%2f%zz",
    "url_signs": b"a?b#c&d=e;f:g@h",
    "option": b"--option",
    "tilde": b"~tilde",
    "markup": b"<img src=x>",
    "space_alone": b" ",
    "dot_at_the_end": b"end.",
    "255_bytes": b"x" * 255,
}


@dataclass(frozen=True)
class Served:
    """A directory to serve, and the one beside it with the secret."""

    path: Path
    outside: Path

    def write(self, name: bytes, content: bytes) -> None:
        path = os.path.join(os.fsencode(self.path), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)

    def link(self, name: str, target: str) -> None:
        (self.path / name).symlink_to(target)


@pytest.fixture(scope="session")
def served_root(tmp_path_factory: pytest.TempPathFactory, make_link: MakeLink) -> Served:
    """A directory to serve that no test changes."""
    return _make_served(tmp_path_factory.mktemp("storage"), make_link)


@pytest.fixture
def changing(tmp_path: Path, make_link: MakeLink) -> Served:
    """A directory to serve that the test may change."""
    return _make_served(tmp_path, make_link)


@pytest.fixture(scope="session")
def make_link(tmp_path_factory: pytest.TempPathFactory) -> MakeLink:
    """Make a symbolic link as one more name of an older one that leads to the same target.

    A new one costs an inode, and ext4 seeks it among all that were deleted in the last minutes, by hundreds of tests.
    """
    folder = tmp_path_factory.mktemp("links")
    made: dict[str, Path] = {}

    def make(path: Path, target: str) -> None:
        if target not in made:
            made[target] = folder / str(len(made))
            made[target].symlink_to(target)
        os.link(made[target], path, follow_symlinks=False)

    return make


def _make_served(tmp_path: Path, make_link: MakeLink) -> Served:
    served = Served(tmp_path / "served", tmp_path / "outside")
    served.path.mkdir()
    served.outside.mkdir()
    (tmp_path / "served-sibling").mkdir()
    (tmp_path / SECRET_PATH).write_bytes(SECRET)
    (tmp_path / "served-sibling" / "secret.txt").write_bytes(SECRET)
    for name in AWKWARD.values():
        served.write(name, name)
    served.write(b"directory/inner.txt", b"inner")
    served.write(b"directory/deeper/innermost.txt", b"innermost")
    served.write(b".hidden", b"hidden")
    served.write(b".git/config", b"config")
    served.write(b"directory/.env", b"env")
    _add_links(served, make_link)
    _add_irregular(served)
    return served


def _add_links(served: Served, make_link: MakeLink) -> None:
    for name, target in {
        "link": "plain.txt",
        "link-chain": "directory/link-back",
        "directory/link-back": "../link",
        "link-directory": "directory",
        "link-through-directory": "link-directory/deeper/../inner.txt",
        "link-dots": "./directory/./deeper/../../plain.txt",
        "link-slashes": "directory//deeper///innermost.txt",
        "link-hidden": ".git/config",
        "link-root": ".",
        "link-parent-of-directory": "directory/..",
        "link-slash-at-file": "plain.txt/",
        "link-slash-at-directory": "directory/",
        "link-dangling": "missing",
        "link-dangling-deep": "directory/missing/file",
        "link-through-file": "plain.txt/file",
        "out": "../outside/secret.txt",
        "out-directory": "../outside",
        "out-and-back": "../served/plain.txt",
        "out-dangling": "../nothing",
        "out-parent": "..",
        "out-slash": "/",
        "out-through-link": "link-directory/../../outside/secret.txt",
        "magic": "/proc/self/root/etc/passwd",
        "magic-directory": "/proc/self/cwd",
        "loop": "loop",
        "loop-a": "loop-b",
        "loop-b": "loop-a",
        "fifo-link": "fifo",
        "chain-40": "plain.txt",
    }.items():
        make_link(served.path / name, target)
    for name, target in {
        "link-absolute": f"{served.path}/directory/inner.txt",
        "link-absolute-dots": f"/.{served.path}/./directory/..//plain.txt",
        "link-root-absolute": f"{served.path}",
        "out-absolute": f"{served.outside}/secret.txt",
        "out-directory-absolute": f"{served.outside}",
        "out-sibling": f"{served.path}-sibling/secret.txt",
        "out-from-within": f"{served.path}/../outside/secret.txt",
    }.items():
        served.link(name, target)
    for number in reversed(range(40)):  # chain-N leads to plain.txt over 41 - N links
        make_link(served.path / f"chain-{number}", f"chain-{number + 1}")


def _add_irregular(served: Served) -> None:
    os.mkfifo(served.path / "fifo")
    with socket.socket(socket.AF_UNIX) as bound, chdir(served.path):
        bound.bind("socket")  # relative: the path of a socket is limited to some 100 bytes
    with suppress(PermissionError):  # only root may
        os.mknod(served.path / "device", stat.S_IFCHR | 0o666, os.makedev(1, 5))


@pytest.fixture(params=["cached", "pool", "walker"])
def way(request: pytest.FixtureRequest) -> str:
    """How names are resolved: openat2 on the event loop's thread, openat2 in the pool, or the walker."""
    return str(request.param)


@pytest.fixture
def open_root(way: str) -> Iterator[OpenRoot]:
    """Open roots that resolve names in one *way*; they are closed at the end."""
    roots: list[Root] = []

    def open_one(path: Path, *, hidden: bool = False) -> Root:
        root = Root(path, hidden=hidden, resolver="walker" if way == "walker" else "auto")
        roots.append(root)
        if way != "walker" and not root.uses_openat2:
            pytest.skip("openat2 does not work here")
        if way == "cached" and not root.uses_cached:
            pytest.skip("this kernel does not know RESOLVE_CACHED")
        root.uses_cached = way == "cached"
        return root

    yield open_one
    for root in roots:
        root.close()


@pytest.fixture
def plain_root() -> Iterator[OpenRoot]:
    """Open roots that resolve names in whatever way is best here, for tests to which it makes no difference."""
    roots: list[Root] = []

    def open_one(path: Path, *, hidden: bool = False) -> Root:
        roots.append(Root(path, hidden=hidden))
        return roots[-1]

    yield open_one
    for root in roots:
        root.close()


@pytest.fixture
def root(served_root: Served, open_root: OpenRoot) -> Root:
    return open_root(served_root.path)


@pytest.fixture
def changing_root(changing: Served, open_root: OpenRoot) -> Root:
    return open_root(changing.path)


@pytest.fixture(autouse=True)
def descriptors_are_as_before() -> Iterator[None]:
    """Nothing new stays open. What other tests have left open in this process may be closed meanwhile."""
    before = _descriptors()
    yield
    if not _descriptors().items() <= before.items():
        gc.collect()
    assert _descriptors().items() <= before.items()


def _descriptors() -> dict[str, str]:
    """Return what each descriptor of this process leads to."""
    found = {}
    for number in os.listdir("/dev/fd"):
        with suppress(OSError):  # the one that lists them
            found[number] = os.readlink(f"/dev/fd/{number}")
    return found


@contextmanager
def no_descriptors_left(*, but: int = 0) -> Iterator[None]:
    """Let every open of the block fail with EMFILE, after the first few."""
    free = [os.open(os.devnull, os.O_RDONLY) for _ in range(but + 1)]
    for fd in free:
        os.close(fd)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1], hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def unprivileged() -> Iterator[None]:
    """Run the block as somebody whom permissions bind."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


async def content(root: Root, name: Name) -> bytes:
    """Return what the file *name* begins with, by a reader that is closed again."""
    opened = await root.open(name)
    try:
        return await opened.read(0, 1000)
    finally:
        opened.close()
