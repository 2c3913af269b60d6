"""What nobody should send, and somebody did to find faults: `make fuzz` (CONTRIBUTING.md)."""

import json
from collections.abc import Callable

import pytest

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import NOTHING_GIVEN, Back, Given, Target
from rawproxy.dialects.call import Call
from rawproxy.dialects.ends import BodySink, BodySource, StreamSink, StreamSource
from rawproxy.dialects.envelope import Origin, Vault
from rawproxy.dialects.events import Delta, End, Fail, Open, Start, Stop, Usage, Whole
from rawproxy.dialects.grammar import validate
from rawproxy.dialects.models import takes
from rawproxy.dialects.pipe import PassBody, PassPipe, TranslatePipe
from rawproxy.dialects.reading import (
    MOST_CHOICES,
    MOST_COUNT,
    Fields,
    choice_number,
    encode,
    flat,
    whole_count,
)
from rawproxy.dialects.usage_chunk import ask_usage
from rawproxy.errors import ClientError, UpstreamCut, UpstreamNonsense
from rawproxy.wire import eventstream, sse
from rawproxy.wire.frame import MAX_FRAME, PlainFrame

VAULT = Vault(b"key", "id")


def asked(name: str, variant: str = "") -> Call:
    return Call(name, "m", stream=True, wants_usage=True, variant=variant, vault=VAULT)


def streamed(source: str, body: bytes, name: str, variant: str = "") -> bytes:
    """Return a whole reply of `source` as a stream of `name`."""
    sink = StreamSink(DIALECTS[name].stream_writer(asked(name, variant), "made", 7))
    pipe = TranslatePipe(BodySource(DIALECTS[source].read_reply, Back(), len(body)), sink)
    return b"".join([*pipe.feed(body), *pipe.close()])


def translated(source: str, stream: bytes, name: str, variant: str = "") -> TranslatePipe:
    """Return a pipe that was fed a stream of `source`."""
    dialect = DIALECTS[source]
    sink = StreamSink(DIALECTS[name].stream_writer(asked(name, variant), "made", 7))
    pipe = TranslatePipe(
        StreamSource(dialect.stream_reader(Back()), dialect.FRAMING, MAX_FRAME), sink
    )
    pipe.feed(stream)
    return pipe


def body(source: str, reply: bytes, name: str) -> bytes:
    """Return a whole reply of `source` as one of `name`."""
    sink = BodySink(DIALECTS[name], asked(name), "made", 7)
    for event in DIALECTS[source].read_reply(reply, Back()):
        sink.write(event)
    return sink.close()


# -- numbers


@pytest.mark.parametrize(
    ("said", "count"),
    [
        (None, None), (-1, None), (-0.5, None), (0, 0), (3.0, 3), (MOST_COUNT - 1, MOST_COUNT - 1),
        (MOST_COUNT, None), (MOST_COUNT + 1, None), (1e308, None), (float("inf"), None),
    ],
)  # fmt: skip
def test_counts(said: float | None, count: int | None) -> None:
    assert whole_count(said) == count


@pytest.mark.parametrize(
    ("said", "number"),
    [
        (None, 5), (0, 0), (1.5, 1), (-1, None), (MOST_CHOICES - 1, MOST_CHOICES - 1),
        (MOST_CHOICES, None), (MOST_CHOICES + 1, None), (1e308, None), (float("inf"), None),
    ],
)  # fmt: skip
def test_numbers_of_choices(said: float | None, number: int | None) -> None:
    assert choice_number(said, 5) == number


@pytest.mark.parametrize("index", [-1, MOST_CHOICES, 1e308])
@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("openai_chat", {"message": {"content": "x"}, "finish_reason": "stop"}),
        ("openai_completions", {"text": "x", "finish_reason": "stop"}),
    ],
)
def test_a_choice_beyond_all_reason_is_none(name: str, choice: object, index: float) -> None:
    assert isinstance(choice, dict)
    first = choice | {"index": 0}
    odd = choice | {"index": index}
    reader = DIALECTS[name].stream_reader(Back())
    framing = DIALECTS[name].FRAMING
    data = framing.write(json.dumps({"choices": [odd, first]}).encode())
    events = [event for frame in framing.splitter(999).feed(data) for event in reader.read(frame)]
    assert reader.unknown == 1
    assert {event.choice for event in events if isinstance(event, Open | Stop)} == {0}


