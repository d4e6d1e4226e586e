"""One of Kraken's books: its checksum and its depth."""

from __future__ import annotations

from zlib import crc32

from connectors.kraken.book import Book


def test_the_checksum_is_of_the_texts_of_ten_levels_asks_first() -> None:
    """Written out: points and leading zeros gone, trailing zeros kept, the eleventh level left out."""
    book = Book(20)
    book.change(-1, [[f"1{n:02d}.50", "0.0500", "1"] for n in range(11)])
    book.change(1, [["0.0950", "1.20", "1"], ["0.0960", "0.00000500", "1"]])
    asks = "".join(f"1{n:02d}50" + "500" for n in range(10))
    assert book.checksum() == crc32((asks + "960" + "500" + "950" + "120").encode())


def test_levels_beyond_the_depth_are_the_readers_to_drop() -> None:
    book = Book(2)
    book.change(1, [["1.0", "1", "0"], ["2.0", "1", "0"]])
    assert book.change(1, [["3.0", "1", "0"]]) == [(1, 3.0, 1.0)]
    assert book.cut(1) == [(1, 1.0, 0.0)]
    assert book.cut(1) == []
