"""Header fields: the raw pairs of a message become one value for each field name.

Implements RFC 9110 §5.1 (names are case-insensitive), §5.3 (order and combination) and §5.5 (values).

Strategy: every field is combined as if it were a list. A field that must not be repeated (Range, If-Range, a date)
then has a value that its own grammar refuses, and is treated as any other invalid value of it: a repeated
singleton needs no rule of its own.

Leaves out: Cookie and Set-Cookie, whose values do not combine with commas, and the grammar of each value.
"""

from collections.abc import Iterable

__all__ = ["combine_fields"]


def combine_fields(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the field values by lower-case name, values of a repeated name joined with ``", "``.

    Bytes are decoded as Latin-1, so every byte is kept as one character; outer spaces and tabs are dropped. The time
    is linear in the bytes given, however often a name is repeated. RFC 9110 §5.3, §5.5.

    >>> combine_fields([(b"If-None-Match", b' "a"'), (b"if-none-match", b'"b" ')])
    {'if-none-match': '"a", "b"'}
    """
    fields: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for raw_name, raw_value in raw:
        name = raw_name.lower().decode("latin-1")
        value = raw_value.strip(b" \t").decode("latin-1")
        if name in fields:
            repeated.setdefault(name, [fields[name]]).append(value)
        else:
            fields[name] = value
    for name, values in repeated.items():
        fields[name] = ", ".join(values)
    return fields