def test_a_candidate_beyond_all_reason_is_none() -> None:
    parts = {"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}
    reply = {"candidates": [parts | {"index": MOST_CHOICES}, parts | {"index": 0}]}
    events = DIALECTS["gemini"].read_reply(json.dumps(reply).encode(), Back())
    assert {event.choice for event in events if isinstance(event, Open | Stop)} == {0}


@pytest.mark.parametrize("name", ["openai_chat", "openai_completions"])
def test_a_time_beyond_all_reason_is_none(name: str) -> None:
    choice = {"index": 0, "text": "x", "message": {"content": "x"}, "finish_reason": "stop"}
    reply = {"created": 1e308, "choices": [choice]}
    events = DIALECTS[name].read_reply(json.dumps(reply).encode(), Back())
    assert [event.created for event in events if isinstance(event, Start)] == [None]


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("anthropic_messages", {"content": [], "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1e308}}),
        ("bedrock_converse", {"output": {"message": {"content": []}}, "stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 1e308}}),
        ("openai_chat", {"choices": [{"index": 0, "message": {"content": "x"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1e308}}),
        ("openai_responses", {"output": [], "usage": {"input_tokens": 1, "output_tokens": 1e308}}),
    ],
)  # fmt: skip
def test_a_count_beyond_all_reason_is_none(name: str, reply: object) -> None:
    events = DIALECTS[name].read_reply(json.dumps(reply).encode(), Back())
    assert [event for event in events if isinstance(event, Usage)] == [Usage(input=1)]


@pytest.mark.parametrize("name", ["openai_chat", "openai_responses", "anthropic_messages"])
def test_a_number_without_end_is_nonsense(name: str) -> None:
    framing = DIALECTS[name].FRAMING
    (frame,) = framing.splitter(9999).feed(framing.write(b"9" * 4301))
    with pytest.raises(UpstreamNonsense, match="not JSON"):
        DIALECTS[name].stream_reader(Back()).read(frame)


# -- replies without their first choice


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("openai_chat", {"index": 3, "message": {"content": "x"}, "finish_reason": "stop"}),
        ("openai_completions", {"index": 3, "text": "x", "finish_reason": "stop"}),
    ],
)
def test_a_reply_has_its_first_choice(name: str, choice: object) -> None:
    data = json.dumps({"choices": [choice]}).encode()
    with pytest.raises(UpstreamNonsense, match="first choice"):
        DIALECTS[name].read_reply(data, Back())
    reader, framing = DIALECTS[name].stream_reader(Back()), DIALECTS[name].FRAMING
    (frame,) = framing.splitter(999).feed(framing.write(data))
    reader.read(frame)
    with pytest.raises(UpstreamCut):
        reader.close()


# -- calls


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        (lambda fields: fields.schema("x"), "x: expected a JSON schema, an object"),
        (lambda fields: fields.raw_object("x"), "x: expected an object"),
    ],
)
@pytest.mark.parametrize("value", [b"[]", b'"{}"', b"1", b"true"])
def test_what_has_to_be_an_object(
    read: Callable[[Fields], bytes], problem: str, value: bytes
) -> None:
    with pytest.raises(ClientError, match=problem) as caught:
        read(Fields.of(b'{"x":%b}' % value))
    assert caught.value.param == "x"
    assert bytes(read(Fields.of(b'{"x": {"a":1} }'))) == b'{"a":1}'
    assert not read(Fields.of(b'{"x":null}'))
    assert not read(Fields.of(b"{}"))


CHAT = b'{"model":"m","messages":[{"role":"user","content":"x"}],%b}'
FORMAT = b'{"type":"json_schema","json_schema":{"name":"n","schema":[]}}'
GRAMMAR = b'[{"type":"custom","custom":{"name":"n","format":{"type":"grammar","grammar":false}}}]'


@pytest.mark.parametrize(
    ("name", "call", "param"),
    [
        ("openai_chat", CHAT % b'"response_format":%b' % FORMAT, "response_format.json_schema.schema"),
        ("openai_chat", CHAT % b'"tools":%b' % GRAMMAR, "tools[0].custom.format.grammar"),
        (
            "openai_responses",
            b'{"model":"m","input":"x","text":{"format":{"type":"json_schema","name":"n","schema":1}}}',
            "text.format.schema",
        ),
        (
            "anthropic_messages",
            b'{"model":"m","max_tokens":9,"messages":[],"output_config":{"format":{"type":"json_schema","schema":"x"}}}',
            "output_config.format.schema",
        ),
        (
            "gemini",
            b'{"contents":[],"generationConfig":{"responseMimeType":"application/json","responseJsonSchema":[]}}',
            "generationConfig.responseJsonSchema",
        ),
    ],
)  # fmt: skip
def test_a_schema_that_is_none_is_the_clients_fault(name: str, call: bytes, param: str) -> None:
    given = NOTHING_GIVEN if DIALECTS[name].MODEL_FIELD else Given("m", stream=False)
    with pytest.raises(ClientError) as caught:
        DIALECTS[name].read_call(call, VAULT, given)
    assert caught.value.param == param


def test_a_call_is_utf8_in_what_is_sent_on_undecoded() -> None:
    form = b'{"type":"json_schema","json_schema":{"name":"n","schema":{"const":"\xc3%b"}}}'
    good, bad = (CHAT % b'"response_format":%b' % (form % more) for more in (b"\xbc", b""))
    target = Target("gpt-5", takes("openai_chat", "gpt-5"), Origin("openai_chat"))
    call = DIALECTS["openai_chat"].read_call(good, VAULT)
    assert "ü".encode() in DIALECTS["openai_chat"].write_call(call, target).body
    with pytest.raises(ClientError, match="the body is not a JSON object"):
        DIALECTS["openai_chat"].read_call(bad, VAULT)


@pytest.mark.parametrize("model", ["claude-opus-4-8", "claude-3-5-haiku-latest"])
def test_a_format_without_its_schema_is_still_json(model: str) -> None:
    call = DIALECTS["anthropic_messages"].read_call(
        b'{"model":"m","max_tokens":9,"messages":[],"output_config":{"format":{"type":"json_schema"}}}',
        VAULT,
    )
    target = Target(model, takes("anthropic_messages", model), Origin("anthropic_messages"))
    written = json.loads(DIALECTS["anthropic_messages"].write_call(call, target).body)
    assert written["output_config"]["format"] == {"type": "json_schema"}


def test_a_null_stream_is_as_good_as_none() -> None:
    data = b'{"model":"m","messages":[],"stream":null}'
    for name, streams in (("ollama_chat", True), ("openai_chat", False)):
        assert DIALECTS[name].glance(data, NOTHING_GIVEN).stream is streams
        assert DIALECTS[name].read_call(data, VAULT).stream is streams


def test_usage_is_not_asked_for_where_the_options_are_there_twice() -> None:
    assert ask_usage(b'{"stream_options":{},"stream_options":{}}') is None


# -- bodies in several lines, and other people's blocks


def test_json_on_one_line() -> None:
    assert flat(b'{\r\n "a" : [ 1.50,\n 2 ] }') == b'{"a":[1.50,2]}'
    assert flat(b'{ "a": 1 }') == b'{ "a": 1 }'


CHAT_REPLY = b"""{"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop",
 "logprobs": %b}]}"""

MESSAGES_REPLY = b"""{"content": [%b], "stop_reason": "end_turn",
 "usage": {"input_tokens": 1, "output_tokens": 1}}"""


@pytest.mark.parametrize("name", ["openai_chat", "openai_responses", "gemini", "ollama_chat"])
def test_log_probabilities_in_several_lines_stay_in_one_frame(name: str) -> None:
    reply = CHAT_REPLY % b'{"content": [\n {"token": "x",\n "logprob": -0.5, "bytes": [\n 120]}]}'
    stream = streamed("openai_chat", reply, name)
    assert b"-0.5" in stream
    assert list(validate(name, stream)) == []


@pytest.mark.parametrize(
    "block",
    [
        b'{"type": "server_tool_use", "id": "s",\n "name": "n", "input": {\n "a": 1}}',
        b'{"type": "web_search_tool_result", "tool_use_id": "s",\n "content": []}',
        b'{"type": "text", "text": "x", "citations": [{"type": "char_location",\n "cited_text": "x"}]}',
        b'{"type": "newer_tool_use",\n "id": "s", "input": {"a": 1}}',
        b'{"type": "of tomorrow", "input": [1]}',
    ],
)  # fmt: skip
def test_blocks_in_several_lines_stay_in_their_frames(block: bytes) -> None:
    stream = streamed("anthropic_messages", MESSAGES_REPLY % block, "anthropic_messages")
    assert json.loads(block)["type"].encode() in stream
    assert list(validate("anthropic_messages", stream)) == []


@pytest.mark.parametrize(
    "odd", [b'"x"', b"[]", b'{"content": 1}', b'{"content": {"a": []}}', b'{"content": null}']
)
def test_log_probabilities_of_nobodys_form_are_left_out(odd: bytes) -> None:
    written = json.loads(body("openai_chat", CHAT_REPLY % odd, "openai_chat"))
    assert written["choices"][0]["message"]["content"] == "x"
    assert not written["choices"][0]["logprobs"]["content"] if b"null" in odd else True
    json.loads(body("openai_chat", CHAT_REPLY % odd, "openai_completions"))


def test_a_body_that_passes_need_not_be_whole() -> None:
    pipe = PassBody(DIALECTS["gemini"], limit=999)
    data = b'[{"candidates":[{"content":{"parts":[{"text":"x"}]}}]}]'
    assert pipe.feed(data) == []
    assert pipe.close() == [data]
    assert pipe.tally.unknown == 1


# -- nothing behind the end

MESSAGE = b"".join(
    b"event: %b\ndata: %b\n\n" % (json.loads(data)["type"].encode(), data)
    for data in (
        b'{"type":"message_start","message":{"usage":{"input_tokens":1}}}',
        b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}',
        b'{"type":"content_block_stop","index":0}',
        b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}',
    )
)
OVER = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
LATE = Fail("server", "late")


