"""rawproxy.dialects.gemini.writer: events to chunks and bodies that clients accept."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects.base import Back
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Origin, Seal, Vault
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
from rawproxy.dialects.gemini.grammar import ChunkGrammar
from rawproxy.dialects.gemini.reader import ChunkReader
from rawproxy.dialects.gemini.signatures import native
from rawproxy.dialects.gemini.writer import ChunkWriter, write_body
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire import sse

CALL = Call("gemini", "asked", vault=Vault(b"key", "me"))
START = Start("r", "m")
DONE: list[Event] = [Stop("end"), End()]
NATIVE = native(Origin("gemini"), "CsAB")
FOREIGN = Seal(Origin("anthropic"), "thinking", '{"signature":"x"}')
PLAIN = Seal(Origin("x"), "reasoning_content", "{}")


def write(events: Sequence[Event]) -> tuple[bytes, ChunkWriter]:
    writer = ChunkWriter(CALL, "made")
    data = b"".join(writer.write(event) for event in events)
    grammar = ChunkGrammar()
    broken = [rule for frame in sse.splitter(9999).feed(data) for rule in grammar.check(frame)]
    assert broken + grammar.close() == []
    assert data.endswith(b"\r\n\r\n")
    assert len(data.decode().splitlines()) == 2 * data.count(b"data: ")
    return data, writer


def chunks(events: Sequence[Event]) -> list[Any]:
    data, _ = write([START, *events])
    found = [json.loads(frame.data) for frame in sse.splitter(9999).feed(data)]
    for one in found:
        types.GenerateContentResponse.model_validate(one)
        assert (one["modelVersion"], one["responseId"]) == ("m", "r")
    return found


def parts(events: Sequence[Event]) -> list[Any]:
    """The parts of a stream, and those of the body, which are no more than as many."""
    said = [part for one in chunks([*events, *DONE]) for part in content(one)]
    assert said.pop() == {"text": ""}
    return said


def content(one: Any) -> list[Any]:
    return [part for candidate in one["candidates"] for part in candidate["content"]["parts"]]


def body(events: Sequence[Event], losses: Sequence[str] = ()) -> Any:
    data, lost = write_body([START, *events], CALL, "made")
    assert [loss.path for loss in lost] == list(losses)
    return json.loads(data)


def text(*pieces: str, block: int = 0, **opened: Any) -> list[Event]:
    return [
        Open(block, "text", **opened), *[Delta(block, piece) for piece in pieces], Close(block),
    ]  # fmt: skip


def thinking(*pieces: str, seal: Seal | None = None) -> list[Event]:
    sealed = [] if seal is None else [Sealed(0, seal)]
    return [Open(0, "thinking"), *[Delta(0, piece) for piece in pieces], *sealed, Close(0)]


def test_a_text_and_its_counts() -> None:
    usage = Usage(10, 5, 4, reasoning=2, audio_input=3)
    first, second, last = chunks([*text("Hi", " there"), Usage(10), usage, *DONE])
    assert first["candidates"] == [
        {"content": {"parts": [{"text": "Hi"}], "role": "model"}, "index": 0}
    ]
    assert "usageMetadata" not in second
    assert last["candidates"][0]["finishReason"] == "STOP"
    counts = {
        "promptTokenCount": 10, "candidatesTokenCount": 3, "totalTokenCount": 15,
        "cachedContentTokenCount": 4, "thoughtsTokenCount": 2,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 3}],
    }  # fmt: skip
    assert last["usageMetadata"] == counts
    whole = body([*text("Hi", " there"), usage, *DONE])
    assert whole == {
        "candidates": [{
            "content": {"parts": [{"text": "Hi there"}], "role": "model"}, "index": 0,
            "finishReason": "STOP",
        }],
        "usageMetadata": counts, "modelVersion": "m", "responseId": "r",
    }  # fmt: skip


def test_what_the_upstream_left_out_is_made() -> None:
    data, _ = write([Start(), *DONE])
    assert b'"modelVersion":"asked","responseId":"made"}' in data
    found = json.loads(write_body([Start(), *DONE], CALL, "made")[0])
    assert (found["modelVersion"], found["responseId"]) == ("asked", "made")
    assert found["candidates"][0]["content"]["parts"] == [{"text": ""}]
    assert "usageMetadata" not in found


@pytest.mark.parametrize(
    ("stop", "word", "losses"),
    [
        (Stop("end", word="end_turn"), "STOP", []),
        (Stop("tools", word="STOP"), "STOP", []),
        (Stop("stop_sequence", sequence="x"), "STOP", []),
        (Stop("length"), "MAX_TOKENS", []),
        (Stop("context"), "MAX_TOKENS", []),
        (Stop("refusal"), "SAFETY", []),
        (Stop("filter", word="RECITATION"), "RECITATION", []),
        (Stop("filter", word="STOP"), "SAFETY", []),
        (Stop("malformed"), "MALFORMED_FUNCTION_CALL", []),
        (Stop("pause"), "STOP", ["reply.stop_reason"]),
    ],
)
def test_reasons(stop: Stop, word: str, losses: list[str]) -> None:
    said: list[Event] = [*text("Hi"), stop, End()]
    assert chunks(said)[-1]["candidates"][0]["finishReason"] == word
    _, writer = write([START, *said])
    assert [loss.path for loss in writer.losses] == losses
    assert body(said, losses)["candidates"][0]["finishReason"] == word


def test_why_is_told() -> None:
    said: list[Event] = [Stop("refusal", detail="because"), End()]
    assert chunks(said)[-1]["candidates"][0]["finishMessage"] == "because"
    assert body(said)["candidates"][0]["finishMessage"] == "because"


@pytest.mark.parametrize(
    ("events", "streamed", "whole"),
    [
        (thinking("a", "b"), [("a", True, None), ("b", True, None)], [("ab", True, None)]),
        (thinking("a", "b", seal=NATIVE), [("a", True, None), ("b", True, "CsAB")], [("ab", True, "CsAB")]),
        (thinking("a", seal=PLAIN), [("a", True, None)], [("a", True, None)]),
        (thinking(seal=NATIVE), [("", None, "CsAB")], [("", None, "CsAB")]),
        (thinking(seal=native(Origin("gemini"), "CtAB", text="")), [("", True, "CtAB")],
         [("", True, "CtAB")]),
        (thinking(), [], []),
        (text("a", "b", seal=NATIVE), [("a", None, "CsAB"), ("b", None, None)], [("ab", None, "CsAB")]),
        (text(seal=NATIVE), [("", None, "CsAB")], [("", None, "CsAB")]),
        (text(), [], []),
    ],
)  # fmt: skip
def test_thoughts_and_signatures(events: list[Event], streamed: Any, whole: Any) -> None:
    def told(found: list[Any]) -> list[Any]:
        return [(one["text"], one.get("thought"), one.get("thoughtSignature")) for one in found]

    assert told(parts(events)) == streamed
    assert told(content(body([*events, *DONE]))) == (whole or [("", None, None)])


def test_a_foreign_seal_travels_in_an_envelope() -> None:
    (part,) = parts(thinking("a", seal=FOREIGN))
    assert part["thoughtSignature"].startswith("cnAxL")
    (empty,) = parts(thinking(seal=FOREIGN))
    assert empty["thought"] is True


def test_tool_calls_are_written_whole_in_the_order_of_their_beginning() -> None:
    events: list[Event] = [
        Open(0, "tool", id="a", name="f", namespace="n", seal=NATIVE),
        Open(1, "tool", id="b", name="g", tool="freeform"), Open(2, "text"), Delta(0, '{"x"'),
        Delta(1, "words"), Delta(2, "Hi"), Close(1), Delta(0, ":\n1}"), Open(3, "tool", 1, "c", "h"),
        Close(3), Close(0), Close(2), Open(4, "tool", id="d", name="i"), Delta(4, "["), Close(4),
    ]  # fmt: skip
    f = {"functionCall": {"id": "a", "name": "n__f", "args": {"x": 1}}, "thoughtSignature": "CsAB"}
    g = {"functionCall": {"id": "b", "name": "g", "args": {"input": "words"}}}
    h = {"functionCall": {"id": "c", "name": "h", "args": {}}}
    i = {"functionCall": {"id": "d", "name": "i", "args": {"_raw": "["}}}
    stops: list[Event] = [Stop("tools"), Stop("tools", 1), End()]
    said = [part for one in chunks([*events, *stops]) for part in content(one)]
    assert said == [{"text": "Hi"}, h, f, g, i, {"text": ""}, {"text": ""}]
    _, writer = write([START, *events, *stops])
    assert [loss.path for loss in writer.losses] == ["reply.input"]
    assert content(body([*events, *stops], ["reply.input"])) == [f, g, {"text": "Hi"}, i, h]


def test_texts_of_another_phase_stand_apart() -> None:
    events = [
        *text("a"), *text("b", block=1), *text("c", "d", block=2, phase="final"),
        Open(3, "refusal"), Delta(3, "e"), Close(3),
    ]  # fmt: skip
    assert [one["text"] for one in parts(events)] == ["a", "b", "\n\nc", "d", "\n\ne"]
    assert [one["text"] for one in content(body([*events, *DONE]))] == ["a", "b", "\n\ncd", "\n\ne"]


def test_several_choices_and_one_of_which_nothing_came() -> None:
    events: list[Event] = [
        *text("a"),
        *text("b", block=1, choice=2),
        Stop("end"),
        Stop("length", 2),
        End(),
    ]
    last = [one["candidates"][0] for one in chunks(events)[2:]]
    reasons = [(0, "STOP"), (1, "OTHER"), (2, "MAX_TOKENS")]
    assert [(one["index"], one["finishReason"]) for one in last] == reasons
    found = body(events)["candidates"]
    assert [(one["index"], one["finishReason"]) for one in found] == reasons


def test_what_a_reply_rests_on() -> None:
    events: list[Event] = [
        *text("né!"), Note(0, "u", "t", start=0, end=2), Note(0, title="no address"),
        Open(1, "text", phase="x"), Delta(1, "more"), Note(1, "v", end=4), Note(7, "w"), Close(1),
        *DONE,
    ]  # fmt: skip
    supports = [
        {"segment": {"startIndex": 0, "endIndex": 3, "text": "né"}, "groundingChunkIndices": [0]},
        {
            "segment": {"startIndex": 6, "endIndex": 10, "text": "more"},
            "groundingChunkIndices": [1],
        },
    ]
    data, writer = write([START, *events])
    found = json.loads(sse.splitter(9999).feed(data)[-1].data)["candidates"][0]["groundingMetadata"]
    assert found["groundingSupports"] == supports
    assert [loss.path for loss in writer.losses] == ["reply.citations"]
    del events[events.index(Note(7, "w"))]
    whole = body(events, ["reply.citations"])["candidates"][0]["groundingMetadata"]
    assert whole["groundingSupports"] == supports


def test_log_probabilities() -> None:
    probs = Raw(b'{"content":[{"token":"Hi","logprob":-0.50,"top_logprobs":[]}]}')
    odd = Raw(b'{"content":5}')
    events: list[Event] = [
        Open(0, "text"),
        Delta(0, "Hi", probs),
        Delta(0, "", odd),
        Close(0),
        *DONE,
    ]
    data, writer = write([START, *events])
    result = {"chosenCandidates": [{"token": "Hi", "logProbability": -0.5}]}
    first = json.loads(sse.splitter(9999).feed(data)[0].data)
    assert first["candidates"][0]["logprobsResult"] == result
    assert [loss.path for loss in writer.losses] == ["reply.logprobs"]
    del events[2]
    assert body(events)["candidates"][0]["logprobsResult"] == result
    events[1] = Delta(0, "Hi", odd)
    assert "logprobsResult" not in body(events, ["reply.logprobs"])["candidates"][0]


def test_items_that_a_vendor_ran() -> None:
    code = b'{"executableCode": {\n"code": "1"\r\n}}'
    events: list[Event] = [
        Whole("gemini", Raw(code), "executableCode"), Whole("x", Raw(b"{}"), "web"),
        Open(0, "tool", id="a", name="run", runs="vendor"), Delta(0, "{}"), Close(0), *DONE,
    ]  # fmt: skip
    losses = ["reply.web", "reply.run"]
    data, writer = write([START, *events])
    assert b'{"executableCode":{"code":"1"}}' in data.replace(b": ", b":")
    assert [loss.path for loss in writer.losses] == losses
    assert content(body(events, losses)) == [json.loads(code)]


def test_line_ends_inside_of_strings_are_escaped() -> None:
    said = "a\u2028b\u2029c\x85d\n"
    data, _ = write([START, *text(said), *DONE])
    assert b"a\\u2028b\\u2029c\\u0085d\\n" in data
    assert content(body([*text(said), *DONE])) == [{"text": said}]


def test_a_failure_is_the_last_word() -> None:
    data, writer = write([START, Open(0, "text"), Delta(0, "Hi"), Fail("overloaded", "m")])
    assert data.endswith(
        b'data: {"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}\r\n\r\n'
    )
    assert writer.write(End()) == b""
    assert writer.carry(0) is None
    assert write([Fail("server", "m")])[0].startswith(b'data: {"error":')
    with pytest.raises(UpstreamNonsense):
        write_body([Fail("server", "m")], CALL, "made")


def test_a_keepalive_is_a_blank_line() -> None:
    writer = ChunkWriter(CALL, "made")
    said = [writer.keepalive()]
    for event in [START, *text("Hi"), *DONE]:
        said += [writer.write(event), writer.keepalive()]
    writer.joined()
    data = b"".join(said)
    assert set(data.split(b"data: ")[0]) == set(b"\r\n")
    grammar = ChunkGrammar()
    assert [rule for frame in sse.splitter(9999).feed(data) for rule in grammar.check(frame)] == []
    assert grammar.close() == []


def test_more_of_a_text_is_carried() -> None:
    writer, same = ChunkWriter(CALL, "made"), ChunkWriter(CALL, "made")
    opened: list[Event] = [START, Open(0, "text"), Open(1, "thinking"), Delta(1, "t")]
    for event in opened:
        writer.write(event), same.write(event)
    assert writer.carry(0) is writer.carry(1) is writer.carry(9) is None
    writer.write(Delta(0, "a")), same.write(Delta(0, "a"))
    carry = writer.carry(0)
    assert carry is not None
    for piece in ("b", "ü\x85"):
        assert carry([piece.encode()]) == same.write(Delta(0, piece))
    rest: list[Event] = [Note(0, "u", start=1, end=3), Close(1), Close(0), *DONE]
    assert [writer.write(event) for event in rest] == [same.write(event) for event in rest]


KINDS: tuple[BlockKind, ...] = ("text", "thinking", "tool", "refusal")
REASONS: tuple[Reason, ...] = ("length", "filter", "refusal", "context", "malformed", "pause")


@st.composite
def replies(draw: st.DrawFn) -> list[Event]:
    """Any reply: blocks of two choices, open one across the other."""
    events: list[Event] = [draw(st.sampled_from([Start(), START]))]
    opened: list[Open] = []
    live: list[Open] = []
    for _ in range(draw(st.integers(0, 12))):
        if draw(st.booleans()) and live:
            one = draw(st.sampled_from(live))
            step = draw(st.integers(0, 3))
            if not step:
                live.remove(one)
                if one.kind == "thinking" and draw(st.booleans()):
                    events.append(
                        Sealed(one.block, draw(st.sampled_from([NATIVE, FOREIGN, PLAIN])))
                    )
                events.append(Close(one.block))
            else:
                events.append(Delta(one.block, draw(st.sampled_from(['{"a":1}', "x\u2028", "ü"]))))
        else:
            kind = draw(st.sampled_from(KINDS))
            number, choice = len(opened), draw(st.integers(0, 1))
            seal = draw(st.sampled_from([None, NATIVE])) if kind in ("text", "tool") else None
            tool_id = f"t{number}" if kind == "tool" else None
            opened.append(Open(number, kind, choice, tool_id, tool_id and "f", seal=seal))
            live.append(opened[-1])
            events.append(opened[-1])
        if draw(st.booleans()):
            events.append(Usage(draw(st.none() | st.integers(0, 9)), 3))
    if draw(st.booleans()):
        return [*events, Fail("server", "m")]
    events += [Close(one.block) for one in live]
    reason = draw(st.sampled_from(REASONS))
    return [*events, Stop(reason), Stop(reason, 1), End()]


@given(events=replies())
def test_any_reply_is_written_so_that_it_reads_the_same(events: list[Event]) -> None:
    data, _ = write(events)
    reader = ChunkReader(Back(Origin("gemini")))
    again = [event for frame in sse.splitter(9999).feed(data) for event in reader.read(frame)]
    assert reader.unknown == 0
    if isinstance(events[-1], Fail):
        assert isinstance(again[-1], Fail)
        return
    copy, reply = fold([*again, *reader.close()]), fold(events)
    for number, choice in reply.choices.items():
        calls = [block.opened.id for block in choice.blocks("tool")]
        assert [block.opened.id for block in copy.choice(number).blocks("tool")] == calls
        said = (choice.text("text") + choice.text("refusal")).replace("\n\n", "")
        assert sorted(copy.choice(number).text("text").replace("\n\n", "")) == sorted(said)
        assert sorted(copy.choice(number).text("thinking")) == sorted(choice.text("thinking"))
    whole, _ = write_body(events, CALL, "made")
    types.GenerateContentResponse.model_validate_json(whole)
    assert fold(ChunkReader(Back()).read_body(whole)).choices.keys() == copy.choices.keys()
