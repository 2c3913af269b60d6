"""rawproxy.dialects.gemini: the whole dialect, on its golden cases and as its client reads it."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.genai import types

from rawproxy.dialects import gemini
from rawproxy.dialects.base import Back, Dialect, Given, Glance, Target
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import UNKNOWN, Origin, Vault, seal
from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Open,
    Sealed,
    Start,
    Stop,
    Usage,
)
from rawproxy.dialects.fold import Block, fold
from rawproxy.dialects.models import takes
from rawproxy.dialects.unseal import unseal
from rawproxy.errors import ClientError
from rawproxy.wire import sse
from rawproxy.wire.frame import PlainFrame

DIALECT: Dialect = gemini
GOLDEN = Path(__file__).parent.parent / "golden" / "gemini"
CASES = sorted(GOLDEN.iterdir())
REPLIES = [case for case in CASES if (case / "reply.json").exists()]
ORIGIN = Origin("gemini")
GIVEN = Given("gemini-3-pro", stream=True)
TARGET = Target("gemini-3-pro", takes("gemini", "gemini-3-pro"), ORIGIN)


def events_of(stream: bytes) -> list[Event]:
    reader, checker = gemini.stream_reader(Back(ORIGIN)), gemini.grammar()
    frames = sse.splitter(99999).feed(stream)
    assert [rule for frame in frames for rule in checker.check(frame)] + checker.close() == []
    events: list[Event] = []
    for frame in frames:
        found = reader.read(frame)
        if any(isinstance(event, Stop | Usage | End | Fail) for event in found):
            assert gemini.MARKS.search(frame.raw)
        events += found
    assert reader.unknown == 0
    return [*events, *reader.close()]


def spaced(block: Block) -> object:
    """The text of a block; arguments are read, as files for people have spaces in them."""
    return json.loads(block.text) if block.opened.kind == "tool" else block.text


def plain(events: list[Event]) -> Any:
    """What events say, in whatever pieces: blocks whole, counts merged."""
    reply = fold([event for event in events if not isinstance(event, Fail)])
    choices = {
        number: (
            [
                (item.opened.kind, item.opened.id, item.opened.name, spaced(item), item.opened.seal,
                 item.seal, [(n.url, n.title, n.start, n.end) for n in item.notes])
                if isinstance(item, Block) else json.loads(bytes(item.raw))
                for item in choice.items
            ],
            choice.stop,
        )
        for number, choice in reply.choices.items()
    }  # fmt: skip
    return reply.start, choices, reply.usage, [one for one in events if isinstance(one, Fail)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_cases_pass_through_events(case: Path) -> None:
    """Stream and body say the same, and what we write of either says it again."""
    call = Call("gemini", "m")
    events = events_of((case / "stream.sse").read_bytes())
    writer = gemini.stream_writer(call, "x", 1)
    again = events_of(b"".join(map(writer.write, events)))
    assert writer.losses == []
    if case not in REPLIES:  # it broke off: the counts that come with the end never do
        assert again == [event for event in events if not isinstance(event, Usage)]
        return
    assert plain(again) == plain(events)
    said = gemini.read_reply((case / "reply.json").read_bytes(), Back(ORIGIN))
    assert plain(said) == plain(events)
    body, losses = gemini.write_reply(events, call, "x", 1)
    assert plain(gemini.read_reply(body, Back(ORIGIN))) == plain(events)
    assert losses == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_calls_go_back_as_they_came(case: Path) -> None:
    body = (case / "call.json").read_bytes()
    written = gemini.write_call(gemini.read_call(body, Vault(), GIVEN), TARGET)
    asked = json.loads(body)
    if case.name == "stop_sequence":  # the API's own spelling, and the role that it implies
        config = asked.pop("generation_config")
        asked = {
            "contents": [{"role": "user"} | asked["contents"][0]],
            "systemInstruction": asked["system_instruction"],
            "generationConfig": {
                "maxOutputTokens": config["max_output_tokens"],
                "stopSequences": config["stop_sequences"],
                "thinkingConfig": {"thinkingBudget": 0},
            },
        }
    assert json.loads(written.body) == asked
    assert written.losses == []


@pytest.mark.parametrize("case", REPLIES, ids=lambda case: case.name)
def test_golden_cases_are_what_the_vendor_s_client_takes(case: Path) -> None:
    stream = (case / "stream.sse").read_bytes()
    for frame in sse.splitter(99999).feed(stream):
        types.GenerateContentResponse.model_validate_json(frame.data)
    reply = types.GenerateContentResponse.model_validate_json((case / "reply.json").read_bytes())
    assert reply.response_id


@pytest.mark.parametrize(
    ("body", "given", "glance"),
    [
        (b"{}", Given("m"), Glance("m", False)),
        (b'{"generationConfig":{"candidateCount":3}}', GIVEN, Glance("gemini-3-pro", True, 3)),
        (
            b'{"generationConfig":{"candidateCount":3,"x":"a\nb"}}',
            GIVEN,
            Glance("gemini-3-pro", True, 3),
        ),
        (b'{"generation_config":{"candidate_count":2}}', GIVEN, Glance("gemini-3-pro", True, 2)),
        (b'{"generationConfig":null}', Given("m", stream=False), Glance("m", False)),
        (b'{"generationConfig":{"candidateCount":"3"}}', GIVEN, Glance("gemini-3-pro", True)),
    ],
)
def test_a_glance(body: bytes, given: Given, glance: Glance) -> None:
    assert gemini.glance(body, given) == glance


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"generationConfig":{"a":1,}}',
        b'{"generationConfig":{"candidateCount":1,"candidateCount":2}}',
        b'{"generationConfig":{"candidateCount":1,"candidate_count":2}}',
        b'{"generationConfig":{"x":"a\nb"},"generation_config":{}}',
        b'{"generationConfig":{},"generation_config":{}}',
    ],
)
def test_what_two_readers_would_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(ClientError):
        gemini.glance(body, GIVEN)


@pytest.mark.parametrize(
    "body",
    [
        b'{"contents":[{"parts":[{"text":"hi"}]}]}',
        b'{"generateContentRequest":{"model":"models/m","contents":[{"parts":[{"text":"hi"}]}]}}',
        b'{"generate_content_request":{"contents":[{"parts":[{"text":"hi"}]}]}}',
    ],
)
def test_a_question_for_tokens(body: bytes) -> None:
    call = gemini.read_count(body, Vault(), Given("m"))
    assert [part.path for part in call.parts()]
    assert call.model == "m"


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(ClientError):
        gemini.read_call(b"[]", Vault())


def test_what_the_protocol_wants() -> None:
    assert gemini.ask_usage(b"{}") is None
    assert not gemini.is_usage_only(PlainFrame(b"{}"))
    assert gemini.read_error(404, b'{"error":{"message":"m"}}').kind == "not_found"
    assert gemini.write_error(Fail("not_found", "m")).status == 404
    assert gemini.write_count(7) == b'{"totalTokens":7}'
    assert gemini.MARKS.search(b'{"text":"\\"finishReason\\": 1"}') is None


def test_an_envelope_comes_back_from_the_vendor_s_client() -> None:
    """It reads base64, and writes it in the other alphabet; a foreign one is taken out of a pass."""
    vault = Vault(b"key", "me")
    sealed = seal(Origin("anthropic"), "thinking", '{"signature":"s??>>"}', ["Hm, so."])
    events: list[Event] = [
        Start("i", "m"), Open(0, "thinking"), Delta(0, "Hm,"), Delta(0, " so."), Sealed(0, sealed),
        Close(0), Open(1, "text"), Delta(1, "Yes."), Close(1), Stop("end"), End(),
    ]  # fmt: skip
    writer = gemini.stream_writer(Call("gemini", "m", vault=vault), "x", 1)
    stream = b"".join(map(writer.write, events))
    contents = [
        reply.candidates[0].content.model_dump(mode="json", exclude_none=True, by_alias=True)  # type: ignore[union-attr, index]
        for frame in sse.splitter(99999).feed(stream)
        for reply in [types.GenerateContentResponse.model_validate_json(frame.data)]
    ]
    body = json.dumps({"contents": contents}).encode()
    call = gemini.read_call(body, vault, GIVEN)
    thought = next(call.parts())
    assert (thought.text, thought.seal) == ("Hm, so.", sealed)  # type: ignore[union-attr]
    assert gemini.read_call(body, Vault(b"other", "me"), GIVEN).unopened
    passed, losses = unseal(body, vault, TARGET)
    assert [loss.why for loss in losses] == ["owned elsewhere"]
    assert b"cnAxL" not in passed
    assert sealed.origin != UNKNOWN
