"""rawproxy.dialects.anthropic_complete.reader: whatever servers send, in either form."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.anthropic_complete.reader import CompletionReader
from rawproxy.dialects.base import Back
from rawproxy.dialects.events import Close, Delta, End, Event, Fail, Open, Overflow, Start, Stop
from rawproxy.errors import UpstreamCut, UpstreamNonsense
from rawproxy.wire.frame import PlainFrame
from tests.dialects.order import Order


def frame(data: object, name: bytes = b"") -> PlainFrame:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return PlainFrame(b"", name, text, has_data=True)


def new(text: str | None, stop: str | None = None, **members: Any) -> dict[str, Any]:
    """A frame of the incremental form."""
    return {"type": "completion", "completion": text, "stop_reason": stop} | members


def whole(text: str | None, stop: str | None = None, **members: Any) -> dict[str, Any]:
    """A frame of the cumulative form."""
    return {"completion": text, "stop_reason": stop} | members


def read(*frames: object) -> list[Event]:
    reader = CompletionReader(Back())
    return [event for one in frames for event in reader.read(frame(one))]


def texts(*frames: object) -> list[str]:
    return [event.text for event in read(*frames) if isinstance(event, Delta)]


def body(value: object) -> list[Event]:
    return CompletionReader(Back()).read_body(json.dumps(value).encode())


def test_the_incremental_form() -> None:
    """It has no terminator: the frame with the stop_reason is the last one."""
    head = {"id": "compl_1", "model": "m", "log_id": "other"}
    assert read(new(" a", **head), {"type": "ping"}, new("b", "max_tokens", **head)) == [
        Start("compl_1", "m"), Open(0, "text"), Delta(0, "a"), Delta(0, "b"), Close(0),
        Stop("length", word="max_tokens"), End(),
    ]  # fmt: skip


def test_a_name_alone_tells_the_form() -> None:
    reader = CompletionReader(Back())
    events = [
        event
        for text in (" a", " a")
        for event in reader.read(frame({"completion": text}, b"completion"))
    ]
    assert events[2:] == [Delta(0, "a"), Delta(0, " a")]


def test_the_cumulative_form() -> None:
    head: dict[str, Any] = {"log_id": "1", "model": "m", "truncated": False, "exception": None}
    events = read(
        whole(" a", **head), whole(" ab", **head), whole(" ab", "stop_sequence", **head), b"[DONE]",
    )  # fmt: skip
    assert events == [
        Start("1", "m"), Open(0, "text"), Delta(0, "a"), Delta(0, "b"), Close(0),
        Stop("end", word="stop_sequence"), End(),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("frames", "pieces", "unknown"),
    [
        ([whole(" a"), whole(" a"), whole("")], ["a"], 0),
        ([whole(" ab"), whole(" a"), whole(" abc")], ["ab", "c"], 0),
        ([whole(" ab"), whole(" acd")], ["ab", "cd"], 1),
        # Half of an emoji, as a server sends it that counts in UTF-16.
        ([whole("a\ud83d"), whole("a\U0001f600b")], ["a", "\U0001f600b"], 0),
        ([whole("a\ufffd"), whole("a\ufffd", "max_tokens")], ["a", "\ufffd"], 0),
    ],
)
def test_all_of_the_text_is_cut_into_what_is_new(
    frames: list[object], pieces: list[str], unknown: int
) -> None:
    reader = CompletionReader(Back())
    events = [event for one in frames for event in reader.read(frame(one))]
    assert [event.text for event in events if isinstance(event, Delta)] == pieces
    assert reader.unknown == unknown


@pytest.mark.parametrize(
    ("members", "stop"),
    [
        ({"stop_reason": "stop_sequence", "stop": "\n\nHuman:"}, Stop("end", word="stop_sequence")),
        ({"stop_reason": "stop_sequence", "stop": ""}, Stop("end", word="stop_sequence")),
        (
            {"stop_reason": "stop_sequence", "stop": "x"},
            Stop("stop_sequence", 0, "x", word="stop_sequence"),
        ),
        ({"stop_reason": "max_tokens", "stop": "x"}, Stop("length", word="max_tokens")),
        ({"stop_reason": "refusal"}, Stop("refusal", word="refusal")),
        ({"stop_reason": "new"}, Stop("end", word="new")),
    ],
)
def test_why_it_stopped(members: dict[str, object], stop: Stop) -> None:
    assert read(members)[1:] == [stop]
    assert body({"completion": ""} | members)[1:] == [stop, End()]


@pytest.mark.parametrize(
    ("data", "name", "fail"),
    [
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
            b"error",
            Fail("overloaded", "busy"),
        ),
        ({"error": {"type": "api_error", "message": "no"}}, b"", Fail("server", "no")),
        ({"type": "rate_limit_error", "message": "slow"}, b"error", Fail("rate_limit", "slow")),
        (whole("", exception="no"), b"", Fail("server", "no")),
        (
            whole("", exception={"type": "overloaded_error", "message": "busy"}),
            b"",
            Fail("overloaded", "busy"),
        ),
        (whole("", exception=7), b"", Fail("server", "the upstream failed")),
        (
            whole("", exception="prompt is too long: 9 tokens > 8 maximum"),
            b"",
            Fail(
                "overflow", "prompt is too long: 9 tokens > 8 maximum", overflow=Overflow(9, 8)
            ),
        ),
    ],
)  # fmt: skip
def test_errors_in_a_stream(data: object, name: bytes, fail: Fail) -> None:
    reader = CompletionReader(Back())
    assert reader.read(frame(data, name)) == [fail]
    assert reader.read(frame(whole("a"))) == []
    assert reader.read(frame(b"[DONE]")) == []
    assert reader.unknown == 1
    assert reader.close() == []


def test_a_ping_is_nothing() -> None:
    reader = CompletionReader(Back())
    assert reader.read(frame(b"oops", b"ping")) == reader.read(frame(b" ")) == []
    assert reader.unknown == 0


def test_what_no_table_knows_is_counted() -> None:
    reader = CompletionReader(Back())
    odd: list[object] = [b"7", {"completion": 7}, {"usage": {}}, new("a", "x"), new("b")]
    for one in odd:
        reader.read(frame(one))
    assert reader.unknown == 4


@pytest.mark.parametrize("data", [b"oops", b"[DONE]"])
def test_what_is_not_of_the_dialect_at_all(data: bytes) -> None:
    with pytest.raises(UpstreamNonsense):
        read(data)


def test_the_terminator_ends_what_did_not_stop() -> None:
    assert read(whole("a"), b"[DONE]")[-3:] == [Close(0), Stop("end"), End()]


@pytest.mark.parametrize("form", [new, whole])
def test_a_cut_reply_is_no_end(form: Any) -> None:
    reader = CompletionReader(Back())
    reader.read(frame(form("a")))
    with pytest.raises(UpstreamCut):
        reader.close()
    said = [*reader.read(frame(form("a", "stop_sequence"))), *reader.close()]
    assert said[-1] == End()


def test_a_body() -> None:
    assert body({"id": "i", "model": "m", "completion": " a", "stop_reason": None}) == [
        Start("i", "m"), Open(0, "text"), Delta(0, "a"), Close(0), Stop("end"), End(),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        {"type": "error", "error": {"type": "api_error", "message": "no"}},
        {"completion": "a", "exception": "no"},
    ],
)
def test_an_error_for_a_body(value: object) -> None:
    assert body(value) == [Fail("server", "no")]


@pytest.mark.parametrize("value", [{}, [], {"completion": 7}, {"error": None}])
def test_a_body_that_is_no_completion(value: object) -> None:
    with pytest.raises(UpstreamNonsense):
        body(value)


PIECES: list[object] = [
    new("a"), new("", "stop_sequence"), whole("a"), whole("ab"), whole("b", "max_tokens"),
    whole(None, "new"), whole("", exception="no"), {"type": "error"}, {"type": "ping"}, b"[DONE]",
    b"null", b"", {"error": 7},
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_any_order_of_frames_gives_events_in_order(frames: list[object]) -> None:
    reader, order = CompletionReader(Back()), Order()
    try:
        for one in frames:
            for event in reader.read(frame(one)):
                order.check(event)
        for event in reader.close():
            order.check(event)
    except (UpstreamNonsense, UpstreamCut):
        return
    assert order.over


@given(st.lists(st.text("ab\ufffd", max_size=3), max_size=6))
def test_both_forms_say_the_same(pieces: list[str]) -> None:
    sums = ["".join(pieces[: at + 1]) for at in range(len(pieces))]
    incremental = texts(*map(new, pieces), new("", "stop_sequence"))
    last = whole("".join(pieces), "stop_sequence")
    assert "".join(texts(*map(whole, sums), last)) == "".join(incremental)


@pytest.mark.parametrize(
    ("back", "text"),
    [(Back(), "a"), (Back(continues=True), " a"), (Back(partial=True), " a")],
)
def test_the_space_before_an_answer_is_not_part_of_it(back: Back, text: str) -> None:
    """It parts the answer from `Assistant:`; behind the client's own beginning it is a space."""
    reader = CompletionReader(back)
    events = reader.read_body(b'{"completion":" a","stop_reason":"stop_sequence"}')
    assert Delta(0, text) in events
