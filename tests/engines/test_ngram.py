"""The embedded engine: the order of its events, its pace by a virtual clock, its limits."""

from collections.abc import Callable

import msgspec
import pytest
import trio
from trio.testing import MockClock

from rawproxy.dialects.call import (
    Audio,
    Base64,
    Call,
    Document,
    File,
    Format,
    Image,
    Inline,
    Opaque,
    Part,
    Refusal,
    Sampling,
    SearchResult,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    Url,
    Video,
)
from rawproxy.dialects.events import Close, Delta, End, Event, Fail, Open, Start, Stop, Usage
from rawproxy.engines.language import embedded
from rawproxy.engines.ngram import DEFAULT_LIMIT, LONGEST_INPUT, LONGEST_STOPS, NgramEngine
from rawproxy.gateway.engine import Engine

COUNT = embedded().tokenizer.count
RAW = msgspec.Raw


def asked(
    text: str = "Tell me about rivers.",
    *,
    seed: int | None = 1,
    temperature: float | None = None,
    **fields: object,
) -> Call:
    fields.setdefault("sampling", Sampling(seed=seed, temperature=temperature))
    turns = (Turn("user", (Text(text),)),)
    return msgspec.structs.replace(Call("openai_chat", "local/ngram", turns), **fields)


def said(*parts: Part) -> Call:
    return asked(turns=(Turn("user", parts),))


def fast(seed: int | None = None) -> NgramEngine:
    return NgramEngine(0, 0, seed=seed)


async def reply(call: Call, engine: NgramEngine | None = None) -> list[Event]:
    return [event async for event in (engine or fast()).generate(call, "ngram")]


def text_of(events: list[Event], block: int = 0) -> str:
    return "".join(
        event.text for event in events if isinstance(event, Delta) and event.block == block
    )


def stop_of(events: list[Event]) -> Stop:
    (stop,) = [event for event in events if isinstance(event, Stop)]
    return stop


def usage_of(events: list[Event]) -> Usage:
    return [event for event in events if isinstance(event, Usage)][-1]


def test_it_is_an_engine() -> None:
    engine: Engine = NgramEngine()
    assert engine.models == ("ngram",)


# -- events


@pytest.mark.parametrize("choices", [1, 3])
async def test_events_come_in_order(choices: int) -> None:
    call = asked(n=choices, limit=20)
    events = await reply(call)
    expected: list[type[Event]] = [Start, Usage]
    for _ in range(choices):
        expected += [Open, Delta, Close, Usage, Stop]
    kinds = [type(event) for event in events]
    merged = [kind for at, kind in enumerate(kinds) if at == 0 or kind is not kinds[at - 1]]
    assert merged == [*expected, End]
    assert events[0] == Start(model="ngram")
    opens = [event for event in events if isinstance(event, Open)]
    assert opens == [Open(number, "text", number) for number in range(choices)]
    assert [event for event in events if isinstance(event, Close)] == [
        Close(number) for number in range(choices)
    ]
    stops = [event.choice for event in events if isinstance(event, Stop)]
    assert stops == list(range(choices))
    assert all(event.text for event in events if isinstance(event, Delta))


async def test_choices_differ_and_are_counted_together() -> None:
    events = await reply(asked(n=2, limit=5))
    assert text_of(events, 0) != text_of(events, 1)
    assert usage_of(events).output == 10


async def test_usage_is_exact() -> None:
    call = asked("Tell me about zymurgy!", temperature=0, limit=30)
    events = await reply(call)
    deltas = [event for event in events if isinstance(event, Delta)]
    assert usage_of(events) == Usage(
        COUNT("Tell me about zymurgy!"), len(deltas), source="reported"
    )
    assert usage_of(events).output == COUNT(text_of(events))
    assert usage_of(events).input == NgramEngine().count_tokens(call)


# -- what is drawn


