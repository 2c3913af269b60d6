"""`python -m bench.translation`: what translating costs in this process, as a ratio.

The unit is a typed decode of the source's bytes and a typed encode of the target's by msgspec, measured
in the same run: what a program pays that reads an event (or a request) of the one dialect into structs
made for it, and writes the structs of the other one, without a thought in between. Time is that of this
thread on a processor: others that run meanwhile cost it nothing.

Two tables, sources down, targets across: a text event carried through a pipe (cut, read, written),
and an agent's request of 60 KB (read, written).
"""

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import Back, Given, Target
from rawproxy.dialects.call import Call
from rawproxy.dialects.ends import StreamSink, StreamSource
from rawproxy.dialects.envelope import Origin, Vault
from rawproxy.dialects.events import Close, Delta, End, Event, Open, Start, Stop, Usage
from rawproxy.dialects.models import takes
from rawproxy.dialects.pipe import TranslatePipe
from rawproxy.wire.frame import MAX_FRAME

__all__ = ["CLIENTS", "agent_request", "main", "measure_calls", "measure_events"]

CLIENTS = [name for name in DIALECTS if name != "plain_text"]
"""Dialects that clients speak; plain text is an upstream's only."""

MODELS = {
    "openai_chat": "gpt-5.2", "openai_responses": "gpt-5.2", "anthropic_messages": "claude-opus-4-8",
    "gemini": "gemini-3-pro", "bedrock_converse": "anthropic.claude-opus-4-8-v1:0",
}  # fmt: skip

FREE = {"input_schema", "parameters", "parametersJsonSchema", "json", "args", "input"}
"""Members that hold any object, in one API or another, where it is one."""

EVENTS = 400
"""Text events of one run."""

ROUNDS = 15
"""Runs of each cell; the fastest counts: others take caches from the rest."""

TEXT_LIMIT, CALL_LIMIT = 8.0, 6.0
"""Times the unit that a cell may cost."""


def target(dialect: str) -> Target:
    """Return a model to write for."""
    model = MODELS.get(dialect, "m")
    return Target(model, takes(dialect, model), Origin(dialect))


# -- the unit


def shape(values: list[Any]) -> Any:
    """Return the msgspec type that fits all of `values`: objects as structs, all members optional.

    What is free in the API (a tool's schema and arguments) is `dict[str, Any]`, as in vendors' types.
    """
    if all(isinstance(value, dict) for value in values):
        members: dict[str, list[Any]] = {}
        for value in values:
            for key, member in value.items():
                members.setdefault(key, []).append(member)
        fields = [
            (
                f"f{at}",
                (dict[str, Any] if key in FREE and isinstance(found[0], dict) else shape(found))
                | msgspec.UnsetType,
                msgspec.UNSET,
            )
            for at, (key, found) in enumerate(members.items())
        ]
        names = {f"f{at}": key for at, key in enumerate(members)}
        return msgspec.defstruct("Shape", fields, rename=names, gc=False)
    if all(isinstance(value, list) for value in values):
        inner = [item for value in values for item in value]
        return list[shape(inner)] if inner else list[Any]  # type: ignore[misc]
    kinds = {type(value) for value in values}
    if kinds <= {str}:
        return str
    if kinds <= {int}:
        return int
    return Any


