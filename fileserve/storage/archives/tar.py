"""The tar layout: ustar headers, with pax records where those are too narrow (POSIX.1-2017, pax, "ustar" and "pax").

A member whose path or target is longer than 100 bytes or not ASCII, whose mtime is not a whole number of seconds from
1970 to 2242, or whose size reaches 8 GiB gets an extended header in front. The archive ends with two blocks of zeros
and is filled up to a record of 10,240 bytes, as GNU tar does.

Policy: a path that is not UTF-8 stands in the ustar header as it is, or, above 100 bytes, in a block of its own as GNU
tar writes it. Pax demands ``hdrcharset=BINARY`` for it, which GNU tar warns of, and bsdtar fails without it; these
two ways all of them read.

Policy: owner and group are 0 without names, and setuid, setgid and sticky bits are dropped: an archive from the net
must not make a program that runs as root.

Left out: ustar's prefix field, sparse files (holes are sent as zeros), hard links (each name is a file of its own).
"""

import stat
from array import array
from typing import ClassVar

from fileserve.storage.archives.tree import Tree

__all__ = ["TarLayout"]

BLOCK = 512
RECORD = 20 * BLOCK
NAME_FIELD = 100
WIDE_SIZE = 8 << 30  # what eleven octal digits do not hold
WIDE_TIME_S = 8 << 30
NS = 1_000_000_000

_TYPES = {stat.S_IFREG: b"0", stat.S_IFLNK: b"2", stat.S_IFDIR: b"5"}
_PAX_NAME = b"././@PaxHeader"  # under these names old programs see the extensions, as files
_GNU_NAME = b"././@LongLink"


class TarLayout:
    """One block for each member and one for the end."""

    has_crcs: ClassVar[bool] = False
    __slots__ = ("starts", "tree")

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.starts = array("Q", bytes(8 * (len(tree) + 2)))
        end = self._place_members()
        self.starts[-2] = end
        self.starts[-1] = _rounded(end + 2 * BLOCK, RECORD)

    def head(self, block: int) -> bytes:
        """Return the headers of a member; for the block behind the last one, zeros."""
        if block == len(self.tree):
            return bytes(self.starts[-1] - self.starts[-2])
        path, target = self.tree.archived_path(block), self.tree.links.targets.get(block, b"")
        status = self.tree.status(block)
        size = status.size if stat.S_ISREG(status.mode) else 0
        records = _records(path, target, size, status.mtime_ns)
        long = _long(b"L", path) + _long(b"K", target)
        kind = _TYPES[stat.S_IFMT(status.mode)]
        header = _header(path, target, stat.S_IMODE(status.mode) & 0o777, size, status.mtime_ns // NS, kind)
        return long + (_extension(_PAX_NAME, b"x", records) if records else b"") + header

    def content_of(self, block: int) -> int | None:
        """Return the member itself, if it is a file that is not empty."""
        is_filled = block < len(self.tree) and self.tree.is_file(block) and self.tree.statuses.sizes[block]
        return block if is_filled else None

    def crc_of(self, block: int) -> int | None:
        """Return ``None``: tar has no CRC-32."""
        return None

    def foot(self, block: int, crc32: int) -> bytes:
        """Return the zeros that fill up the last 512 bytes of a file."""
        content = self.content_of(block)
        return b"" if content is None else bytes(-self.tree.statuses.sizes[content] % BLOCK)

    def _place_members(self) -> int:
        """Set where each member begins, and return where the last one ends."""
        tree, starts = self.tree, self.starts
        modes, sizes = tree.statuses.modes, tree.statuses.sizes
        at = 0
        for member, (path, mtime_ns) in enumerate(zip(tree.archived_paths(), tree.statuses.mtimes_ns, strict=True)):
            starts[member] = at
            is_file = stat.S_ISREG(modes[member])
            is_plain = (is_file or path[-1:] == b"/") and len(path) <= NAME_FIELD and path.isascii()
            if is_plain and sizes[member] < WIDE_SIZE and 0 <= mtime_ns < WIDE_TIME_S * NS:
                at += 3 * BLOCK if mtime_ns % NS else BLOCK
            else:
                at += len(self.head(member))
            if is_file:
                at += _rounded(sizes[member], BLOCK)
        return at


def _records(path: bytes, target: bytes, size: int, mtime_ns: int) -> bytes:
    """Return the pax records for what a ustar header cannot say."""
    found = []
    for keyword, value in ((b"path", path), (b"linkpath", target)):
        if (len(value) > NAME_FIELD or not value.isascii()) and _is_utf8(value):
            found.append((keyword, value))
    if size >= WIDE_SIZE:
        found.append((b"size", b"%d" % size))
    if mtime_ns % NS or not 0 <= mtime_ns < WIDE_TIME_S * NS:
        found.append((b"mtime", _seconds(mtime_ns)))
    return b"".join(_record(keyword, value) for keyword, value in found)


def _long(kind: bytes, value: bytes) -> bytes:
    """Return GNU tar's block for a path (``L``) or a target (``K``) that neither ustar nor pax can hold, or nothing."""
    if len(value) <= NAME_FIELD or _is_utf8(value):
        return b""
    return _extension(_GNU_NAME, kind, value + b"\0")


def _extension(name: bytes, kind: bytes, content: bytes) -> bytes:
    return _header(name, b"", 0o644, len(content), 0, kind) + content + bytes(-len(content) % BLOCK)


def _record(keyword: bytes, value: bytes) -> bytes:
    """Return one record; the length at its beginning counts its own digits."""
    rest = b" %b=%b\n" % (keyword, value)
    length = len(rest) + 1
    while len(rest) + len(str(length)) != length:
        length = len(rest) + len(str(length))
    return b"%d%b" % (length, rest)


def _seconds(time_ns: int) -> bytes:
    seconds, ns = divmod(abs(time_ns), NS)
    return b"%b%d%b" % (b"-" if time_ns < 0 else b"", seconds, b".%09d" % ns if ns else b"")


def _header(path: bytes, target: bytes, permissions: int, size: int, mtime_s: int, kind: bytes) -> bytes:
    """Return a ustar header; what does not fit is cut, and stands in the records before it."""
    fields = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0        %b%b" % (
        path[:NAME_FIELD].ljust(NAME_FIELD, b"\0"),
        permissions,
        0,
        0,
        size if size < WIDE_SIZE else 0,
        min(max(mtime_s, 0), WIDE_TIME_S - 1),
        kind,
        target[:NAME_FIELD].ljust(NAME_FIELD, b"\0"),
    )
    header = (fields + b"ustar\x0000").ljust(BLOCK, b"\0")
    return b"%b%06o\0 %b" % (header[:148], sum(header), header[156:])


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _rounded(size: int, unit: int) -> int:
    return -(-size // unit) * unit
