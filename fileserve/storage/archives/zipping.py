"""The zip layout: stored members, with zip64 where needed (PKWARE APPNOTE 6.3.10 §4.3-§4.5).

A file that is not empty has flag bit 3: its CRC-32 stands behind its content in a data descriptor (§4.3.9), and in the
central directory, so everything before can be sent without it, and no length depends on it. Directories, links and
empty files need no reading, and say it all in their header. Beside the DOS time, in UTC, each member has its mtime
in seconds in the "UT" field and owner and group 0 in "ux" (Info-ZIP's extra fields), and its mode as Unix has it.

Policy: a zip64 field stands where a size or an offset reaches 2^32 - 1 or there are 65,535 members, and nowhere else:
old programs read the rest.

Left out: compression. Lengths would not be known, and large files rarely shrink.
"""

from __future__ import annotations  # array[int] is a type for the checker alone until Python 3.12

import hashlib
import stat
import struct
import time
import zlib
from array import array
from typing import ClassVar

from fileserve.storage.archives.tree import Tree
from fileserve.storage.names import MAX_COMPONENT

__all__ = ["ZipLayout", "zip_name"]

WIDE = 0xFFFFFFFF
WIDE_COUNT = 0xFFFF
NS = 1_000_000_000

_UTF8, _DESCRIPTOR = 1 << 11, 1 << 3
_UNIX = 3 << 8
_OLD, _ZIP64 = 20, 45  # the version that is needed to read it (§4.4.3.2)
_MIN_S, _MAX_S = 315_532_800, 4_354_819_198  # 1980-01-01 and 2107-12-31 23:59:58, what a DOS time can say

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_OWNER = struct.pack("<2H2BLBL", 0x7875, 11, 1, 4, 0, 4, 0)


def zip_name(path: bytes) -> bytes:
    """Return *path* as UTF-8, which is all that a zip can name.

    Policy: each byte that is no UTF-8 becomes U+FFFD and two hexadecimal digits, and so do the bytes of a real U+FFFD:
    two names never become one. A component that grows beyond what file systems take is cut, and ends in a digest.
    """
    try:
        text = path.decode()
    except UnicodeDecodeError:
        text = path.decode("utf-8", "surrogateescape")
    else:
        if "\ufffd" not in text:
            return path
    marked = text.replace("\ufffd", "\udcef\udcbf\udcbd")
    shown = "".join(f"\ufffd{ord(sign) - 0xDC00:02X}" if "\udc80" <= sign <= "\udcff" else sign for sign in marked)
    return b"/".join(map(_fitted, shown.encode().split(b"/")))


def _fitted(component: bytes) -> bytes:
    if len(component) <= MAX_COMPONENT:
        return component
    digest = hashlib.sha256(component).hexdigest()[:16].encode()
    beginning = component[: MAX_COMPONENT - len(digest) - 1].decode("utf-8", "ignore").encode()
    return beginning + b"~" + digest