@pytest.mark.parametrize("name", ["anthropic_messages", "openai_chat", "gemini"])
def test_nothing_keeps_an_ended_translation_alive(name: str) -> None:
    assert translated("anthropic_messages", MESSAGE, name).keepalive() != b""
    assert translated("anthropic_messages", MESSAGE + OVER, name).keepalive() == b""
    failed = translated("anthropic_messages", MESSAGE, name)
    failed.fail(LATE)
    assert failed.keepalive() == b""


def test_nothing_keeps_an_ended_pass_alive() -> None:
    def passed(data: bytes) -> PassPipe:
        dialect = DIALECTS["anthropic_messages"]
        pipe = PassPipe(
            dialect, dialect.stream_writer(asked(dialect.NAME), "made", 7), frame_bytes=MAX_FRAME
        )
        pipe.feed(data)
        return pipe

    assert passed(MESSAGE).keepalive() != b""
    assert passed(MESSAGE + OVER).keepalive() == b""
    failed = passed(MESSAGE)
    failed.fail(LATE)
    assert failed.keepalive() == b""


@pytest.mark.parametrize(("variant", "told"), [("2023-06-01", False), ("2023-01-01", True)])
def test_clients_of_the_legacy_stream_read_up_to_the_stop_reason(variant: str, told: bool) -> None:
    writer = DIALECTS["anthropic_complete"].stream_writer(
        asked("anthropic_complete", variant), "made", 7
    )
    assert writer.keepalive() != b""
    assert b"stop_reason" in writer.write(Stop("end"))
    assert writer.keepalive() == b""
    assert bool(writer.write(LATE)) is told
    assert writer.write(End()) == b""


