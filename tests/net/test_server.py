"""Requests at the door: web pages, callers, credentials that stay here; over real sockets."""

import json
import logging

import pytest
import trio

from rawproxy.app.metrics import text_of
from tests.net.fakes import Client, Seen, ask, plays, streams, whole
from tests.net.fakes_http2 import Http2Client
from tests.net.world import (
    CHAT,
    MESSAGES,
    PATH,
    call,
    error_body,
    message_of,
    reply_body,
    reply_stream,
    world,
)

GOOD = plays(whole(200, reply_body(CHAT, "fine")))
BODY = call(CHAT, stream=False)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"host": "127.0.0.1:9"}, 200),
        ({"host": "[::1]"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "localhost.evil.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:8080"}, 403),
        ({"host": "proxy.internal"}, 200),
        ({"origin": "https://app.example"}, 200),
    ],
)
@pytest.mark.parametrize("path", [PATH[CHAT], "/v1/models", "/healthz"])
async def test_no_page_can_use_it(fields: dict[str, str], status: int, path: str) -> None:
    server = {"hosts": ["proxy.internal"], "origins": ["https://app.example"]}
    async with world(GOOD, CHAT, server=server) as here:
        link = await Client.connect(here.url)
        method = "POST" if path == PATH[CHAT] else "GET"
        await link.send(method, path, BODY if method == "POST" else b"", fields)
        got = await link.response()
        await link.aclose()
        assert got.status == status
        assert len(here.upstreams["up"].seen) == (1 if status == 200 and method == "POST" else 0)


async def test_an_allowed_page_may_read_the_reply() -> None:
    async with world(GOOD, CHAT, server={"origins": ["https://app.example"]}) as here:
        link = await Client.connect(here.url)
        asking = {"origin": "https://app.example", "access-control-request-headers": "x-api-key"}
        await link.send("OPTIONS", PATH[CHAT], b"", asking)
        got = await link.response()
        assert got.status == 204
        assert "content-length" not in got.fields
        assert got.fields["access-control-allow-headers"] == "x-api-key"
        await link.send("POST", PATH[CHAT], BODY, {"origin": "https://app.example"})
        got = await link.response()
        assert got.fields["access-control-allow-origin"] == "https://app.example"
        await link.aclose()


CALLERS = {
    "mode": "callers",
    "callers": [{"name": "team", "key": "team-key", "models": ["asked", "m"]}],
}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Bearer team-key"}, 200),
        ({"x-api-key": "team-key"}, 200),
    ],
)
@pytest.mark.parametrize("client", [CHAT, MESSAGES])
async def test_callers(client: str, fields: dict[str, str], status: int) -> None:
    async with world(plays(whole(200, reply_body(client, "fine"))), client, access=CALLERS) as here:
        got = await ask(here.url, PATH[client], call(client, stream=False), fields)
        assert got.status == status
        if status == 200:
            await here.kept()
            assert here.record.caller == "team"
        else:
            assert message_of(got.body)


async def test_what_there_is_is_for_callers_only() -> None:
    async with world(GOOD, CHAT, access=CALLERS) as here:
        for path, status in (("/v1/models", 401), ("/healthz", 200)):
            link = await Client.connect(here.url)
            await link.send("GET", path)
            assert (await link.response()).status == status
            await link.aclose()


VERSIONS = pytest.mark.parametrize("version", [Client, Http2Client])
Version = type[Client] | type[Http2Client]


@VERSIONS
async def test_a_client_that_says_the_same_again_is_sent_on_the_same(version: Version) -> None:
    """The second and third request of a connection are only compared; upstream they look like the first."""
    async with world(streams(reply_stream(CHAT, "fine")), CHAT) as here:
        for connections, requests in ((1, 3), (3, 1)):
            for _ in range(connections):
                link = await version.connect(here.url)
                for _ in range(requests):
                    await link.send("POST", PATH[CHAT], call(CHAT), {"user-agent": "a/1"})
                    assert (await link.response()).status == 200
                await link.aclose()
        seen = here.upstreams["up"].seen
        assert len(seen) == 6
        assert len({(one.target, *one.fields, one.body) for one in seen}) == 1
        assert (b"user-agent", b"a/1") in seen[0].fields


@VERSIONS
async def test_callers_that_share_a_connection_are_told_apart(version: Version) -> None:
    """Each three times: the head of the second and third is only compared, and the body is not its length."""
    keys = ["team-key", "wrong", "other-key", "team-key"]
    access = {
        "mode": "callers",
        "callers": [{"name": name, "key": f"{name}-key"} for name in ("team", "other")],
    }
    async with world(GOOD, CHAT, access=access) as here:
        link = await version.connect(here.url)
        told = []
        for key in keys:
            for words in range(3):
                body = call(
                    CHAT, stream=False, messages=[{"role": "user", "content": "hi " * words}]
                )
                await link.send("POST", PATH[CHAT], body, {"authorization": f"Bearer {key}"})
                told.append((await link.response()).status)
        await link.aclose()
        assert told == [200] * 3 + [401] * 3 + [200] * 6
        await here.kept(9)
        assert [one.caller for one in here.records] == ["team"] * 3 + ["other"] * 3 + ["team"] * 3


CANARY = "sk-canary-0123456789"


async def test_secrets_are_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Upstream keys, callers' keys and bodies: in no log, error, record or metric."""

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        key = (seen.get(b"authorization") or b"").decode()
        assert CANARY in key
        if b"fail" in seen.body:
            await wire.send_all(whole(401, error_body(CHAT, "x", f"bad key {key}")))
        elif b"odd" in seen.body:
            await wire.send_all(b"HTTP/1.1 200 OK\r\nx: " + key.encode() + b"\x00\r\n\r\n")
        else:
            await streams(reply_stream(CHAT, "fine"))(seen, wire)

    access = {"mode": "callers", "callers": [{"name": "team", "key": CANARY + "-caller"}]}
    options = {"up": {"keys": [CANARY + "-a", CANARY + "-b"]}}
    answers = body = b""
    with caplog.at_level(logging.DEBUG):
        async with world(script, CHAT, options=options, access=access) as here:
            for word in ("fine", "odd", "fail", "fail"):
                body = call(CHAT, messages=[{"role": "user", "content": f"{word} {CANARY}-body"}])
                fields = {"authorization": f"Bearer {CANARY}-caller"}
                got = await ask(here.url, PATH[CHAT], body, fields)
                answers += got.body + json.dumps(got.fields).encode()
            got = await ask(here.url, PATH[CHAT], body, {"authorization": f"Bearer {CANARY}-wrong"})
            answers += got.body
            await here.kept(4)
            metrics = text_of(here.proxy.metrics.families())
            records = b"".join(record.line() for record in here.records)
    for place in (caplog.text.encode(), answers, metrics, records):
        assert b"canary" not in place
        assert place


async def test_a_fault_of_ours_costs_one_exchange(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in one exchange never reaches another."""
    from rawproxy.gateway import exchange

    real = exchange.Exchange.on_head

    def planted(self: exchange.Exchange, *arguments: object) -> object:
        if self.ask.model == "planted":
            raise ZeroDivisionError(CANARY)
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(exchange.Exchange, "on_head", planted)
    async with world(GOOD, CHAT) as here:
        bad = await ask(here.url, PATH[CHAT], call(CHAT, stream=False, model="planted"))
        good = await ask(here.url, PATH[CHAT], BODY)
        assert (bad.status, good.status) == (500, 200)
        assert b"canary" not in bad.body
        await here.kept(2)
        assert [record.outcome for record in here.records] == ["internal", "ok"]
    assert "ZeroDivisionError" in caplog.text
