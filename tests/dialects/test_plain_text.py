"""rawproxy.dialects.plain_text: bare text and lines of it, read as replies."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects import plain_text
from rawproxy.dialects.base import NOTHING_GIVEN, Back, Dialect, Target
from rawproxy.dialects.call import (
    CacheUse,
    Call,
    Format,
    Identity,
    Reasoning,
    Sampling,
    Text,
    Tool,
    ToolChoice,
    Turn,
)
from rawproxy.dialects.envelope import UNKNOWN, Origin, Seal, Vault
from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Note,
    Open,
    Overflow,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)
from rawproxy.dialects.losses import Loss, Why
from rawproxy.dialects.models import Takes
from rawproxy.errors import ClientError, UpstreamNonsense
from rawproxy.wire import ndjson, text
from rawproxy.wire.frame import PlainFrame
from tests.dialects.order import Order

DIALECT: Dialect = plain_text
GOLDEN = Path(__file__).parent.parent / "golden" / "plain_text"
LINES = Back(text_field="text")
CALL = Call("other", "m")
NO: Why = "no such thing there"


def said(*texts: str) -> list[Event]:
    deltas = [Delta(0, text) for text in texts]
    block: list[Event] = [Open(0, "text"), *deltas, Close(0)] if texts else []
    return [Start(), *block, Stop("end"), End()]


def read(reads: list[bytes], back: Back = Back()) -> list[Event]:  # noqa: B008 - a frozen value
    splitter = (ndjson if back.text_field else text).splitter(1000)
    reader = plain_text.stream_reader(back)
    frames = [frame for data in reads for frame in splitter.feed(data)]
    events = [event for frame in frames for event in reader.read(frame)]
    events += reader.close()
    order = Order()
    for event in events:
        order.check(event)
    return events


def test_no_client_speaks_it() -> None:
    with pytest.raises(ClientError, match="upstreams only"):
        plain_text.read_call(b"{}", Vault())
    with pytest.raises(ClientError, match="upstreams only"):
        plain_text.glance(b"{}", NOTHING_GIVEN)


@pytest.mark.parametrize(
    ("reads", "back", "events"),
    [
        ([b"a", b"b"], Back(), said("a", "b")),
        ([b"\xc3", b"\xa4\xff"], Back(), said("ä\ufffd")),
        ([], Back(), said()),
        ([b'{"text":"a"}\n\n"b"\n', b'{"done":true}\n'], LINES, said("a", "b")),
        ([b'{"a":[{"b":"x"}]}\n'], Back(text_field="a.0.b"), said("x")),
        ([b'{"text":1}\n[1]\n{"text":"a"}\n'], LINES, said("a")),
        ([b'{"a":[]}\n{"a":{"0":{}}}\n{"a":["x"]}\n'], Back(text_field="a.0.b"), said()),
        ([b'{"error":{"message":"m"}}\n{"text":"a"}\n'], LINES, [Fail("server", "m")]),
        ([b'{"text":"a"}\n{"error":"m"}\n'], LINES, [*said("a")[:3], Fail("server", "m")]),
    ],
)  # fmt: skip
def test_streams(reads: list[bytes], back: Back, events: list[Event]) -> None:
    assert read(reads, back) == events


def test_lines_without_the_field_are_counted() -> None:
    reader = plain_text.stream_reader(LINES)
    for data in (b'{"done":true}', b'{"done":false}', b"3", b'{"error":null}', b" "):
        assert reader.read(PlainFrame(data, data=data, has_data=True)) == []
    assert reader.unknown == 3
    with pytest.raises(UpstreamNonsense):
        reader.read_line(b"words")


@given(answer=st.text(), cuts=st.lists(st.integers(0, 40)))
def test_cuts_never_change_the_text(answer: str, cuts: list[int]) -> None:
    data = answer.encode("utf-8", "replace")
    bounds = sorted({0, len(data), *(at for at in cuts if at < len(data))})
    events = read([data[start:end] for start, end in itertools.pairwise(bounds)])
    assert "".join(event.text for event in events if isinstance(event, Delta)) == data.decode()


@pytest.mark.parametrize(
    ("body", "back", "events"),
    [
        (b"a\nb", Back(), said("a\nb")),
        (b"", Back(), said()),
        (b'{\n"text": "a"}', LINES, said("a")),
        (b'{"text":""}', LINES, said()),
        (b'"a"', LINES, said("a")),
        (b'{"text":"a"}\n{"text":"b"}\n{"done":true}', LINES, said("a", "b")),
        (b'{"error":"m"}', LINES, [Fail("server", "m")]),
    ],
)
def test_bodies(body: bytes, back: Back, events: list[Event]) -> None:
    assert plain_text.read_reply(body, back) == events


@pytest.mark.parametrize("body", [b"words", b'{"other":"a"}', b"", b"[1]"])
def test_a_body_without_its_field_is_nonsense(body: bytes) -> None:
    with pytest.raises(UpstreamNonsense):
        plain_text.read_reply(body, LINES)


def test_the_golden_call_is_what_is_sent() -> None:
    turns = (Turn("system", (Text("You are brief."),)), Turn("user", (Text("Say hello."),)))
    call = Call(
        "other", "asked", turns, stream=True, limit=100, sampling=Sampling(0.7),
        stop=("\n\nUser:",), reasoning=Reasoning("off", "none", 4), parallel_tools=False,
    )  # fmt: skip
    written = plain_text.write_call(call, Target("m", Takes(), Origin("x"), "a.b"))
    assert json.loads(written.body) == json.loads((GOLDEN / "text" / "call.json").read_bytes())
    assert written.losses == []
    assert written.back == Back(Origin("x"), stops=("\n\nUser:",), text_field="a.b")


@pytest.mark.parametrize("case", sorted(GOLDEN.iterdir()), ids=lambda case: case.name)
def test_golden_cases(case: Path) -> None:
    stream, body = (case / "stream.txt").read_bytes(), (case / "reply.txt").read_bytes()
    events = read([stream])
    assert events == plain_text.read_reply(body, Back())
    writer, grammar = plain_text.stream_writer(CALL, "x", 1), plain_text.grammar()
    assert b"".join(map(writer.write, events)) == stream
    assert plain_text.write_reply(events, CALL, "x", 1) == (body, [])
    frames = text.splitter(9).feed(stream)
    assert [rule for frame in frames for rule in grammar.check(frame)] + grammar.close() == []


@pytest.mark.parametrize(
    ("more", "paths"),
    [
        ({"tools": (Tool("f", "tools[0]"),), "tool_choice": ToolChoice("auto")}, ["tools[0]"]),
        ({"tool_choice": ToolChoice("required")}, ["tool_choice"]),
        ({"tool_choice": ToolChoice("one", ("f",)), "names": {"tool_choice": "c"}}, ["c"]),
        ({"tool_choice": ToolChoice("allowed", ("f",), must=True)}, ["tool_choice"]),
        ({"tool_choice": ToolChoice("none")}, []),
        ({"sampling": Sampling(1, 1, 0, 0.1, 0, 0, 0)}, ["top_k", "min_p", "seed"]),
        ({"sampling": Sampling(frequency_penalty=1, presence_penalty=1, logit_bias=Raw(b"{}"))},
         ["frequency_penalty", "presence_penalty", "logit_bias"]),
        ({"reasoning": Reasoning("on")}, ["reasoning"]),
        ({"reasoning": Reasoning(effort="low")}, ["reasoning"]),
        ({"reasoning": Reasoning(budget=9)}, ["reasoning"]),
        ({"format": Format("json"), "verbosity": "low", "n": 2}, ["format", "verbosity", "n"]),
        ({"logprobs": True, "top_logprobs": 0}, ["logprobs", "top_logprobs"]),
        ({"cache": CacheUse("k", "24h"), "tier": "flex"}, ["cache.key", "cache.retention", "tier"]),
        ({"identity": Identity("u", "s", Raw(b"{}"))},
         ["identity.user", "identity.safety", "identity.metadata"]),
        ({"extra": {"x.y": b"1"}}, ["x.y"]),
    ],
)  # fmt: skip
def test_what_is_richer_is_a_loss(more: dict[str, Any], paths: list[str]) -> None:
    written = plain_text.write_call(Call("other", "m", **more), Target("m", Takes()))
    assert written.losses == [Loss(path, NO) for path in paths]


BLOCKS: list[Event] = [
    Start("i", "m", 1), Open(0, "thinking"), Delta(0, "Hm"), Sealed(0, Seal(UNKNOWN, "f", "{}")),
    Close(0), Open(1, "text", phase="x"), Delta(1, "a", Raw(b"{}")), Delta(1, "", Raw(b"{}")),
    Delta(1, "b"), Note(1), Close(1), Open(2, "tool", id="c", name="f"), Delta(2, "{}"), Close(2),
    Open(3, "text", seal=Seal(UNKNOWN, "f", "{}")), Delta(3, "c"), Close(3), Open(4, "text", 1),
    Delta(4, "other"), Close(4), Open(5, "refusal"), Delta(5, "no"), Close(5),
    Whole("d", Raw(b"{}"), "search"), Usage(1, 2),
]  # fmt: skip


def test_the_writer_writes_text_alone() -> None:
    writer = plain_text.stream_writer(CALL, "x", 1)
    events = [*BLOCKS, Stop("filter"), Stop("end", 1), End(), Delta(1, "late")]
    assert b"".join(map(writer.write, events)) == b"ab\n\nc\n\nno"
    assert [loss.path.removeprefix("reply.") for loss in writer.losses] == [
        "thinking", "logprobs", "citations", "f", "seal", "choices", "search", "usage",
        "stop_reason",
    ]  # fmt: skip
    assert writer.keepalive() == b""
    writer.joined()


def test_a_failure_breaks_off() -> None:
    writer = plain_text.stream_writer(CALL, "x", 1)
    events: list[Event] = [Start(), Open(0, "text"), Delta(0, "a"), Fail("server", "m")]
    assert b"".join(map(writer.write, events)) == b"a"
    assert writer.write(Delta(0, "b")) == b""
    with pytest.raises(UpstreamNonsense):
        plain_text.write_reply(events, CALL, "x", 1)


def test_errors() -> None:
    assert plain_text.read_error(503, b"<html>") == Fail(
        "overloaded", "the upstream answered 503", status=503
    )
    assert plain_text.write_error(Fail("not_found", "no such")) == (404, b"no such", ())
    assert (
        b"10 tokens"
        in plain_text.write_error(Fail("overflow", "m", overflow=Overflow(12, 10))).body
    )


def test_what_the_protocol_wants() -> None:
    frame = PlainFrame(b"a", data=b"a", has_data=True)
    assert plain_text.ask_usage(b"{}") is None
    assert not plain_text.is_usage_only(frame)
    assert plain_text.MARKS.search(b"anything") is None
    assert plain_text.grammar().check(PlainFrame(b"\xff", data=b"\xff")) == [
        "text: it is not UTF-8"
    ]


def test_no_piece_is_carried_as_json() -> None:
    writer = plain_text.stream_writer(Call("openai_chat", "m"), "id", 0)
    for event in (Start(), Open(0, "text"), Delta(0, "hi")):
        writer.write(event)
    assert writer.carry(0) is None
