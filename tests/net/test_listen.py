"""Listeners: addresses, unix sockets, and draining."""

import os
import socket
import stat
from pathlib import Path

import pytest
import trio

from rawproxy.app.serve import open_proxy
from rawproxy.net.listen import open_tcp, open_unix
from tests.net.fakes import Client


async def test_all_addresses_of_a_name_share_one_port() -> None:
    sockets = await open_tcp("localhost", 0)
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
    finally:
        for sock in sockets:
            sock.close()


async def test_a_taken_port_is_an_error() -> None:
    [sock] = await open_tcp("127.0.0.1", 0)
    with sock, pytest.raises(OSError, match="in use"):
        await open_tcp("127.0.0.1", sock.getsockname()[1])


def test_a_unix_socket_has_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    with open_unix(str(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_stale_unix_socket_is_removed(tmp_path: Path) -> None:
    path = str(tmp_path / "p.sock")
    open_unix(path).close()
    with open_unix(path) as sock:
        assert sock.getsockname() == path


def test_a_unix_socket_that_answers_stays(tmp_path: Path) -> None:
    path = str(tmp_path / "p.sock")
    with open_unix(path), pytest.raises(OSError, match="already"):
        open_unix(path)
    assert os.path.exists(path)


def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    path.write_text("precious")
    with pytest.raises(OSError, match="no socket"):
        open_unix(str(path))
    assert path.read_text() == "precious"


async def test_a_proxy_on_a_unix_socket(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'p.sock'}"
    config = {
        "server": {"listen": [address]}, "admin": {"listen": ""},
        "upstreams": {"local": {"provider": "engine"}},
    }  # fmt: skip
    async with open_proxy(config) as proxy:
        assert proxy.urls == [address]
        link = await Client.connect(address)
        await link.send("GET", "/healthz", fields={"host": "whatever"})
        assert (await link.response()).status == 200
        await link.aclose()
    assert not (tmp_path / "p.sock").exists()


async def test_running_out_of_descriptors_pauses_accepting(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Row 26: accepting resumes as soon as there is room."""
    config = {
        "server": {"listen": ["127.0.0.1:0"]}, "admin": {"listen": ""},
        "upstreams": {"local": {"provider": "engine"}},
    }  # fmt: skip
    async with open_proxy(config) as proxy:
        real, failures = socket.socket.accept, iter([OSError(24, "Too many open files")] * 3)

        def scarce(self: socket.socket) -> object:
            for failure in failures:
                raise failure
            return real(self)

        monkeypatch.setattr(socket.socket, "accept", scarce)
        before = trio.current_time()
        link = await Client.connect(proxy.urls[0])
        await link.send("GET", "/healthz")
        assert (await link.response()).status == 200
        assert trio.current_time() - before < 0.5
        await link.aclose()


async def test_a_socket_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """Two processes take turns on one path: the old one must not remove the new one's file."""
    path = tmp_path / "p.sock"
    config = {
        "server": {"listen": [f"unix:{path}"]}, "admin": {"listen": ""},
        "upstreams": {"local": {"provider": "engine"}},
    }  # fmt: skip
    async with open_proxy(config):
        path.unlink()
        with open_unix(str(path)):
            newer = path.stat().st_ino
    assert path.stat().st_ino == newer
