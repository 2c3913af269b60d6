"""rawproxy.dialects.ollama_chat.writer: events to lines and bodies that clients accept."""

import json
from collections.abc import Sequence
from typing import Any

import httpx
import ollama
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects.base import Back
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import UNKNOWN, Seal
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
from rawproxy.dialects.ollama_chat.grammar import LineGrammar
from rawproxy.dialects.ollama_chat.reader import LineReader
from rawproxy.dialects.ollama_chat.writer import LineWriter, write_body
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire import ndjson

CALL = Call("ollama_chat", "asked")
GENERATE = Call("ollama_chat", "asked", variant="generate")
SEAL = Seal(UNKNOWN, "thinking", '{"signature":"s"}')
PLAIN = Seal(UNKNOWN, "reasoning_content", "{}")
DONE: list[Event] = [Stop("end"), End()]
NOW = 1767225600
TIME = "2026-01-01T00:00:00Z"
HEAD = {"model": "asked", "created_at": TIME}


def write(events: Sequence[Event], call: Call = CALL) -> tuple[bytes, LineWriter]:
    writer = LineWriter(call, NOW)
    data = b"".join(writer.write(event) for event in events)
    grammar = LineGrammar()
    broken = [rule for frame in ndjson.splitter(9999).feed(data) for rule in grammar.check(frame)]
    assert broken + grammar.close() == []
    return data, writer


def lines(events: Sequence[Event], call: Call = CALL) -> list[Any]:
    return [json.loads(line) for line in write(events, call)[0].splitlines()]


def losses(events: Sequence[Event], call: Call = CALL) -> list[str]:
    """What is lost in a stream, which is the same as in a body."""
    found = write(events, call)[1].losses
    assert sorted(write_body(list(events), call, NOW)[1]) == sorted(found)
    assert {loss.why for loss in found} <= {"no such thing there"}
    return [loss.path.removeprefix("reply.") for loss in found]


def body(events: Sequence[Event], call: Call = CALL) -> Any:
    return json.loads(write_body(list(events), call, NOW)[0])


def block(kind: BlockKind, *texts: str, number: int = 0, **more: Any) -> list[Event]:
    deltas = [Delta(number, text) for text in texts]
    return [Open(number, kind, **more), *deltas, Close(number)]


def tool(*texts: str, number: int = 0, **more: Any) -> list[Event]:
    return block("tool", *texts, number=number, **({"id": f"c{number}", "name": "f"} | more))


def content(events: Sequence[Event]) -> str:
    """The text of a stream, which is the same as in a body."""
    events = [Start(), *events]
    said = "".join(line["message"]["content"] for line in lines(events))
    assert body(events)["message"]["content"] == said
    return said


def test_a_stream_from_start_to_end() -> None:
    events: list[Event] = [
        Start("id", "m", NOW), *block("thinking", "H", "m."), *block("text", "a", number=1),
        Usage(input=3), Usage(output=2), Stop("end"), End("flex"),
    ]  # fmt: skip
    head = {"model": "m", "created_at": TIME}
    assert lines(events) == [
        head | {"message": {"role": "assistant", "content": "", "thinking": "H"}, "done": False},
        head | {"message": {"role": "assistant", "content": "", "thinking": "m."}, "done": False},
        head | {"message": {"role": "assistant", "content": "a"}, "done": False},
        head | {"message": {"role": "assistant", "content": ""}, "done": True,
                "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 2},
    ]  # fmt: skip
    message = {"role": "assistant", "content": "a", "thinking": "Hm."}
    assert body(events) == head | {
        "message": message, "done": True, "done_reason": "stop", "prompt_eval_count": 3,
        "eval_count": 2,
    }  # fmt: skip
    assert losses(events) == []


def test_generate() -> None:
    events: list[Event] = [Start(), *block("thinking", "Hm."), *block("text", "a", number=1), *DONE]
    assert lines(events, GENERATE) == [
        HEAD | {"response": "", "thinking": "Hm.", "done": False},
        HEAD | {"response": "a", "done": False},
        HEAD | {"response": "", "done": True, "done_reason": "stop"},
    ]
    assert body(events, GENERATE) == HEAD | {
        "response": "a", "thinking": "Hm.", "done": True, "done_reason": "stop",
    }  # fmt: skip
    assert losses([Start(), *tool(), Stop("tools"), End()], GENERATE) == ["f"]


@pytest.mark.parametrize(
    ("texts", "opened", "arguments"),
    [
        (('{"x":', "1.50}"), {}, b'{"x":1.50}'),
        ((), {}, b"{}"),
        (('{\n"x": "\u2028"}',), {}, b'{"x":"\\u2028"}'),
        (("words",), {}, b'{"_raw":"words"}'),
        (("[1]",), {}, b'{"_raw":"[1]"}'),
        (("a", "b"), {"tool": "freeform"}, b'{"input":"ab"}'),
    ],
)
def test_a_tool_call_is_written_whole(texts: Any, opened: Any, arguments: bytes) -> None:
    events: list[Event] = [Start(), *tool(*texts, **opened), Stop("tools"), End()]
    for data in (write(events)[0], write_body(events, CALL, NOW)[0]):
        assert b'"tool_calls":[{"function":{"name":"f","arguments":%b}}]' % arguments in data


def test_tool_calls_may_interleave() -> None:
    events: list[Event] = [
        Start(), Open(0, "tool", id="a", name="f", namespace="ns"), Open(1, "tool", id="b", name="g"),
        Delta(1, "{}"), *block("text", "a", number=2), Delta(0, "{}"), Close(1), Close(0),
        Stop("tools"), End(),
    ]  # fmt: skip
    said = [line["message"] for line in lines(events)]
    names = [call["function"]["name"] for one in said for call in one.get("tool_calls", ())]
    assert names == ["g", "ns__f"]
    assert said[0]["content"] == "a"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([*block("text", "a", "b"), *block("text", "c", number=1)], "abc"),
        ([*block("text", "a", phase="x"), *block("text", "b", number=1)], "a\n\nb"),
        ([*block("text", "a"), *block("refusal", "no", number=1)], "a\n\nno"),
        ([*block("text"), *block("refusal", "no", number=1)], "no"),
    ],
)
def test_texts_are_joined(events: list[Event], expected: str) -> None:
    assert content([*events, *DONE]) == expected


