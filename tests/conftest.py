"""Shared fixtures, the --regen-golden switch, and where the recorded traffic is."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("RAWPROXY_SHARED", ROOT.parent / "shared"))

# CI machines are shared and slow: a deadline would fail by chance.
settings.register_profile("house", deadline=None, max_examples=60)
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regen-golden", action="store_true", help="rewrite tests/golden")


@pytest.fixture
def regen(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--regen-golden"))


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The recorded vendor traffic, read in place; skips where it is absent."""
    folder = SHARED / "recorded"
    if not folder.is_dir():
        pytest.skip(f"the recorded traffic is not at {folder}; set RAWPROXY_SHARED")
    return folder
