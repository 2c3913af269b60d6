"""What clients and upstreams say never becomes a line of its own in what the proxy says.

Every value that goes from one side to the other is tried with what an injection is made of; the raw
upstream keeps every byte, and the strict reader reads every reply.
"""

import json

import pytest
import trio

from rawproxy.app.serve import open_proxy
from tests.net.fakes import FakeUpstream, Script, chunk, plays, whole
from tests.net.recorder import Link, linked, recorded
from tests.net.world import CHAT, MESSAGES, reply_body, reply_stream, upstream
from tests.wire.corpus.case import CALL, head
from tests.wire.strict import Reply

NASTY = [
    "a\r\nX-Smuggled: 1", "a\r\n\r\nGET /x HTTP/1.1\r\nHost: y\r\n\r\n", "a\nX-Smuggled: 1", "a\rX-Smuggled: 1", "a\x00b",
    "a\u2028X-Smuggled: 1", "\u010d\u010aX-Smuggled: 1", "a b#c?d=e&f", "\x7f\x1b[0m", "../../admin", "..", ".", "%0d%0aX: 1",
    "a" * 256, "", ":", "\u00e4\u20ac\U0001f600",
]  # fmt: skip
"""As model names. U+010D and U+010A are CR and LF to whoever keeps only their low bytes."""

OURS = {
    b"x-rawproxy-exchange", b"x-rawproxy-upstream", b"x-rawproxy-loss", b"x-rawproxy-usage", b"content-type",
    b"content-length", b"transfer-encoding", b"connection", b"cache-control", b"x-accel-buffering", b"retry-after",
}  # fmt: skip
STREAM = b"Content-Type: text/event-stream"


def post(target: bytes, body: bytes, *lines: bytes) -> bytes:
    size = b"Content-Length: %d" % len(body)
    return head(b"POST %b HTTP/1.1" % target, b"Host: localhost", size, *lines) + body


async def one(url: str, raw: bytes, to: bytes = b"POST") -> Reply:
    """The reply to these bytes; there is only one."""
    async with linked(url) as link:
        await link.send(raw)
        reply = await link.reply(to)
        assert reply is not None
        await _nothing_more(link)
        return reply


async def _nothing_more(link: Link) -> None:
    if not link.ended:
        await link.send(head(b"GET /healthz HTTP/1.1", b"Host: localhost", b"Connection: close"))
        last = await link.reply()
        assert last is None or (last.status, last.body) != (200, b"smuggled")
    assert await link.end() == b""


@pytest.mark.parametrize("stream", [False, True])
async def test_models(stream: bool) -> None:
    """They stand in bodies, in paths, in `x-rawproxy-upstream`, and in words of ours."""
    async with recorded() as (url, recorder):
        for model in NASTY:
            call = {
                "model": model,
                "stream": stream,
                "messages": [{"role": "user", "content": "hi"}],
            }
            reply = await one(url, post(CALL, json.dumps(call).encode()))
            assert {name for name, _ in reply.fields} <= OURS
        came = recorder.requests()
    assert {request.target for request in came} == {CALL}
    assert sorted(json.loads(request.body)["model"] for request in came) == sorted(NASTY)


@pytest.mark.parametrize(
    ("provider", "dialect", "prefix"),
    [
        ("bedrock", "bedrock_converse", b"/model/"),
        ("gemini", "gemini", b"/v1beta/models/"),
    ],
)
async def test_models_in_paths(provider: str, dialect: str, prefix: bytes) -> None:
    fake = FakeUpstream(plays(whole(400, b"{}")))
    async with fake.running():
        config = {
            "server": {"listen": ["127.0.0.1:0"]}, "admin": {"listen": ""},
            "upstreams": {"up": {"provider": provider, "base_url": fake.url, "keys": ["k"], "region": "r"}
                          if provider == "bedrock" else {"provider": provider, "base_url": fake.url, "keys": ["k"]}},
            "routes": [{"model": "*", "to": ["up/*"]}],
        }  # fmt: skip
        async with open_proxy(config) as proxy:
            for model in NASTY:
                call = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
                await one(proxy.urls[0], post(CALL, json.dumps(call).encode()))
    assert len(fake.seen) >= len(NASTY) - 3
    for seen in fake.seen:
        rest = seen.target.removeprefix(prefix)
        assert rest != seen.target
        assert rest.count(b"/") == int(provider == "bedrock")
        assert seen.target.partition(b"?")[0].isascii()
        assert b"/../" not in seen.target
        assert b"/./" not in seen.target
        assert seen.get(b"x-smuggled") is None


