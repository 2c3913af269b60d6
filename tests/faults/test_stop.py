"""Stop sequences that the upstream was never told: the reply ends at them, and the upstream is left."""

import json

import pytest
import trio
from trio.testing import MockClock

from rawproxy.app.serve import open_proxy
from rawproxy.gateway.record import Record
from tests.end_to_end.hosts import HOSTS
from tests.net.fakes import FakeUpstream, Seen, ask, chunk, head
from tests.net.world import frames


def answer(*words: str) -> bytes:
    """A Responses stream that has said these words and goes on."""
    created: dict[str, object] = {
        "type": "response.created",
        "response": {"id": "resp_1", "model": "m", "output": []},
    }
    deltas: list[dict[str, object]] = [
        {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": word}
        for word in words
    ]  # fmt: skip
    return b"".join(
        f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in [created, *deltas]
    )


@pytest.mark.parametrize("stream", [True, False])
async def test_a_reply_ends_at_a_stop_sequence(stream: bool, autojump_clock: MockClock) -> None:
    left = trio.Event()

    async def endless(seen: Seen, wire: trio.SocketStream) -> None:
        assert b"END" not in seen.body
        await wire.send_all(head() + chunk(answer("one ", "E", "ND", "two")))
        assert await wire.receive_some(1) == b""  # nothing more comes until the proxy has left
        left.set()

    records: list[Record] = []
    async with FakeUpstream(endless).running() as fake:
        config = {
            "server": {"listen": ["127.0.0.1:0"]}, "admin": {"listen": ""},
            "upstreams": {"up": HOSTS["openai_responses"].section(fake.url)},
            "routes": [{"model": "*", "to": ["up/m"]}],
        }  # fmt: skip
        body = {
            "model": "m", "stream": stream, "max_tokens": 99, "stop_sequences": ["END"],
            "messages": [{"role": "user", "content": "count"}],
        }  # fmt: skip
        async with open_proxy(config, keep=records.append) as proxy:
            before = trio.current_time()
            got = await ask(proxy.urls[0], "/v1/messages", json.dumps(body).encode())
            await left.wait()
            assert trio.current_time() - before < 1
    assert got.status == 200
    assert "x-rawproxy-loss" not in got.fields
    if stream:
        said = frames(got.body)
        assert (
            "".join(
                data["delta"].get("text", "")
                for name, data in said
                if name == "content_block_delta"
            )
            == "one "
        )
        (ending,) = [data["delta"] for name, data in said if name == "message_delta"]
        assert said[-1][0] == "message_stop"
    else:
        ending = json.loads(got.body)
        assert ending["content"] == [{"type": "text", "text": "one "}]
    assert (ending["stop_reason"], ending["stop_sequence"]) == ("stop_sequence", "END")
