"""Content that is in memory, on its way to clients that take their time."""

from fileserve.web.content import Text


async def test_a_text_leaves_in_pieces_so_that_what_a_slow_client_has_not_taken_is_not_copied() -> None:
    data = bytes(range(256)) * 1024
    pieces = [piece async for piece in Text(data).regions(1, len(data) - 2)]
    assert b"".join(piece for piece in pieces if isinstance(piece, bytes)) == data[1:-2]
    assert max(len(piece) for piece in pieces if isinstance(piece, bytes)) <= 65536
