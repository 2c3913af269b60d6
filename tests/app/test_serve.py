"""The program: configuration to server, and a real process with signals."""

import json
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from trio.testing import MockClock

from rawproxy.app.config import from_mapping
from rawproxy.app.descriptors import EACH, RESERVE
from rawproxy.app.serve import Proxy, open_proxy, run_in_thread
from rawproxy.errors import ConfigError
from tests.app.serving import LONG
from tests.conftest import ROOT
from tests.net.fakes import Client, FakeUpstream, Got, Script, Seen, ask, chunk, head, plays, whole
from tests.net.tls import client_context, files
from tests.net.world import (
    CHAT,
    MESSAGES,
    PATH,
    call,
    delta,
    errors,
    preamble,
    reply_body,
    text,
    world,
)

ENGINE = {"provider": "engine", "tokens_per_second": 1e6, "first_token_seconds": 0}
CONFIG = {
    "server": {"listen": ["127.0.0.1:0"]},
    "admin": {"listen": ""},
    "upstreams": {"local": ENGINE},
}


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
            assert reply["model"] == "local/ngram"


@pytest.mark.parametrize("switch", ["on", "off"])
async def test_replies_are_relayed_with_the_pump_and_without(
    switch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAWPROXY_PUMP", switch)
    pieces = [delta(CHAT, "x" * size) for size in range(1, 40)]
    stream = [*pieces, b"data: [DONE]\n\n"]
    async with world(plays(head(), *map(chunk, stream), b"0\r\n\r\n"), CHAT) as here:
        assert here.proxy._pump.moves is (switch == "on")
        got = await ask(here.url, PATH[CHAT], call(CHAT))
        assert got.body == b"".join(stream)
        assert got.clean


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


async def test_a_reply_that_has_not_begun_says_that_the_connection_closes(
    autojump_clock: MockClock,
) -> None:
    go_on = trio.Event()

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await go_on.wait()
        await wire.send_all(whole(200, reply_body(CHAT, "fine")))

    async with world(script, CHAT) as here, trio.open_nursery() as nursery:
        link = await Client.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT, stream=False))
        await trio.testing.wait_all_tasks_blocked()

        async def drain() -> None:
            assert await here.proxy.drain() == (1, 0)

        nursery.start_soon(drain)
        await trio.sleep(5)
        go_on.set()
        got = await link.response()
        assert (got.status, got.fields["connection"]) == (200, "close")
        await link.aclose()


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
        assert await here.proxy.drain() == (0, 1)
        assert 7 <= trio.current_time() - before <= 8
        await here.kept()
        await trio.testing.wait_all_tasks_blocked()
        assert errors(CHAT, got[0].body) == ["the proxy is shutting down"]


TOKEN = "ya29.token"


