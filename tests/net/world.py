"""A proxy between a client and fake upstreams, all in one trio loop, on real loopback sockets.

With pytest-trio's `autojump_clock` every clock of the proxy runs in virtual time: nobody sleeps.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from rawproxy.app.serve import Proxy, open_proxy
from rawproxy.gateway.keys import Key
from rawproxy.gateway.record import Record
from rawproxy.net.resolve import Address, Resolver
from rawproxy.wire.sse import Splitter
from tests.net.fakes import FakeUpstream, Script
from tests.net.fakes_http2 import Http2Upstream

CHAT, MESSAGES, RESPONSES = "openai_chat", "anthropic_messages", "openai_responses"
PATH = {CHAT: "/v1/chat/completions", MESSAGES: "/v1/messages", RESPONSES: "/v1/responses"}
Lookup = Callable[[str, trio.CapacityLimiter], Awaitable[list[Address]]]


@dataclass
class World:
    """What a test sees: the proxy's address, its upstreams by name, its records."""

    proxy: Proxy
    upstreams: dict[str, FakeUpstream | Http2Upstream]
    records: list[Record] = field(default_factory=list)
    _waiting: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    def keep(self, record: Record) -> None:
        self.records.append(record)
        self._waiting.unpark_all()

    async def kept(self, count: int = 1) -> None:
        """Return when `count` records are there."""
        while len(self.records) < count:
            await self._waiting.park()

    @property
    def url(self) -> str:
        return self.proxy.urls[0]

    async def draining(self) -> None:
        """Return when a drain has begun."""
        while not self.proxy.draining:
            await trio.lowlevel.checkpoint()

    @property
    def record(self) -> Record:
        """The only record."""
        assert len(self.records) == 1, self.records
        return self.records[0]

    def keys(self, upstream: str = "up") -> list[Key]:
        """The keys of an upstream's pool."""
        found = self.proxy._server.setup.site.router.find("m")
        return next(one.upstream.pool.keys for one in found if one.upstream.name == upstream)

    @property
    def running(self) -> int:
        """Exchanges under way."""
        return len(self.proxy._sweeper.runs)

    @property
    def pooled(self) -> int:
        """Upstream connections that wait for a request."""
        pool = self.proxy._server.upstreams
        shared = [link for links in pool._shared.values() for link in links]
        return sum(len(home.idle) for home in pool._homes.values()) + sum(
            link.idle for link in shared
        )

    @property
    def held(self) -> int:
        """Upstream connections that are neither closed nor in the pool, as the proxy sees it."""
        return self.proxy._server.upstreams.open - self.pooled

    @property
    def unclosed(self) -> int:
        """Upstream connections that are neither closed nor in the pool, as the upstreams see it."""
        stand = sum(fake.accepted - fake.closed for fake in self.upstreams.values())
        return stand - self.pooled


def upstream(url: str, dialect: str, **more: Any) -> dict[str, Any]:
    """An upstream's configuration. Base URLs are as each vendor's own SDK writes them."""
    return {"provider": "compatible", "base_url": f"{url}/v1", "dialects": [dialect]} | more


@asynccontextmanager
async def world(
    scripts: Mapping[str, Script] | Script,
    dialect: str = CHAT,
    *,
    stream: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    lookup: Lookup | None = None,
    **sections: Any,
) -> AsyncIterator[World]:
    """Run a proxy in front of one fake upstream for each script.

    Every model goes to the upstreams in the order of `scripts`, as "m". `options` are more keys of an
    upstream's section, `sections` more sections of the configuration; `lookup` takes the place of the
    system's resolver.
    """
    if callable(scripts):
        scripts = {"up": scripts}
    async with AsyncExitStack() as stack:
        fakes = {
            name: await stack.enter_async_context(FakeUpstream(script).running())
            for name, script in scripts.items()
        }
        config: dict[str, Any] = {
            "server": {"listen": ["127.0.0.1:0"], "limits": dict(limits or {})},
            "admin": {"listen": ""},
            "stream": dict(stream or {}),
            "upstreams": {
                name: upstream(fake.url, dialect, **(options or {}).get(name, {}))
                for name, fake in fakes.items()
            },
            "routes": [{"model": "*", "to": [f"{name}/m" for name in fakes]}],
        }
        config["server"] |= sections.pop("server", {})
        config |= sections
        kept: list[Record] = []
        made: list[World] = []
        proxy = await stack.enter_async_context(
            open_proxy(config, keep=lambda record: made[0].keep(record))
        )
        if lookup is not None:
            proxy._server.upstreams._resolver = Resolver(lookup)
        made.append(World(proxy, dict(fakes), kept))
        yield made[0]