async def test_fields_of_clients() -> None:
    """What a client's own fields may say arrives as it was said, and none speaks for us."""
    lines = [
        b"X-Stainless-Lang: \xff\xfe", b"X-Rawproxy-Upstream: other", b"X-Rawproxy-Exchange: mine",
        b"Connection: x-dropped, content-length, host", b"X-Dropped: 1", b"Authorization: Bearer client", b"Cookie: a",
        b"Forwarded: for=1.2.3.4", b"Proxy-Connection: keep-alive", b"Trailer: X", b"OpenAI-Beta: a", b"openai-beta: b",
        b"Content_Length: 0", b"Transfer_Encoding: chunked", b"Te: trailers", b"Keep-Alive: 5",
    ]  # fmt: skip
    body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    async with recorded() as (url, recorder):
        reply = await one(url, post(CALL + b"?a=%0d%0aX-Smuggled:1&key=k&b", body, *lines))
        (came,) = recorder.requests()
    assert reply.status == 200
    given = dict(came.fields)
    assert given[b"openai-beta"] == b"a, b"
    assert given[b"x-stainless-lang"] == b"\xff\xfe"
    assert came.target == CALL + b"?a=%0d%0aX-Smuggled:1&b"
    assert not {b"x-rawproxy-upstream", b"x-rawproxy-exchange", b"x-dropped", b"cookie", b"forwarded", b"te", b"trailer",
                b"connection", b"keep-alive", b"proxy-connection", b"authorization"} & set(given)  # fmt: skip


@pytest.mark.parametrize("preflight", [False, True])
async def test_cors_says_back_what_was_said_and_no_more(preflight: bool) -> None:
    asked = b'x-a, X-B\t,"\xe4 \\'
    good, verb = b"https://a.example", b"OPTIONS" if preflight else b"GET"
    async with recorded(origins=[good.decode()]) as (url, _):
        for origin in (
            good,
            b"null",
            b"*",
            good + b", " + good,
            good + b"\xff",
            good + b".evil",
            b"x" * 9000,
        ):
            lines = [b"Origin: " + origin, b"Access-Control-Request-Headers: " + asked]
            raw = head(verb + b" /v1/models HTTP/1.1", b"Host: localhost", *lines)
            reply = await one(url, raw, verb)
            said = {
                name: value for name, value in reply.fields if name.startswith(b"access-control-")
            }
            if origin == good:
                assert said[b"access-control-allow-origin"] == good
                assert said[b"access-control-allow-headers"] == asked
            else:
                assert (reply.status, said) == (403, {})


def nasty_reply(stream: bool) -> Script:
    """A reply whose fields try to be ours, to frame, and to stay."""
    lines = [
        b"HTTP/1.1 200 Set-Cookie: a=b", b"X-Rawproxy-Exchange: mine", b"X-Rawproxy-Loss: all", b"Set-Cookie: a=b",
        b"Connection: x-dropped, keep-alive", b"X-Dropped: 1", b"Keep-Alive: timeout=5", b"Trailer: X-Late", b"Upgrade: h2c",
        b"X-Request-Id: \xff:\t\"a\"", b"Access-Control-Allow-Origin: *", b"Location: https://other", b"Server: x",
        b"Alt-Svc: h3=\":443\"", b"Content_Length: 0", b"X-A: 1", b"X-A: 2",
    ]  # fmt: skip
    late = b"0\r\nX-Late: 1\r\nContent-Length: 3\r\n\r\n"
    if stream:
        body = chunk(reply_stream(CHAT, "fine")) + late
        return plays(head(*lines, STREAM, b"Transfer-Encoding: chunked") + body)
    body = chunk(reply_body(CHAT, "fine")) + late
    kind = b"Content-Type: application/json"
    return plays(head(*lines, kind, b"Transfer-Encoding: chunked") + body)


@pytest.mark.parametrize("asks", [CHAT, MESSAGES])
@pytest.mark.parametrize("stream", [False, True])
async def test_fields_of_upstreams(asks: str, stream: bool) -> None:
    """Passed or translated: request ids come back, and nothing that frames, stays or speaks for us."""
    call = {
        "model": "m",
        "stream": stream,
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "hi"}],
    }
    target = CALL if asks == CHAT else b"/v1/messages"
    async with FakeUpstream(nasty_reply(stream)).running() as fake:
        config = {
            "server": {"listen": ["127.0.0.1:0"]}, "admin": {"listen": ""},
            "upstreams": {"up": upstream(fake.url, CHAT)}, "routes": [{"model": "*", "to": ["up/*"]}],
        }  # fmt: skip
        async with open_proxy(config) as proxy:
            with trio.fail_after(10):
                reply = await one(proxy.urls[0], post(target, json.dumps(call).encode()))
    assert (reply.status, b"fine" in reply.body) == (200, True)
    passed = {b"x-a", b"content_length"} if asks == CHAT else set()
    assert {name for name, _ in reply.fields} <= OURS | passed | {b"x-request-id"}
    assert (b"x-request-id", b'\xff:\t"a"') in reply.fields
    assert (b"x-rawproxy-exchange", b"mine") not in reply.fields
