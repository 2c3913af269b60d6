"""rawproxy.dialects.gemini.reader: chunks and bodies to events."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects.base import Back, ToolName
from rawproxy.dialects.envelope import Origin
from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Note,
    Open,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)
from rawproxy.dialects.gemini.reader import ChunkReader
from rawproxy.dialects.gemini.signatures import native
from rawproxy.errors import UpstreamCut, UpstreamNonsense
from rawproxy.wire.frame import PlainFrame
from tests.dialects.order import Order

ORIGIN = Origin("gemini")
BACK = Back(ORIGIN, seed="s")
HI: Any = {"text": "Hi"}


def candidate(*parts: Any, finish: str | None = None, **more: Any) -> Any:
    found = {"content": {"role": "model", "parts": list(parts)}} | more
    return found | ({"finishReason": finish} if finish else {})


def chunk(*parts: Any, finish: str | None = None, **more: Any) -> Any:
    return {"candidates": [candidate(*parts, finish=finish, **more)]}


def read(*chunks: Any, back: Back = BACK, unknown: int = 0) -> list[Event]:
    """The events of a stream after its Start; they keep their order."""
    reader = ChunkReader(back)
    events: list[Event] = []
    for one in chunks:
        data = one if isinstance(one, bytes) else json.dumps(one).encode()
        events += reader.read(PlainFrame(data, data=data, has_data=True))
    order = Order()
    for event in events:
        order.check(event)
    assert reader.unknown == unknown
    return events[1:]


STOP = chunk(finish="STOP")
END = Stop("end", word="STOP")


def text(*pieces: str, block: int = 0, choice: int = 0) -> list[Event]:
    deltas = [Delta(block, piece) for piece in pieces]
    return [Open(block, "text", choice), *deltas, Close(block)]


def test_a_text_in_pieces() -> None:
    reader = ChunkReader(BACK)
    first = {"responseId": "r", "modelVersion": "m"} | chunk(HI)
    data = json.dumps(first).encode()
    assert reader.read(PlainFrame(data, data=data)) == [
        Start("r", "m"),
        Open(0, "text"),
        Delta(0, "Hi"),
    ]
    assert reader.read(PlainFrame(b"", data=b" ")) == []
    with pytest.raises(UpstreamCut):
        reader.close()
    last = json.dumps(STOP).encode()
    assert reader.read(PlainFrame(last, data=last)) == [Close(0), END]
    assert reader.close() == [End()]
    assert reader.read(PlainFrame(last, data=last)) == []


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", "end"), ("MAX_TOKENS", "length"), ("SAFETY", "filter"), ("SPII", "filter"),
        ("OTHER", "filter"), ("IMAGE_SAFETY", "filter"), ("MALFORMED_FUNCTION_CALL", "malformed"),
        ("TOO_MANY_TOOL_CALLS", "malformed"), ("SOMETHING_NEW", "filter"), ("CONTINUATION", "length"),
    ],
)  # fmt: skip
def test_reasons(word: str, reason: Any) -> None:
    said = {"candidates": [{"finishReason": word, "finishMessage": "why", "index": 0}]}
    assert read(said) == [Stop(reason, detail="why", word=word)]


def test_no_reason_yet() -> None:
    assert read(chunk(HI, finish="FINISH_REASON_UNSPECIFIED"), STOP) == [*text("Hi"), END]


def test_thoughts_and_their_signature() -> None:
    events = read(
        chunk({"text": "a", "thought": True}, {"text": "", "thought": True}),
        chunk({"text": "b", "thought": True, "thoughtSignature": "Cs"}),
        chunk({"text": "c", "thought": True}), chunk(HI), STOP,
    )  # fmt: skip
    assert events == [
        Open(0, "thinking"), Delta(0, "a"), Delta(0, "b"),
        Sealed(0, native(ORIGIN, "Cs", text="ab")), Close(0),
        Open(1, "thinking"), Delta(1, "c"), Close(1), *text("Hi", block=2), END,
    ]  # fmt: skip


def test_a_signature_on_a_text() -> None:
    signed = {"text": "Hi", "thoughtSignature": "Cs"}
    (opened, *rest) = read(chunk(signed), chunk(HI), STOP)
    assert opened == Open(0, "text", seal=native(ORIGIN, "Cs", about="next"))
    assert rest == [Delta(0, "Hi"), Delta(0, "Hi"), Close(0), END]
    # Too late for the text that is open: it becomes a block of its own.
    last = Sealed(1, native(ORIGIN, "Cs"))
    for late in ({"text": "", "thoughtSignature": "Cs"}, signed):
        events = read(chunk(HI), chunk(late), STOP)
        assert events[-5:] == [Close(0), Open(1, "thinking"), last, Close(1), END]


def test_a_signature_behind_thoughts_is_not_theirs() -> None:
    events = read(
        chunk({"text": "a", "thought": True}, {"text": "", "thoughtSignature": "Cs"}), STOP
    )
    assert events == [
        Open(0, "thinking"), Delta(0, "a"), Close(0),
        Open(1, "thinking"), Sealed(1, native(ORIGIN, "Cs")), Close(1), END,
    ]  # fmt: skip


def test_tool_calls_come_whole() -> None:
    events = read(
        chunk(HI, {"functionCall": {"name": "f", "args": {"x": 1.50}}, "thoughtSignature": "Cs"}),
        chunk({"functionCall": {"id": "own", "name": "g"}}, finish="STOP"),
    )
    assert events == [
        *text("Hi"),
        Open(1, "tool", id="call_s1", name="f", seal=native(ORIGIN, "Cs", about="call_s1")),
        Delta(1, '{"x": 1.5}'), Close(1),
        Open(2, "tool", id="own", name="g"), Delta(2, "{}"), Close(2), Stop("tools", word="STOP"),
    ]  # fmt: skip


def test_tools_get_the_client_s_names_and_a_forced_one_is_text() -> None:
    back = Back(
        ORIGIN, {"n__f": ToolName("f", "n"), "w": ToolName("w", kind="freeform")}, forced_tool="j"
    )
    events = read(
        chunk({"functionCall": {"id": "1", "name": "n__f"}}),
        chunk({"functionCall": {"id": "2", "name": "w", "args": {"input": "words"}}}),
        chunk({"functionCall": {"id": "3", "name": "j", "args": {"a": 1}}, "thoughtSignature": "Cs"}),
        STOP, back=back,
    )  # fmt: skip
    assert events[0] == Open(0, "tool", id="1", name="f", namespace="n")
    assert events[3:5] == [Open(1, "tool", id="2", name="w", tool="freeform"), Delta(1, "words")]
    assert events[6:9] == text('{"a": 1}', block=2)


def test_arguments_in_pieces() -> None:
    def piece(path: str, value: str) -> Any:
        return {"jsonPath": path, "stringValue": value}

    more = {"willContinue": True}
    events = read(
        chunk({"functionCall": {"id": "1", "name": "f"} | more}),
        chunk({"functionCall": {"partialArgs": [piece("$.a", "x")]} | more}),
        chunk({"functionCall": {"partialArgs": [piece("$.a", "y"), piece("bad", ""), 5]} | more}),
        chunk({"functionCall": {}}),
        chunk({"functionCall": {"id": "2", "name": "g", "partialArgs": [piece("$.b", "z")]}}),
        chunk({"functionCall": {"id": "3", "name": "h"} | more}),
        chunk({"functionCall": {"id": "4", "name": "i"} | more}, finish="STOP"),
        unknown=3,
    )
    assert [event for event in events if isinstance(event, Delta)] == [
        Delta(0, '{"a":"xy"}'), Delta(1, '{"b":"z"}'), Delta(2, "{}"), Delta(3, "{}"),
    ]  # fmt: skip
    assert events[-1] == Stop("tools", word="STOP")


def test_what_goes_on_is_not_closed_by_a_cut() -> None:
    events = read(chunk({"functionCall": {"id": "1", "name": "f", "willContinue": True}}))
    assert events == [Open(0, "tool", id="1", name="f")]


def test_items_that_the_vendor_made() -> None:
    code = {"executableCode": {"code": "1"}}
    events = read(chunk(HI, code), chunk({"thought": True}), chunk({}), STOP, unknown=1)
    whole = Whole("gemini", Raw(json.dumps(code).encode()), "executableCode")
    assert events == [*text("Hi"), whole, END]


def test_several_candidates() -> None:
    events = read(
        {"candidates": [candidate(HI, index=0), candidate(HI, index=1)]},
        {"candidates": [candidate(finish="STOP"), candidate(finish="MAX_TOKENS")]},
        chunk(HI, index=1), chunk(HI, index=-1),
    )  # fmt: skip
    assert events == [
        Open(0, "text"), Delta(0, "Hi"), Open(1, "text", 1), Delta(1, "Hi"),
        Close(0), END, Close(1), Stop("length", 1, word="MAX_TOKENS"),
    ]  # fmt: skip


def test_counts() -> None:
    usage = {
        "promptTokenCount": 10, "toolUsePromptTokenCount": 5.0, "cachedContentTokenCount": 4,
        "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 20,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4}, {"modality": "AUDIO", "tokenCount": 6}],
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
    }  # fmt: skip
    counted = Usage(15, 5, 4, reasoning=2, audio_input=6, audio_output=1)
    assert read({"usageMetadata": usage}, {"usageMetadata": usage}) == [counted]
    assert read({"usageMetadata": {"promptTokenCount": -1}}, {"usageMetadata": None}) == []
    assert read(
        {"usageMetadata": {"promptTokenCount": "9", "thoughtsTokenCount": 1}}, unknown=1
    ) == [Usage(output=1, reasoning=1)]
    assert read({"usageMetadata": 5}, unknown=1) == []


def test_the_counts_come_behind_the_stop_of_their_chunk() -> None:
    last = chunk(HI, finish="STOP") | {"usageMetadata": {"promptTokenCount": 1}}
    assert read(last) == [*text("Hi"), END, Usage(1)]


def test_log_probabilities() -> None:
    result = {"chosenCandidates": [{"token": "Hi", "logProbability": -1}]}
    _, first, second, *_ = read(chunk(HI, HI, logprobsResult=result), STOP)
    assert (bool(first.logprobs), bool(second.logprobs)) == (False, True)  # type: ignore[union-attr]
    events = read(chunk({"functionCall": {"name": "f"}}, logprobsResult=result), STOP)
    assert not any(event.logprobs for event in events if isinstance(event, Delta))
    assert read(chunk(HI, logprobsResult=5), STOP, unknown=1) == [*text("Hi"), END]


def test_what_a_reply_rests_on() -> None:
    grounding = {
        "groundingChunks": [{"web": {"uri": "u", "title": "t"}}],
        "groundingSupports": [{"segment": {"endIndex": 2}, "groundingChunkIndices": [0]}],
    }
    cited = {"citations": [{"uri": "v", "startIndex": 3, "endIndex": 5}]}
    events = read(
        chunk(HI), chunk({"text": " there"}, groundingMetadata=grounding),
        chunk(finish="STOP", groundingMetadata=grounding, citationMetadata=cited),
    )  # fmt: skip
    assert [event for event in events if isinstance(event, Note)] == [
        Note(0, "u", "t", start=0, end=2, dialect="gemini"),
        Note(0, "v", start=3, end=5, dialect="gemini"),
    ]
    assert read(chunk(HI, groundingMetadata=5), STOP, unknown=1) == [*text("Hi"), END]


def test_a_refused_prompt() -> None:
    feedback = {"blockReason": "SAFETY", "blockReasonMessage": "no"}
    assert read({"promptFeedback": feedback}) == [Stop("filter", detail="no", word="SAFETY")]
    nothing: list[Any] = [{}, None, {"safetyRatings": []}]
    ignored = [{"promptFeedback": one} for one in nothing]
    assert read(*ignored) == []
    assert read(chunk(HI), {"promptFeedback": feedback}, STOP) == [*text("Hi"), END]
    assert read({"promptFeedback": 5}, unknown=1) == []


def test_an_error_ends_the_reply() -> None:
    error = {"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}
    assert read(chunk(HI), error, STOP)[-1] == Fail("overloaded", "m", status=503)
    data = json.dumps(error).encode()
    assert ChunkReader(BACK).read(PlainFrame(data, data=data)) == [
        Fail("overloaded", "m", status=503)
    ]


@pytest.mark.parametrize(
    ("odd", "unknown"),
    [
        ({"candidates": 5}, 1),
        ({"candidates": [5]}, 1),
        ({"candidates": [{"content": 5}]}, 1),
        ({"candidates": [{"content": None}]}, 0),
        (chunk(5), 1),
        (chunk({"text": 5}), 2),
        (chunk({"functionCall": 5}), 2),
        (chunk({"functionCall": {"args": {}}}), 1),
        (chunk({"functionCall": None, "text": ""}), 0),
        ({"candidates": [{"index": 0.0}]}, 0),
        ({"odd": 1}, 0),
        ({"modelVersion": 5}, 1),
    ],
)
def test_what_is_odd_is_counted(odd: Any, unknown: int) -> None:
    assert read(odd, chunk(HI), STOP, unknown=unknown) == [*text("Hi"), END]


def test_what_is_no_json_is_nonsense() -> None:
    for data in (b"[DONE]", b"{", b"5"):
        with pytest.raises(UpstreamNonsense):
            ChunkReader(BACK).read(PlainFrame(data, data=data))


def body(said: Any) -> list[Event]:
    return ChunkReader(BACK).read_body(json.dumps(said).encode())


def test_a_whole_body() -> None:
    assert body(chunk(HI, finish="STOP"))[1:] == [*text("Hi"), END, End()]
    assert body(chunk(HI))[1:] == [*text("Hi"), Stop("end"), End()]
    assert body({"promptFeedback": {"blockReason": "OTHER"}})[-1] == End()
    assert body({"error": {"code": 429, "message": "m"}}) == [Fail("rate_limit", "m", status=429)]


def test_an_array_of_chunks_is_a_body_too() -> None:
    assert body([chunk(HI), STOP])[1:] == [*text("Hi"), END, End()]
    assert body([{"error": {"code": 429, "message": "m"}}]) == [Fail("rate_limit", "m", status=429)]
    with pytest.raises(UpstreamCut):
        body([chunk(HI)])


@pytest.mark.parametrize("data", [b"<html>", b"{}", b'{"usageMetadata":{}}', b"[1", b'["x"]'])
def test_what_is_no_reply(data: bytes) -> None:
    with pytest.raises(UpstreamNonsense):
        ChunkReader(BACK).read_body(data)


def test_a_reader_that_is_shown_some_frames_only() -> None:
    assert read(STOP, back=Back(ORIGIN, partial=True)) == [END]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall",
        "name", "args", "finishReason", "index", "usageMetadata", "promptTokenCount", "error",
        "promptFeedback", "blockReason", "groundingMetadata", "partialArgs", "willContinue",
        "groundingChunks", "groundingSupports", "web", "uri", "citationMetadata",
        "logprobsResult", "inlineData",
    ]), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@given(
    chunks=st.lists(
        st.dictionaries(st.sampled_from(["candidates", "usageMetadata"]), JSON), max_size=4
    )
)
def test_whatever_comes_the_order_is_kept(chunks: list[Any]) -> None:
    reader, order = ChunkReader(BACK), Order()
    for one in chunks:
        data = json.dumps(one).encode()
        for event in reader.read(PlainFrame(data, data=data)):
            order.check(event)


PARTS = st.sampled_from([
    HI, {"text": "t", "thought": True}, {"text": "t", "thought": True, "thoughtSignature": "Cs"},
    {"text": "u", "thoughtSignature": "Ct"}, {"text": "", "thoughtSignature": "Cu"},
    {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "Cv"},
    {"functionCall": {"name": "f", "willContinue": True}}, {"functionCall": {}},
    {"executableCode": {}}, {"text": ""},
])  # fmt: skip


@given(parts=st.lists(st.tuples(PARTS, st.integers(0, 1)), max_size=8))
def test_whatever_parts_come_the_order_is_kept(parts: list[tuple[Any, int]]) -> None:
    reader, order = ChunkReader(BACK), Order()
    last = {"candidates": [candidate(finish="STOP", index=at) for at in (0, 1)]}
    for one in [*(chunk(part, index=at) for part, at in parts), last]:
        data = json.dumps(one).encode()
        for event in reader.read(PlainFrame(data, data=data)):
            order.check(event)
    for event in reader.close():
        order.check(event)
    assert order.over
