"""``engine.errors``: an error is one line, whatever it quotes."""

from __future__ import annotations

from engine.errors import DataError


def test_what_an_error_quotes_breaks_no_line_and_commands_no_terminal() -> None:
    """A name of a file with a line end, an escape sequence and letters turned round."""
    error = DataError("a\nb \x1b[2J\u202e is odd", expected="a\rname", do="rename it")
    assert str(error) == "a b  [2J  is odd; expected a name; rename it"
    assert error.seen == "a\nb \x1b[2J\u202e is odd"
