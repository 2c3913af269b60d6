"""Dialects are found by name, and a wrong name lists the right ones."""

import pytest

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.named import named


def test_every_dialect_is_found_by_its_name() -> None:
    assert {name: named(name) for name in DIALECTS} == DIALECTS


@pytest.mark.parametrize("name", ["", "openai", "OPENAI_CHAT", "openai_chat "])
def test_a_wrong_name_lists_the_right_ones(name: str) -> None:
    with pytest.raises(ValueError, match=r"must be one of: .*openai_chat.*anthropic_messages"):
        named(name)
