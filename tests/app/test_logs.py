"""Log lines: what exceptions say stays out of them."""

import logging
import sys
from collections.abc import Iterator

import pytest

from rawproxy.app.logs import Discreet, hush, set_up


def written(error: BaseException) -> str:
    try:
        raise error
    except BaseException:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "it broke", (), sys.exc_info())
    return Discreet("%(levelname)s %(message)s").format(record)


def test_a_traceback_without_its_message() -> None:
    found = written(ValueError("canary"))
    assert found.startswith("ERROR it broke\nTraceback (most recent call last):\n")
    assert found.endswith("\nValueError")
    assert "raise error" in found
    assert "canary" not in found


def test_causes_and_groups() -> None:
    inner = KeyError("canary")
    group = ExceptionGroup("canary", [OSError(5, "canary"), RuntimeError("canary")])
    group.__cause__ = inner
    inner.__context__ = group  # a ring ends
    found = written(group)
    kinds = ("KeyError", "followed by:", "ExceptionGroup", "  OSError", "  RuntimeError")
    places = [found.index(kind) for kind in kinds]
    assert places == sorted(places)
    assert "canary" not in found


def test_what_is_suppressed_is_left_out() -> None:
    error = ValueError()
    error.__context__, error.__suppress_context__ = KeyError(), True
    assert "KeyError" not in written(error)


def test_a_line_without_an_exception() -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "fine", (), (None, None, None))
    assert Discreet("%(message)s").format(record).rstrip("\n") == "fine"


@pytest.fixture
def loggers() -> Iterator[None]:
    """The loggers are afterwards as they were before."""
    root = logging.getLogger()
    named = [logging.getLogger(name) for name in ("rawproxy", "hpack", "h2")]
    before, levels = root.handlers[:], [one.level for one in (root, *named)]
    root.handlers.clear()
    yield
    root.handlers[:] = before
    for one, level in zip((root, *named), levels, strict=True):
        one.setLevel(level)


def test_others_loggers_tell_warnings(loggers: None, capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().handlers.clear()  # pytest's own
    set_up("debug")
    for name in ("rawproxy.x", "hpack.hpack", "botocore"):
        logging.getLogger(name).debug("debug of %s", name)
        logging.getLogger(name).warning("warning of %s", name)
    said = capsys.readouterr().err.splitlines()
    assert [line.split(" ", 2)[2] for line in said] == [
        "DEBUG rawproxy.x debug of rawproxy.x",
        "WARNING rawproxy.x warning of rawproxy.x",
        "WARNING hpack.hpack warning of hpack.hpack",
        "WARNING botocore warning of botocore",
    ]


def test_a_host_at_debug_learns_no_header_fields(loggers: None) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    hush()
    assert not logging.getLogger("hpack.hpack").isEnabledFor(logging.DEBUG)
