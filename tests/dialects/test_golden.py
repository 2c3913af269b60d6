"""Every case under tests/golden/ reads as the events beside it, and is written as its `to/` says.

    tests/golden/<dialect>/<case>/
      NOTE.md                what the case is for; where its form comes from
      call.json              the request as the client sent it
      reply.json             the whole answer; means the same as the stream
      stream.sse             the streaming answer, byte for byte; .ndjson, .txt where it has no events,
                             .jsonl where it is binary: a name and its data for each message
      events.jsonl           what both read as                 (regenerated, reviewed)
      lost.json              what each other dialect could not say of call and reply  (likewise)
      to/<other>.call.json   the call for another dialect      (likewise)
      to/<other>.sse         the stream for its clients        (likewise)

A new case is a new folder; no test code changes. A case with a call is carried into every other
dialect; one without stops at its events. After a wanted change:

    pytest tests/dialects/test_golden.py --regen-golden && git diff tests/golden
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import NOTHING_GIVEN, Back, Dialect, Given, Target, Written
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Origin, Vault
from rawproxy.dialects.events import Event, Fail
from rawproxy.dialects.fold import Block, fold
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.models import takes
from rawproxy.dialects.reading import encode
from rawproxy.errors import Untranslatable
from rawproxy.wire import eventstream, ndjson, sse, text
from rawproxy.wire.frame import MAX_FRAME, Frame, Framing
from tests.dialects.order import Order

GOLDEN = Path(__file__).parent.parent / "golden"
VAULT = Vault(b"golden", "golden")
TARGETS = {
    # a model of each dialect, and who serves it; both of the vendor's newest kind
    "anthropic_messages": ("claude-opus-4-8", "anthropic"),
    "openai_chat": ("gpt-5.2", "openai"),
    "openai_responses": ("gpt-5.2", "openai"),
    "openai_completions": ("gpt-3.5-turbo-instruct", "openai"),
    "anthropic_complete": ("claude-2.1", "anthropic"),
    "gemini": ("gemini-3-pro", "gemini"),
    "bedrock_converse": ("us.anthropic.claude-opus-4-8-v1:0", "anthropic"),
    "ollama_chat": ("qwen3:8b", "ollama"),
    "plain_text": ("words", "words"),
}
FILES = {sse.TYPE: "sse", ndjson.TYPE: "ndjson", eventstream.TYPE: "jsonl", text.TYPE: "txt"}
"""What the file of a stream is called after, for each framing."""

EVENT: Any = Event  # a union, which is no class to mypy

CASES = sorted(path.parent for path in GOLDEN.glob("*/*/NOTE.md"))


def name(case: object) -> str:
    return f"{case.parent.name}/{case.name}" if isinstance(case, Path) else str(case)


def stream_file(case: Path) -> Path:
    dialect = DIALECTS.get(case.parent.name)
    return case / f"stream.{FILES[dialect.FRAMING.TYPE] if dialect else 'sse'}"


def reply_file(case: Path) -> Path:
    return case / ("reply.txt" if case.parent.name == "plain_text" else "reply.json")


def having(file: str) -> list[Path]:
    return [case for case in CASES if (case / file).is_file()]


STREAMS = [case for case in CASES if stream_file(case).is_file()]
REPLIES = [case for case in CASES if reply_file(case).is_file()]
CLIENTS = [name for name in DIALECTS if name != "plain_text"]
"""Dialects that clients speak."""
ASKED = [case for case in having("call.json") if case.parent.name in CLIENTS]
CALLS = [(case, other) for case in ASKED for other in DIALECTS if other != case.parent.name]
REPLIED = [(case, other) for case in CASES for other in CLIENTS if other != case.parent.name]


def target(dialect: str) -> Target:
    model, issuer = TARGETS[dialect]
    return Target(model, takes(dialect, model), Origin(issuer))


def back(case: Path) -> Back:
    return Back(target(case.parent.name).origin)


def frames(stream: bytes, framing: Framing = sse) -> list[Frame]:
    splitter = framing.splitter(MAX_FRAME)
    found = splitter.feed(stream)
    assert splitter.close() == b""
    return found


def stream_bytes(case: Path) -> bytes:
    """The stream of a case as it comes off the wire."""
    stored = stream_file(case).read_bytes()
    if DIALECTS[case.parent.name].FRAMING is not eventstream:
        return stored
    messages = [msgspec.json.decode(line) for line in stored.splitlines()]
    return b"".join(
        eventstream.write_exception(encode(one["data"]), one["name"].encode())
        if one["name"].endswith("Exception")
        else eventstream.write(encode(one["data"]), name=one["name"].encode())
        for one in messages
    )


def stored(stream: bytes, framing: Framing) -> bytes:
    """A stream as its file holds it."""
    if framing is not eventstream:
        return stream
    lines = [
        {"name": one.name.decode(), "data": msgspec.Raw(one.data)}
        for one in frames(stream, framing)
    ]
    return b"".join(encode(line) + b"\n" for line in lines)


def stream_events(case: Path) -> list[Event]:
    dialect = DIALECTS[case.parent.name]
    reader = dialect.stream_reader(back(case))
    found = frames(stream_bytes(case), dialect.FRAMING)
    events = [event for frame in found if frame.has_data for event in reader.read(frame)]
    return [*events, *reader.close()]


def reply_events(case: Path) -> list[Event]:
    return DIALECTS[case.parent.name].read_reply(reply_file(case).read_bytes(), back(case))


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


def violations(stream: bytes, dialect: Dialect) -> list[str]:
    grammar = dialect.grammar()
    found = [broken for frame in frames(stream, dialect.FRAMING) for broken in grammar.check(frame)]
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


def given(case: Path) -> Given:
    """What a path says of a case's call, where the body does not."""
    dialect = DIALECTS[case.parent.name]
    return NOTHING_GIVEN if dialect.MODEL_FIELD else Given(TARGETS[dialect.NAME][0], stream=True)


