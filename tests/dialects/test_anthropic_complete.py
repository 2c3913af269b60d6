"""rawproxy.dialects.anthropic_complete: golden, cut anywhere, and as its clients read it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anthropic._streaming import SSEDecoder
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rawproxy.dialects import anthropic_complete
from rawproxy.dialects.base import Back, Dialect, Given, Glance, Target
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.events import End, Event, Fail, Start, Stop
from rawproxy.dialects.fold import Reply, fold
from rawproxy.dialects.models import Takes
from rawproxy.wire import sse
from rawproxy.wire.frame import PlainFrame

DIALECT: Dialect = anthropic_complete
GOLDEN = Path(__file__).parent.parent / "golden" / "anthropic_complete"
CASES = sorted(GOLDEN.iterdir())
WHOLE = [case for case in CASES if (case / "reply.json").exists()]
VERSIONS = ["2023-01-01", "2023-06-01"]


def name(case: object) -> str:
    return case.name if isinstance(case, Path) else str(case)


def version(case: Path) -> str:
    return VERSIONS[not case.name.startswith("cumulative")]


def read(case: Path, variant: str = "2023-06-01") -> Call:
    return DIALECT.read_call((case / "call.json").read_bytes(), Vault(), Given(variant=variant))


def events_of(stream: bytes, cuts: tuple[int, ...] = ()) -> list[Event]:
    reader, checker, splitter = DIALECT.stream_reader(Back()), DIALECT.grammar(), sse.Splitter()
    events: list[Event] = []
    for start, end in zip((0, *cuts), (*cuts, len(stream)), strict=True):
        for frame in splitter.feed(stream[start:end]):
            assert checker.check(frame) == []
            said = reader.read(frame)
            if any(isinstance(event, Stop | End | Fail) for event in said):
                assert DIALECT.MARKS.search(frame.raw)
            events += said
    assert checker.close() == []
    assert reader.unknown == 0
    return [*events, *reader.close()]


def meaning(reply: Reply) -> object:
    choice = reply.choice(0)
    start = replace(reply.start, id=(reply.start.id or "").removeprefix("compl_"))
    return start, choice.text("text"), choice.stop


@pytest.mark.parametrize("variant", VERSIONS)
@pytest.mark.parametrize("case", CASES, ids=name)
def test_golden_cases_pass_through_events(case: Path, variant: str) -> None:
    """Stream and body say the same, and what we write of either, in either form, says it again."""
    call = read(case, variant)
    events = events_of((case / "stream.sse").read_bytes())
    writer = DIALECT.stream_writer(call, "x", 1)
    again = events_of(b"".join(map(writer.write, events)))
    assert writer.losses == []
    if case not in WHOLE:
        assert isinstance(fail := events[-1], Fail)
        assert isinstance(other := again[-1], Fail)
        assert fail.message == other.message
        return
    body, losses = DIALECT.write_reply(events, call, "x", 1)
    assert losses == []
    said = meaning(fold(events))
    assert meaning(fold(again)) == said
    for whole in (body, (case / "reply.json").read_bytes()):
        assert meaning(fold(DIALECT.read_reply(whole, Back()))) == said


@pytest.mark.parametrize("case", WHOLE, ids=name)
def test_a_body_is_written_as_the_api_has_it(case: Path) -> None:
    reply = json.loads((case / "reply.json").read_bytes())
    events = DIALECT.read_reply(json.dumps(reply).encode(), Back())
    body, _ = DIALECT.write_reply(events, read(case, version(case)), "x", 1)
    reply["log_id"] = "compl_" + reply["log_id"].removeprefix("compl_")
    assert json.loads(body) == reply


@pytest.mark.parametrize("case", CASES, ids=name)
def test_golden_calls_go_back_as_they_came(case: Path) -> None:
    written = DIALECT.write_call(read(case), Target("m", Takes()))
    assert json.loads(written.body) == json.loads((case / "call.json").read_bytes()) | {
        "model": "m"
    }
    assert written.losses == []


@given(st.sampled_from(WHOLE), st.lists(st.integers(0, 1500), max_size=5))
def test_cuts_never_change_the_meaning(case: Path, cuts: list[int]) -> None:
    stream = (case / "stream.sse").read_bytes()
    bounds = tuple(sorted(min(cut, len(stream)) for cut in cuts))
    assert events_of(stream, bounds) == events_of(stream)


def oldest(stream: bytes) -> Iterator[Any]:
    """What `completion_stream` of `anthropic` 0.2.10 yields: it reads line by line."""
    after_ping = False
    for line in stream.splitlines():
        if not line:
            continue
        if line == b"event: ping":
            after_ping = True
        elif after_ping:
            after_ping = False
        elif line != b"data: [DONE]":
            yield json.loads(line.decode().removeprefix("data: "))


def spoken(case: Path, variant: str) -> bytes:
    """The case as we write it, with a ping between any two events."""
    writer = DIALECT.stream_writer(read(case, variant), "x", 1)
    events = events_of((case / "stream.sse").read_bytes())
    return b"".join(writer.keepalive() + writer.write(event) for event in events)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_the_oldest_client_reads_what_we_write(case: Path) -> None:
    found = list(oldest(spoken(case, "2023-01-01")))
    events = events_of((case / "stream.sse").read_bytes())
    assert all(one["completion"].startswith(" ") for one in found[:-1] if case.name != "prefill")
    if case in WHOLE:
        last = json.loads(DIALECT.write_reply(events, read(case, ""), "x", 1)[0])
        assert found[-1] == last
    else:
        assert found[-1]["exception"]


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_later_client_reads_what_we_write(case: Path) -> None:
    """It knows events by their names, and takes those called `completion`."""
    found = list(SSEDecoder().iter_bytes(iter([spoken(case, "2023-06-01")])))
    told = [one.json() for one in found if one.event == "completion"]
    events = events_of((case / "stream.sse").read_bytes())
    if case not in WHOLE:
        assert found[-1].event == "error"
        assert found[-1].json()["error"].keys() == {"type", "message"}
        return
    whole = json.loads(DIALECT.write_reply(events, read(case), "x", 1)[0])
    assert "".join(one["completion"] for one in told) == whole["completion"]
    assert told[-1] == whole | {"completion": ""}


def test_a_glance() -> None:
    assert DIALECT.glance(b'{"model":"m","stream":true,"n":9}', Given()) == Glance("m", True, 1)


@pytest.mark.parametrize(
    ("frame", "marked"),
    [
        (b'data: {"completion":"a","stop_reason":"max_tokens"}\n\n', True),
        (b'data: {"completion":"a","stop_reason": null,"exception" : null}\n\n', False),
        (b'data: {"exception":"no"}\n\n', True),
        (b"event:error\ndata: {}\n\n", True),
        (b"data: [DONE]\n\n", True),
        (b'data: {"completion":"\\"error\\":1"}\n\n', False),
    ],
)
def test_marks(frame: bytes, marked: bool) -> None:
    assert bool(DIALECT.MARKS.search(frame)) is marked


def test_usage_is_never_told() -> None:
    assert DIALECT.ask_usage(b'{"stream":true}') is None
    assert not DIALECT.is_usage_only(PlainFrame(b""))


def test_errors_are_those_of_the_vendor() -> None:
    status, body, _ = DIALECT.write_error(Fail("overloaded", "busy"))
    assert (status, json.loads(body)["type"]) == (529, "error")
    assert DIALECT.read_error(status, body).kind == "overloaded"


def test_a_part_of_the_frames_is_enough() -> None:
    """Of a passed stream, the reader sees those with a mark."""
    stream = (GOLDEN / "cumulative" / "stream.sse").read_bytes()
    reader = DIALECT.stream_reader(Back(partial=True))
    frames = [one for one in sse.Splitter().feed(stream) if DIALECT.MARKS.search(one.raw)]
    events = [event for frame in frames for event in reader.read(frame)]
    assert [type(event) for event in events if isinstance(event, Start | Stop | End)] == [
        Start, Stop, End,
    ]  # fmt: skip
