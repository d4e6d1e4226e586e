"""Certificates of local venues: good for loopback, for those who trust them, and for nothing else."""

from __future__ import annotations

import asyncio
import datetime
import ssl
import stat
from pathlib import Path

import pytest

from connectors.certificates import AUTHORITY, SERVER, client_context, server_context
from engine.errors import ConfigError

NOW = datetime.datetime.now(datetime.UTC)


async def _greeting(folder: Path, trust: ssl.SSLContext, host: str = "127.0.0.1", name: str = "localhost") -> bytes:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, host, 0, ssl=server_context(folder, NOW))
    async with server:
        reader, writer = await asyncio.open_connection(
            host, server.sockets[0].getsockname()[1], ssl=trust, server_hostname=name
        )
        try:
            return await reader.read()
        finally:
            writer.close()


async def test_who_trusts_the_authority_meets_the_server_under_its_loopback_names(tmp_path: Path) -> None:
    """A real handshake by name and by address; the key file is the owner's alone."""
    server_context(tmp_path, NOW)
    for name in ("localhost", "127.0.0.1"):
        assert await _greeting(tmp_path, client_context(tmp_path), name=name) == b"hello"
    assert stat.S_IMODE((tmp_path / SERVER).stat().st_mode) == 0o600


async def test_nobody_else_trusts_it_and_it_vouches_for_no_other_host(tmp_path: Path) -> None:
    """The system's authorities and another name both end the handshake."""
    with pytest.raises(ssl.SSLCertVerificationError):
        await _greeting(tmp_path, ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError):
        await _greeting(tmp_path, client_context(tmp_path), name="api.coinbase.com")


def test_files_are_kept_until_they_are_about_to_expire(tmp_path: Path) -> None:
    """Asked again today: the same; in a month: others; a damaged file is made anew."""
    server_context(tmp_path, NOW)
    first = (tmp_path / AUTHORITY).read_bytes()
    server_context(tmp_path, NOW + datetime.timedelta(days=5))
    assert (tmp_path / AUTHORITY).read_bytes() == first
    server_context(tmp_path, NOW + datetime.timedelta(days=29))
    assert (tmp_path / AUTHORITY).read_bytes() != first
    (tmp_path / SERVER).write_text("no certificate")
    server_context(tmp_path, NOW)
    assert b"PRIVATE KEY" in (tmp_path / SERVER).read_bytes()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="certificates cannot be written"):
        server_context(tmp_path / "taken", NOW)