class ZipLayout:
    """A block for each member, one for each entry of the central directory, and one for the records of the end."""

    has_crcs: ClassVar[bool] = True
    __slots__ = ("starts", "tree")

    def __init__(self, tree: Tree) -> None:
        count = len(tree)
        self.tree = tree
        self.starts = array("Q", bytes(8 * (2 * count + 2)))
        lengths = self._place_members()
        at = self.starts[count]
        for member in range(count):
            self.starts[count + member] = at
            at += _CENTRAL.size + lengths[member] + len(self._wide_fields(member))
        self.starts[2 * count] = at
        self.starts[2 * count + 1] = at + len(self._end())

    def head(self, block: int) -> bytes:
        """Return a member's local header (§4.3.7), with a link's target behind it; nothing for other blocks."""
        if block >= len(self.tree):
            return b""
        name, size, target = self._name(block), self.tree.statuses.sizes[block], self.tree.links.targets.get(block)
        extra = _time_field(self.tree.statuses.mtimes_ns[block]) + _OWNER
        flags, crc32, shown = _UTF8, zlib.crc32(target or b""), size
        if self.content_of(block) is not None:
            flags, shown = flags | _DESCRIPTOR, 0
            if size >= WIDE:
                shown, extra = WIDE, struct.pack("<2H2Q", 1, 16, 0, 0) + extra
        version = _ZIP64 if size >= WIDE else _OLD
        when = _dos_time(self.tree.statuses.mtimes_ns[block])
        header = _LOCAL.pack(b"PK\3\4", version, flags, 0, *when, crc32, shown, shown, len(name), len(extra))
        return header + name + extra + (target or b"")

    def content_of(self, block: int) -> int | None:
        """Return the member itself, if it is a file that is not empty."""
        is_filled = block < len(self.tree) and self.tree.is_file(block) and self.tree.statuses.sizes[block]
        return block if is_filled else None

    def crc_of(self, block: int) -> int | None:
        """Return the member that a data descriptor or an entry of the central directory is about."""
        count = len(self.tree)
        return self.content_of(block if block < count else block - count) if block < 2 * count else None

    def foot(self, block: int, crc32: int) -> bytes:
        """Return a data descriptor (§4.3.9), an entry of the central directory (§4.3.12) or the records of the end."""
        count = len(self.tree)
        if block == 2 * count:
            return self._end()
        if block >= count:
            return self._entry(block - count, crc32)
        if self.content_of(block) is None:
            return b""
        size = self.tree.statuses.sizes[block]
        return struct.pack("<4sL2Q" if size >= WIDE else "<4s3L", b"PK\7\x08", crc32, size, size)

    def _entry(self, member: int, crc32: int) -> bytes:
        name, of = self._name(member), self.tree.statuses
        size, offset, mode = of.sizes[member], self.starts[member], of.modes[member]
        target = self.tree.links.targets.get(member)
        wide = self._wide_fields(member)
        extra = wide + _time_field(of.mtimes_ns[member]) + _OWNER
        needed = _ZIP64 if wide else _OLD
        flags = _UTF8 if self.content_of(member) is None else _UTF8 | _DESCRIPTOR
        attributes = (stat.S_IFMT(mode) | stat.S_IMODE(mode) & 0o777) << 16 | (0x10 if stat.S_ISDIR(mode) else 0)
        sums = (crc32 if target is None else zlib.crc32(target), min(size, WIDE), min(size, WIDE))
        when, lengths = _dos_time(of.mtimes_ns[member]), (len(name), len(extra), 0)
        versions = (_UNIX | _ZIP64, needed)
        fixed = (*versions, flags, 0, *when, *sums, *lengths, 0, 0, attributes, min(offset, WIDE))
        return _CENTRAL.pack(b"PK\1\2", *fixed) + name + extra

    def _wide_fields(self, member: int) -> bytes:
        """Return the zip64 field (§4.5.3) of a member's entry: only what does not fit, sizes before the offset."""
        size, offset = self.tree.statuses.sizes[member], self.starts[member]
        values = ([size, size] if size >= WIDE else []) + ([offset] if offset >= WIDE else [])
        return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values) if values else b""

    def _end(self) -> bytes:
        """Return the end of central directory record (§4.3.16), with the zip64 ones before it where needed."""
        count = len(self.tree)
        offset, end = self.starts[count], self.starts[2 * count]
        size = end - offset
        shown = min(count, WIDE_COUNT)
        record = _END.pack(b"PK\5\6", 0, 0, shown, shown, min(size, WIDE), min(offset, WIDE), 0)
        if count < WIDE_COUNT and size < WIDE and offset < WIDE:
            return record
        versions = (_UNIX | _ZIP64, _ZIP64)
        end64 = _END64.pack(b"PK\6\6", _END64.size - 12, *versions, 0, 0, count, count, size, offset)
        return end64 + _LOCATOR.pack(b"PK\6\7", 0, end, 1) + record

    def _name(self, member: int) -> bytes:
        return zip_name(self.tree.archived_path(member))

    def _place_members(self) -> array[int]:
        """Set where each member begins and where the last one ends; return the lengths of names and extra fields."""
        tree, starts, lengths = self.tree, self.starts, array("I")
        modes, sizes = tree.statuses.modes, tree.statuses.sizes
        at = 0
        for member, (path, mtime_ns) in enumerate(zip(tree.archived_paths(), tree.statuses.mtimes_ns, strict=True)):
            starts[member] = at
            name_length = len(path) if path.isascii() else len(zip_name(path))
            lengths.append(name_length + (24 if _has_time_field(mtime_ns) else 15))
            size = sizes[member]
            at += _LOCAL.size + lengths[member] + size
            if stat.S_ISREG(modes[member]) and size:
                at += 16 if size < WIDE else 24 + 20
        starts[len(tree)] = at
        return lengths


def _has_time_field(mtime_ns: int) -> bool:
    return -(1 << 31) <= mtime_ns // NS < 1 << 31


def _time_field(mtime_ns: int) -> bytes:
    """Return the extended timestamp (0x5455) with the mtime alone; nothing where 32 bits do not hold it."""
    return struct.pack("<2HBl", 0x5455, 5, 1, mtime_ns // NS) if _has_time_field(mtime_ns) else b""


def _dos_time(mtime_ns: int) -> tuple[int, int]:
    """Return the DOS time and date (§4.4.6), in UTC: two-second steps from 1980 to 2107."""
    at = time.gmtime(min(max(mtime_ns // NS, _MIN_S), _MAX_S))
    return at.tm_hour << 11 | at.tm_min << 5 | at.tm_sec // 2, at.tm_year - 1980 << 9 | at.tm_mon << 5 | at.tm_mday
