"""The table of dialects: each is one, goes by its own name, and is loaded when it is asked for."""

import pytest

from rawproxy.dialects import (
    DIALECTS,
    anthropic_complete,
    anthropic_messages,
    bedrock_converse,
    gemini,
    ollama_chat,
    openai_chat,
    openai_completions,
    openai_responses,
    plain_text,
)
from rawproxy.dialects.base import Dialect
from tests.modules import loaded_by

# mypy holds every module here against the protocol.
ALL: tuple[Dialect, ...] = (
    openai_chat, openai_responses, openai_completions, anthropic_messages, anthropic_complete,
    gemini, bedrock_converse, ollama_chat, plain_text,
)  # fmt: skip


def test_each_goes_by_its_own_name() -> None:
    assert list(DIALECTS.items()) == [(dialect.NAME, dialect) for dialect in ALL]
    assert len(DIALECTS) == len(ALL)


def test_there_is_no_other() -> None:
    assert "base" not in DIALECTS
    assert DIALECTS.get("base") is None
    with pytest.raises(KeyError, match="base"):
        DIALECTS["base"]


def loaded(use: str) -> set[str]:
    """The dialects that `use` loads."""
    modules = loaded_by(f"from rawproxy.dialects import DIALECTS\n{use}")
    return {name for name in DIALECTS if f"rawproxy.dialects.{name}" in modules}


@pytest.mark.slow
@pytest.mark.parametrize("used", [(), ("gemini",), ("openai_chat", "anthropic_messages")])
def test_only_what_is_asked_for_is_loaded(used: tuple[str, ...]) -> None:
    assert loaded(f"[DIALECTS[name] for name in {used}]") == set(used)


@pytest.mark.slow
def test_a_look_at_the_names_loads_none() -> None:
    assert loaded("'gemini' in DIALECTS, 'base' in DIALECTS, list(DIALECTS)") == set()