def test_a_refusal_is_told_in_words() -> None:
    refused: list[Event] = [Stop("refusal", detail="I will not."), End()]
    assert content(refused) == "I will not."
    assert content([*block("text", "a"), *refused]) == "a\n\nI will not."
    assert content([*block("refusal", "no"), *refused]) == "no"
    assert content([Stop("refusal"), End()]) == ""


@pytest.mark.parametrize(
    ("reason", "word", "lost"),
    [
        ("end", "stop", []), ("tools", "stop", []), ("stop_sequence", "stop", []),
        ("length", "length", []), ("context", "length", []),
        ("refusal", "stop", ["stop_reason"]), ("filter", "stop", ["stop_reason"]),
        ("pause", "stop", ["stop_reason"]), ("malformed", "stop", ["stop_reason"]),
        ("compaction", "stop", ["stop_reason"]),
    ],
)  # fmt: skip
def test_reasons(reason: Reason, word: str, lost: list[str]) -> None:
    events: list[Event] = [Start(), Stop(reason), End()]
    assert lines(events)[-1]["done_reason"] == body(events)["done_reason"] == word
    assert losses(events) == lost


@pytest.mark.parametrize(
    ("events", "lost"),
    [
        ([Open(0, "thinking"), Delta(0, "H"), Sealed(0, SEAL), Close(0)], ["seal"]),
        ([Open(0, "thinking"), Delta(0, "H"), Sealed(0, PLAIN), Close(0)], []),
        ([*tool(seal=SEAL), *tool(number=1, seal=SEAL)], ["seal"]),
        ([Open(0, "text"), Delta(0, "a"), Note(0), Close(0)], ["citations"]),
        ([Whole("d", Raw(b"{}"), "search")], ["search"]),
        (tool("{}", runs="vendor"), ["f"]),
        (
            [*block("text", "a"), *block("text", "b", number=1, choice=1), Stop("end", 1)],
            ["choices"],
        ),
        ([Open(0, "text"), Delta(0, "a", Raw(b'{"odd":[]}')), Close(0)], ["logprobs"]),
        ([Open(0, "text"), Delta(0, "a", Raw(b"[]")), Close(0)], ["logprobs"]),
    ],
)
def test_what_has_no_words_is_lost(events: list[Event], lost: list[str]) -> None:
    assert losses([Start(), *events, *DONE]) == lost


def test_a_seal_of_another_answer_is_of_no_interest() -> None:
    events: list[Event] = [Start(), Open(0, "thinking", 1), Sealed(0, SEAL), Close(0), *DONE]
    assert write(events)[1].losses == [write_body(events, CALL, NOW)[1][0]]


def test_logprobs() -> None:
    entry = Raw(b'{"content":[{"token":"a","logprob":-0.5}],"refusal":null}')
    plain = Raw(b'{"content":[{"token":"a","logprob":-0.5}]}')
    events: list[Event] = [Start(), Open(0, "text"), Delta(0, "a", plain), Delta(0, "", plain)]
    events += [Close(0), *DONE]
    tokens = [{"token": "a", "logprob": -0.5}]
    assert [line.get("logprobs") for line in lines(events)] == [tokens, tokens, None]
    assert body(events)["logprobs"] == tokens * 2
    lenient: list[Event] = [Start(), Open(0, "text"), Delta(0, "a", entry), Close(0), *DONE]
    assert lines(lenient)[0]["logprobs"] == tokens


