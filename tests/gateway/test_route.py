"""Routes: first match wins, then `upstream/model`, then a 404 that lists what there is."""

import pytest

from rawproxy.errors import NotFound
from rawproxy.gateway.providers import Upstream
from rawproxy.gateway.route import Route, Router

UPSTREAMS = {
    "a": Upstream("a", "anthropic", dialects=("anthropic_messages",)),
    "o": Upstream("o", "openai", dialects=("openai_chat",), models={"fast": "gpt-5-mini"}),
}
ROUTER = Router(
    (
        Route("claude-*", ("a/*", "o/gpt-5")),
        Route("claude-9", ("o/never",)),
        Route("fast", ("o/*",)),
        Route("o/special", ("a/special",)),
    ),
    UPSTREAMS,
)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("claude-9", ["a/claude-9", "o/gpt-5"]),
        ("claude-", ["a/claude-", "o/gpt-5"]),
        ("fast", ["o/gpt-5-mini"]),
        ("o/fast", ["o/gpt-5-mini"]),
        ("o/gpt-5", ["o/gpt-5"]),
        ("o/vendor/model", ["o/vendor/model"]),
        ("o/special", ["a/special"]),
    ],
)
def test_where_a_model_goes(model: str, names: list[str]) -> None:
    assert [candidate.name for candidate in ROUTER.find(model)] == names


@pytest.mark.parametrize("model", ["gpt-5", "", "o", "o/", "/x", "nobody/x", "CLAUDE-9"])
def test_unknown_models_are_404_and_told_what_there_is(model: str) -> None:
    with pytest.raises(NotFound) as caught:
        ROUTER.find(model)
    assert caught.value.code == "model_not_found"
    assert "claude-*" in str(caught.value)
    assert "o/fast" in str(caught.value)


def test_names() -> None:
    assert ROUTER.names() == ["claude-*", "claude-9", "fast", "o/special", "a/*", "o/fast"]


def test_with_nothing_there_is_nothing() -> None:
    with pytest.raises(NotFound, match="nothing yet"):
        Router((), {}).find("x")


def test_what_was_found_is_the_finders() -> None:
    """An exchange takes away the candidates that it has tried."""
    found = ROUTER.find("claude-9")
    found.clear()
    assert [candidate.name for candidate in ROUTER.find("claude-9")] == ["a/claude-9", "o/gpt-5"]


def test_a_name_is_shown_as_far_as_it_can_be() -> None:
    (found,) = ROUTER.find("o/gpt 5\r\n\u00e9" + "x" * 300)
    assert found.shown == b"o/gpt?5???" + b"x" * 190
