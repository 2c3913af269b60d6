"""rawproxy.dialects.ollama_chat: the whole dialect, on its golden cases and as its client reads it."""

import json
from pathlib import Path

import ollama
import pytest

from rawproxy.dialects import ollama_chat
from rawproxy.dialects.base import NOTHING_GIVEN, Back, Dialect, Given, Glance, Target
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.events import End, Event, Fail, Stop, Usage
from rawproxy.dialects.fold import fold
from rawproxy.dialects.models import Takes
from rawproxy.errors import ClientError
from rawproxy.wire import ndjson
from rawproxy.wire.frame import PlainFrame

DIALECT: Dialect = ollama_chat
GOLDEN = Path(__file__).parent.parent / "golden" / "ollama_chat"
CASES = sorted(GOLDEN.iterdir())
CALLS = [case for case in CASES if (case / "call.json").exists()]


def events_of(stream: bytes) -> list[Event]:
    reader, checker = ollama_chat.stream_reader(Back()), ollama_chat.grammar()
    frames = ndjson.splitter(9999).feed(stream)
    assert [rule for frame in frames for rule in checker.check(frame)] + checker.close() == []
    events: list[Event] = []
    for frame in frames:
        found = reader.read(frame)
        telling = any(isinstance(event, Stop | Usage | End | Fail) for event in found)
        assert bool(ollama_chat.MARKS.search(frame.raw)) is telling
        events += found
    assert reader.unknown == 0
    return [*events, *reader.close()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_cases_pass_through_events(case: Path) -> None:
    """Stream and body say the same, and what we write of either says it again."""
    call = Call("ollama_chat", "m", variant="generate" if case.name == "generate" else "")
    events = events_of((case / "stream.ndjson").read_bytes())
    writer = ollama_chat.stream_writer(call, "x", 1)
    again = events_of(b"".join(map(writer.write, events)))
    assert again == events
    if isinstance(events[-1], Fail):
        return
    said = fold(ollama_chat.read_reply((case / "reply.json").read_bytes(), Back()))
    body, losses = ollama_chat.write_reply(events, call, "x", 1)
    copy = fold(ollama_chat.read_reply(body, Back()))
    for kind in ("thinking", "text", "tool"):
        assert copy.choice(0).text(kind) == fold(events).choice(0).text(kind)
        spaced = "\n " if kind == "tool" else ""  # a file that is read by people
        text = said.choice(0).text(kind).translate({ord(space): None for space in spaced})
        assert copy.choice(0).text(kind) == text
    assert copy.start == said.start == fold(events).start
    assert copy.usage == said.usage == fold(events).usage
    assert copy.choice(0).stop == said.choice(0).stop
    assert writer.losses == losses == []


@pytest.mark.parametrize("case", CALLS, ids=lambda case: case.name)
def test_golden_calls_go_back_as_they_came(case: Path) -> None:
    body = json.loads((case / "call.json").read_bytes())
    call = ollama_chat.read_call(json.dumps(body).encode(), Vault())
    written = ollama_chat.write_call(call, Target(body["model"], Takes()))
    assert json.loads(written.body) == {
        name: value
        for name, value in body.items()
        if value != []  # `tools` of none
    }
    assert written.losses == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_cases_are_what_the_vendor_s_client_takes(case: Path) -> None:
    kind = ollama.GenerateResponse if case.name == "generate" else ollama.ChatResponse
    known = [json.loads(line) for line in (case / "stream.ndjson").read_bytes().splitlines()]
    for line in known:
        if "error" not in line:
            assert kind(**line).model_dump(exclude_unset=True).keys() == line.keys()


@pytest.mark.parametrize(
    ("body", "given", "glance"),
    [
        (b'{"model":"m"}', NOTHING_GIVEN, Glance("m", True)),
        (b'{"model":"m","stream":false,"n":3}', NOTHING_GIVEN, Glance("m", False)),
        (b'{"model":"m","stream":false}', Given("x", True), Glance("x", True)),
    ],
)
def test_a_glance(body: bytes, given: Given, glance: Glance) -> None:
    assert ollama_chat.glance(body, given) == glance


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(ClientError):
        ollama_chat.read_call(b"[]", Vault())


def test_what_the_protocol_wants() -> None:
    assert ollama_chat.ask_usage(b"{}") is None
    assert not ollama_chat.is_usage_only(PlainFrame(b"{}"))
    assert ollama_chat.read_error(404, b'{"error":"m"}').kind == "not_found"
    assert ollama_chat.write_error(Fail("not_found", "m")).status == 404
    assert ollama_chat.MARKS.search(b'{"content":"\\"done\\": true"}') is None