def google(url: str, tokens: str, **more: object) -> dict[str, object]:
    """A configuration whose Vertex at `url` has a service account; `tokens` is where its tokens are."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {"client_email": "a@b", "private_key": key.decode(), "token_uri": f"{tokens}/token"}
    up = {"provider": "vertex", "base_url": url, "region": "eu-1", "project": "p"}
    return CONFIG | {"upstreams": {"g": up | {"keys": [json.dumps(account)]}}} | more


def aws(url: str, **more: object) -> dict[str, object]:
    up = {"provider": "bedrock", "base_url": url, "region": "eu-1", "keys": ["aws:"]}
    return CONFIG | {"upstreams": {"b": up}} | more


def answers(reply: dict[str, object]) -> Script:
    return plays(whole(200, json.dumps(reply).encode()))


SPOKEN = answers({
    "candidates": [{"content": {"parts": [{"text": "Hi."}], "role": "model"}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1},
})  # fmt: skip
CONVERSED = answers({
    "output": {"message": {"role": "assistant", "content": [{"text": "Hi."}]}},
    "stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
})  # fmt: skip
GRANTED = answers({"access_token": TOKEN, "expires_in": 300})


async def asked(proxy: Proxy, model: str) -> Got:
    return await ask(proxy.urls[0], PATH[CHAT], call(CHAT, model=model, stream=False))


async def served(proxy: Proxy, model: str) -> None:
    """Ask until there is an answer: the thread that fetches is a real one."""
    while (await asked(proxy, model)).status != 200:
        pass


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of whoever runs the tests, and no network."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalr")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


async def test_requests_wait_for_no_token_and_get_it_when_it_is_there(alone: None) -> None:
    go_on = trio.Event()

    async def grants(seen: Seen, wire: trio.SocketStream) -> None:
        await go_on.wait()
        await GRANTED(seen, wire)

    async with (
        FakeUpstream(SPOKEN).running() as up,
        FakeUpstream(grants).running() as tokens,
        open_proxy(google(up.url, tokens.url)) as proxy,
    ):
        got = await asked(proxy, "g/gemini-x")
        assert got.status == 502
        assert b"no usable key is left for g/gemini-x" in got.body
        assert up.seen == []
        go_on.set()
        await served(proxy, "g/gemini-x")
    assert up.seen[0].get(b"authorization") == f"Bearer {TOKEN}".encode()


async def test_a_chain_of_aws_signs(alone: None) -> None:
    async with FakeUpstream(CONVERSED).running() as up, open_proxy(aws(up.url)) as proxy:
        await served(proxy, "b/amazon.nova-lite-v1:0")
    signed = up.seen[0].get(b"authorization")
    assert signed is not None
    assert signed.startswith(b"AWS4-HMAC-SHA256 Credential=AKIA1/")


async def test_a_reload_keeps_the_token_until_the_next_one_is_there(alone: None) -> None:
    again = trio.Event()

    async def once(seen: Seen, wire: trio.SocketStream) -> None:
        if len(tokens.seen) > 1:
            again.set()
            await trio.sleep_forever()
        await GRANTED(seen, wire)

    async with FakeUpstream(SPOKEN).running() as up, FakeUpstream(once).running() as tokens:
        config = from_mapping(google(up.url, tokens.url))
        async with open_proxy(config) as proxy:
            await served(proxy, "g/gemini-x")
            proxy.reload(config)
            await again.wait()
            assert (await asked(proxy, "g/gemini-x")).status == 200
            proxy.reload(from_mapping(google(up.url, tokens.url)))  # another account
            assert (await asked(proxy, "g/gemini-x")).status == 502


async def test_a_reload_ends_what_was_fetched_before(
    alone: None, autojump_clock: MockClock
) -> None:
    third = trio.Event()

    async def grants(seen: Seen, wire: trio.SocketStream) -> None:
        await GRANTED(seen, wire)
        if len(tokens.seen) == 3:
            third.set()

    async with (
        FakeUpstream(grants).running() as tokens,
        open_proxy(google("http://127.0.0.1:1", tokens.url)) as proxy,
    ):
        await third.wait()
        proxy.reload(from_mapping(CONFIG))
        await trio.sleep(3600)
        assert len(tokens.seen) == 3


async def test_a_missing_extra_stops_the_start_but_not_what_runs(
    alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    config = from_mapping(aws("http://127.0.0.1:1"))
    told = r"^upstreams\.b\.keys\[0\]: needs an extra: pip install 'rawproxy\[aws\]'$"
    with pytest.raises(ConfigError, match=told):
        async with open_proxy(config):
            pass
    async with open_proxy(CONFIG) as proxy:
        with pytest.raises(ConfigError, match=told):
            proxy.reload(config)
        assert (await asked(proxy, "local/ngram")).status == 200


@pytest.mark.slow
def test_a_check_fetches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rawproxy.toml"
    path.write_text('[upstreams.b]\nprovider = "bedrock"\nregion = "eu-1"\nkeys = ["aws:"]\n')
    code = f"""if 1:
        import sys
        from rawproxy.app.cli import program
        try:
            program.main(["check", "--config", {str(path)!r}])
        except SystemExit as end:
            heavy = {{"botocore", "google.auth", "rawproxy.services.credentials"}}
            print(end.code, heavy & set(sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert "b: bedrock" in done.stdout
    assert done.stdout.endswith("0 set()\n")


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
def process(
    folder: Path, *arguments: str, limit: tuple[int, int] | None = None
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A real `rawproxy serve`; gives the process and the address of its first listener.

    Args:
        folder: where it runs.
        arguments: of the command line.
        limit: on its open files, the soft and the hard one.
    """
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    prefix = ["prlimit", f"--nofile={limit[0]}:{limit[1]}"] if limit else []
    command = [
        *prefix,
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
            assert re.match(r"rawproxy: listening on https?://127\.0\.0\.1:", line), line
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
            body = call(CHAT, model="ngram", max_tokens=4000, seed=LONG)
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


@pytest.mark.slow
def test_sighup_reads_certificates_again(tmp_path: Path) -> None:
    """A key that does not belong to the certificate is told, and the old pair stays."""
    old, new = trustme.CA(), trustme.CA()
    files(old, tmp_path, "127.0.0.1")
    tls = '[server.tls]\ncertificate = "127.0.0.1.pem"\nkey = "127.0.0.1.key"\n'
    (tmp_path / "rawproxy.toml").write_text(tls)
    with process(tmp_path) as (running, url):
        assert url.startswith("https://")
        assert trusts(old, url)
        key = (tmp_path / "127.0.0.1.key").read_text()
        files(new, tmp_path, "127.0.0.1")
        (tmp_path / "127.0.0.1.key").write_text(key)
        running.send_signal(signal.SIGHUP)
        assert running.stderr is not None
        said = next(line for line in running.stderr if "stays as it was" in line)
        assert "server.tls.key: 127.0.0.1.key does not belong to 127.0.0.1.pem" in said
        assert trusts(old, url)
        files(new, tmp_path, "127.0.0.1")
        running.send_signal(signal.SIGHUP)
        assert next(line for line in running.stderr if "read again" in line)
        assert trusts(new, url)
        assert not trusts(old, url)


def trusts(ca: trustme.CA, url: str) -> bool:
    """Whether a client that knows `ca` gets in."""
    host, _, port = url.removeprefix("https://").rpartition(":")
    with socket.create_connection((host, int(port))) as plain:
        try:
            with client_context(ca).wrap_socket(plain, server_hostname=host) as sock:
                sock.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
                return sock.recv(12) == b"HTTP/1.1 200"
        except ssl.SSLCertVerificationError:
            return False


@pytest.mark.slow
@pytest.mark.parametrize(("over", "told"), [(0, False), (1, True)])
def test_connections_that_do_not_fit_are_told(over: int, told: bool, tmp_path: Path) -> None:
    """The soft limit on open files is raised first: what counts is the hard one."""
    room = (500 - RESERVE) // EACH
    config = tmp_path / "rawproxy.toml"
    config.write_text(f"[server.limits]\nconnections = {room + over}\n")
    words = f"server.limits.connections is {room + over}, but the limit on open files leaves room for {room}"
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with process(tmp_path, limit=(200, 500)) as (running, url):
        assert fetch(f"{url}/v1/models")[0] == 200
        running.send_signal(signal.SIGTERM)
        assert running.stderr is not None
        assert (words in running.stderr.read()) is told
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
