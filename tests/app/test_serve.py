"""The program: configuration to server, and a real process with signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from rawproxy.app.config import from_mapping
from rawproxy.app.serve import open_proxy, run_in_thread, setup_of
from rawproxy.errors import ConfigError
from tests.net.fakes import Client, Got, Seen, ask, chunk, head
from tests.net.world import CHAT, MESSAGES, PATH, call, delta, errors, preamble, text, world

ENGINE = {"provider": "engine", "tokens_per_second": 1e6, "first_token_seconds": 0}
CONFIG = {
    "server": {"listen": ["127.0.0.1:0"]},
    "admin": {"listen": ""},
    "upstreams": {"local": ENGINE},
}


def seal_key(*keys: str, seal: str = "") -> bytes:
    upstream = {"provider": "openai", "keys": list(keys)}
    config = {"upstreams": {"o": upstream}, "server": {"seal_key": seal} if seal else {}}
    return setup_of(from_mapping(config)).seal_key


def test_equal_configurations_sign_alike() -> None:
    assert seal_key("a", "b") == seal_key("a", "b")
    assert seal_key("a", "b") != seal_key("a", "c")
    assert seal_key() != seal_key()
    assert seal_key("a", seal="mine") == seal_key("b", seal="mine") == b"mine"


@pytest.mark.parametrize("client", [CHAT, MESSAGES])
@pytest.mark.parametrize("stream", [True, False])
async def test_the_embedded_engine_serves_every_dialect(client: str, stream: bool) -> None:
    async with open_proxy(CONFIG) as proxy:
        body = call(client, stream=stream, model="local/ngram", max_tokens=12)
        got = await ask(proxy.urls[0], PATH[client], body)
        assert got.status == 200
        if stream:
            assert text(client, got.body)
        else:
            reply = json.loads(got.body)
            usage = reply["usage"]
            assert 0 < usage.get("completion_tokens", usage.get("output_tokens")) <= 12
            assert reply["model"] == "ngram"


async def test_reload_keeps_what_runs(autojump_clock: MockClock) -> None:
    async with open_proxy(CONFIG) as proxy:
        body = call(CHAT, model="local/ngram", max_tokens=3)
        assert (await ask(proxy.urls[0], PATH[CHAT], body)).status == 200
        proxy.reload(from_mapping(CONFIG | {"upstreams": {"other": ENGINE}}))
        assert (await ask(proxy.urls[0], PATH[CHAT], body)).status == 404
        body = call(CHAT, model="other/ngram", max_tokens=3)
        assert (await ask(proxy.urls[0], PATH[CHAT], body)).status == 200


async def test_a_drain_lets_streams_end_and_takes_no_new_ones(autojump_clock: MockClock) -> None:
    go_on = trio.Event()

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head() + chunk(preamble(CHAT) + delta(CHAT, "a")))
        await go_on.wait()
        from tests.net.fakes import LAST_CHUNK
        from tests.net.world import end, stop

        await wire.send_all(chunk(stop(CHAT) + end(CHAT)) + LAST_CHUNK)

    async with world(script, CHAT) as here, trio.open_nursery() as nursery:
        idle = await Client.connect(here.url)
        link = await Client.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT))
        await link.head()
        nursery.start_soon(here.proxy.drain)
        assert await idle.stream.receive_some(1) == b""  # idle connections are closed at once
        with pytest.raises(OSError, match="all attempts"):
            await Client.connect(here.url)
        go_on.set()
        body = b""
        while data := await link.read():
            body += data
        assert body.endswith(b"data: [DONE]\n\n")
        assert await link.stream.receive_some(1) == b""
        for one in (idle, link):
            await one.aclose()


async def test_a_drain_that_takes_too_long_ends_streams_with_an_error(
    autojump_clock: MockClock,
) -> None:
    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head() + chunk(preamble(CHAT) + delta(CHAT, "a")))
        await trio.sleep_forever()

    async with (
        world(script, CHAT, server={"drain_seconds": 7}) as here,
        trio.open_nursery() as nursery,
    ):
        before = trio.current_time()
        got: list[Got] = []

        async def client() -> None:
            got.append(await ask(here.url, PATH[CHAT], call(CHAT)))

        nursery.start_soon(client)
        await trio.testing.wait_all_tasks_blocked()
        await here.proxy.drain()
        assert 7 <= trio.current_time() - before <= 8
        await here.kept()
        await trio.testing.wait_all_tasks_blocked()
        assert errors(CHAT, got[0].body) == ["the proxy is shutting down"]


def test_a_proxy_in_a_thread() -> None:
    with run_in_thread(CONFIG) as proxy:
        assert fetch(f"{proxy.urls[0]}/healthz")[0] == 200


def test_a_thread_that_cannot_start_says_why() -> None:
    with run_in_thread(CONFIG) as proxy:
        taken = CONFIG | {"server": {"listen": [proxy.urls[0].removeprefix("http://")]}}
        with pytest.raises(ConfigError, match="cannot listen"), run_in_thread(taken):
            pass


def fetch(url: str, body: bytes | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=20) as response:
        return response.status, response.read()


@contextmanager
def process(folder: Path, *arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A real `rawproxy serve`; gives the process and the address of its first listener."""
    environment = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}
    command = [
        sys.executable,
        "-m",
        "rawproxy",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "off",
    ]
    with subprocess.Popen(
        [*command, *arguments], stderr=subprocess.PIPE, text=True, cwd=folder, env=environment
    ) as running:
        try:
            assert running.stderr is not None
            line = running.stderr.readline()
            assert line.startswith("rawproxy: listening on http://127.0.0.1:"), line
            yield running, line.split()[-1]
        finally:
            running.kill()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_exits_0(number: int, tmp_path: Path) -> None:
    with process(tmp_path) as (running, url):
        status, body = fetch(
            f"{url}{PATH[CHAT]}", call(CHAT, stream=False, model="ngram", max_tokens=4)
        )
        assert status == 200
        assert json.loads(body)["model"] == "ngram"
        running.send_signal(number)
        assert running.wait(10) == 0


@pytest.mark.slow
def test_a_second_signal_exits_at_once(tmp_path: Path) -> None:
    with process(tmp_path) as (running, url):
        host, _, port = url.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port))) as sock:
            body = call(CHAT, model="ngram", max_tokens=4000)
            sock.sendall(
                f"POST {PATH[CHAT]} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            assert sock.recv(12) == b"HTTP/1.1 200"
            running.send_signal(signal.SIGTERM)
            began = time.monotonic()
            while listens(host, int(port)):
                assert time.monotonic() - began < 10
            running.send_signal(signal.SIGTERM)
            assert running.wait(10) == 0
            assert time.monotonic() - began < 10


def listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except ConnectionError:  # refused, or reset with the queue of a listener that closes
        return False
    return True


@pytest.mark.slow
def test_sighup_reads_the_configuration_again(tmp_path: Path) -> None:
    config = tmp_path / "rawproxy.toml"
    section = '[upstreams.{}]\nprovider = "engine"\n'
    config.write_text(section.format("one"))
    with process(tmp_path) as (running, url):
        assert b"one/ngram" in fetch(f"{url}/v1/models")[1]
        config.write_text("nonsense = 1\n")
        running.send_signal(signal.SIGHUP)
        assert running.stderr is not None
        assert "nonsense" in next(line for line in running.stderr if "stays as it was" in line)
        config.write_text(section.format("two"))
        running.send_signal(signal.SIGHUP)
        assert "read again" in next(line for line in running.stderr if "read again" in line)
        assert b"two/ngram" in fetch(f"{url}/v1/models")[1]