def test_what_the_upstream_left_out_is_ours() -> None:
    assert lines([Start(), *DONE]) == [
        HEAD
        | {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    ]
    assert lines([*block("text", "a"), *DONE])[0]["model"] == "asked"
    assert lines([Start(created=10**20), *DONE])[0]["created_at"] == TIME


def test_a_failure_is_the_last_line() -> None:
    events: list[Event] = [
        Start(), Open(0, "text"), Delta(0, "a"), Open(1, "tool", id="c", name="f"), Delta(1, "{"),
        Fail("overflow", "m", overflow=Overflow(12, 10)), Close(1), *DONE,
    ]  # fmt: skip
    said = lines(events)
    assert len(said) == 2
    assert "maximum context length is 10" in said[1]["error"]
    assert lines([Fail("server", "m")]) == [{"error": "m"}]
    with pytest.raises(UpstreamNonsense):
        write_body(events[:6], CALL, NOW)


def test_nothing_keeps_the_stream_alive() -> None:
    writer = LineWriter(CALL, NOW)
    assert writer.keepalive() == b""
    writer.joined()
    assert writer.write(Start()) == b""


ODD = "a\u2028b\u2029c\u0085d\u000be\u001cf\r\ng"


def test_the_vendor_s_client_puts_our_stream_together() -> None:
    """Its HTTP library ends lines where Unicode does: what we escape must not be torn."""
    arguments = json.dumps({"x": ODD}, ensure_ascii=False)
    events: list[Event] = [
        Start(None, "m" + ODD), *block("thinking", ODD), *block("text", ODD, number=1),
        *tool(arguments, number=2), Usage(3, 2), Stop("tools"), End(),
    ]  # fmt: skip
    received = httpx.Response(200, content=write(events)[0])
    parts = [ollama.ChatResponse.model_validate_json(line) for line in received.iter_lines()]
    assert "".join(part.message.thinking or "" for part in parts) == ODD
    assert "".join(part.message.content or "" for part in parts) == ODD
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert [call.function.arguments for call in calls] == [{"x": ODD}]
    assert (parts[-1].done, parts[-1].eval_count, parts[0].model) == (True, 2, "m" + ODD)
    whole = ollama.ChatResponse.model_validate_json(write_body(events, CALL, NOW)[0])
    assert (whole.message.content, whole.message.thinking) == (ODD, ODD)
    answer: list[Event] = [Start(), *block("text", ODD), *DONE]
    data = httpx.Response(200, content=write(answer, GENERATE)[0])
    said = [ollama.GenerateResponse.model_validate_json(line) for line in data.iter_lines()]
    assert "".join(one.response or "" for one in said) == ODD


KINDS = st.sampled_from(["text", "thinking", "tool"])


@given(blocks=st.lists(st.tuples(KINDS, st.lists(st.text(min_size=1), max_size=3)), max_size=5))
def test_what_is_written_reads_as_what_was_said(blocks: list[tuple[BlockKind, list[str]]]) -> None:
    events: list[Event] = [Start(None, "m", NOW)]
    for number, (kind, texts) in enumerate(blocks):
        if kind == "tool":
            events += tool(json.dumps({"x": texts}), number=number)
        else:
            events += block(kind, *texts, number=number)
    events += [Stop("tools" if any(kind == "tool" for kind, _ in blocks) else "end"), End()]
    reader = LineReader(Back())
    again = [
        e for frame in ndjson.splitter(9999).feed(write(events)[0]) for e in reader.read(frame)
    ]
    whole = LineReader(Back()).read_body(write_body(events, CALL, NOW)[0])
    for kind in ("text", "thinking"):
        said = fold(events).choice(0).text(kind)
        assert fold(again).choice(0).text(kind) == fold(whole).choice(0).text(kind) == said
    calls = [json.loads(block.text) for block in fold(events).choice(0).blocks("tool")]
    for copy in (again, whole):
        assert [json.loads(block.text) for block in fold(copy).choice(0).blocks("tool")] == calls


def test_pieces_of_a_running_text_are_carried() -> None:
    writer, other = LineWriter(CALL, 7), LineWriter(CALL, 7)
    for event in (Start(), Open(0, "text"), Delta(0, "a")):
        assert writer.carry(0) is None
        assert writer.write(event) == other.write(event)
    carry = writer.carry(0)
    assert carry is not None
    assert carry(["ä".encode()]) == other.write(Delta(0, "ä"))
    writer.write(Open(1, "refusal"))
    writer.write(Delta(1, "no"))
    assert writer.carry(0) is None
    assert writer.carry(1) is None