def written(case: Path, other: str) -> Written:
    """The call of a case in another dialect."""
    source = DIALECTS[case.parent.name]
    call = source.read_call((case / "call.json").read_bytes(), VAULT, given(case))
    return DIALECTS[other].write_call(call, target(other))


def streamed(case: Path, other: str) -> tuple[bytes, list[Loss]]:
    """The reply of a case as a stream of another dialect, and what that could not say."""
    call = Call(other, TARGETS[other][0], stream=True, wants_usage=True, vault=VAULT)
    writer = DIALECTS[other].stream_writer(call, "golden", 0)
    return b"".join(writer.write(event) for event in case_events(case)), writer.losses


def pretty(body: bytes) -> bytes:
    """JSON with line ends, every number and string as it was spelled."""
    return msgspec.json.format(body, indent=2) + b"\n"


def test_every_dialect_has_a_recorded_stream() -> None:
    assert {case.parent.name for case in STREAMS} == set(DIALECTS)
    assert set(TARGETS) == set(DIALECTS)


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
    assert violations(stream_bytes(case), DIALECTS[case.parent.name]) == []


@pytest.mark.parametrize(("case", "other"), CALLS, ids=name)
def test_a_call_goes_into_another_dialect(case: Path, other: str, *, regen: bool) -> None:
    try:
        body: bytes | None = pretty(written(case, other).body)
    except Untranslatable:
        body = None
    compare(case / "to" / f"{other}.call.json", body, regen=regen)


@pytest.mark.parametrize(("case", "other"), REPLIED, ids=name)
def test_a_stream_goes_to_another_dialect_s_client(case: Path, other: str, *, regen: bool) -> None:
    dialect = DIALECTS[other]
    stream, _ = streamed(case, other)
    assert violations(stream, dialect) == []
    framing = dialect.FRAMING
    file = case / "to" / f"{other}.{FILES[framing.TYPE]}"
    compare(file, stored(stream, framing), regen=regen)


@pytest.mark.parametrize("case", ASKED, ids=name)
def test_what_is_lost_on_the_way_is_told(case: Path, *, regen: bool) -> None:
    lost: dict[str, dict[str, object]] = {}
    for other in DIALECTS:
        if other == case.parent.name:
            continue
        told: dict[str, object] = {}
        try:
            told["call"] = [[loss.path, loss.why] for loss in written(case, other).losses]
        except Untranslatable as error:
            told["refused"] = str(error)
        if other in CLIENTS:
            told["reply"] = sorted({loss.path for loss in streamed(case, other)[1]})
        lost[other] = {what: said for what, said in told.items() if said}
    compare(case / "lost.json", pretty(encode(lost)), regen=regen)
