"""rawproxy.dialects.failures: what statuses mean, and how servers say that a call is too long."""

import pytest

from rawproxy.dialects.events import FailKind, Overflow
from rawproxy.dialects.failures import kind_of_status, read_overflow


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid"),
        (401, "authentication"),
        (402, "billing"),
        (403, "permission"),
        (404, "not_found"),
        (408, "timeout"),
        (413, "too_large"),
        (418, "invalid"),
        (429, "rate_limit"),
        (500, "server"),
        (503, "overloaded"),
        (504, "timeout"),
        (529, "overloaded"),
        (302, "server"),
    ],
)
def test_what_a_status_means(status: int, kind: FailKind) -> None:
    assert kind_of_status(status) == kind


@pytest.mark.parametrize(
    ("message", "overflow"),
    [
        (
            (
                "This model's maximum context length is 8192 tokens. However, you requested 10000 "
                "tokens (9000 in the messages, 1000 in the completion). Please shorten it."
            ),
            Overflow(9000, 8192, 1000),
        ),
        (
            (
                "This model's maximum context length is 8192 tokens. However, your messages resulted "
                "in 9000 tokens (8000 in the messages, 1000 in the functions). Please shorten it."
            ),
            Overflow(9000, 8192),
        ),
        (
            (
                "This endpoint's maximum context length is 131072 tokens. However, you requested about "
                "200000 tokens (190000 of text input, 10000 in the output)."
            ),
            Overflow(190000, 131072, 10000),
        ),
        (
            (
                "'max_tokens' is too large: 40000. This model's maximum context length is 32768 tokens "
                "and your request has 1200 input tokens (40000 > 32768 - 1200)."
            ),
            Overflow(1200, 32768, 40000),
        ),
        ("prompt is too long: 210000 tokens > 200000 maximum", Overflow(210000, 200000)),
        (
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
            Overflow(190000, 200000, 20000),
        ),
        (
            (
                "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in "
                "300000 tokens."
            ),
            Overflow(300000, 272000),
        ),
        (
            "request (9000 tokens) exceeds the available context size (4096 tokens)",
            Overflow(9000, 4096),
        ),
        (
            "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
            Overflow(5000, 4096),
        ),
        (
            "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
            Overflow(40000, 32768),
        ),
    ],
)
def test_overflow_wordings(message: str, overflow: Overflow) -> None:
    assert read_overflow(message) == overflow


def test_an_ordinary_message_is_no_overflow() -> None:
    assert read_overflow("temperature must be at most 2") is None
