"""Every case under tests/golden/ reads as the events beside it, and is written as its `to/` says.

    tests/golden/<dialect>/<case>/
      NOTE.md                what the case is for; where its form comes from
      call.json              the request as the client sent it
      reply.json             the whole answer; means the same as the stream
      stream.sse             the streaming answer, byte for byte
      events.jsonl           what both read as                 (regenerated, reviewed)
      to/<other>.call.json   the call for another dialect      (regenerated, reviewed)
      to/<other>.sse         the stream for its clients        (regenerated, reviewed)
      to/<other>.lost.json   what the call lost on the way     (regenerated, reviewed)
      to/<other>.reply_lost.json   what the stream lost, if it did

A new case is a new folder; no test code changes. A case with a call is carried into every other
dialect; one without stops at its events. After a wanted change:

    pytest tests/dialects/test_golden.py --regen-golden && git diff tests/golden
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import Back, Grammar, Target
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Origin, Vault
from rawproxy.dialects.events import Event, Fail
from rawproxy.dialects.fold import Block, fold
from rawproxy.dialects.models import takes
from rawproxy.dialects.reading import encode
from rawproxy.errors import Untranslatable
from rawproxy.wire import sse
from rawproxy.wire.frame import Frame
from tests.dialects.order import Order

GOLDEN = Path(__file__).parent.parent / "golden"
VAULT = Vault(b"golden", "golden")
TARGETS = {
    # a model of each dialect, and who serves it; both of the vendor's newest kind
    "anthropic_messages": ("claude-opus-4-8", "anthropic"),
    "openai_chat": ("gpt-5.2", "openai"),
}

EVENT: Any = Event  # a union, which is no class to mypy

CASES = sorted(path.parent for path in GOLDEN.glob("*/*/NOTE.md"))


def name(case: object) -> str:
    return f"{case.parent.name}/{case.name}" if isinstance(case, Path) else str(case)


def having(file: str) -> list[Path]:
    return [case for case in CASES if (case / file).is_file()]


STREAMS, REPLIES = having("stream.sse"), having("reply.json")
JOURNEYS = [
    (case, other) for case in having("call.json") for other in DIALECTS if other != case.parent.name
]


def target(dialect: str) -> Target:
    model, issuer = TARGETS[dialect]
    return Target(model, takes(dialect, model), Origin(issuer))


def back(case: Path) -> Back:
    return Back(target(case.parent.name).origin)


def frames(stream: bytes) -> list[Frame]:
    splitter = sse.Splitter()
    found = splitter.feed(stream)
    assert splitter.close() == b""
    return found


def stream_events(case: Path) -> list[Event]:
    reader = DIALECTS[case.parent.name].stream_reader(back(case))
    found = frames((case / "stream.sse").read_bytes())
    events = [event for frame in found if frame.has_data for event in reader.read(frame)]
    return [*events, *reader.close()]


def reply_events(case: Path) -> list[Event]:
    return DIALECTS[case.parent.name].read_reply((case / "reply.json").read_bytes(), back(case))


def case_events(case: Path) -> list[Event]:
    """The case's reply: as it streams, where that is known."""
    return stream_events(case) if case in STREAMS else reply_events(case)


def normalised(events: list[Event]) -> object:
    """What a reply says, whatever it was cut into: each block whole, in order; counts merged."""
    reply = fold([event for event in events if not isinstance(event, Fail)])
    for choice in reply.choices.values():
        for item in choice.items:
            if isinstance(item, Block):  # a stream gives a list of logprobs for each piece
                lists = [msgspec.json.decode(part)["content"] for part in item.logprobs]
                item.logprobs = [encode(one) for found in lists for one in found]
    fails = [event for event in events if isinstance(event, Fail)]
    return _plain(msgspec.json.decode(encode([reply, fails])))


def _plain(value: object) -> object:
    """The value with the JSON in its strings read: arguments and seals, spaced in whatever way."""
    match value:
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
        case str() if value.startswith("{"):
            return _plain(msgspec.json.decode(value))
    return value


def violations(stream: bytes, grammar: Grammar) -> list[str]:
    found = [broken for frame in frames(stream) for broken in grammar.check(frame)]
    return [*found, *grammar.close()]


def compare(path: Path, got: bytes | None, *, regen: bool) -> None:
    """Assert that the file holds `got`; None: that there is no such file."""
    if regen:
        path.unlink(missing_ok=True)
        if got is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(got)
    assert path.exists() is (got is not None)
    assert got is None or path.read_bytes() == got


def pretty(body: bytes) -> bytes:
    """JSON with line ends, every number and string as it was spelled."""
    return msgspec.json.format(body, indent=2) + b"\n"


def test_every_dialect_has_a_recorded_stream() -> None:
    assert {case.parent.name for case in STREAMS} == set(DIALECTS) == set(TARGETS)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_case_says_what_it_is_for(case: Path) -> None:
    assert len((case / "NOTE.md").read_text().splitlines()) >= 2
    assert case in STREAMS or case in REPLIES


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_case_reads_as_its_events(case: Path, *, regen: bool) -> None:
    events = case_events(case)
    order = Order()
    for event in events:
        order.check(event)
    assert order.over
    lines = [encode(event) for event in events]
    assert [msgspec.json.decode(line, type=EVENT) for line in lines] == events
    compare(case / "events.jsonl", b"".join(line + b"\n" for line in lines), regen=regen)


@pytest.mark.parametrize("case", [case for case in REPLIES if case in STREAMS], ids=name)
def test_a_whole_reply_means_the_same_as_its_stream(case: Path) -> None:
    assert normalised(reply_events(case)) == normalised(stream_events(case))


@pytest.mark.parametrize("case", STREAMS, ids=name)
def test_a_stream_keeps_the_rules_of_its_dialect(case: Path) -> None:
    stream = (case / "stream.sse").read_bytes()
    assert violations(stream, DIALECTS[case.parent.name].grammar()) == []


@pytest.mark.parametrize(("case", "other"), JOURNEYS, ids=name)
def test_a_call_goes_into_another_dialect(case: Path, other: str, *, regen: bool) -> None:
    call = DIALECTS[case.parent.name].read_call((case / "call.json").read_bytes(), VAULT)
    try:
        written = DIALECTS[other].write_call(call, target(other))
    except Untranslatable as error:
        body, lost = None, encode({"refused": str(error)})
    else:
        body, lost = pretty(written.body), encode(written.losses)
    compare(case / "to" / f"{other}.call.json", body, regen=regen)
    compare(case / "to" / f"{other}.lost.json", pretty(lost), regen=regen)


@pytest.mark.parametrize(("case", "other"), JOURNEYS, ids=name)
def test_a_stream_goes_to_another_dialect_s_client(case: Path, other: str, *, regen: bool) -> None:
    dialect = DIALECTS[other]
    call = Call(other, TARGETS[other][0], stream=True, wants_usage=True, vault=VAULT)
    writer = dialect.stream_writer(call, "golden", 0)
    stream = b"".join(writer.write(event) for event in case_events(case))
    assert violations(stream, dialect.grammar()) == []
    compare(case / "to" / f"{other}.sse", stream, regen=regen)
    lost = pretty(encode(writer.losses)) if writer.losses else None
    compare(case / "to" / f"{other}.reply_lost.json", lost, regen=regen)
