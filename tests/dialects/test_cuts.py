"""Recorded streams, cut at every byte: before its Stop a reply ends in one error, after it it is whole.

The cut is followed by what an exchange does at the end of the bytes. Where a Stop lies is found
here by plain JSON, not by the readers under test.
"""

import copyreg
import importlib
import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import Back, Grammar, StreamWriter
from rawproxy.dialects.call import Call
from rawproxy.dialects.ends import StreamSink, StreamSource
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.pipe import PassPipe, Pipe, TranslatePipe
from rawproxy.errors import UpstreamError
from rawproxy.gateway.verdict import fail_of
from rawproxy.wire import sse
from rawproxy.wire.frame import MAX_FRAME

CHAT, MESSAGES = "openai_chat", "anthropic_messages"
OTHER = {CHAT: MESSAGES, MESSAGES: CHAT}
VAULT = Vault(b"cuts", "cuts")
CASES = [
    (CHAT, "simple"),
    (CHAT, "single_builtin_tool"),
    (CHAT, "stream_error"),
    (MESSAGES, "simple"),
    (MESSAGES, "single_builtin_tool"),
    (MESSAGES, "stream_error"),
]
LONG = (CHAT, "simple")
"""73 KB: every byte of it takes longer than all the others together."""


def voice(dialect: str) -> StreamWriter:
    call = Call(dialect, "m", stream=True, wants_usage=True, vault=VAULT)
    return DIALECTS[dialect].stream_writer(call, "cut", 0)


def passed(dialect: str) -> Pipe:
    return PassPipe(DIALECTS[dialect], voice(dialect), frame_bytes=MAX_FRAME)


def translated(dialect: str) -> Pipe:
    reader = DIALECTS[dialect].stream_reader(Back(seed="cut"))
    return TranslatePipe(StreamSource(reader, sse, MAX_FRAME), StreamSink(voice(OTHER[dialect])))


# A framing is a module.
copyreg.pickle(ModuleType, lambda module: (importlib.import_module, (module.__name__,)))

WAYS: dict[str, Callable[[str], Pipe]] = {"passed": passed, "translated": translated}


@dataclass
class Client:
    """What a client has read: ends, errors, and broken rules of its dialect."""

    dialect: str
    splitter: sse.Splitter
    grammar: Grammar
    errors: int = 0
    ends: int = 0
    frames_after: int = 0
    """Frames that carry data, behind an end or an error."""

    def read(self, parts: list[bytes]) -> None:
        for frame in self.splitter.feed(b"".join(parts)):
            assert self.grammar.check(frame) == []
            if not frame.has_data:
                continue
            self.frames_after += self.errors + self.ends > 0
            if frame.data == b"[DONE]" or frame.name == b"message_stop":
                self.ends += 1
            elif frame.name == b"error" or (self.dialect == CHAT and "error" in load(frame.data)):
                self.errors += 1

    def close(self) -> None:
        assert self.splitter.close() == b"", "the output ends inside a frame"
        assert self.grammar.close() == []
        assert self.frames_after == 0


def load(data: bytes) -> dict[str, Any]:
    found = json.loads(data)
    assert isinstance(found, dict)
    return found


def cut_frames(stream: bytes) -> list[bytes]:
    """Every recorded frame is lines that end in LF, and a blank one."""
    return [text + b"\n\n" for text in stream.removesuffix(b"\n\n").split(b"\n\n")]


def says_stop(dialect: str, frame: bytes) -> bool:
    data = next(line for line in frame.splitlines() if line.startswith(b"data:"))[5:].strip()
    if data == b"[DONE]":
        return False
    said = load(data)
    if dialect == MESSAGES:
        return said["type"] == "message_delta" and bool(said["delta"].get("stop_reason"))
    return any(choice.get("finish_reason") for choice in said.get("choices", []))


def whole_from(dialect: str, stream: bytes) -> int | None:
    """How many bytes make the reply whole: to the last one of its Stop, blank line or not."""
    at = 0
    for frame in cut_frames(stream):
        if says_stop(dialect, frame):
            return at + len(frame.rstrip())
        at += len(frame)
    return None


def step(pipe: Pipe, client: Client, act: Callable[[], list[bytes]]) -> None:
    """Do `act`; say so when it fails, as an exchange does."""
    try:
        parts = act()
    except UpstreamError as error:
        parts = pipe.fail(fail_of(error))
    client.read(parts)


def cut_everywhere(dialect: str, way: str, stream: bytes) -> Iterator[tuple[int, Client]]:
    """Yield each cut, and the client that was served up to it.

    The frames before a cut are fed once: both sides are kept as they were, and taken out again for
    each byte of the next frame.
    """
    target = dialect if way == "passed" else OTHER[dialect]
    pipe = WAYS[way](dialect)
    client = Client(target, sse.Splitter(), DIALECTS[target].grammar())
    at = 0
    for frame in [*cut_frames(stream), b""]:
        kept = pickle.dumps((pipe, client), pickle.HIGHEST_PROTOCOL)
        for size in range(max(len(frame), 1)):
            pipe, client = pickle.loads(kept)
            step(pipe, client, partial(pipe.feed, frame[:size]))
            step(pipe, client, pipe.close)
            client.close()
            yield at + size, client
        pipe, client = pickle.loads(kept)
        step(pipe, client, partial(pipe.feed, frame))
        at += len(frame)


def marked(case: tuple[str, str]) -> Any:
    marks = [pytest.mark.slow] if case == LONG else []
    return pytest.param(*case, marks=marks, id="/".join(case))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("dialect", "case"), [marked(case) for case in CASES])
def test_a_cut_reply_is_whole_or_ends_in_one_error(
    dialect: str, case: str, way: str, recorded: Path
) -> None:
    stream = (recorded / dialect / case / "stream.sse").read_bytes()
    border = whole_from(dialect, stream)
    assert (border is None) is (case == "stream_error")
    cuts = 0
    for cut, client in cut_everywhere(dialect, way, stream):
        is_whole = border is not None and cut >= border
        assert (client.ends, client.errors) == ((1, 0) if is_whole else (0, 1)), cut
        cuts += 1
    assert cuts == len(stream) + 1