async def test_the_same_seed_gives_the_same_reply() -> None:
    assert await reply(asked(seed=5), fast()) == await reply(asked(seed=5), fast())
    texts = {text_of(await reply(asked(seed=seed))) for seed in range(5)}
    assert len(texts) > 1


async def test_without_a_seed_replies_differ() -> None:
    engine = fast()
    texts = [text_of(await reply(asked(seed=None), engine)) for _ in range(5)]
    assert len(set(texts)) > 1


async def test_a_seeded_engine_repeats_itself() -> None:
    async def texts() -> list[str]:
        engine = fast(seed=3)
        return [text_of(await reply(asked(seed=None), engine)) for _ in range(3)]

    assert await texts() == await texts()


async def test_the_best_token_alone_is_the_greedy_reply() -> None:
    greedy = await reply(asked(temperature=0, limit=40))
    one = await reply(asked(limit=40, sampling=Sampling(top_k=1, seed=9)))
    other = await reply(asked(limit=40, sampling=Sampling(top_p=0, seed=4)))
    assert text_of(greedy) == text_of(one) == text_of(other)


async def test_the_prompt_is_what_the_reply_is_about() -> None:
    """Of 20 replies to each prompt, more speak of its own matter."""

    async def about(prompt: str) -> int:
        texts = [text_of(await reply(asked(prompt, seed=seed))) for seed in range(20)]
        return sum("lighthouse" in text for text in texts)

    assert await about("A lighthouse, please.") > await about("A garden, please.")


@pytest.mark.parametrize(
    "call",
    [
        asked(raw_prompt="A river is water on its"),
        asked(
            prefill=True,
            turns=(
                Turn("user", (Text("Rivers?"),)),
                Turn("assistant", (Text("A river is water on its"),)),
            ),
        ),
    ],
    ids=["raw prompt", "prefill"],
)
async def test_a_text_that_was_begun_goes_on(call: Call) -> None:
    call.sampling = Sampling(temperature=0)
    assert text_of(await reply(call)).startswith(" way to the sea.")


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(asked(""), id="no text"),
        pytest.param(asked(turns=()), id="no turn"),
        pytest.param(asked(turns=(Turn("user", ()), Turn("system", ()))), id="no part"),
        pytest.param(asked(turns=(Turn("assistant", (Text("Yes."),)),)), id="no user"),
        pytest.param(asked(turns=(), prefill=True), id="prefill of nothing"),
        pytest.param(asked(raw_prompt=""), id="empty prompt"),
        pytest.param(asked(raw_prompt="and twice a day it is dry land."), id="a finished text"),
        pytest.param(asked(raw_prompt="def f(x):\n    return "), id="unknown words"),
        pytest.param(asked("\ud83d"), id="half a character"),
    ],
)
async def test_every_call_is_answered(call: Call) -> None:
    events = await reply(call)
    assert text_of(events)
    assert events[-1] == End()


# -- where it stops


async def test_a_text_ends_by_itself() -> None:
    events = await reply(asked(limit=10_000))
    assert stop_of(events) == Stop("end")
    assert text_of(events).endswith(".")


@pytest.mark.parametrize(
    ("beyond", "reason"), [(-1, "length"), (0, "length"), (1, "end")], ids=["less", "same", "more"]
)
async def test_the_limit_is_met_exactly(beyond: int, reason: str) -> None:
    """The end is said only where there was room for one more token."""
    whole = await reply(asked(limit=10_000))
    size = usage_of(whole).output
    assert size is not None
    events = await reply(asked(limit=size + beyond))
    assert usage_of(events).output == min(size, size + beyond)
    assert stop_of(events).reason == reason
    assert text_of(whole).startswith(text_of(events))


async def test_no_limit_is_the_default_limit() -> None:
    # The greedy reply runs in a circle.
    events = await reply(asked("hello", temperature=0))
    assert usage_of(events).output == DEFAULT_LIMIT
    assert stop_of(events) == Stop("length")


