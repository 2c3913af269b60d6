"""rawproxy.dialects.anthropic_complete.writer: events to streams of both forms, and to bodies."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects.anthropic_complete.grammar import CompletionGrammar
from rawproxy.dialects.anthropic_complete.reader import CompletionReader
from rawproxy.dialects.anthropic_complete.writer import CompletionWriter, write_body
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
    Overflow,
    Reason,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)
from rawproxy.dialects.fold import fold
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.prompt import joined
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire import sse

HUMAN = "\n\nHuman:"
CALL = Call("anthropic_complete", "asked", variant="2023-06-01")
OLD = Call("anthropic_complete", "asked", variant="2023-01-01")
SEAL = seal(Origin("x"), "thinking", "{}", ["a"])
DONE: list[Event] = [Stop("end"), End()]


def written(events: Sequence[Event], call: Call = CALL) -> tuple[bytes, CompletionWriter]:
    writer = CompletionWriter(call, "made")
    data = b"".join(map(writer.write, events))
    grammar = CompletionGrammar()
    broken = [rule for frame in sse.Splitter().feed(data) for rule in grammar.check(frame)]
    assert broken + grammar.close() == []
    return data, writer


def frames(events: Sequence[Event], call: Call = CALL) -> list[tuple[str, Any]]:
    data, _ = written(events, call)
    return [
        (frame.name.decode(), json.loads(frame.data) if frame.data != b"[DONE]" else "done")
        for frame in sse.Splitter().feed(data)
    ]


def completions(events: Sequence[Event], call: Call = CALL) -> list[str]:
    return [said["completion"] for _, said in frames([Start(), *events], call) if said != "done"]


def whole(events: Sequence[Event], call: Call = CALL) -> Any:
    body, losses = write_body([Start(), *events], call, "made")
    assert losses == written([Start(), *events], call)[1].losses
    return json.loads(body)


def text(*pieces: str, block: int = 0, **opened: Any) -> list[Event]:
    said = [Delta(block, piece) for piece in pieces]
    return [Open(block, opened.pop("kind", "text"), **opened), *said, Close(block)]


def test_the_incremental_form() -> None:
    def said(completion: str, reason: str | None, stop: str | None) -> tuple[str, object]:
        return "completion", {
            "type": "completion", "id": "compl_i", "completion": completion, "stop_reason": reason,
            "stop": stop, "model": "m", "log_id": "compl_i",
        }  # fmt: skip

    assert frames([Start("i", "m", 7), *text("a", "b"), Usage(input=2), *DONE]) == [
        said(" a", None, None), said("b", None, None), said("", "stop_sequence", HUMAN),
    ]  # fmt: skip


@pytest.mark.parametrize("variant", ["", "2023-01-01"])
def test_the_cumulative_form(variant: str) -> None:
    call = Call("anthropic_complete", "asked", variant=variant)

    def said(completion: str, reason: str | None, stop: str | None) -> tuple[str, object]:
        return "", {
            "completion": completion, "stop_reason": reason, "stop": stop, "truncated": False,
            "exception": None, "log_id": "compl_i", "model": "m",
        }  # fmt: skip

    assert frames([Start("compl_i", "m"), *text("a", "b"), *DONE], call) == [
        said(" a", None, None), said(" ab", None, None), said(" ab", "stop_sequence", HUMAN),
        ("", "done"),
    ]  # fmt: skip


def test_what_the_upstream_left_out_is_ours() -> None:
    body = whole(DONE)
    assert (body["id"], body["model"], body["completion"]) == ("compl_made", "asked", "")
    old = whole(DONE, OLD)
    assert (old["log_id"], old["model"], old["completion"]) == ("compl_made", "asked", "")
    assert len(frames([Start(), *DONE])) == 1


@pytest.mark.parametrize(
    ("stop", "reason", "sequence"),
    [
        (Stop("end"), "stop_sequence", HUMAN),
        (Stop("tools"), "stop_sequence", HUMAN),
        (Stop("stop_sequence", sequence="x"), "stop_sequence", "x"),
        (Stop("length"), "max_tokens", None),
        (Stop("context"), "max_tokens", None),
    ],
)
def test_why_it_stopped(stop: Stop, reason: str, sequence: str | None) -> None:
    for call in (CALL, OLD):
        last = frames([Start(), stop, End()], call)[0][1]
        for said in (last, whole([stop, End()], call)):
            assert (said["stop_reason"], said["stop"]) == (reason, sequence)


@pytest.mark.parametrize(
    ("pieces", "said"),
    [(["a", "b"], [" a", "b"]), ([" a", "b"], ["  a", "b"]), (["\n", "a"], [" \n", "a"])],
)
def test_a_completion_opens_with_a_space(pieces: list[str], said: list[str]) -> None:
    assert completions([*text(*pieces), *DONE])[:2] == said
    assert whole([*text(*pieces), *DONE])["completion"] == "".join(said)


def test_what_goes_on_from_the_client_s_own_words_does_not() -> None:
    call = Call("anthropic_complete", "asked", variant="2023-06-01", prefill=True)
    assert completions([*text("a"), *DONE], call) == ["a", ""]


def test_a_change_of_phase_is_a_blank_line_and_a_refusal_is_text() -> None:
    events = [
        *text("a", phase="x"), *text("b", block=1, phase="x"), *text("c", "d", block=2),
        *text("No.", block=3, kind="refusal"), *DONE,
    ]  # fmt: skip
    assert completions(events) == [" a", "b", "\n\nc", "d", "\n\nNo.", ""]
    assert whole(events)["completion"] == " ab\n\ncd\n\nNo."


@pytest.mark.parametrize(
    ("events", "lost"),
    [
        (text("a", kind="thinking"), "thinking"),
        ([Open(0, "thinking"), Sealed(0, SEAL), Close(0)], "thinking"),
        (text("{}", kind="tool", id="c", name="f"), "f"),
        ([*text("a", choice=1), Stop("length", 1)], "choices"),
        ([Whole("x", Raw(b"{}"), "search")], "search"),
        ([Open(0, "text"), Note(0, "u"), Note(0, "v"), Close(0)], "citations"),
        ([Open(0, "text", seal=SEAL), Close(0)], "seal"),
        ([Open(0, "text"), Delta(0, "", Raw(b"{}")), Close(0)], "logprobs"),
    ],
)
def test_what_has_no_words_is_lost_once(events: list[Event], lost: str) -> None:
    both = [Start(), *events, *DONE]
    assert written(both)[1].losses == [Loss(f"reply.{lost}", "no such thing there")]
    assert completions([*events, *DONE]) == [""]
    whole([*events, *DONE])


@pytest.mark.parametrize("reason", ["refusal", "filter", "pause", "malformed"])
def test_reasons_that_nobody_is_told(reason: Reason) -> None:
    _, writer = written([Start(), Stop(reason), End()])
    assert writer.losses == [Loss("reply.stop_reason", "no such thing there")]


def test_a_failure_ends_it() -> None:
    begun: list[Event] = [
        Start(), Open(0, "text"), Delta(0, "a"), Fail("overloaded", "busy"),
    ]  # fmt: skip
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    assert frames(begun)[-1] == ("error", error)
    (_, first), (_, last) = frames(begun, OLD)
    assert last == first | {"exception": "busy"}
    _, writer = written(begun)
    assert writer.write(End()) == b""
    assert writer.carry(0) is None
    with pytest.raises(UpstreamNonsense):
        write_body([Start(), Fail("server", "no")], CALL, "made")


@pytest.mark.parametrize("call", [CALL, OLD])
def test_a_failure_may_be_all(call: Call) -> None:
    fail = Fail("overflow", "x", overflow=Overflow(9, 8))
    ((_, said),) = frames([fail], call)
    message = said["exception"] if call is OLD else said["error"]["message"]
    assert message == "prompt is too long: 9 tokens > 8 maximum"


@pytest.mark.parametrize(
    ("call", "ping"),
    [(CALL, b'event: ping\ndata: {"type":"ping"}\n\n'), (OLD, b"event: ping\ndata: {}\n\n")],
)
def test_a_keepalive_is_a_ping(call: Call, ping: bytes) -> None:
    writer = CompletionWriter(call, "made")
    writer.joined()
    assert writer.keepalive() == ping


def test_more_of_a_text_is_carried() -> None:
    writer = CompletionWriter(CALL, "\0")
    for event in (Start(), Open(0, "text"), Open(1, "tool", id="c", name="f")):
        writer.write(event)
    assert [writer.carry(block) for block in (0, 1)] == [None, None]  # its first piece is not
    writer.write(Delta(0, "a"))
    carry = writer.carry(0)
    assert carry is not None
    assert carry([b"b"]) == writer.write(Delta(0, "b"))
    writer.write(Close(0))
    assert writer.carry(0) is None


def test_all_of_the_text_so_far_is_not_carried() -> None:
    writer = CompletionWriter(OLD, "made")
    for event in (Start(), Open(0, "text"), Delta(0, "a")):
        writer.write(event)
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
            number, kind, draw(st.integers(0, 1)), f"c{number}", f"f{number}",
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
    stops = [Stop(draw(st.sampled_from(reasons)), one) for one in sorted(chosen, reverse=True)]
    return [*events, *(Close(one.block) for one in live), *stops, Usage(input=1), End()]


@given(replies(), st.sampled_from([CALL, OLD]))
def test_any_legal_reply_makes_a_good_stream(events: list[Event], call: Call) -> None:
    data, writer = written(events, call)
    if isinstance(events[-1], Fail):
        return
    reader = CompletionReader(Back())
    read = [event for frame in sse.Splitter().feed(data) for event in reader.read(frame)]
    body, losses = write_body(events, call, "made")
    assert (reader.unknown, sorted(losses)) == (0, sorted(writer.losses))
    expected = joined(
        ((block.opened.kind, block.opened.phase), block.text)
        for block in fold(events).choice(0).items
        if not isinstance(block, Whole) and block.opened.kind in ("text", "refusal")
    )
    for copy in (read, CompletionReader(Back()).read_body(body)):
        choice = fold(copy).choice(0)
        assert choice.text("text") == expected
        assert choice.stop is not None