def test_an_item_of_the_vendor_without_input_is_whole() -> None:
    raw = b'{"type":"server_tool_use","id":"s","name":"n","input":{}}'
    (whole,) = [
        event
        for event in DIALECTS["anthropic_messages"].read_reply(MESSAGES_REPLY % raw, Back())
        if isinstance(event, Whole)
    ]
    assert bytes(whole.raw) == raw


@pytest.mark.parametrize("name", ["openai_chat", "openai_responses", "openai_completions"])
def test_what_is_left_undecoded_is_utf8_as_well(name: str) -> None:
    reply = CHAT_REPLY % b'{"content": [{"token": "\xed\xa0\xbd", "logprob": 1}]}'
    with pytest.raises(UpstreamNonsense):
        DIALECTS[name].read_reply(reply, Back())


def test_ids_that_are_no_strings_are_compared_all_the_same() -> None:
    item = {"type": "reasoning", "id": {"a": 1}, "summary": []}
    event = {"type": "response.output_item.added", "output_index": 0, "item": item}
    frames = [sse.write(json.dumps(event).encode(), name=b"response.output_item.added")] * 2
    assert "two items have one id" in [one.what for one in validate("openai_responses", frames)]


@pytest.mark.parametrize("word", [[], {}, 1, True])
@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("gemini", lambda word: sse.write(encode({"candidates": [{"finishReason": word}]}))),
        (
            "bedrock_converse",
            lambda word: eventstream.write(encode({"stopReason": word}), name=b"messageStop"),
        ),
    ],
)
def test_reasons_that_are_no_strings_are_none(
    name: str, stream: Callable[[object], bytes], word: object
) -> None:
    broken = [one.what for one in validate(name, stream(word))]
    assert [one for one in broken if one.startswith(f"{word} is no ")]