async def test_a_limit_of_zero_writes_nothing() -> None:
    events = await reply(asked("", limit=0))
    assert events == [
        Start(model="ngram"),
        Usage(0, 0),
        Open(0, "text"),
        Close(0),
        Usage(0, 0),
        Stop("length"),
        End(),
    ]


@pytest.mark.parametrize(
    ("cut", "size"),
    [(0, 3), (20, 4), (23, 9)],
    ids=["at the start", "inside a token", "across tokens"],
)
async def test_stop_sequences_do_not_know_tokens(cut: int, size: int) -> None:
    whole = text_of(await reply(asked()))
    sequence = whole[cut : cut + size]
    assert whole.find(sequence) == cut
    events = await reply(asked(stop=("never said", sequence)))
    assert text_of(events) == whole[:cut]
    assert stop_of(events) == Stop("stop_sequence", sequence=sequence)
    output = usage_of(events).output
    assert output is not None
    assert COUNT(whole[: cut + size]) <= output + 1


@pytest.mark.parametrize("limit", [DEFAULT_LIMIT, 12], ids=["end", "length"])
async def test_what_was_held_back_comes_out_at_the_end(limit: int) -> None:
    plain = await reply(asked(limit=limit))
    text = text_of(plain)
    events = await reply(asked(limit=limit, stop=(text[-4:] + "never",)))
    assert text_of(events) == text
    assert stop_of(events) == stop_of(plain)


async def test_a_stop_sequence_wins_over_the_limit() -> None:
    text = text_of(await reply(asked(limit=12)))
    events = await reply(asked(limit=12, stop=(text[-3:],)))
    assert stop_of(events).reason == "stop_sequence"


# -- time


async def test_tokens_come_at_their_pace(autojump_clock: MockClock) -> None:
    engine = NgramEngine(60.0, 0.25)
    begun = trio.current_time()
    at = [
        trio.current_time() - begun
        async for event in engine.generate(asked(temperature=0, limit=61), "ngram")
        if isinstance(event, Delta)
    ]
    assert at == pytest.approx([0.25 + number / 60 for number in range(61)])


async def test_a_slow_reader_does_not_move_later_tokens(autojump_clock: MockClock) -> None:
    engine = NgramEngine(10.0, 0.0)
    begun = trio.current_time()
    at = []
    async for event in engine.generate(asked(temperature=0, limit=11), "ngram"):
        if isinstance(event, Delta):
            at.append(trio.current_time() - begun)
            if len(at) == 1:
                await trio.sleep(0.45)
    assert at == pytest.approx([0, 0.45, 0.45, 0.45, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])


async def test_speed_zero_takes_no_time(autojump_clock: MockClock) -> None:
    begun = trio.current_time()
    assert usage_of(await reply(asked(temperature=0, limit=50))).output == 50
    assert trio.current_time() == begun


