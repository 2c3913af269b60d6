"""rawproxy.dialects.openai_completions.writer: events to chunks and bodies."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects.base import Back
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Origin, seal
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
from rawproxy.dialects.fold import fold
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.openai_completions.grammar import CompletionGrammar
from rawproxy.dialects.openai_completions.reader import CompletionReader
from rawproxy.dialects.openai_completions.writer import CompletionWriter, write_body
from rawproxy.dialects.prompt import joined
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire import sse

CALL = Call("openai_completions", "asked")
COUNTING = Call("openai_completions", "asked", wants_usage=True)
SEAL = seal(Origin("x"), "thinking", "{}", ["a"])
LOGPROBS = Raw(b'{"content":[{"token":"a","logprob":-1}]}')
DONE: list[Event] = [Stop("end"), End()]


def stream(events: Sequence[Event], call: Call = CALL) -> tuple[list[Any], CompletionWriter]:
    writer = CompletionWriter(call, "made", 99)
    data = b"".join(map(writer.write, events))
    grammar = CompletionGrammar()
    frames = sse.Splitter().feed(data)
    broken = [rule for frame in frames for rule in grammar.check(frame)]
    assert broken + grammar.close() == []
    chunks = [json.loads(frame.data) if frame.data != b"[DONE]" else "done" for frame in frames]
    return chunks, writer


def choices(events: Sequence[Event]) -> list[Any]:
    chunks, _ = stream([Start(), *events])
    return [one for chunk in chunks if chunk != "done" for one in chunk.get("choices", ())]


def text(*pieces: str, block: int = 0, **opened: Any) -> list[Event]:
    said = [Delta(block, piece) for piece in pieces]
    return [Open(block, opened.pop("kind", "text"), **opened), *said, Close(block)]


def whole(events: Sequence[Event]) -> Any:
    body, losses = write_body([Start(), *events], CALL, "made", 99)
    assert losses == stream([Start(), *events])[1].losses
    return json.loads(body)


def test_a_stream_from_start_to_end() -> None:
    events = [Start("i", "m", 7), *text("a", "b"), Usage(input=2, output=1), *DONE]
    chunks, writer = stream(events, COUNTING)
    head = {"id": "cmpl-i", "object": "text_completion", "created": 7, "model": "m"}

    def chunk(text: str, finish: str | None) -> dict[str, object]:
        choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
        return head | {"choices": [choice], "usage": None}

    counts = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
    counted = head | {"choices": [], "usage": counts}
    assert chunks == [chunk("a", None), chunk("b", None), chunk("", "stop"), counted, "done"]
    assert (writer.losses, writer.write(Start())) == ([], b"")


def test_what_the_upstream_left_out_is_ours() -> None:
    chunks, _ = stream([Start(), *DONE])
    assert {**chunks[0], "choices": 0} == {
        "id": "cmpl-made", "object": "text_completion", "created": 99, "model": "asked",
        "choices": 0,
    }  # fmt: skip
    body = whole(DONE)
    assert (body["id"], body["created"], body["choices"][0]["text"]) == ("cmpl-made", 99, "")
    assert "usage" not in body


def test_counts_that_nobody_told_are_not_there() -> None:
    assert len(stream([Start(), *DONE], COUNTING)[0]) == 2


def test_counts_are_merged() -> None:
    chunks, _ = stream([Start(), Usage(input=2), Usage(output=1), *DONE], COUNTING)
    assert chunks[-2]["usage"]["total_tokens"] == 3
    assert whole([Usage(input=2), Usage(output=1), *DONE])["usage"]["total_tokens"] == 3


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        (Stop("end"), {"finish_reason": "stop"}),
        (Stop("tools"), {"finish_reason": "stop"}),
        (Stop("context"), {"finish_reason": "length"}),
        (Stop("filter"), {"finish_reason": "content_filter"}),
        (Stop("refusal", detail="no"), {"finish_reason": "content_filter"}),
        (
            Stop("stop_sequence", sequence="x"),
            {"finish_reason": "stop", "stop_sequence": "x"},
        ),
    ],
)
def test_why_it_stopped(stop: Stop, finish: dict[str, str]) -> None:
    expected = {"text": "", "index": 0, "logprobs": None} | finish
    assert choices([stop, End()])[-1] == expected
    assert whole([stop, End()])["choices"][0] == expected


def test_a_refusal_in_words_is_text() -> None:
    events = [*text("No.", kind="refusal"), Stop("refusal"), End()]
    assert [one["text"] for one in choices(events)] == ["No.", ""]
    assert choices(events)[-1]["finish_reason"] == "stop"
    assert whole(events)["choices"][0] | {"logprobs": 0} == {
        "text": "No.", "index": 0, "logprobs": 0, "finish_reason": "stop",
    }  # fmt: skip


def test_a_change_of_phase_is_a_blank_line() -> None:
    events = [
        *text("a", phase="x"), *text("b", block=1, phase="x"), *text("c", "d", block=2), *DONE,
    ]  # fmt: skip
    assert [one["text"] for one in choices(events)] == ["a", "b", "\n\nc", "d", ""]
    assert whole(events)["choices"][0]["text"] == "ab\n\ncd"


def test_probabilities() -> None:
    events = [Open(0, "text"), Delta(0, "a", LOGPROBS), Delta(0, "", LOGPROBS), Close(0), *DONE]
    told = {"text_offset": [0], "token_logprobs": [-1], "tokens": ["a"], "top_logprobs": None}
    assert [one["logprobs"] for one in choices(events)] == [told, told | {"text_offset": [1]}, None]
    assert whole(events)["choices"][0]["logprobs"]["text_offset"] == [0, 1]


@pytest.mark.parametrize(
    ("events", "lost"),
    [
        (text("a", kind="thinking"), "thinking"),
        ([Open(0, "thinking"), Sealed(0, SEAL), Close(0)], "thinking"),
        (text("{}", kind="tool", id="c", name="f"), "f"),
        ([Whole("x", Raw(b"{}"), "search")], "search"),
        ([Open(0, "text"), Note(0, "u"), Note(0, "v"), Close(0)], "citations"),
        ([Open(0, "text", seal=SEAL), Close(0)], "seal"),
        ([Open(0, "text"), Delta(0, "a", Raw(b"7")), Close(0)], "logprobs"),
    ],
)
def test_what_has_no_words_is_lost_once(events: list[Event], lost: str) -> None:
    both = [Start(), *events, *DONE]
    assert stream(both)[1].losses == [Loss(f"reply.{lost}", "no such thing there")]
    whole([*events, *DONE])


def test_a_failure_ends_it() -> None:
    chunks, writer = stream([Start(), Open(0, "text"), Delta(0, "a"), Fail("overloaded", "busy")])
    assert chunks[-1]["error"]["message"] == "busy"
    assert writer.write(End()) == b""
    assert writer.carry(0) is None
    assert stream([Fail("server", "no")])[0][0]["error"]["type"] == "server_error"
    with pytest.raises(UpstreamNonsense):
        write_body([Start(), Fail("server", "no")], CALL, "made", 99)


def test_a_keepalive_is_a_comment() -> None:
    writer = CompletionWriter(CALL, "made", 99)
    writer.joined()
    (frame,) = sse.Splitter().feed(writer.keepalive())
    assert not frame.has_data


def test_more_of_a_text_is_carried() -> None:
    writer = CompletionWriter(CALL, "\0", 99)
    for event in (Start(), Open(0, "text"), Open(1, "tool", id="c", name="f")):
        writer.write(event)
    assert [writer.carry(block) for block in (0, 1)] == [None, None]  # its first piece is not
    said = writer.write(Delta(0, "a"))
    carry = writer.carry(0)
    assert carry is not None
    assert carry([b"a"]) == said
    writer.write(Close(0))
    assert writer.carry(0) is None


@st.composite
def replies(draw: st.DrawFn) -> list[Event]:
    """Any sequence that readers make: tools interleave with all, texts of a choice do not."""
    events: list[Event] = [Start(draw(st.none() | st.just("id")))]
    live: list[Open] = []
    for number in range(draw(st.integers(0, 6))):
        kinds: list[BlockKind] = ["text", "thinking", "tool", "refusal"]
        kind = draw(st.sampled_from(kinds))
        opened = Open(
            number, kind, draw(st.integers(0, 2)), f"c{number}", f"f{number}",
            phase=draw(st.none() | st.just("p")), seal=draw(st.none() | st.just(SEAL)),
        )  # fmt: skip
        if kind != "tool":
            done = [one for one in live if one.kind != "tool" and one.choice == opened.choice]
            live = [one for one in live if one not in done]
            events += [Close(one.block) for one in done]
        events.append(opened)
        live.append(opened)
        for _ in range(draw(st.integers(0, 3))):
            block = draw(st.sampled_from(live)).block
            events.append(Delta(block, draw(st.text(min_size=1, max_size=3))))
        if draw(st.booleans()):
            events.append(Close(live.pop(draw(st.integers(0, len(live) - 1))).block))
    if draw(st.booleans()):
        return [*events, Fail("server", "m")]
    chosen = {one.choice for one in events if isinstance(one, Open)} | {0}
    reasons: list[Reason] = ["end", "length", "refusal", "pause"]
    stops = [Stop(draw(st.sampled_from(reasons)), one) for one in chosen]
    return [*events, *(Close(one.block) for one in live), *stops, Usage(input=1), End()]


@given(replies(), st.booleans())
def test_any_legal_reply_makes_a_good_stream(events: list[Event], counting: bool) -> None:
    chunks, writer = stream(events, COUNTING if counting else CALL)
    if isinstance(events[-1], Fail):
        return
    data = b"".join(
        sse.write(b"[DONE]" if one == "done" else json.dumps(one).encode()) for one in chunks
    )
    reader = CompletionReader(Back())
    read = fold([event for frame in sse.Splitter().feed(data) for event in reader.read(frame)])
    body, losses = write_body(events, CALL, "made", 99)
    same = fold(CompletionReader(Back()).read_body(body))
    assert (reader.unknown, sorted(losses)) == (0, sorted(writer.losses))
    for number, choice in fold(events).choices.items():
        blocks = [
            ((block.opened.kind, block.opened.phase), block.text)
            for block in choice.items
            if not isinstance(block, Whole) and block.opened.kind in ("text", "refusal")
        ]
        for copy in (read, same):
            assert copy.choice(number).text("text") == joined(blocks)
            assert copy.choice(number).stop is not None
