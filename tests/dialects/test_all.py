"""What holds in every dialect, whatever is said.

Each dialect's own tests go deeper; these are the promises that they share.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import NOTHING_GIVEN, Back, Given
from rawproxy.dialects.call import (
    Base64,
    Call,
    Document,
    Image,
    Part,
    Text,
    ToolCall,
    ToolResult,
)
from rawproxy.dialects.events import End, Event, Fail, Usage
from rawproxy.dialects.fold import fold
from rawproxy.dialects.grammar import validate
from rawproxy.dialects.losses import Loss
from rawproxy.errors import ClientError, Untranslatable, UpstreamError
from tests.dialects.replies import (
    CLIENTS,
    VAULT,
    asked,
    means,
    read,
    replies,
    written,
)
from tests.dialects.test_golden import ASKED, TARGETS, name, target

TEXT_ONLY = {"openai_completions", "anthropic_complete"}
NO_COUNTS = {"anthropic_complete"}
NO_CACHE = {"ollama_chat", *NO_COUNTS}

clients = pytest.mark.parametrize("client", CLIENTS)


# -- replies


@clients
@given(replies())
def test_any_reply_obeys_the_grammar(client: str, events: list[Event]) -> None:
    stream, _ = written(client, events)
    assert [str(one) for one in validate(client, stream)] == []


@clients
@given(replies(), st.lists(st.integers(0, 9000), max_size=12))
def test_cuts_never_change_the_meaning(client: str, events: list[Event], cuts: list[int]) -> None:
    stream, _ = written(client, events)
    whole, pieces = read(client, stream), read(client, stream, cuts)
    assert isinstance(whole[-1], Fail) or not isinstance(events[-1], Fail)
    if isinstance(whole[-1], Fail):
        assert pieces == whole
    else:
        assert means(pieces) == means(whole)


@clients
@given(replies(fails=False, choices=1))
def test_a_body_means_what_its_stream_means(client: str, events: list[Event]) -> None:
    dialect = DIALECTS[client]
    stream, _ = written(client, events)
    body, _ = dialect.write_reply(events, asked(client), "made", 7)
    try:
        blocking = dialect.read_reply(body, Back())
    except UpstreamError:  # a reply that failed in other words: `malformed` of some dialects
        blocking = [Fail("server", "")]
    streamed = read(client, stream)
    if isinstance(streamed[-1], Fail) or isinstance(blocking[-1], Fail):
        assert isinstance(streamed[-1], Fail) == isinstance(blocking[-1], Fail)
    else:
        assert means(blocking) == means(streamed)


@clients
@given(replies(fails=False, choices=1))
def test_what_a_client_reads_is_what_was_said_or_is_told(client: str, events: list[Event]) -> None:
    stream, lost = written(client, events)
    got = read(client, stream)
    if isinstance(got[-1], Fail):
        return  # some dialects have no word for a reply that is malformed but an error
    said, heard = means(events), means(got)
    if client not in TEXT_ONLY:
        assert heard["tools"] == said["tools"]
    elif said["tools"]:
        assert lost
    # Texts are joined with a blank line where the kind of what is said changes.
    for word in ("text", "refusal"):
        for piece in said[word].split("\n\n"):
            assert piece.strip() in heard["text"] + heard["refusal"]
    assert heard["thinking"] == said["thinking"] or lost or "thinking" not in said


@clients
@given(replies(fails=False, choices=1))
def test_usage_is_the_last_word_and_never_summed(client: str, events: list[Event]) -> None:
    stream, _ = written(client, events)
    got = read(client, stream)
    if client in NO_COUNTS or isinstance(got[-1], Fail):
        return
    counts = fold(got).usage or Usage()
    said = fold(events).usage or Usage()
    assert (counts.input, counts.output) == (said.input, said.output)
    if client not in NO_CACHE:
        assert (counts.cache_read or 0) == (said.cache_read or 0)


@clients
def test_nothing_follows_the_end(client: str) -> None:
    for last in (End(), Fail("server", "x")):
        writer = DIALECTS[client].stream_writer(asked(client), "made", 7)
        writer.write(Fail("server", "first"))
        assert writer.write(last) == b""


# -- calls: there and back


def given_of(dialect: str) -> Given:
    return NOTHING_GIVEN if DIALECTS[dialect].MODEL_FIELD else Given("m", stream=True)


def texts(call: Call, *roles: str) -> str:
    found: list[str] = []

    def walk(parts: Iterable[Part]) -> None:
        for part in parts:
            match part:
                case Text(text=text):
                    found.append(text)
                case ToolResult(parts=inner):
                    walk(inner)

    walk(part for turn in call.turns if turn.role in roles for part in turn.parts)
    return "\n".join(found)


def content(call: Call) -> dict[str, Any]:
    """What a call asks, without how it is spelled."""
    parts = [part for turn in call.turns for part in turn.parts]
    pictures = [
        part.source.data
        for part in parts
        if isinstance(part, Image | Document) and isinstance(part.source, Base64)
    ]
    return {
        "model": bool(call.model),
        "tools": sorted(tool.name for tool in call.tools if tool.runs == "client"),
        "calls": [(part.name) for part in parts if isinstance(part, ToolCall)],
        "results": len([part for part in parts if isinstance(part, ToolResult)]),
        "pictures": pictures,
        "stream": call.stream,
    }


@pytest.mark.parametrize("other", [*CLIENTS])
@pytest.mark.parametrize("case", ASKED, ids=name)
def test_a_call_there_and_back_keeps_what_is_not_told(case: Path, other: str) -> None:
    source = DIALECTS[case.parent.name]
    call = source.read_call((case / "call.json").read_bytes(), VAULT, given_of(source.NAME))
    if other == source.NAME:
        return
    try:
        there = DIALECTS[other].write_call(call, target(other))
    except Untranslatable:
        return
    read_there = DIALECTS[other].read_call(there.body, VAULT, given_of(other))
    lost: list[Loss] = [*there.losses]
    _same_words(call, read_there, lost)
    try:
        back = source.write_call(read_there, target(source.NAME))
    except (Untranslatable, ClientError):
        return
    lost += back.losses
    again = source.read_call(back.body, VAULT, given_of(source.NAME))
    _same_words(call, again, lost)
    before, after = content(call), content(again)
    names = {tool.name for tool in there.back.tools.values()}
    for what, value in before.items():
        explained = lost or names or there.back.ids or other in TEXT_ONLY
        assert after[what] == value or explained, what


def _same_words(call: Call, copy: Call, lost: list[Loss]) -> None:
    """Every text of a call is in its copy, or its loss was told."""
    said = texts(copy, "system", "developer", "user", "assistant")
    for turn in call.turns:
        for part in turn.parts:
            if isinstance(part, Text) and part.text.strip() not in said:
                assert any(part.path.startswith(loss.path) for loss in lost) or _is_dropped(part)


def _is_dropped(part: Text) -> bool:
    return part.text.startswith("x-anthropic-billing-header:")


def test_there_are_cases_of_every_client() -> None:
    assert {case.parent.name for case in ASKED} == set(CLIENTS)
    assert set(TARGETS) == set(DIALECTS)


# -- recorded traffic

RECORDED = [
    ("openai_chat", "simple"), ("openai_chat", "single_builtin_tool"), ("anthropic_messages", "simple"),
    ("anthropic_messages", "single_builtin_tool"), ("openai_responses", "simple"),
    ("openai_responses", "builtin_tool"), ("openai_responses", "custom_tool"),
    ("openai_responses", "multi_reasoning_builtin_tool"),
]  # fmt: skip
FAILED = [
    ("openai_chat", "stream_error"), ("anthropic_messages", "stream_error"),
    ("openai_responses", "stream_failure"),
]  # fmt: skip


def recorded_events(recorded: Path, dialect: str, case: str) -> list[Event]:
    return read(dialect, (recorded / dialect / case / "stream.sse").read_bytes())


@clients
@pytest.mark.parametrize(("dialect", "case"), RECORDED)
def test_a_recorded_reply_means_the_same_to_every_client(
    dialect: str, case: str, client: str, recorded: Path
) -> None:
    events = recorded_events(recorded, dialect, case)
    stream, lost = written(client, events)
    assert [str(one) for one in validate(client, stream)] == []
    said, heard = means(events), means(read(client, stream))
    assert heard["text"] == said["text"]
    if client in TEXT_ONLY and said["tools"]:
        assert lost
    else:
        # Freeform input goes through an API without it as a member of an object.
        assert [tool for tool, _ in heard["tools"]] == [tool for tool, _ in said["tools"]]
    if heard["stop"] != said["stop"]:
        assert client in TEXT_ONLY
    if heard["thinking"] != said["thinking"]:
        assert lost
    if client not in NO_COUNTS:
        assert (heard["usage"][0], heard["usage"][2]) == (said["usage"][0], said["usage"][2])
    body, _ = DIALECTS[client].write_reply(events, asked(client), "made", 7)
    blocking = means(DIALECTS[client].read_reply(body, Back()))
    assert {**blocking, "thinking": ""} == {**heard, "thinking": ""}


@clients
@pytest.mark.parametrize(("dialect", "case"), FAILED)
def test_a_recorded_failure_is_one_to_every_client(
    dialect: str, case: str, client: str, recorded: Path
) -> None:
    events = recorded_events(recorded, dialect, case)
    assert isinstance(events[-1], Fail)
    stream, _ = written(client, events)
    heard = read(client, stream)
    assert [type(event) for event in heard].count(Fail) == 1
    assert isinstance(heard[-1], Fail)


@pytest.mark.parametrize("other", list(DIALECTS))
@pytest.mark.parametrize(("dialect", "case"), [*RECORDED, *FAILED])
def test_a_recorded_call_says_the_same_in_every_dialect(
    dialect: str, case: str, other: str, recorded: Path
) -> None:
    body = (recorded / dialect / case / "call.json").read_bytes()
    call = DIALECTS[dialect].read_call(body, VAULT, given_of(dialect))
    try:
        there = DIALECTS[other].write_call(call, target(other))
    except Untranslatable:
        return
    if other in CLIENTS:
        copy = DIALECTS[other].read_call(there.body, VAULT, given_of(other))
        _same_words(call, copy, there.losses)
        tools = {tool.name for tool in call.tools if tool.runs == "client"}
        kept = {
            there.back.tools[tool.name].name if tool.name in there.back.tools else tool.name
            for tool in copy.tools
        }
        assert tools <= kept or there.losses