async def test_others_run_between_two_tokens() -> None:
    written = {"a": 0, "b": 0}
    apart = set()

    async def write(name: str) -> None:
        async for event in fast().generate(asked(limit=10), "ngram"):
            if isinstance(event, Delta):
                written[name] += 1
                apart.add(abs(written["a"] - written["b"]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, "a")
        nursery.start_soon(write, "b")
    assert written == {"a": 10, "b": 10}
    assert max(apart) <= 2


@pytest.mark.parametrize("make", [fast, NgramEngine], ids=["fast", "paced"])
async def test_a_cancelled_reply_stops_at_the_next_token(
    make: Callable[[], NgramEngine], autojump_clock: MockClock
) -> None:
    seen: list[Event] = []
    events = make().generate(asked(temperature=0), "ngram")
    tasks = trio.lowlevel.current_statistics().tasks_living
    with trio.CancelScope() as scope:
        async for event in events:
            seen.append(event)
            if isinstance(event, Delta):
                scope.cancel()
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == [Start, Usage, Open, Delta]
    assert [event async for event in events] == []
    assert trio.lowlevel.current_statistics().tasks_living == tasks


# -- what it cannot do


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (asked(format=Format("json"), names={"format": "response_format"}), "response_format"),
        (asked(format=Format("schema", schema=RAW(b"{}"))), None),
        (asked(tool_choice=ToolChoice("required"), names={"tool_choice": "tools"}), "tools"),
        (asked(tool_choice=ToolChoice("one", ("f",))), None),
        (asked(tool_choice=ToolChoice("allowed", ("f",), must=True)), None),
        (said(Image(Url("https://example.com/a.png"), "m[0]")), "m[0]"),
        (said(Audio("", "wav", "m[1]")), "m[1]"),
        (said(Video(Base64(""))), None),
        (said(Document(File("f", "x"), "m[2]")), "m[2]"),
        (said(ToolResult("1", (Text("ok"), Image(Base64(""), "m[3]")))), "m[3]"),
        (said(Document(Inline(parts=(Image(Base64(""), "m[4]"),)))), "m[4]"),
        (asked(stop=("x" * LONGEST_STOPS, "y"), names={"stop": "stop"}), "stop"),
    ],
)
async def test_what_it_cannot_do_it_says(call: Call, param: str | None) -> None:
    (fail,) = await reply(call)
    assert isinstance(fail, Fail)
    assert (fail.kind, fail.param) == ("invalid", param)
    assert fail.message.startswith("the embedded model cannot ")


@pytest.mark.parametrize(
    "call",
    [
        asked(tools=(Tool("f"),)),
        asked(tools=(Tool("f"),), tool_choice=ToolChoice("auto")),
        asked(tool_choice=ToolChoice("none")),
        asked(tool_choice=ToolChoice("allowed", ("f",))),
        asked(stop=("x" * LONGEST_STOPS,)),
        said(Document(Inline("rivers"))),
    ],
)
async def test_what_may_be_left_out_is_no_failure(call: Call) -> None:
    assert text_of(await reply(call))


async def test_a_call_that_is_too_long_is_not_read() -> None:
    (fail,) = await reply(asked("a" * (LONGEST_INPUT + 1)))
    assert isinstance(fail, Fail)
    assert fail.kind == "overflow"
    assert str(LONGEST_INPUT) in fail.message


async def test_it_is_no_other_model() -> None:
    (fail,) = [event async for event in fast().generate(asked(), "another")]
    assert isinstance(fail, Fail)
    assert (fail.kind, fail.code) == ("not_found", "model_not_found")
    assert "ngram" in fail.message
    assert "another" not in fail.message


# -- counting

SCHEMA = '{"type":"object"}'


@pytest.mark.parametrize(
    ("call", "texts"),
    [
        (asked(turns=()), []),
        (said(Text("one"), Text("two")), ["one", "two"]),
        (said(Thinking("hm"), Refusal("no")), ["hm", "no"]),
        (said(ToolCall("1", "f", '{"x":1}')), ["f", '{"x":1}']),
        (said(ToolResult("1", (Text("sun"), Text("rain")))), ["sun", "rain"]),
        (said(Document(Inline("body"), title="head", context="note")), ["body", "head", "note"]),
        (said(Document(Inline(parts=(Text("inner"),)))), ["inner"]),
        (said(SearchResult("here", "found", ("one", "two"))), ["here", "found", "one", "two"]),
        (said(Opaque("gemini", RAW(b'{"a":"b"}'), "x")), ['{"a":"b"}']),
        (said(Image(Base64("AAAA")), Document(Base64("BBBB"))), []),
        (asked("parsed", raw_prompt="as it stood"), ["as it stood"]),
        (
            asked("x", tools=(Tool("f", description="does", schema=RAW(SCHEMA.encode())),)),
            ["x", "f", "does", SCHEMA],
        ),
        (
            asked("x", format=Format("schema", "n", "d", RAW(SCHEMA.encode()))),
            ["x", "n", "d", SCHEMA],
        ),
    ],
)
def test_all_text_is_counted(call: Call, texts: list[str]) -> None:
    assert NgramEngine().count_tokens(call) == sum(map(COUNT, texts))
