"""Listeners: addresses, unix sockets, and draining."""

import os
import socket
import stat
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import trio

from rawproxy.app.config import from_mapping
from rawproxy.app.serve import open_proxy
from rawproxy.net.downstream import RECENT_SECONDS
from rawproxy.net.listen import AT_ONCE, open_tcp, open_unix, steer_away
from tests.net.fakes import Client
from tests.net.fakes_http2 import Http2Client


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


ENGINE = {"provider": "engine", "tokens_per_second": 1e6, "first_token_seconds": 0}


def accepted(*listeners: socket.socket) -> list[int]:
    """How many connections wait in each queue; they are closed."""
    counts = []
    for listener in listeners:
        counts.append(0)
        with suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()
                counts[-1] += 1
    return counts


def connect(listener: socket.socket, count: int) -> None:
    for _ in range(count):
        socket.create_connection(listener.getsockname()[:2]).close()


async def test_a_port_is_shared_only_with_whoever_asks_for_it() -> None:
    [first] = await open_tcp("127.0.0.1", 0)
    port = first.getsockname()[1]
    [second] = await open_tcp("127.0.0.1", port, share=True)
    with first, second:
        with pytest.raises(OSError, match="in use"):
            await open_tcp("127.0.0.1", port)
        connect(first, 100)
        counts = accepted(first, second)
        assert sum(counts) == 100
        assert min(counts) > 10


async def test_a_port_of_another_program_is_not_shared() -> None:
    other = socket.create_server(("127.0.0.1", 0))  # no SO_REUSEPORT
    with other, pytest.raises(OSError, match="in use"):
        await open_tcp("127.0.0.1", other.getsockname()[1], share=True)


@pytest.mark.skipif(sys.platform != "linux", reason="steering is Linux's")
async def test_a_listener_that_closes_gets_nothing_more_when_another_one_is_there() -> None:
    [first] = await open_tcp("127.0.0.1", 0)
    port = first.getsockname()[1]
    [second] = await open_tcp("127.0.0.1", port, share=True)
    with first, second:
        steer_away(first)
        connect(first, 50)
        assert accepted(first, second) == [0, 50]
        first.close()
        connect(second, 20)
        assert accepted(second) == [20]
        [third] = await open_tcp("127.0.0.1", port, share=True)
        with third:  # what was steered before is over
            connect(second, 100)
            assert min(accepted(second, third)) > 10


async def test_a_listener_that_closes_alone_serves_what_waits() -> None:
    [alone] = await open_tcp("127.0.0.1", 0)
    with alone:
        steer_away(alone)
        connect(alone, 5)
        assert accepted(alone) == [5]


def test_a_path_is_taken_over_in_one_step(tmp_path: Path) -> None:
    path = str(tmp_path / "p.sock")
    with open_unix(path) as first, socket.socket(socket.AF_UNIX) as early:
        early.connect(path)
        with open_unix(path, share=True) as second, socket.socket(socket.AF_UNIX) as late:
            late.connect(path)
            assert accepted(first, second) == [2, 1]  # and the look whether somebody answers
    assert os.listdir(tmp_path) == ["p.sock"]


async def test_listeners_change_while_it_runs(autojump_clock: trio.testing.MockClock) -> None:
    """Connections of a listener that is gone go on; what waits in its queue is served."""
    config = {
        "server": {"listen": ["127.0.0.1:0"]}, "admin": {"listen": ""},
        "upstreams": {"local": ENGINE},
    }  # fmt: skip
    async with open_proxy(config) as proxy:
        [old] = proxy.urls
        link = await Client.connect(old)
        await link.send("GET", "/healthz")
        assert (await link.response()).status == 200
        waiting = await Client.connect(old)
        await proxy.change(from_mapping(config | {"server": {"listen": ["127.0.0.2:0"]}}))
        [new] = proxy.urls
        assert new.startswith("http://127.0.0.2:")
        for one in (link, waiting, await Client.connect(new)):
            await one.send("GET", "/healthz")
            assert (await one.response()).status == 200
            await one.aclose()
        await trio.sleep(1)
        with pytest.raises(OSError, match="all attempts"):
            await Client.connect(old)


@pytest.mark.parametrize("kind", [Client, Http2Client])
async def test_a_request_on_its_way_is_served_by_a_drain(
    kind: type[Client] | type[Http2Client], autojump_clock: trio.testing.MockClock
) -> None:
    """It was connected before the listener closed: no client could know."""
    config = {
        "server": {"listen": ["127.0.0.1:0"]}, "admin": {"listen": ""},
        "upstreams": {"local": ENGINE},
    }  # fmt: skip
    async with open_proxy(config) as proxy, trio.open_nursery() as nursery:
        stream = await trio.open_tcp_stream("127.0.0.1", int(proxy.urls[0].rpartition(":")[2]))
        nursery.start_soon(proxy.drain)
        await trio.sleep(RECENT_SECONDS / 2)
        link = kind(stream)
        await link.send("GET", "/healthz")
        got = await link.response()
        assert got.status == 200
        if kind is Client:
            assert got.fields["connection"] == "close"
        await link.aclose()


async def test_a_drain_waits_no_longer_for_a_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    config = {
        "server": {"listen": ["127.0.0.1:0"]}, "admin": {"listen": ""},
        "upstreams": {"local": ENGINE},
    }  # fmt: skip
    async with open_proxy(config) as proxy:
        young = await Client.connect(proxy.urls[0])
        await trio.sleep(RECENT_SECONDS / 2)
        used = await Client.connect(proxy.urls[0])
        await used.send("GET", "/healthz")
        await used.response()
        before = trio.current_time()
        drained = await proxy.drain()
        assert trio.current_time() - before == pytest.approx(RECENT_SECONDS)
        assert drained == (0, 0)
        for link in (young, used):
            await link.aclose()


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.usefixtures("with_the_pump")
async def test_a_queue_is_taken_in_parts(over: int) -> None:
    """Not one by one: streams that are ready all the time would let hardly anybody in."""
    config = {
        "server": {"listen": ["127.0.0.1:0"]}, "admin": {"listen": ""},
        "upstreams": {"local": ENGINE},
    }  # fmt: skip
    async with open_proxy(config) as proxy:
        await trio.testing.wait_all_tasks_blocked()
        address = ("127.0.0.1", int(proxy.urls[0].rpartition(":")[2]))
        with ExitStack() as stack:
            for _ in range(AT_ONCE + over):  # the kernel alone answers them
                stack.enter_context(socket.create_connection(address))
            proxy._pump.look(0)
            assert len(proxy._connections) == AT_ONCE + min(over, 0)
            proxy._pump.look(0)
            assert len(proxy._connections) == AT_ONCE + over
