"""How many connections there are descriptors for. The limits are this process's own, and are put back."""

import resource
import sys
from collections.abc import Iterator

import pytest

from rawproxy.app.descriptors import EACH, RESERVE, connections_that_fit, raise_limit

NOFILE = resource.RLIMIT_NOFILE


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = resource.getrlimit(NOFILE)
    yield
    resource.setrlimit(NOFILE, before)


def set_soft(soft: int) -> None:
    resource.setrlimit(NOFILE, (soft, resource.getrlimit(NOFILE)[1]))


@pytest.mark.parametrize(("wanted", "fit"), [(99, 99), (100, 100), (101, 100), (20_000, 100)])
def test_each_connection_needs_two(wanted: int, fit: int) -> None:
    set_soft(RESERVE + EACH * 100)
    assert connections_that_fit(wanted) == fit


@pytest.mark.parametrize("soft", [RESERVE - 20, RESERVE, RESERVE + EACH - 1, RESERVE + EACH])
def test_one_is_always_taken(soft: int) -> None:
    set_soft(soft)
    assert connections_that_fit(20_000) == 1


@pytest.mark.parametrize("wanted", [1, 20_000, sys.maxsize])
def test_without_a_limit_all_fit(wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Few machines have none to give: the hard limit stands in the way.
    infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: infinite)
    assert connections_that_fit(wanted) == wanted
    monkeypatch.undo()


def test_the_soft_limit_becomes_the_hard_one() -> None:
    set_soft(RESERVE + 200)
    raise_limit()
    soft, hard = resource.getrlimit(NOFILE)
    assert soft == hard
    raise_limit()
    assert resource.getrlimit(NOFILE) == (soft, hard)
