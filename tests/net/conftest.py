"""What several files of tests share."""

import pytest


@pytest.fixture
def with_the_pump(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the pump that calls."""
    monkeypatch.setenv("RAWPROXY_PUMP", "on")
