"""The Metalink document: RFC 5854 §4, read back by an XML parser."""

import hashlib
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve.semantics.metalink import metalink

NAMESPACE = {"m": "urn:ietf:params:xml:ns:metalink"}
DIGEST = hashlib.sha256(b"content").digest()


def read(document: bytes) -> ElementTree.Element:
    """Return the one file of the document."""
    root = ElementTree.fromstring(document)
    assert root.tag == "{urn:ietf:params:xml:ns:metalink}metalink"
    (file,) = root
    return file


def name_of(name: str) -> str | None:
    return read(metalink(name, 0, DIGEST, 1, (), "http://host/")).get("name")


def test_a_file_is_described() -> None:
    pieces = [hashlib.sha256(piece).digest() for piece in (b"con", b"tent")]
    file = read(metalink("a.bin", 7, DIGEST, 4, pieces, "http://host/download/a.bin"))
    assert file.get("name") == "a.bin"
    assert file.findtext("m:size", namespaces=NAMESPACE) == "7"
    assert file.findtext("m:url", namespaces=NAMESPACE) == "http://host/download/a.bin"
    assert [(found.get("type"), found.text) for found in file.findall("m:hash", NAMESPACE)] == [
        ("sha-256", DIGEST.hex())
    ]
    (table,) = file.findall("m:pieces", NAMESPACE)
    assert (table.get("length"), table.get("type")) == ("4", "sha-256")
    assert [found.text for found in table] == [piece.hex() for piece in pieces]


def test_an_empty_file_has_no_pieces() -> None:
    """RFC 5854 §4.1.3: a pieces element holds at least one hash."""
    assert read(metalink("a", 0, DIGEST, 1, (), "http://host/a")).find("m:pieces", NAMESPACE) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("""<a> & "b" 'c'""", """<a> & "b" 'c'""", id="markup"),
        pytest.param(" a  b ", " a  b ", id="spaces_stay_xml_3_3_3"),
        pytest.param("a\x00\x1bb", "a\ufffd\ufffdb", id="control_characters_xml_2_2"),
        pytest.param("a\t\n\r\x7fb", "a" + "\ufffd" * 4 + "b", id="control_characters_that_aria2_refuses"),
        pytest.param("a\udcffb", "a\ufffdb", id="a_byte_that_is_no_utf8"),
        pytest.param("a\ufffe\uffff", "a\ufffd\ufffd", id="noncharacters_xml_2_2"),
        pytest.param("\N{GRINNING FACE} é", "\N{GRINNING FACE} é", id="beyond_ascii"),
        pytest.param("../../etc/passwd", "passwd", id="a_path_is_no_name_5854_4_1_2_1"),
        pytest.param("]]>", "]]>", id="the_end_of_a_section"),
    ],
)
def test_a_name_reads_back(name: str, expected: str) -> None:
    assert name_of(name) == expected


@given(st.text(st.characters(exclude_characters="/"), max_size=20))
def test_every_name_makes_a_document(name: str) -> None:
    found = name_of(name)
    assert found is not None
    assert len(found) == len(name)
    assert all(new in (old, "\ufffd") for old, new in zip(name, found, strict=True))


def test_a_url_with_a_query_reads_back() -> None:
    file = read(metalink("a", 1, DIGEST, 1, (DIGEST,), "http://host/a?b=1&c=<2>"))
    assert file.findtext("m:url", namespaces=NAMESPACE) == "http://host/a?b=1&c=<2>"