def call(dialect: str, *, stream: bool = True, **more: Any) -> bytes:
    """A short request in `dialect`."""
    body: dict[str, Any] = {"model": "m", "stream": stream}
    if dialect == RESPONSES:
        body["input"] = "hi"
    else:
        body["messages"] = [{"role": "user", "content": "hi"}]
    if dialect == MESSAGES:
        body["max_tokens"] = 64
    return json.dumps(body | more).encode()


def frames(body: bytes) -> list[tuple[str, Any]]:
    """A stream's frames that carry data: name, and data as JSON where it is."""
    splitter = Splitter()
    found = splitter.feed(body)
    assert splitter.close() == b"", "the stream ends inside a frame"
    return [(one.name.decode(), _value(one.data)) for one in found if one.has_data]


def _value(data: bytes) -> Any:
    return data.decode() if data == b"[DONE]" else json.loads(data)


def errors(dialect: str, body: bytes) -> list[str]:
    """The messages of the terminal errors in a stream."""
    if dialect == RESPONSES:
        return [
            data["response"]["error"]["message"]
            for name, data in frames(body)
            if name == "response.failed"
        ]
    return [
        data["error"]["message"]
        for name, data in frames(body)
        if isinstance(data, dict) and "error" in data and (dialect == CHAT or name == "error")
    ]


def is_whole(dialect: str, body: bytes) -> bool:
    """Whether a stream says that it is complete."""
    if dialect == CHAT:
        return body.endswith(b"data: [DONE]\n\n")
    last = {MESSAGES: "message_stop", RESPONSES: "response.completed"}[dialect]
    return any(name == last for name, _ in frames(body))


def text(dialect: str, body: bytes) -> str:
    """The text of a stream."""
    found = ""
    for name, data in frames(body):
        if not isinstance(data, dict):
            continue
        if dialect == CHAT:
            for choice in data.get("choices", []):
                found += choice["delta"].get("content") or ""
        elif dialect == RESPONSES:
            found += data["delta"] if name == "response.output_text.delta" else ""
        elif data["type"] == "content_block_delta":
            found += data["delta"].get("text", "")
    return found


def body_text(dialect: str, body: bytes) -> str:
    """The text of a blocking reply."""
    reply = json.loads(body)
    if dialect == CHAT:
        return str(reply["choices"][0]["message"]["content"])
    if dialect == RESPONSES:
        return "".join(part["text"] for item in reply["output"] for part in item["content"])
    return str(reply["content"][0]["text"])


def _sse(value: object, name: str = "") -> bytes:
    line = f"event: {name}\n" if name else ""
    return f"{line}data: {json.dumps(value)}\n\n".encode()


def preamble(dialect: str) -> bytes:
    """The frames of a reply before any output."""
    if dialect == CHAT:
        return _chunk({"role": "assistant", "content": ""})
    if dialect == RESPONSES:
        opened = _message("", "in_progress") | {"content": []}
        return (
            _said("created", 0, response=_response("in_progress"))
            + _said("output_item.added", 1, output_index=0, item=opened)
            + _said("content_part.added", 2, **_PLACE, part=_part(""))
        )
    start: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 1},
    }  # fmt: skip
    block = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    return _sse({"type": "message_start", "message": start}, "message_start") + _sse(
        block, "content_block_start"
    )


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return _sse({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    })  # fmt: skip


