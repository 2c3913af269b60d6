"""Log lines: what exceptions say stays out of them."""

import logging
import sys

import pytest

from rawproxy.app.logs import Discreet, set_up


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


def test_set_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.Logger("root")
    monkeypatch.setattr(logging, "root", root)
    set_up("info")
    root.info("told")
    root.debug("not told")
    assert capsys.readouterr().err.endswith(" INFO root told\n")
