"""A cut reply never looks like success to an official SDK: recorded streams, cut on a real socket.

The SDKs run in this process: they take to trio by themselves. Before the Stop they raise, after it
they read the same reply as from the whole stream.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
import trio

from tests.dialects.test_cuts import CASES, OTHER, cut_frames, whole_from
from tests.net.fakes import LAST_CHUNK, Seen, chunk, head
from tests.net.world import CHAT, MESSAGES, World, text, world

pytestmark = [
    pytest.mark.slow,
    # The SDKs stop reading at the terminator, and leave their generators to the collector.
    pytest.mark.filterwarnings("ignore:Async generator '(openai|anthropic|httpx2|httpcore2):"),
]

SPREAD = 40
"""Cuts at bytes of no importance, beside those at every frame's end."""

FAILURES = (openai.APIError, anthropic.APIError)
"""What the SDKs make of a status and of an error inside a stream; anything else fails the test."""

NO_WORDS = (openai.APIConnectionError, anthropic.APIConnectionError)
"""What they make of a broken connection; a reply that broke off is told in words."""

Read = Callable[[], Awaitable[dict[str, Any]]]


@dataclass
class CutUpstream:
    """Sends a stream up to `cut`, and ends the body, or only the connection."""

    stream: bytes
    ends_body: bool
    cut: int = 0

    async def script(self, seen: Seen, wire: trio.SocketStream) -> None:
        part = self.stream[: self.cut]
        await wire.send_all(head() + (chunk(part) if part else b""))
        if self.ends_body:
            await wire.send_all(LAST_CHUNK)
        else:
            await wire.aclose()


@asynccontextmanager
async def openai_sdk(url: str) -> AsyncIterator[Read]:
    """Gives a function that asks for one stream and returns what it said."""
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key="any", max_retries=0, http_client=http
    ) as client:

        async def read() -> dict[str, Any]:
            said: dict[str, Any] = {"text": "", "tools": {}, "stop": None}
            asked = client.chat.completions.create(
                model="asked", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            async with await asked as chunks:
                async for one in chunks:
                    for choice in one.choices:
                        said["text"] += choice.delta.content or ""
                        said["stop"] = choice.finish_reason or said["stop"]
                        for call in choice.delta.tool_calls or []:
                            tool = said["tools"].setdefault(call.index, ["", "", ""])
                            tool[0] += call.id or ""
                            if call.function is not None:
                                tool[1] += call.function.name or ""
                                tool[2] += call.function.arguments or ""
            return said

        yield read


@asynccontextmanager
async def anthropic_sdk(url: str) -> AsyncIterator[Read]:
    """Gives a function that asks for one stream and returns what it said."""
    http = anthropic.DefaultAsyncHttpxClient(trust_env=False)
    async with anthropic.AsyncAnthropic(
        base_url=url, api_key="any", max_retries=0, http_client=http
    ) as client:

        async def read() -> dict[str, Any]:
            asked = client.messages.stream(
                model="asked", max_tokens=64, messages=[{"role": "user", "content": "hi"}]
            )
            async with asked as stream:
                message = await stream.get_final_message()
            blocks = [block.model_dump(exclude_none=True) for block in message.content]
            words = "".join(block["text"] for block in blocks if block["type"] == "text")
            return {"text": words, "blocks": blocks, "stop": message.stop_reason}

        yield read


SDKS = {CHAT: openai_sdk, MESSAGES: anthropic_sdk}


def places(stream: bytes) -> list[int]:
    """Where to cut: at every frame's end, and between; the whole stream is the last one."""
    ends = [0]
    for frame in cut_frames(stream):
        ends.append(ends[-1] + len(frame))
    assert ends[-1] == len(stream)
    return sorted({*ends, *(len(stream) * step // SPREAD for step in range(SPREAD))})


async def failure_or_reply(read: Read) -> dict[str, Any] | None:
    """What the SDK read; None when it raised."""
    try:
        return await read()
    except NO_WORDS:
        raise
    except FAILURES:
        return None


async def check_every_cut(here: World, upstream: CutUpstream, read: Read, dialect: str) -> None:
    """Ask once for each cut; the records tell that each was asked, and how it ended."""
    stream = upstream.stream
    border = whole_from(dialect, stream)
    upstream.cut = len(stream)
    full = await failure_or_reply(read)
    assert (full is None) is (border is None)
    if full is not None:
        assert full["text"] == text(dialect, stream)
        assert full["stop"]
    for count, upstream.cut in enumerate(places(stream), 2):
        got = await failure_or_reply(read)
        is_whole = border is not None and upstream.cut >= border
        assert got == (full if is_whole else None), upstream.cut
        await here.kept(count)
        outcomes = ("ok", "repaired") if is_whole else ("broken", "failed")
        assert here.records[-1].outcome in outcomes, upstream.cut
        assert len(here.upstreams["up"].seen) == count


@pytest.mark.parametrize("ends_body", [True, False], ids=["body ended", "connection closed"])
@pytest.mark.parametrize("way", ["passed", "translated"])
@pytest.mark.parametrize(("dialect", "case"), CASES)
async def test_a_cut_reply_raises_or_is_whole(
    dialect: str, case: str, way: str, ends_body: bool, recorded: Path
) -> None:
    upstream = CutUpstream((recorded / dialect / case / "stream.sse").read_bytes(), ends_body)
    client = dialect if way == "passed" else OTHER[dialect]
    async with world(upstream.script, dialect) as here, SDKS[client](here.url) as read:
        await check_every_cut(here, upstream, read, dialect)
