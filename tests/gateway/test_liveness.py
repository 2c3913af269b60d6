"""The clocks, on a table of moments: nothing here waits."""

from collections.abc import Callable

import pytest

from rawproxy.gateway.liveness import TAIL_SECONDS, Clocks, Due, Timing

TIMING = Timing(keepalive_seconds=10, connect_seconds=5, first_event_seconds=60, silence_seconds=30)
WRITE = 20.0


def clocks(timing: Timing = TIMING, *, streams: bool = False) -> Clocks:
    made = Clocks(timing, WRITE, 0.0)
    made.streams = streams
    return made


def idle(made: Clocks) -> None:
    made.connecting(0.0)
    made.idle()


def tail_after_more_bytes(made: Clocks) -> None:
    made.whole(100.0)
    made.heard(101.0)
    made.whole(101.5)


@pytest.mark.parametrize(
    ("prepare", "due", "at"),
    [
        (lambda c: c.connecting(0.0), Due.CONNECT, 5.0),
        (lambda c: c.waiting(2.0), Due.FIRST_EVENT, 62.0),
        (lambda c: c.heard(2.0), Due.SILENCE, 32.0),
        (lambda c: c.whole(2.0), Due.TAIL, 2.0 + TAIL_SECONDS),
        (tail_after_more_bytes, Due.TAIL, 100.0 + TAIL_SECONDS),
        (lambda c: c.progressed(3.0, left=True), Due.WRITE, 23.0),
    ],
)
def test_each_clock_strikes_at_its_limit(
    prepare: Callable[[Clocks], None], due: Due, at: float
) -> None:
    made = clocks()
    prepare(made)
    assert made.due(at - 0.001) is None
    assert made.due(at) is due
    assert made.due(at + 0.001) is due


def test_without_an_attempt_only_the_client_counts() -> None:
    made = clocks()
    idle(made)
    assert made.due(1e9) is None


@pytest.mark.parametrize("seconds", [9.999, 10.0, 10.001])
def test_keepalives_count_downstream_silence_whatever_the_upstream_does(seconds: float) -> None:
    made = clocks(streams=True)
    made.connecting(0.0)
    made.waiting(0.1)
    assert (made.due(seconds) is Due.CONNECT) is False
    assert made.due(seconds) is (Due.KEEPALIVE if seconds >= 10 else None)
    made.heard(9.0)
    assert made.due(seconds) is (Due.KEEPALIVE if seconds >= 10 else None)
    made.spoke(seconds)
    assert made.due(seconds) is None


def test_a_blocking_call_has_no_keepalive() -> None:
    made = clocks()
    made.waiting(0.0)
    assert made.due(59.0) is None


def test_a_client_that_does_not_read_is_no_silence() -> None:
    made = clocks(streams=True)
    made.heard(0.0)
    made.progressed(0.0, left=True)
    assert made.blocked_since == 0.0
    assert made.due(15.0) is None  # neither a keepalive nor the upstream's silence
    assert made.due(WRITE) is Due.WRITE
    made.progressed(WRITE, left=False)
    assert made.blocked_since is None


def test_progress_starts_the_write_clock_anew() -> None:
    made = clocks()
    made.progressed(0.0, left=True)
    made.progressed(15.0, left=True)
    assert made.due(WRITE) is None
    assert made.due(15.0 + WRITE) is Due.WRITE


@pytest.mark.parametrize("seconds", [99.0, 100.0, 101.0])
def test_the_total_wins_over_all_but_the_write_clock(seconds: float) -> None:
    made = clocks(Timing(total_seconds=100, keepalive_seconds=1), streams=True)
    made.heard(0.0)
    assert (made.due(seconds) is Due.TOTAL) is (seconds >= 100)
    made.progressed(seconds - 1, left=True)
    assert (made.due(seconds) is Due.TOTAL) is (seconds >= 100)
    made.progressed(seconds - WRITE, left=True)
    assert made.due(seconds) is Due.WRITE  # a client that is not there hears of no total


def test_zero_switches_a_clock_off() -> None:
    made = clocks(
        Timing(keepalive_seconds=0, connect_seconds=0, first_event_seconds=0, silence_seconds=0),
        streams=True,
    )
    for start in (made.connecting, made.waiting, made.heard):
        start(0.0)
        assert made.due(1e9) is None
