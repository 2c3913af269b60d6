"""Whole replies that are one text are read in one step: the same is said of them as by the full reader."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.anthropic_messages.reader import ReplyReader
from rawproxy.dialects.anthropic_messages.reader import read_plain as read_plain_message
from rawproxy.dialects.base import Back
from rawproxy.dialects.events import Event
from rawproxy.dialects.openai_chat.reader import ChunkReader
from rawproxy.dialects.openai_chat.reader import read_plain as read_plain_chat
from rawproxy.errors import UpstreamError
from tests.dialects.test_golden import GOLDEN

Reader = Callable[[bytes], list[Event] | None]

READERS: dict[str, tuple[Reader, Reader]] = {
    "openai_chat": (read_plain_chat, lambda body: ChunkReader(Back()).read_body(body)),
    "anthropic_messages": (read_plain_message, lambda body: ReplyReader(Back()).read_body(body)),
}
CHAT: dict[str, Any] = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": "m",
    "choices": [{
        "index": 0, "finish_reason": "stop", "logprobs": None,
        "message": {"role": "assistant", "content": "fine", "refusal": None, "annotations": []},
    }],
    "usage": {
        "prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 2},
    },
    "service_tier": "default",
}  # fmt: skip
MESSAGE: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
    "content": [{"type": "text", "text": "fine", "citations": None}],
    "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {
        "input_tokens": 5, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 3,
        "cache_creation": {"ephemeral_5m_input_tokens": 3}, "output_tokens": 7,
        "service_tier": "standard",
    },
}  # fmt: skip
BASES = {"openai_chat": CHAT, "anthropic_messages": MESSAGE}


def agree(dialect: str, body: bytes) -> bool:
    """Whether the body is read in one step; then the full reader has to say the same."""
    plain, full = READERS[dialect]
    said = plain(body)
    if said is not None:
        assert said == full(body)
    return said is not None


def changed(dialect: str, where: str, value: object) -> bytes:
    """The base reply with another value at a path; ... takes it out."""
    reply = json.loads(json.dumps(BASES[dialect]))
    *way, last = [int(step) if step.isdigit() else step for step in where.split(".")]
    at = reply
    for step in way:
        at = at[step]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return json.dumps(reply).encode()


@pytest.mark.parametrize("dialect", BASES)
def test_goldens(dialect: str) -> None:
    cases = sorted((GOLDEN / dialect).glob("*/reply.json"))
    found = {case.parent.name: agree(dialect, case.read_bytes()) for case in cases}
    assert any(found.values())
    assert not all(found.values())


@pytest.mark.parametrize(
    ("dialect", "case", "is_plain"),
    [
        ("openai_chat", "simple", True),
        ("openai_chat", "single_builtin_tool", False),
        ("anthropic_messages", "simple", False),  # it thinks first
        ("anthropic_messages", "single_builtin_tool", False),
    ],
)
def test_recorded(dialect: str, case: str, is_plain: bool, recorded: Path) -> None:
    body = (recorded / dialect / case / "reply.json").read_bytes()
    assert agree(dialect, body) == is_plain


CHOICE = "choices.0"
SAYS = "choices.0.message"
SIMPLE: list[tuple[str, str, object]] = [
    ("openai_chat", "id", ...),
    ("openai_chat", "id", ""),
    ("openai_chat", "model", None),
    ("openai_chat", "created", ...),
    ("openai_chat", "created", 10**30),
    ("openai_chat", "object", ...),
    ("openai_chat", "usage", ...),
    ("openai_chat", "usage", None),
    ("openai_chat", "usage", {}),
    ("openai_chat", "usage", {"prompt_tokens": 1.0, "completion_tokens": -1}),
    ("openai_chat", "service_tier", ...),
    ("openai_chat", "service_tier", ""),
    ("openai_chat", "something", {"new": 1}),
    ("openai_chat", f"{CHOICE}.index", ...),
    ("openai_chat", f"{CHOICE}.finish_reason", "length"),
    ("openai_chat", f"{CHOICE}.native_finish_reason", "STOP"),
    ("openai_chat", f"{SAYS}.content", "\u00fc \ud83d\ude00 \n\"'"),
    ("openai_chat", f"{SAYS}.tool_calls", []),
    ("openai_chat", f"{SAYS}.reasoning_content", ""),
    ("anthropic_messages", "id", ...),
    ("anthropic_messages", "model", ""),
    ("anthropic_messages", "usage", ...),
    ("anthropic_messages", "usage", {}),
    ("anthropic_messages", "usage", {"input_tokens": 1.0, "output_tokens": -3}),
    ("anthropic_messages", "usage.service_tier", ...),
    ("anthropic_messages", "stop_reason", "max_tokens"),
    ("anthropic_messages", "stop_reason", "stop_sequence"),
    ("anthropic_messages", "stop_sequence", "END"),
    ("anthropic_messages", "stop_sequence", ""),
    ("anthropic_messages", "context_management", {"applied_edits": []}),
    ("anthropic_messages", "content.0.citations", []),
    ("anthropic_messages", "content.0.text", "\u00fc \ud83d\ude00 \n\"'"),
]
MORE: list[tuple[str, str, object]] = [
    ("openai_chat", "error", {"message": "no"}),
    ("openai_chat", "object", "error"),
    ("openai_chat", "choices", []),
    ("openai_chat", "choices", [CHAT["choices"][0]] * 2),
    ("openai_chat", "created", 1.5),
    ("openai_chat", f"{CHOICE}.index", 1),
    ("openai_chat", f"{CHOICE}.finish_reason", None),
    ("openai_chat", f"{CHOICE}.finish_reason", "tool_calls"),
    ("openai_chat", f"{CHOICE}.finish_reason", "error"),
    ("openai_chat", f"{CHOICE}.stop_reason", "END"),
    ("openai_chat", f"{CHOICE}.stop_sequence", "END"),
    ("openai_chat", f"{CHOICE}.logprobs", {"content": []}),
    ("openai_chat", f"{CHOICE}.usage", {"prompt_tokens": 1}),
    ("openai_chat", f"{CHOICE}.delta", {"content": "x"}),
    ("openai_chat", f"{SAYS}.content", ""),
    ("openai_chat", f"{SAYS}.content", None),
    ("openai_chat", f"{SAYS}.content", [{"type": "text", "text": "x"}]),
    ("openai_chat", f"{SAYS}.refusal", "no"),
    ("openai_chat", f"{SAYS}.reasoning_content", "hm"),
    ("openai_chat", f"{SAYS}.reasoning", "hm"),
    ("openai_chat", f"{SAYS}.reasoning_details", [{"type": "reasoning.text", "text": "hm"}]),
    ("openai_chat", f"{SAYS}.thinking_blocks", [{"type": "thinking", "thinking": "hm"}]),
    ("openai_chat", f"{SAYS}.tool_calls", [{"id": "a", "function": {"name": "b"}}]),
    ("openai_chat", f"{SAYS}.function_call", {"name": "b"}),
    ("openai_chat", f"{SAYS}.annotations", [{"type": "url_citation"}]),
    ("anthropic_messages", "error", {"message": "no"}),
    ("anthropic_messages", "content", []),
    ("anthropic_messages", "content", MESSAGE["content"] * 2),
    ("anthropic_messages", "content.0.type", "thinking"),
    ("anthropic_messages", "content.0.text", ""),
    ("anthropic_messages", "content.0.citations", [{"url": "x"}]),
    ("anthropic_messages", "stop_reason", None),
    ("anthropic_messages", "stop_reason", "tool_use"),
    ("anthropic_messages", "stop_reason", "refusal"),
    ("anthropic_messages", "stop_details", {"explanation": "no"}),
    ("anthropic_messages", "usage.server_tool_use", {"web_search_requests": 1}),
]


@pytest.mark.parametrize(("dialect", "where", "value"), SIMPLE)
def test_one_text_is_read_in_one_step(dialect: str, where: str, value: object) -> None:
    assert agree(dialect, changed(dialect, where, value))


@pytest.mark.parametrize(("dialect", "where", "value"), MORE)
def test_more_than_a_text_is_for_the_full_reader(dialect: str, where: str, value: object) -> None:
    assert not agree(dialect, changed(dialect, where, value))


@pytest.mark.parametrize("dialect", BASES)
@pytest.mark.parametrize(
    "broken",
    [b"", b"{", b"[]", b"null", b'{"x":"\xff"}', b'{"x":"\\ud83d"}', b"[" * 100000],
)
def test_what_is_broken_is_for_the_full_reader(dialect: str, broken: bytes) -> None:
    assert not agree(dialect, broken)
    with pytest.raises(UpstreamError):
        READERS[dialect][1](broken)


def test_what_nobody_reads_has_to_be_sound() -> None:
    """In what no table names as well: half a pair is mended, and what is no UTF-8 is refused."""
    body = changed("openai_chat", "something", "@")
    assert not agree("openai_chat", body.replace(b"@", b"\\ud83d"))
    assert not agree("openai_chat", body.replace(b"@", b"\xff"))


_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.floats(allow_nan=False), st.text(max_size=3),
    st.lists(st.none(), max_size=2), st.dictionaries(st.text(max_size=2), st.none(), max_size=1),
)  # fmt: skip


@given(st.sampled_from([*SIMPLE, *MORE]), _VALUES)
def test_whatever_stands_there(case: tuple[str, str, object], value: object) -> None:
    dialect, where, _ = case
    agree(dialect, changed(dialect, where, value))