def typed(body: bytes) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a typed decode of `body`, and an encode of what that gives."""
    decoder, encoder = msgspec.json.Decoder(shape([json.loads(body)])), msgspec.json.Encoder()
    value = decoder.decode(body)
    return lambda: decoder.decode(body), lambda: encoder.encode(value)


def timed(run: Callable[[], object], times: int) -> float:
    """Return the CPU seconds of one of `times` calls."""
    began = time.thread_time()
    for _ in range(times):
        run()
    return (time.thread_time() - began) / times


# -- events


def asked(dialect: str) -> Call:
    """Return what a client of `dialect` asked: in the form of the API that is not cumulative."""
    variant = "2023-06-01" if dialect == "anthropic_complete" else ""
    return Call(dialect, "m", stream=True, wants_usage=True, variant=variant)


def frames_of(dialect: str) -> tuple[bytes, list[bytes], bytes]:
    """Return the start of a text stream, its text frames, and its end."""
    writer = DIALECTS[dialect].stream_writer(asked(dialect), "bench", 1_760_000_000)
    opening: list[Event] = [Start("bench", "m"), Open(0, "text"), Delta(0, "Once")]
    ending: list[Event] = [Close(0), Usage(input=9, output=EVENTS), Stop("end"), End()]
    before = b"".join(map(writer.write, opening))
    texts = [writer.write(Delta(0, f" word{at}")) for at in range(EVENTS)]
    return before, texts, b"".join(map(writer.write, ending))


def pipe(source: str, target_: str) -> TranslatePipe:
    """Return a pipe between two dialects."""
    dialect, other = DIALECTS[source], DIALECTS[target_]
    reader = StreamSource(dialect.stream_reader(Back()), dialect.FRAMING, MAX_FRAME)
    writer = other.stream_writer(asked(target_), "bench", 1_760_000_000)
    return TranslatePipe(reader, StreamSink(writer))


def event_seconds(source: str, target_: str) -> float:
    """Return what one text event costs on its way, in a read of its own."""
    before, texts, _ = frames_of(source)
    found = []
    for _ in range(ROUNDS):
        carrying = pipe(source, target_)
        carrying.feed(before)
        feed = carrying.feed
        began = time.thread_time()
        for text in texts:
            feed(text)
        found.append((time.thread_time() - began) / EVENTS)
    return min(found)


def event_units() -> dict[str, tuple[float, float]]:
    """Return what a typed decode and a typed encode of a text event cost in each dialect."""
    found = {}
    for name in CLIENTS:
        _, texts, _ = frames_of(name)
        (frame,) = DIALECTS[name].FRAMING.splitter(MAX_FRAME).feed(texts[0])
        decode, encode = typed(frame.data)
        found[name] = (
            min(timed(decode, 500) for _ in range(ROUNDS)),
            min(timed(encode, 500) for _ in range(ROUNDS)),
        )
    return found


def measure_events() -> dict[tuple[str, str], float]:
    """Return the ratio of every pair."""
    units = event_units()
    return {
        (source, target_): event_seconds(source, target_) / (units[source][0] + units[target_][1])
        for source in CLIENTS
        for target_ in CLIENTS
        if source != target_
    }


# -- requests


def agent_request() -> bytes:
    """Return what a coding agent sends, as Messages: 24 tools, a long system text, some turns."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
        "properties": {
            f"argument_{at}": {
                "type": "string", "description": "What this argument is for, at some length. " * 3,
                "anyOf": [{"const": "a"}, {"pattern": "^[a-z]+$"}],
            }
            for at in range(5)
        },
        "required": ["argument_0"], "additionalProperties": False,
    }  # fmt: skip
    tools = [
        {
            "name": f"tool_{at}", "description": "Does one thing, and says so at length. " * 12,
            "input_schema": schema,
        }
        for at in range(24)
    ]  # fmt: skip
    messages: list[dict[str, Any]] = []
    for at in range(6):
        call = {
            "type": "tool_use",
            "id": f"toolu_{at}",
            "name": "tool_1",
            "input": {"argument_0": "x" * 50},
        }
        said = [{"type": "text", "text": "Let me look at that. " * 10}, call]
        result = {
            "type": "tool_result",
            "tool_use_id": f"toolu_{at}",
            "content": "line of a file\n" * 60,
        }
        messages += [
            {"role": "user", "content": [{"type": "text", "text": "Please do it. " * 10}]},
            {"role": "assistant", "content": said},
            {"role": "user", "content": [result]},
        ]
    body = {
        "model": "claude-opus-4-8", "max_tokens": 32000, "stream": True, "tools": tools,
        "system": [{"type": "text", "text": "You are an agent that writes code. " * 120}],
        "messages": messages,
    }  # fmt: skip
    return json.dumps(body).encode()


def requests() -> dict[str, bytes]:
    """Return the agent's request in every dialect."""
    call = DIALECTS["anthropic_messages"].read_call(agent_request(), Vault())
    return {name: DIALECTS[name].write_call(call, target(name)).body for name in CLIENTS}


def measure_calls() -> dict[tuple[str, str], float]:
    """Return the ratio of every pair."""
    ratios = {}
    bodies = requests()
    units = {
        name: [min(timed(run, 20) for _ in range(ROUNDS)) for run in typed(body)]
        for name, body in bodies.items()
    }
    for source, body in bodies.items():
        for other in CLIENTS:
            if source == other:
                continue
            base = units[source][0] + units[other][1]
            whom = target(other)

            def run(
                source: str = source, body: bytes = body, other: str = other, whom: Target = whom
            ) -> object:
                given = Given(None if DIALECTS[source].MODEL_FIELD else "m")
                call = DIALECTS[source].read_call(body, Vault(), given)
                return DIALECTS[other].write_call(call, whom)

            ratios[source, other] = min(timed(run, 5) for _ in range(ROUNDS)) / base
    return ratios


# -- the tables


def table(title: str, ratios: dict[tuple[str, str], float]) -> str:
    """Return the ratios as a table in Markdown."""
    lines = [f"| {title} | {' | '.join(CLIENTS)} |", "|---" * (len(CLIENTS) + 1) + "|"]
    for source in CLIENTS:
        cells = [f"{ratios[source, other]:.1f}" if source != other else "" for other in CLIENTS]
        lines.append(f"| {source} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(words: list[str]) -> int:
    """Print both tables; 1 when a cell costs more than it may and `--check` was given."""
    parser = argparse.ArgumentParser(prog="python -m bench.translation", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 above the limits")
    options = parser.parse_args(words)
    gc.collect()
    gc.disable()
    events, calls = measure_events(), measure_calls()
    sys.stdout.write(f"{table('a text event, times the unit', events)}\n\n")
    sys.stdout.write(f"{table('a request of 60 KB, times the unit', calls)}\n\n")
    worst = max(events.values()), max(calls.values())
    sys.stdout.write(
        f"worst: {worst[0]:.1f} of {TEXT_LIMIT:g} for an event, {worst[1]:.1f} of {CALL_LIMIT:g} for a request\n"
    )
    return int(options.check and (worst[0] > TEXT_LIMIT or worst[1] > CALL_LIMIT))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
