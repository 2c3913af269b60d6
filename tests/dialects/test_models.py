"""Each model's row is found by its name; the first that matches wins."""

import pytest

from rawproxy.dialects.models import DEFAULT_LIMIT, Row, Takes, takes


@pytest.mark.parametrize(
    ("model", "sampling", "prefill", "middle", "reasoning", "limit"),
    [
        ("claude-2.1", True, True, False, "none", 4096),
        ("claude-3-haiku-20240307", True, True, False, "none", 4096),
        ("claude-3-7-sonnet-20250219", True, True, False, "budget", 32000),
        ("claude-sonnet-4-20250514", True, True, False, "budget", 32000),
        ("claude-opus-4-5", True, True, False, "budget", 32000),
        ("claude-sonnet-4-6", True, False, False, "adaptive", 64000),
        ("claude-opus-4-7", False, False, False, "adaptive", 64000),
        ("claude-opus-4-8", False, False, True, "adaptive", 64000),
        ("anthropic/claude-opus-4-8", False, False, True, "adaptive", 64000),
        ("claude-next", False, False, True, "adaptive", 64000),
    ],
)
def test_claude_models(
    model: str, *, sampling: bool, prefill: bool, middle: bool, reasoning: str, limit: int
) -> None:
    row = takes("anthropic_messages", model)
    assert (row.sampling, row.prefill, row.middle_system) == (sampling, prefill, middle)
    assert (row.reasoning, row.limit, row.breakpoints) == (reasoning, limit, True)


@pytest.mark.parametrize(
    ("model", "sampling", "reasoning", "field", "text"),
    [
        ("gpt-4o", True, "none", "max_completion_tokens", False),
        ("chatgpt-4o-latest", True, "none", "max_completion_tokens", False),
        ("gpt-5.2", False, "effort", "max_completion_tokens", False),
        ("gpt-6-mini", False, "effort", "max_completion_tokens", False),
        ("o3-mini", False, "effort", "max_completion_tokens", False),
        ("openai/gpt-5", False, "effort", "max_completion_tokens", False),
        ("deepseek-reasoner", True, "effort", "max_tokens", True),
        ("olmo-2", True, "effort", "max_tokens", True),  # an `o` without a number
    ],
)
def test_chat_models(model: str, *, sampling: bool, reasoning: str, field: str, text: bool) -> None:
    row = takes("openai_chat", model)
    assert (row.sampling, row.stop) == (sampling, sampling)
    assert (row.reasoning, row.limit_field, row.reasoning_text) == (reasoning, field, text)


def test_another_vendor_s_server_is_compatible_whatever_its_models_are_called() -> None:
    assert takes("openai_chat", "gpt-5", compatible=True) == takes("openai_chat", "qwen3")
    assert takes("openai_chat", "gpt-5", compatible=True) != takes("openai_chat", "gpt-5")
    # Only of Chat Completions are there such servers.
    messages = takes("anthropic_messages", "claude-opus-4-8", compatible=True)
    assert messages == takes("anthropic_messages", "claude-opus-4-8")


def test_a_dialect_without_rows_takes_everything() -> None:
    assert takes("plain_text", "anything") == Takes()
    assert Takes().limit == DEFAULT_LIMIT


def test_rows_of_the_operator_are_tried_in_order() -> None:
    rows = (
        Row("openai_chat", "other*", {"stop": False}), Row("gemini", "*", {"stop": False}),
        Row("", "gpt-*", {"limit": 5}), Row("openai_chat", "gpt-5*", {"limit": 6, "prefill": True}),
    )  # fmt: skip
    found = takes("openai_chat", "openai/gpt-5.9", rows=rows)
    assert (found.limit, found.prefill, found.developer) == (6, True, True)


@pytest.mark.parametrize(
    "model", ["us.anthropic.claude-sonnet-4-5-v1:0", "anthropic/claude-sonnet-4-5"]
)
def test_hosts_put_words_before_a_claude(model: str) -> None:
    assert takes("anthropic_messages", model) == takes("anthropic_messages", "claude-sonnet-4-5")
    assert takes("bedrock_converse", model).reasoning == "budget"
