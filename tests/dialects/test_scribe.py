"""Whatever a reader saw, its events come in the order that writers rely on."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects.base import Back, ToolName
from rawproxy.dialects.envelope import UNKNOWN, seal
from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Open,
    Reason,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)
from rawproxy.dialects.freeform import wrap
from rawproxy.dialects.reading import decode, encode
from rawproxy.dialects.scribe import Scribe
from rawproxy.errors import UpstreamCut
from tests.dialects.order import Order

SEAL = seal(UNKNOWN, "thinking", "{}")
FAIL = Fail("server", "it broke")
BACK = Back(
    tools={"ns__find": ToolName("find", "ns"), "patch": ToolName("apply", kind="freeform")},
    ids={"short": "a:much:longer:id"},
    forced_tool="answer",
    seed="s",
)


Call = Callable[[Scribe], list[Event]]

CHOICE = st.integers(0, 1)
KEY = st.integers(0, 2)
KIND = st.sampled_from(["text", "thinking", "refusal"])
PIECE = st.sampled_from(["", "x", "{", "}", '{"a":1}', ' {"input":"', '"}', "\\"])
REASON = st.sampled_from(["end", "tools", "length", "filter"])
ID = st.sampled_from([None, "", "a", "call_s1", "call_s2", "short"])
TOOL = st.sampled_from(["look", "ns__find", "patch", "answer"])


def calls() -> st.SearchStrategy[Call]:
    """What a reader may do, in whatever order an upstream makes it."""
    return st.one_of(
        st.builds(lambda *a: lambda s: s.text(*a), KIND, PIECE, CHOICE),
        st.builds(lambda k, c: lambda s: s.text(k, "", c, Raw(b"[]")), KIND, CHOICE),
        st.builds(lambda k, c, f: lambda s: s.block(k, c, fresh=f), KIND, CHOICE, st.booleans()),
        st.builds(lambda c: lambda s: s.seal(SEAL, c), CHOICE),
        st.builds(lambda c: lambda s: s.close_text(c), CHOICE),
        st.builds(lambda c: lambda s: s.item(Whole("gemini", Raw(b"{}"), "x", c)), CHOICE),
        st.builds(
            lambda *a, kind: lambda s: s.tool(*a, kind=kind),
            KEY, TOOL, ID, CHOICE, kind=st.sampled_from(["function", "freeform"]),
        ),
        st.builds(lambda *a: lambda s: s.arguments(*a), KEY, PIECE, CHOICE),
        st.builds(lambda *a: lambda s: s.close_tool(*a), KEY, CHOICE),
        st.builds(lambda n: lambda s: s.usage(Usage(output=n)), st.integers(0, 2)),
        st.builds(lambda r, c: lambda s: s.stop(r, c), REASON, CHOICE),
        st.builds(lambda i: lambda s: s.start(i), st.sampled_from([None, "id"])),
        st.sampled_from(
            [
                lambda s: s.fail(FAIL),
                lambda s: s.end() if s.whole else [],
                lambda s: s.usage(Usage()),
            ]
        ),
    )  # fmt: skip


@given(wanted=st.lists(calls(), max_size=30))
def test_any_calls_give_events_in_order(wanted: list[Call]) -> None:
    scribe, order = Scribe(BACK), Order()
    for call in wanted:
        for event in call(scribe):
            order.check(event)
            assert decode(encode(event), type(event)) == event
    assert scribe.started is order.begun
    assert scribe.ended is order.over
    for choice in (0, 1):
        running = scribe.running(choice)
        if not order.over:
            opened = [one.block for one in order.texts(choice)]
            assert opened == ([] if running is None else [running])
    began = scribe._choices  # a forced tool begins its choice before there is an event of it
    assert order.choices <= began
    if order.over or (0 in order.stopped and began <= order.stopped):
        for event in scribe.close():
            order.check(event)
        assert order.over
    else:
        with pytest.raises(UpstreamCut):
            scribe.close()


def test_a_choice_whose_forced_tool_began_has_to_stop() -> None:
    scribe = Scribe(BACK)
    assert BACK.forced_tool is not None
    scribe.tool("k", BACK.forced_tool, choice=0)
    scribe.stop("end", 1)
    with pytest.raises(UpstreamCut):
        scribe.close()


def said(*calls: list[Event]) -> list[Event]:
    return [event for events in calls for event in events if not isinstance(event, Start)]


def test_a_whole_reply() -> None:
    scribe = Scribe(Back())
    assert scribe.start("id", "model", 7) == [Start("id", "model", 7)]
    assert scribe.start("other") == []
    assert scribe.text("thinking", "hm") == [Open(0, "thinking"), Delta(0, "hm")]
    assert scribe.running() == 0
    assert scribe.seal(SEAL) == [Sealed(0, SEAL), Close(0)]
    assert scribe.running() is None
    assert scribe.text("text", "") == []
    assert scribe.text("text", "a") == [Open(1, "text"), Delta(1, "a")]
    assert scribe.text("text", "b", 0, Raw(b"[1]")) == [Delta(1, "b", Raw(b"[1]"))]
    opened = Open(2, "tool", id="t", name="look")
    assert scribe.tool("k", "look", "t") == [Close(1), opened]
    assert scribe.has_tool("k")
    assert scribe.arguments("k", '{"a":') == [Delta(2, '{"a":')]
    assert scribe.arguments("k", "") == []
    assert scribe.arguments("k", "1}") == [Delta(2, "1}")]
    assert scribe.usage(Usage(input=1)) == [Usage(input=1)]
    assert scribe.usage(Usage(output=2)) == [Usage(input=1, output=2)]
    assert scribe.usage(Usage(output=2)) == []
    assert scribe.stop("end", word="tool_calls") == [Close(2), Stop("tools", word="tool_calls")]
    assert scribe.whole
    assert scribe.stop("length") == []
    assert scribe.close("default") == [End("default")]
    assert scribe.close() == scribe.end() == scribe.fail(FAIL) == []


def test_nothing_is_said_of_a_choice_after_its_stop() -> None:
    scribe = Scribe(Back())
    scribe.tool("k", "look")
    scribe.stop("length")
    late = [
        scribe.text("text", "x"), scribe.block("text"), scribe.seal(SEAL), scribe.close_text(),
        scribe.tool("k", "look"), scribe.arguments("k", "{}"), scribe.close_tool("k"),
    ]  # fmt: skip
    assert late == [[]] * 7
    assert scribe.text("text", "x", 1) == [Open(1, "text", 1), Delta(1, "x")]
    assert not scribe.whole


def test_nothing_is_closed_after_a_failure() -> None:
    """A made-up Close would show the client a finished tool call, which it may run."""
    scribe = Scribe(Back())
    scribe.text("text", "x", 1)
    scribe.tool("k", "look")
    assert scribe.fail(FAIL) == [FAIL]
    late = [
        scribe.close_text(1), scribe.close_tool("k"), scribe.arguments("k", "{"),
        scribe.stop("end"), scribe.usage(Usage(input=1)), scribe.end(), scribe.close(),
    ]  # fmt: skip
    assert late == [[]] * 7


def test_a_failure_may_stand_alone() -> None:
    scribe = Scribe(Back())
    assert scribe.fail(FAIL) == [FAIL]
    assert scribe.start("id") == scribe.fail(FAIL) == []


@pytest.mark.parametrize("begun", [False, True])
def test_the_end_of_bytes_before_a_stop_is_a_cut(*, begun: bool) -> None:
    scribe = Scribe(Back())
    if begun:
        scribe.text("text", "x", 0)
        scribe.stop("end", 0)
        scribe.text("text", "x", 1)
    with pytest.raises(UpstreamCut):
        scribe.close()
    assert not scribe.ended


@pytest.mark.parametrize(
    ("reason", "with_tool", "expected"),
    [
        ("end", False, "end"),
        ("end", True, "tools"),
        ("tools", False, "end"),
        ("tools", True, "tools"),
        ("length", True, "length"),
        ("stop_sequence", True, "stop_sequence"),
        ("refusal", True, "refusal"),
    ],
)
def test_the_reason_agrees_with_the_tools(
    reason: Reason, expected: str, *, with_tool: bool
) -> None:
    scribe = Scribe(Back())
    scribe.tool("other", "look", choice=1)  # another choice's tools do not count
    if with_tool:
        scribe.tool("k", "look")
        scribe.close_tool("k")
    stop = scribe.stop(reason, sequence="###", detail="no", category="cyber")[-1]
    assert isinstance(stop, Stop)
    assert (stop.reason, stop.sequence) == (expected, "###")
    assert (stop.detail, stop.category) == ("no", "cyber")


def ids(*wanted: str | None, back: Back = BACK) -> list[str | None]:
    scribe = Scribe(back)
    opened = [scribe.tool(at, "look", tool_id)[-1] for at, tool_id in enumerate(wanted)]
    return [event.id for event in opened if isinstance(event, Open)]


def test_ids_are_the_client_s_and_unique() -> None:
    assert ids("a", "b") == ["a", "b"]
    assert ids("short", "a") == ["a:much:longer:id", "a"]
    assert ids(None, "", "a", "a") == ["call_s0", "call_s1", "a", "call_s3"]
    assert ids("call_s1", None, "call_s1_") == ["call_s1", "call_s1_", "call_s2"]
    assert ids(None, back=Back()) == ["call_0"]


def test_names_are_the_client_s() -> None:
    scribe = Scribe(BACK)
    assert said(scribe.tool(0, "ns__find", "a")) == [
        Open(0, "tool", id="a", name="find", namespace="ns")
    ]
    native = scribe.tool(1, "x", "b", kind="freeform", namespace="n", runs="vendor", seal=SEAL)
    assert said(native) == [
        Open(1, "tool", id="b", name="x", tool="freeform", namespace="n", runs="vendor", seal=SEAL)
    ]  # fmt: skip


def test_freeform_input_comes_out_of_its_json() -> None:
    scribe = Scribe(BACK)
    opened = Open(0, "tool", id="a", name="apply", tool="freeform")
    assert said(scribe.tool(0, "patch", "a")) == [opened]
    text = wrap('say "hi"\n')
    deltas = [event for char in text for event in scribe.arguments(0, char)]
    assert deltas == [Delta(0, char) for char in 'say "hi"\n']
    assert scribe.close_tool(0) == [Close(0)]


def test_freeform_input_of_another_shape_comes_at_the_end() -> None:
    scribe = Scribe(BACK)
    scribe.tool(0, "patch", "a")
    assert scribe.arguments(0, '{"other":1}') == []
    assert scribe.stop("tools") == [Delta(0, '{"other":1}'), Close(0), Stop("tools")]


def test_a_tool_that_is_freeform_there_too_is_not_unwrapped() -> None:
    scribe = Scribe(BACK)
    scribe.tool(0, "patch", "a", kind="freeform")
    assert scribe.arguments(0, '{"input":"x"}') == [Delta(0, '{"input":"x"}')]
    # What looks like whole JSON is input that may go on.
    assert said(scribe.text("text", "x")) == [Open(1, "text"), Delta(1, "x")]
    assert scribe.arguments(0, "y") == [Delta(0, "y")]


def test_the_forced_tool_s_arguments_are_the_text() -> None:
    scribe = Scribe(BACK)
    assert scribe.tool(0, "answer", "a") == [Start()]
    assert scribe.has_tool(0)
    assert scribe.arguments(0, '{"a"') == [Open(0, "text"), Delta(0, '{"a"')]
    assert scribe.arguments(0, ":1}") == [Delta(0, ":1}")]
    assert scribe.close_tool(0) == []
    assert scribe.stop("tools") == [Close(0), Stop("end")]


@pytest.mark.parametrize(
    ("arguments", "closes"),
    [
        ('{"a":1}', True),
        ('{"a":"}"} \n', True),
        ('{"a":"\ud83d"}', True),
        ("{}", True),
        ("", False),  # its arguments may still come
        ('{"a":1', False),
        ('{"a":"}', False),
        ('{"a":{}', False),
        ("[1]", False),
    ],
)
@pytest.mark.parametrize("what", ["text", "tool"])
def test_what_opens_closes_a_tool_whose_arguments_are_whole(
    arguments: str, what: str, *, closes: bool
) -> None:
    scribe = Scribe(Back())
    scribe.tool("k", "look")
    scribe.arguments("k", arguments)
    scribe.tool("elsewhere", "look", choice=1)
    scribe.arguments("elsewhere", "{}", 1)
    events = scribe.text("text", "x") if what == "text" else scribe.tool("k2", "look")
    assert [event for event in events if isinstance(event, Close)] == [Close(0)] * closes
    assert scribe.has_tool("k") is not closes
    assert scribe.has_tool("elsewhere", 1)


def test_a_key_that_is_open_is_another_call() -> None:
    scribe = Scribe(Back())
    scribe.tool(0, "look", "a")
    scribe.arguments(0, '{"half')
    assert scribe.tool(0, "find", "b") == [Close(0), Open(1, "tool", id="b", name="find")]
    assert scribe.stop("end") == [Close(1), Stop("tools")]


def test_blocks_of_one_kind_go_on_unless_a_fresh_one_is_wanted() -> None:
    scribe = Scribe(Back())
    assert said(scribe.block("thinking")) == [Open(0, "thinking")]
    assert scribe.block("thinking") == []
    assert scribe.block("thinking", fresh=True) == [Close(0), Open(1, "thinking")]
    assert scribe.block("text") == [Close(1), Open(2, "text")]
    assert scribe.seal(SEAL) == [Close(2), Open(3, "thinking"), Sealed(3, SEAL), Close(3)]
    assert scribe.close_text() == []
