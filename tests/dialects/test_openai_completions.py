"""rawproxy.dialects.openai_completions: golden, cut anywhere, and as a client reads it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion

from rawproxy.dialects import openai_completions
from rawproxy.dialects.base import Back, Dialect, Given, Glance, Target
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.events import Delta, End, Event, Fail, Stop, Usage
from rawproxy.dialects.fold import fold
from rawproxy.dialects.models import Takes
from rawproxy.errors import ClientError
from rawproxy.wire import sse

DIALECT: Dialect = openai_completions
GOLDEN = Path(__file__).parent.parent / "golden" / "openai_completions"
CASES = sorted(GOLDEN.iterdir())
WHOLE = [case for case in CASES if (case / "reply.json").exists()]
TARGET = Target("m", Takes())


def name(case: Path) -> str:
    return case.name


def read(case: Path) -> Call:
    return DIALECT.read_call((case / "call.json").read_bytes(), Vault())


def events_of(stream: bytes, cuts: tuple[int, ...] = ()) -> list[Event]:
    reader, checker, splitter = DIALECT.stream_reader(Back()), DIALECT.grammar(), sse.Splitter()
    events: list[Event] = []
    for start, end in zip((0, *cuts), (*cuts, len(stream)), strict=True):
        for frame in splitter.feed(stream[start:end]):
            assert checker.check(frame) == []
            said = reader.read(frame)
            if any(isinstance(event, Stop | Usage | End | Fail) for event in said):
                assert DIALECT.MARKS.search(frame.raw)
            events += said
    assert checker.close() == []
    assert reader.unknown == 0
    return [*events, *reader.close()]


@pytest.mark.parametrize("case", CASES, ids=name)
def test_golden_cases_pass_through_events(case: Path) -> None:
    """Stream and body say the same, and what we write of either says it again."""
    call = read(case)
    events = events_of((case / "stream.sse").read_bytes())
    writer = DIALECT.stream_writer(call, "x", 1)
    written = b"".join(map(writer.write, events))
    assert events_of(written) == events
    assert writer.losses == []
    if case not in WHOLE:
        assert isinstance(events[-1], Fail)
        return
    body, losses = DIALECT.write_reply(events, call, "x", 1)
    said = fold(events)
    for whole in (body, (case / "reply.json").read_bytes()):
        found = fold(DIALECT.read_reply(whole, Back()))
        assert (found.start, found.usage) == (said.start, said.usage)
        for number, choice in said.choices.items():
            assert found.choice(number).text("text") == choice.text("text")
            assert found.choice(number).stop == choice.stop
    assert losses == []


@pytest.mark.parametrize("case", WHOLE, ids=name)
def test_a_body_is_written_as_the_api_has_it(case: Path) -> None:
    reply = (case / "reply.json").read_bytes()
    body, _ = DIALECT.write_reply(DIALECT.read_reply(reply, Back()), read(case), "x", 1)
    assert json.loads(body) == json.loads(reply)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_golden_calls_go_back_as_they_came(case: Path) -> None:
    body = json.loads((case / "call.json").read_bytes())
    body["stream_options"] = {"include_usage": True}  # asked for in any case
    if "stop" in body:
        body["stop"] = [body["stop"]] if isinstance(body["stop"], str) else body["stop"]
    written = DIALECT.write_call(read(case), TARGET)
    assert json.loads(written.body) == body | {"model": "m"}
    assert written.losses == []


@given(st.sampled_from(WHOLE), st.lists(st.integers(0, 3000), max_size=5))
def test_cuts_never_change_the_meaning(case: Path, cuts: list[int]) -> None:
    stream = (case / "stream.sse").read_bytes()
    bounds = tuple(sorted(min(cut, len(stream)) for cut in cuts))
    assert events_of(stream, bounds) == events_of(stream)


@pytest.mark.parametrize("case", WHOLE, ids=name)
def test_the_vendor_s_client_reads_what_we_write(case: Path) -> None:
    call = read(case)
    events = events_of((case / "stream.sse").read_bytes())
    writer = DIALECT.stream_writer(call, "x", 1)
    frames = sse.Splitter().feed(b"".join(map(writer.write, events)))
    # As the client does: its types know no `finish_reason` of null, which chunks have.
    chunks = [Completion.construct(**json.loads(frame.data)) for frame in frames[:-2]]
    body, _ = DIALECT.write_reply(events, call, "x", 1)
    whole = Completion.model_validate_json(body, strict=True)
    for choice in whole.choices:
        pieces = [one for chunk in chunks for one in chunk.choices if one.index == choice.index]
        assert "".join(one.text for one in pieces) == choice.text
        assert pieces[-1].finish_reason == choice.finish_reason
    counted = Completion.model_validate_json(frames[-2].data)
    assert counted.usage == whole.usage
    assert frames[-1].raw == DIALECT.STREAM_END


@pytest.mark.parametrize(
    ("members", "choices"),
    [
        ({"prompt": "a"}, 1),
        ({}, 1),
        ({"prompt": None}, 1),
        ({"prompt": "a", "n": 3}, 3),
        ({"prompt": ["a"]}, 1),
        ({"prompt": ["a", "b"], "n": 2}, 4),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": [[1, 2], [3]]}, 2),
        ({"prompt": []}, 1),
        ({"prompt": [True]}, 1),
    ],
)
def test_every_prompt_has_n_answers(members: dict[str, object], choices: int) -> None:
    body = json.dumps({"model": "m", "stream": True} | members).encode()
    assert DIALECT.glance(body, Given()) == Glance("m", True, choices)


def test_a_prompt_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ClientError, match="the body cannot be read"):
        DIALECT.glance(b'{"model":"m","prompt":"a","prompt":["b","c"]}', Given())


def test_text_is_no_mark() -> None:
    text = json.dumps({"choices": [{"text": '"finish_reason":1 data:', "finish_reason": None}]})
    assert not DIALECT.MARKS.search(text.encode())


def test_usage_is_asked_for() -> None:
    asked = DIALECT.ask_usage(b'{"prompt":"a","stream":true}')
    assert asked is not None
    assert json.loads(asked)["stream_options"] == {"include_usage": True}
    counted, other = sse.Splitter().feed(
        b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'
        b'data: {"choices":[{"text":"a"}],"usage":null}\n\n'
    )
    assert DIALECT.is_usage_only(counted)
    assert not DIALECT.is_usage_only(other)


def test_errors_are_those_of_the_vendor() -> None:
    fail = Fail("rate_limit", "slow down", status=429)
    status, body, _ = DIALECT.write_error(fail)
    assert status == 429
    assert DIALECT.read_error(status, body).kind == "rate_limit"


def test_the_terminator_ends_what_has_stopped() -> None:
    reader = DIALECT.stream_reader(Back())
    stopped, done = sse.Splitter().feed(
        b'data: {"choices":[{"text":"a","index":0,"finish_reason":"stop"}]}\n\n'
        + DIALECT.STREAM_END
    )
    assert Delta(0, "a") in reader.read(stopped)
    assert reader.read(done) == [End()]
