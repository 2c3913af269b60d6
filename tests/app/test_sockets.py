"""Listening sockets: opened, kept, given up; all of them, or on an error none."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from rawproxy.app.config import Config, from_mapping
from rawproxy.app.sockets import Listener, Place, Sockets, is_local, url_of
from rawproxy.errors import ConfigError

KEY = "0123456789abcdef"
CALLERS = {"mode": "callers", "callers": [{"name": "a", "key": KEY}]}


def config(*listen: str, admin: str = "", access: Mapping[str, object] | None = None) -> Config:
    return from_mapping({
        "server": {"listen": list(listen)}, "admin": {"listen": admin},
        "upstreams": {"local": {"provider": "engine"}}, "access": access or {"mode": "open"},
    })  # fmt: skip


async def opened(sockets: Sockets, wanted: Config) -> list[Listener]:
    async with sockets.change(wanted) as listeners:
        return listeners


def is_open(sock: socket.socket) -> bool:
    return sock.fileno() >= 0


def inherited(host: str = "127.0.0.1", family: int = socket.AF_INET) -> int:
    """A listening socket that somebody else has opened."""
    return socket.create_server((host, 0), family=family).detach()


async def test_what_stays_is_the_same_socket() -> None:
    sockets = Sockets()
    before = await opened(sockets, config("127.0.0.1:0", "127.0.0.1:0", admin="127.0.0.1:0"))
    assert [one.place.role for one in before] == ["clients", "clients", "admin"]
    assert len({one.sock.getsockname() for one in before}) == 3
    after = await opened(sockets, config("127.0.0.1:0", "[::1]:0"))
    assert after[0].sock is before[0].sock
    assert after[1].sock not in {one.sock for one in before}
    for one in {one.sock for one in (*before, *after)}:
        one.close()


async def test_a_port_that_is_taken_changes_nothing(tmp_path: Path) -> None:
    sockets = Sockets()
    path = tmp_path / "p.sock"
    [here] = await opened(sockets, config("127.0.0.1:0"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = rf"^cannot listen on 127\.0\.0\.1:{port}: Address already in use$"
        with pytest.raises(ConfigError, match=told):
            await opened(sockets, config(f"unix:{path}", f"127.0.0.1:{port}"))
    assert not path.exists()  # it had been opened before the other one failed
    [still] = await opened(sockets, config("127.0.0.1:0"))
    assert still == here
    assert is_open(here.sock)
    here.sock.close()


async def test_what_raises_in_the_block_changes_nothing(tmp_path: Path) -> None:
    sockets = Sockets()
    path = tmp_path / "p.sock"
    held: list[Listener] = []

    async def fail() -> None:
        async with sockets.change(config(f"unix:{path}")) as listeners:
            held.extend(listeners)
            assert path.exists()
            raise ConfigError("it does not fit")

    with pytest.raises(ConfigError, match="it does not fit"):
        await fail()
    assert not path.exists()
    assert not is_open(held[0].sock)


async def test_a_socket_file_goes_with_its_address(tmp_path: Path) -> None:
    sockets = Sockets()
    one, two = tmp_path / "1.sock", tmp_path / "2.sock"
    first = await opened(sockets, config(f"unix:{one}"))
    second = await opened(sockets, config(f"unix:{two}"))
    assert not one.exists()
    sockets.close()
    assert not two.exists()
    for listener in (*first, *second):
        listener.sock.close()


async def test_a_descriptor() -> None:
    sockets = Sockets()
    fd = inherited()
    [listener] = await opened(sockets, config(f"fd:{fd}"))
    port = listener.sock.getsockname()[1]
    assert (listener.sock.fileno(), url_of(listener)) == (fd, f"http://127.0.0.1:{port}")
    assert not listener.sock.getblocking()
    [still] = await opened(sockets, config(f"fd:{fd}"))
    assert still.sock is listener.sock
    with pytest.raises(ConfigError, match="inherited at the start only"):
        await opened(sockets, config(f"fd:{fd + 1}"))
    listener.sock.close()


async def test_descriptors_that_are_no_listeners(tmp_path: Path) -> None:
    with (
        socket.socket() as idle, socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        (tmp_path / "f").open("w") as file,
    ):  # fmt: skip
        for fd in (idle.fileno(), datagrams.fileno(), file.fileno(), 9999):
            with pytest.raises(ConfigError, match=rf"^cannot listen on fd:{fd}: "):
                await opened(Sockets(), config(f"fd:{fd}"))
        os.fstat(idle.fileno())  # still open: it is not ours


async def test_one_descriptor_is_for_one_address() -> None:
    fd = inherited()
    with pytest.raises(ConfigError, match="another address has it already"):
        await opened(Sockets(), config(f"fd:{fd}", f"fd:0{fd}"))


@pytest.mark.parametrize("access", [None, CALLERS])
async def test_the_rules_hold_for_what_is_inherited(access: Mapping[str, object] | None) -> None:
    """Who can reach it is known only when it is opened."""
    fd = inherited("0.0.0.0")
    if access is None:
        told = "is open to others, must be loopback or a unix socket in access mode"
        with pytest.raises(ConfigError, match=told):
            await opened(Sockets(), config(f"fd:{fd}"))
    else:
        [listener] = await opened(Sockets(), config(f"fd:{fd}", access=access))
        listener.sock.close()
        with pytest.raises(ConfigError, match="for the admin pages"):
            await opened(
                Sockets(), config("127.0.0.1:0", admin=f"fd:{inherited('0.0.0.0')}", access=access)
            )


async def test_systemd_says_nothing() -> None:
    for environ in ({}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
                    {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}):  # fmt: skip
        with pytest.raises(ConfigError, match="systemd hands no socket to this process"):
            await opened(Sockets(environ=dict(environ)), config("systemd:"))


SYSTEMD = """
import os, socket, sys, trio
from rawproxy.app.config import from_mapping
from rawproxy.app.sockets import Sockets, url_of
async def main():
    given = {"server": {"listen": ["systemd:"]}, "admin": {"listen": ""},
             "upstreams": {"local": {"provider": "engine"}}}
    async with Sockets().change(from_mapping(given)) as listeners:
        print(*(one.sock.fileno() for one in listeners), "LISTEN_FDS" in os.environ)
one, two = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
for place, sock in ((3, one), (4, two)):
    if sock.fileno() != place:
        os.dup2(sock.fileno(), place)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}
trio.run(main)
sys.stdout.flush()
os._exit(0)
"""


def test_systemd_hands_over_all_it_has() -> None:
    """In a process of its own: the numbers are 3 and 4, whatever they are here."""
    done = subprocess.run([sys.executable, "-c", SYSTEMD], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "3 4 False\n"), done.stderr


def test_urls(tmp_path: Path) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as sock:
        port = sock.getsockname()[1]
        listener = Listener(Place("clients", "[::1]:0"), sock)
        assert url_of(listener) == f"http://[::1]:{port}"
        assert url_of(listener, tls=True) == f"https://[::1]:{port}"
        assert is_local(sock)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        for text in (f"unix:{tmp_path / 's'}", "fd:3"):
            assert (
                url_of(Listener(Place("clients", text), sock), tls=True) == f"unix:{tmp_path / 's'}"
            )
        assert is_local(sock)
