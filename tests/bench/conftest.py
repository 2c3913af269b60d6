"""The rig's programs, for the tests that run them."""

import shutil
from collections.abc import Iterator

import pytest

from bench.processes import plan_cores
from bench.rig import Rig, open_rig


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """A mock upstream that runs."""
    if not shutil.which("cc"):
        pytest.skip("the rig's programs need a C compiler")
    with open_rig(plan_cores()) as opened:
        yield opened
