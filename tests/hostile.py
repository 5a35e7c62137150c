"""Hostile names, one list for every route that takes a name: downloads, uploads, archives, forms.

Each value is a percent-encoded path as it stands in a request target behind the route's prefix; each key is the
test's id. Who uses the list puts ``SECRET`` into the file ``SECRET_PATH`` beside the served root, and shows that it
is neither read nor written.

``MALFORMED`` names nothing, whatever exists. ``STRANGE`` is well-formed and names only itself: a file of that very
name beneath the root, where the file system can have one. Sources: RFC 3986 §2.1 and §3.3, the shapes of dotdotpwn,
CVE-2021-41773 (encoded dots), CVE-2023-29159 (sibling with the root's prefix).
"""

from collections.abc import Mapping

SECRET = b"content from outside of the root\n"
SECRET_PATH = "outside/secret.txt"

_CLIMBING = {"dots": b"..", "encoded_dots": b"%2e%2E", "half_encoded_dots": b".%2e"}
_LITERAL = {
    "dots_encoded_twice": b"%252e%252e",
    "overlong_utf8_dots": b"%c0%ae%c0%ae",
    "fullwidth_dots": b"%ef%bc%8e%ef%bc%8e",
    "four_dots": b"....",
    "dots_semicolon": b"..;",
    "dots_space": b"..%20",
}
_JOINED = {
    "slash_encoded_twice": b"%252f",
    "backslash": b"\\",
    "encoded_backslash": b"%5C",
    "overlong_utf8_slash": b"%c0%af",
}


def _climbs(dots: Mapping[str, bytes], slashes: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the secret's path from one and from three directories further down, in each way of writing it."""
    return {
        f"{by}-{over}-{depth}": (dots[by] + slashes[over]) * depth + SECRET_PATH.encode()
        for by in dots
        for over in slashes
        for depth in (1, 3)
    }


MALFORMED: Mapping[str, bytes] = {
    **_climbs(_CLIMBING, {"slash": b"/", "encoded_slash": b"%2f", "two_slashes": b"//"}),
    **_climbs(_LITERAL, {"encoded_slash": b"%2F"}),
    "climb_after_a_directory": b"directory/../../outside/secret.txt",
    "climb_and_return": b"../served/plain.txt",
    "only_dots": b"..",
    "only_dot": b".",
    "dot_component": b"directory/./inner.txt",
    "dots_at_the_end": b"directory/..",
    "absolute": b"/etc/passwd",
    "absolute_encoded": b"%2fetc%2fpasswd",
    "absolute_two_slashes": b"//etc/passwd",
    "slash_within_a_component": b"directory%2finner.txt",
    "doubled_slash": b"directory//inner.txt",
    "doubled_slash_at_the_end": b"plain.txt//",
    "only_a_slash": b"/",
    "nul": b"%00",
    "nul_after_a_name": b"plain.txt%00",
    "nul_before_an_ending": b"plain.txt%00.jpg",
    "nul_then_climb": b"plain.txt%00/../../outside/secret.txt",
    "percent_alone": b"%",
    "percent_at_the_end": b"plain.txt%",
    "escape_of_one_digit": b"plain.txt%2",
    "escape_of_no_digits": b"%zzplain.txt",
    "escape_with_a_sign": b"%+2plain.txt",
    "escape_of_other_digits": "%\N{FULLWIDTH DIGIT TWO}\N{FULLWIDTH DIGIT ZERO}".encode(),
    "percent_u": b"%u002e%u002e/outside/secret.txt",
    "component_of_264_bytes": b"x" * 264,
    "component_of_264_encoded_bytes": b"%78" * 264,
    "component_of_60000_bytes": b"x" * 60_000,
    "path_of_4104_bytes": b"d/" * 2051 + b"dd",
    "path_of_60000_bytes": b"d/" * 30_000 + b"d",
}

STRANGE: Mapping[str, bytes] = {
    **_climbs(_LITERAL, {"slash": b"/", **_JOINED}),
    **_climbs(_CLIMBING, _JOINED),
    "three_dots": b".../outside/secret.txt",
    "drive_letter": b"C:%5Cwindows%5Cwin.ini",
    "unc_path": b"%5C%5Chost%5Cshare",
    "file_url": b"file:%20",
    "device_of_windows": b"NUL",
    "alternate_stream": b"plain.txt::$DATA",
    "tilde": b"~root",
    "shell": b"$(id)%60id%60;id%7Cid",
    "format": b"%25s%25n%7B0%7D",
    "markup": b"%3Cscript%3Ealert(1)%3E",
    "header_split": b"x%0d%0aSet-Cookie:%20a=b",
    "line_feed": b"plain.txt%0a",
    "space_at_the_end": b"plain.txt%20",
    "dot_at_the_end": b"plain.txt.",
    "plus_is_no_space": b"with+space.bin",
    "no_utf8": b"%ff%fe%80",
    "bidi_override": b"%e2%80%aetxt.exe",
    "component_of_255_bytes": b"y" * 255,
    "deep": b"d/" * 2047 + b"d",
}

HOSTILE: Mapping[str, bytes] = {**MALFORMED, **STRANGE}
