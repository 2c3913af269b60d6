"""Every client on every upstream that takes its time: keepalives in the client's own form, and a whole reply.

The upstream waits before its head and again in the middle; all of it runs in virtual time.
"""

import json
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from rawproxy.app.serve import open_proxy
from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import Back
from rawproxy.dialects.fold import fold
from rawproxy.dialects.grammar import validate
from rawproxy.gateway.invoke import INVOKE
from rawproxy.gateway.record import Record
from rawproxy.wire.frame import MAX_FRAME
from tests.end_to_end.hosts import HOSTS, Host
from tests.end_to_end.slow import slowly
from tests.net.fakes import FakeUpstream, ask

SAY = "say hello"
CONTENT = [{"role": "user", "content": SAY}]
GEMINI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": SAY}]}]}
INVOKED = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 99, "messages": CONTENT}
PINGS = (b": keepalive\n\n", b"event: ping\n")
"""Before `message_start` no client expects a ping: there it is a comment."""

VERTEX = "/v1/projects/p/locations/l/publishers/anthropic/models/asked:streamRawPredict"


@dataclass(frozen=True)
class Client:
    """One client face: what it asks, and how it knows that somebody is still there.

    Attributes:
        keepalives: what keepalives look like; none where nothing may stand between two frames.
    """

    dialect: str
    path: str
    body: dict[str, Any]
    keepalives: tuple[bytes, ...] = (b": keepalive\n\n",)


CLIENTS = {
    "openai_chat": Client("openai_chat", "/v1/chat/completions", {"messages": CONTENT}),
    "openai_completions": Client("openai_completions", "/v1/completions", {"prompt": SAY}),
    "openai_responses": Client("openai_responses", "/v1/responses", {"input": SAY}, (b"event: keepalive\n",)),
    "anthropic_messages": Client(
        "anthropic_messages", "/v1/messages", {"messages": CONTENT, "max_tokens": 99}, PINGS
    ),
    "anthropic_complete": Client(
        "anthropic_complete", "/v1/complete",
        {"prompt": f"\n\nHuman: {SAY}\n\nAssistant:", "max_tokens_to_sample": 99}, PINGS,
    ),
    "gemini": Client("gemini", "/v1beta/models/asked:streamGenerateContent?alt=sse", GEMINI, (b"\r\n",)),
    "gemini_array": Client("gemini", "/v1beta/models/asked:streamGenerateContent", GEMINI, ()),
    "bedrock_converse": Client(
        "bedrock_converse", "/model/asked/converse-stream",
        {"messages": [{"role": "user", "content": [{"text": SAY}]}]}, (),
    ),
    "bedrock_invoke": Client(
        "anthropic_messages", "/model/asked/invoke-with-response-stream", INVOKED, ()
    ),
    "vertex": Client("anthropic_messages", VERTEX, INVOKED, PINGS),
    "ollama_chat": Client("ollama_chat", "/api/chat", {"messages": CONTENT}, ()),
}  # fmt: skip
PATIENCE = 25.0
"""Seconds that the upstream waits, twice; a keepalive is due every 10."""


def whole_text(client: str, body: bytes) -> str:
    """The text of a whole stream that keeps the rules of its dialect."""
    face = CLIENTS[client]
    dialect = DIALECTS[face.dialect]
    reader = dialect.stream_reader(Back())
    if client == "gemini_array":
        body = b"".join(dialect.FRAMING.write(json.dumps(one).encode()) for one in json.loads(body))
    framing = INVOKE if client == "bedrock_invoke" else dialect.FRAMING
    splitter = framing.splitter(MAX_FRAME)
    frames = splitter.feed(body)
    assert splitter.close() == b""
    if framing is dialect.FRAMING and client != "gemini_array":
        assert [str(one) for one in validate(face.dialect, body)] == []
    events = [event for frame in frames if frame.has_data for event in reader.read(frame)]
    return fold([*events, *reader.close()]).choice(0).text("text")


@pytest.mark.parametrize("host", HOSTS.values(), ids=lambda host: host.name)
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_slow_upstream(client: str, host: Host, autojump_clock: MockClock) -> None:
    face = CLIENTS[client]
    records: list[Record] = []
    async with FakeUpstream(slowly(host.script, PATIENCE)).running() as fake:
        config = {
            "server": {"listen": ["127.0.0.1:0"]}, "admin": {"listen": ""}, "stream": {"grammar_sample": 1},
            "upstreams": {"up": host.section(fake.url)},
            "routes": [{"model": "*", "to": [f"up/{host.model}"]}],
        }  # fmt: skip
        async with open_proxy(config, keep=records.append) as proxy:
            named = {"model": "asked", "stream": True} if DIALECTS[face.dialect].MODEL_FIELD else {}
            body = json.dumps((named | face.body) if "invoke" not in face.path else face.body)
            got = await ask(proxy.urls[0], face.path, body.encode())
            while not records:  # noqa: ASYNC110 - the client has its reply before the record is kept
                await trio.sleep(0.1)
    assert got.status == 200
    assert got.clean
    assert whole_text(client, got.body) == "Hello there!"
    quiet = sum(got.body.count(keepalive) for keepalive in face.keepalives)
    assert quiet >= (4 if face.keepalives else 0)
    assert records[0].violations == {}
    assert records[0].outcome in ("ok", "repaired")