_PLACE: dict[str, Any] = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def _said(kind: str, number: int, **more: Any) -> bytes:
    name = f"response.{kind}"
    return _sse({"type": name, "sequence_number": number} | more, name)


def _part(words: str) -> dict[str, Any]:
    return {"type": "output_text", "text": words, "annotations": []}


def _message(words: str, status: str) -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "status": status,
        "content": [_part(words)],
    }  # fmt: skip


def _response(status: str, *output: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "m",
        "error": None, "incomplete_details": None, "output": list(output), "usage": None,
    } | more  # fmt: skip


def delta(dialect: str, words: str) -> bytes:
    """A frame of text."""
    if dialect == CHAT:
        return _chunk({"content": words})
    if dialect == RESPONSES:
        return _said("output_text.delta", 3, **_PLACE, delta=words)
    piece = {"type": "text_delta", "text": words}
    return _sse({"type": "content_block_delta", "index": 0, "delta": piece}, "content_block_delta")


def stop(dialect: str, words: str = "") -> bytes:
    """The frames up to and with the Stop. Responses repeats the whole text there: `words`."""
    if dialect == CHAT:
        return _chunk({}, "stop")
    if dialect == RESPONSES:
        done, usage = _message(words, "completed"), {"input_tokens": 3, "output_tokens": 2}
        return (
            _said("output_text.done", 4, **_PLACE, text=words)
            + _said("content_part.done", 5, **_PLACE, part=_part(words))
            + _said("output_item.done", 6, output_index=0, item=done)
            + _said("completed", 7, response=_response("completed", done, usage=usage))
        )
    closing = _sse({"type": "content_block_stop", "index": 0}, "content_block_stop")
    ending = {
        "type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 2},
    }  # fmt: skip
    return closing + _sse(ending, "message_delta")


def end(dialect: str) -> bytes:
    """The terminator; Responses has none but its Stop."""
    if dialect == CHAT:
        return b"data: [DONE]\n\n"
    return b"" if dialect == RESPONSES else _sse({"type": "message_stop"}, "message_stop")


def error_frame(dialect: str, kind: str = "server_error", message: str = "it broke") -> bytes:
    """An error inside a stream."""
    if dialect == CHAT:
        return _sse({"error": {"message": message, "type": kind, "param": None, "code": None}})
    if dialect == RESPONSES:
        error = {"code": kind, "message": message}
        return _said("failed", 8, response=_response("failed", error=error))
    return _sse({"type": "error", "error": {"type": kind, "message": message}}, "error")


def reply_stream(dialect: str, *words: str) -> bytes:
    """A whole stream."""
    deltas = b"".join(delta(dialect, word) for word in words)
    return preamble(dialect) + deltas + stop(dialect, "".join(words)) + end(dialect)


def reply_body(dialect: str, words: str) -> bytes:
    """A whole blocking reply."""
    if dialect == CHAT:
        message = {"role": "assistant", "content": words, "refusal": None}
        return json.dumps({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        }).encode()  # fmt: skip
    if dialect == RESPONSES:
        usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
        done = _message(words, "completed")
        return json.dumps(_response("completed", done, usage=usage)).encode()
    return json.dumps({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": words}], "stop_reason": "end_turn",
        "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 2},
    }).encode()  # fmt: skip


def error_body(dialect: str, kind: str, message: str) -> bytes:
    """A blocking error."""
    if dialect in (CHAT, RESPONSES):
        error = {"message": message, "type": kind, "param": None, "code": None}
        return json.dumps({"error": error}).encode()
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


def message_of(body: bytes) -> str:
    """The message of a blocking error, in any of these dialects."""
    found: str = json.loads(body)["error"]["message"]
    return found
