"""The fault matrix: every scene of every row, in virtual time, on real sockets."""

import logging

import pytest
from trio.testing import MockClock

from tests.faults.story import Scene, tell
from tests.faults.table import ROWS

SCENES = [
    pytest.param(scene, id=f"{row.number}-{scene}", marks=[pytest.mark.slow] * scene.case.slow)
    for row in ROWS
    for case in row.cases
    if not case.real
    for scene in case.scenes()
]


@pytest.mark.parametrize("scene", SCENES)
async def test_a_scene(
    scene: Scene, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    await tell(scene)
    ours = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert ours == []  # no fault of others is one of ours