@pytest.mark.parametrize("at", range(24))
def test_what_stands_before_a_frame_that_is_too_long_counts_at_any_cut(at: int) -> None:
    def says(text: str) -> bytes:
        return encode({"candidates": [{"content": {"parts": [{"text": text}]}}]})

    data = b"".join(b"data: %b\r\n\r\n" % says(text) for text in ("a", "b", "c" * 300))
    cut = data.index(b"\r\n\r\n") - 12 + at
    source = StreamSource(DIALECTS["gemini"].stream_reader(Back()), sse, 200)
    events = [*source.feed(data[:cut]), *source.feed(data[cut:])]
    assert [event.text for event in events if isinstance(event, Delta)] == ["a", "b"]
    assert isinstance(events[-1], Fail)


def test_a_candidate_of_nothing_but_a_picture_has_to_stop_as_well() -> None:
    picture = {"content": {"parts": [{"inlineData": {"data": ""}}]}, "index": 1}
    chunks = [{"candidates": [picture]}, {"candidates": [{"finishReason": "STOP"}]}]
    reader = DIALECTS["gemini"].stream_reader(Back())
    for chunk in chunks:
        reader.read(PlainFrame(b"", data=encode(chunk), has_data=True))
    with pytest.raises(UpstreamCut):
        reader.close()


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("openai_chat", {"error": {"message": "it broke"}}),
        ("openai_responses", {"type": "response.completed", "response": {"output": []}}),
        ("anthropic_messages", {"type": "error", "error": {"message": "it broke"}}),
    ],
)
def test_nothing_is_read_of_a_frame_that_goes_on_with_nonsense(name: str, end: object) -> None:
    source = StreamSource(DIALECTS[name].stream_reader(Back()), sse, MAX_FRAME)
    assert source.feed(b"data: " + encode(end) + b'"se') == []
    with pytest.raises(UpstreamCut):
        source.close()


@pytest.mark.parametrize("odd", [[], {}, 1, None, ""])
@pytest.mark.parametrize("name", ["id", "type"])
@pytest.mark.parametrize(
    "item",
    [
        {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "x"},
        {"id": "ws_1", "type": "web_search_call", "status": "completed"},
    ],
)
def test_an_item_without_its_id_or_its_type_gets_them(
    item: dict[str, object], name: str, odd: object
) -> None:
    added = {"type": "response.output_item.added", "output_index": 0, "item": item}
    done = {"type": "response.output_item.done", "output_index": 0, "item": item | {name: odd}}
    over = {"type": "response.completed", "response": {"output": []}}
    source = StreamSource(DIALECTS["openai_responses"].stream_reader(Back()), sse, MAX_FRAME)
    sink = StreamSink(
        DIALECTS["openai_responses"].stream_writer(asked("openai_responses"), "made", 7)
    )
    pipe = TranslatePipe(source, sink)
    said = b"".join(
        part for one in (added, done, over) for part in pipe.feed(sse.write(encode(one)))
    )
    assert list(validate("openai_responses", said)) == []


@pytest.mark.parametrize("at", [[], {}, None, "0", 1.5])
def test_a_place_that_is_no_number_is_none(at: object) -> None:
    said = [
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message"}},
        {"type": "response.output_text.annotation.added", "output_index": 0, "content_index": at},
    ]
    broken = validate("openai_responses", [sse.write(encode(one)) for one in said])
    assert [one for one in broken if "annotation of part" in one.what]
