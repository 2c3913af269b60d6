"""rawproxy.dialects.bedrock_converse.grammar: each rule, broken once."""

import json

import pytest

from rawproxy.dialects.bedrock_converse.grammar import ReplyGrammar
from rawproxy.wire import eventstream
from rawproxy.wire.frame import Frame, PlainFrame

Message = tuple[str, object]

START: Message = ("messageStart", {"role": "assistant"})
USAGE = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
METADATA: Message = ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}})


def begin(index: int, **start: object) -> Message:
    return "contentBlockStart", {"contentBlockIndex": index, "start": start}


def delta(index: int, **delta: object) -> Message:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": delta}


def end(index: int) -> Message:
    return "contentBlockStop", {"contentBlockIndex": index}


def stop(word: object = "end_turn") -> Message:
    return "messageStop", {"stopReason": word}


TOOL = begin(0, toolUse={"toolUseId": "t", "name": "f"})
DONE = [stop(), METADATA]


def frame(name: str, data: object) -> Frame:
    payload = json.dumps(data).encode()
    if name.endswith("Exception"):
        made = eventstream.write_exception(payload, name.encode())
    else:
        made = eventstream.write(payload, name=name.encode())
    (found,) = eventstream.Splitter().feed(made)
    return found


def broken(*messages: Message) -> list[str]:
    grammar = ReplyGrammar()
    return [rule for one in messages for rule in grammar.check(frame(*one))] + grammar.close()


@pytest.mark.parametrize(
    "messages",
    [
        [START, *DONE],
        [START, delta(0, text="a"), delta(0, citation={}), end(0), *DONE],
        [START, delta(0, reasoningContent={"text": "a"}), delta(0, reasoningContent={"signature": "s"}), end(0), delta(1, text="b"), end(1), *DONE],
        [START, TOOL, delta(0, toolUse={"input": "{}"}), end(0), stop("tool_use"), METADATA],
        [START, TOOL, delta(0, toolUse={"input": "{"}), end(0), stop("max_tokens"), METADATA],
        [START, begin(0, image={"format": "png"}), delta(0, image={}), end(0), *DONE],
        [START, begin(0, video={}), delta(0, video={}), end(0), *DONE],
        [START, ("newThing", {}), *DONE],
        [START, delta(0, text="a"), ("throttlingException", {"message": "m"})],
        [("validationException", {"message": "m"})],
    ],
)  # fmt: skip
def test_what_is_allowed(messages: list[Message]) -> None:
    assert broken(*messages) == []


@pytest.mark.parametrize(
    ("messages", "rules"),
    [
        ([], ["end: neither metadata nor an exception came"]),
        ([START, ("messageStop", [])], ["json: the payload is not a JSON object", "end: neither metadata nor an exception came"]),
        ([START, *DONE, METADATA], ["end: metadata after metadata"]),
        (DONE, ["order: messageStop before messageStart", "order: metadata before messageStart"]),
        ([START, START, *DONE], ["order: a second messageStart"]),
        ([("messageStart", {"role": "user"}), *DONE], ["start: the role is not assistant"]),
        ([START, begin(0), *DONE], ["block: contentBlockStart does not say what begins"]),
        ([START, ("contentBlockStart", {}), *DONE], ["block: contentBlockStart does not say what begins"]),
        ([START, begin(0, toolUse={"name": "f"}), end(0), *DONE], ["block: toolUse without its id, or its name"]),
        ([START, begin(0, toolUse=1), end(0), *DONE], ["block: toolUse without its id, or its name"]),
        ([START, begin(1, image={}), end(0), *DONE], ["index: block 1 where 0 comes next"]),
        ([START, delta(0, text="a"), delta(1, text="b"), end(1), *DONE], ["order: a block begins while block 0 is open"]),
        ([START, delta(0, text="a"), begin(1, image={}), end(1), *DONE], ["order: a block begins while block 0 is open"]),
        ([START, ("contentBlockDelta", {"contentBlockIndex": 0}), *DONE], ["delta: it does not say of what"]),
        ([START, delta(0, toolUse={"input": ""}), *DONE], ["index: toolUse for block 0, which is not open"]),
        ([START, TOOL, delta(0, text="a"), end(0), *DONE], ["delta: text in a block of toolUse"]),
        ([START, delta(0, text=1), end(0), *DONE], ["delta: text is no string"]),
        ([START, TOOL, delta(0, toolUse={}), end(0), *DONE], ["delta: toolUse without input"]),
        ([START, TOOL, delta(0, toolUse=1), end(0), *DONE], ["delta: toolUse without input"]),
        ([START, delta(0, reasoningContent=1), end(0), *DONE], ["delta: reasoningContent is no union of strings"]),
        ([START, delta(0, reasoningContent={"text": 1}), end(0), *DONE], ["delta: reasoningContent is no union of strings"]),
        ([START, delta(0, reasoningContent={"signature": "s"}), delta(0, reasoningContent={"text": "a"}), end(0), *DONE], ["order: the signature is not the last of its block"]),
        ([START, end(0), *DONE], ["index: contentBlockStop for block 0, which is not open"]),
        ([START, delta(0, text="a"), end(1), end(0), *DONE], ["index: contentBlockStop for block 1, which is not open"]),
        ([START, delta(0, text="a"), *DONE], ["order: messageStop while block 0 is open"]),
        ([START, stop("stop"), METADATA], ["stop: stop is no stopReason"]),
        ([START, stop("tool_use"), METADATA], ["stop: tool_use without a toolUse block"]),
        ([START, TOOL, end(0), stop("tool_use"), METADATA], ["json: the input of a tool is not a JSON object"]),
        ([START, stop(), stop(), METADATA], ["order: messageStop after messageStop"]),
        ([START, METADATA], ["order: metadata before messageStop"]),
        ([START, stop(), ("metadata", {"metrics": {"latencyMs": 1}})], ["usage: missing"]),
        ([START, stop(), ("metadata", {"usage": USAGE | {"totalTokens": True}, "metrics": {"latencyMs": 1}})], ["usage: totalTokens is no number"]),
        ([START, stop(), ("metadata", {"usage": USAGE})], ["metrics: there is no latencyMs"]),
        ([START, stop(), ("metadata", {"usage": USAGE, "metrics": {}})], ["metrics: there is no latencyMs"]),
        ([START, ("modelTimeoutException", {})], ["error: a stream has no modelTimeoutException", "error: it has no message"]),
        ([START, ("throttlingException", {"message": "m"}), METADATA], ["end: metadata after an exception"]),
    ],
)  # fmt: skip
def test_what_is_not(messages: list[Message], rules: list[str]) -> None:
    assert broken(*messages) == rules


def test_a_frame_of_another_framing_is_read_by_its_name() -> None:
    grammar = ReplyGrammar()
    assert grammar.check(PlainFrame(b"", b"messageStart", b'{"role":"assistant"}', True)) == []
