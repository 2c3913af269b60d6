"""Arbitrary replies, and what any reply means: for tests that hold in every dialect."""

import itertools
import json
from typing import Any

from hypothesis import strategies as st

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import Back
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Origin, Vault, seal
from rawproxy.dialects.events import (
    BlockKind,
    Close,
    Delta,
    End,
    Event,
    Fail,
    Note,
    Open,
    Reason,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)
from rawproxy.dialects.fold import Block, Reply, fold
from rawproxy.wire.frame import MAX_FRAME

CLIENTS = [name for name in DIALECTS if name != "plain_text"]
VAULT = Vault(b"key", "caller")
SEAL = seal(Origin("somebody"), "thinking", '{"signature":"s"}')
REASONS: list[Reason] = ["end", "length", "refusal", "filter", "pause", "context", "malformed"]
KINDS: list[BlockKind] = ["text", "thinking", "refusal", "tool"]


@st.composite
def replies(draw: st.DrawFn, *, choices: int = 2, fails: bool = True) -> list[Event]:
    """Any reply that `events.py` allows: interleaved, sealed, noted, counted, failed at any time."""
    events: list[Event] = [
        Start(draw(st.sampled_from([None, "id-1"])), draw(st.sampled_from([None, "up"])))
    ]
    live: list[Open] = []
    number = 0
    for _ in range(draw(st.integers(0, 14))):
        choice = draw(st.integers(0, choices - 1))
        match draw(
            st.sampled_from(["open", "delta", "delta", "close", "seal", "whole", "usage", "note"])
        ):
            case "open":
                kind = draw(st.sampled_from(KINDS))
                # Readers make texts of a choice come one after another; tools may interleave.
                if kind != "tool" and any(o.choice == choice and o.kind != "tool" for o in live):
                    continue
                extra: dict[str, Any] = {"id": f"t{number}", "name": "f"} if kind == "tool" else {}
                live.append(Open(number, kind, choice, **extra))
                events.append(live[-1])
                number += 1
            case "delta" if live:
                block = draw(st.sampled_from(live))
                if block.kind != "tool":
                    events.append(Delta(block.block, draw(st.text(min_size=1, max_size=4))))
            case "close" if live:
                closing = live.pop(draw(st.integers(0, len(live) - 1)))
                if closing.kind == "tool":
                    events.append(Delta(closing.block, '{"a":1}'))
                events.append(Close(closing.block))
            case "seal":
                thinking = [one for one in live if one.kind == "thinking"]
                if thinking:
                    live.remove(thinking[0])
                    events += [Sealed(thinking[0].block, SEAL), Close(thinking[0].block)]
            case "note":
                texts = [one for one in live if one.kind == "text"]
                if texts:
                    events.append(
                        Note(texts[0].block, url="https://e.example", title="t", start=0, end=1)
                    )
            case "whole":
                events.append(Whole("elsewhere", b"{}", "search", choice))  # type: ignore[arg-type]
            case "usage":
                count = draw(st.integers(0, 9))
                events.append(
                    Usage(input=20, output=10 + count, cache_read=draw(st.sampled_from([None, 4])))
                )
    if fails and draw(st.booleans()):
        return [
            *events,
            Fail(draw(st.sampled_from(["server", "overflow", "rate_limit"])), "it broke"),
        ]
    opened = {one.choice for one in events if isinstance(one, Open)} | {0}
    for one in live:
        events += [Delta(one.block, '{"a":1}')] if one.kind == "tool" else []
        events.append(Close(one.block))
    called = {one.choice for one in events if isinstance(one, Open) and one.kind == "tool"}
    for choice in sorted(opened):
        reason = draw(st.sampled_from(REASONS))
        events.append(Stop("tools" if reason == "end" and choice in called else reason, choice))
    return [*events, Usage(input=20, output=99), End()]


def asked(client: str, **more: Any) -> Call:
    """What a client asked, as far as a writer needs it."""
    return Call(client, "m", stream=True, wants_usage=True, vault=VAULT, **more)


def written(client: str, events: list[Event], **more: Any) -> tuple[bytes, list[str]]:
    """A stream for a client, and the fields of what it could not say."""
    writer = DIALECTS[client].stream_writer(asked(client, **more), "made", 7)
    stream = b"".join(map(writer.write, events))
    return stream, [loss.field for loss in writer.losses]


def read(client: str, stream: bytes, cuts: list[int] | None = None) -> list[Event]:
    """What a stream says, read in pieces."""
    dialect = DIALECTS[client]
    reader, splitter = dialect.stream_reader(Back()), dialect.FRAMING.splitter(MAX_FRAME)
    bounds = sorted({0, len(stream), *(at % (len(stream) + 1) for at in cuts or ())})
    events: list[Event] = []
    for start, end in itertools.pairwise(bounds):
        for frame in splitter.feed(stream[start:end]):
            events += reader.read(frame) if frame.has_data else []
    assert splitter.close() == b""
    return events if events and isinstance(events[-1], End | Fail) else [*events, *reader.close()]


def meaning(reply: Reply) -> dict[str, Any]:
    """What the first choice of a reply means to an application."""
    choice = reply.choice(0)
    stop = choice.stop
    counts = reply.usage or Usage()
    return {
        "text": choice.text("text"),
        "thinking": choice.text("thinking"),
        "refusal": choice.text("refusal"),
        "tools": sorted(
            (block.opened.name or "", _arguments(block)) for block in choice.blocks("tool")
        ),
        "stop": stop.reason if stop else None,
        "usage": (counts.input, counts.cache_read, counts.output),
    }


def _arguments(block: Block) -> str:
    if block.opened.tool == "freeform":
        return block.text
    return json.dumps(json.loads(block.text or "{}"), sort_keys=True)


def means(events: list[Event]) -> dict[str, Any]:
    return meaning(fold(events))
