"""Log lines: what exceptions say stays out of them, and records wait for one another."""

import io
import logging
import sys
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from rawproxy.app.logs import (
    MOST_WAITING,
    WAIT_SECONDS,
    Discreet,
    RecordLog,
    Writer,
    flush,
    hush,
    set_up,
)
from rawproxy.gateway.record import Record


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


# -- records

FORM = "%(asctime)s %(levelname)s %(name)s %(message)s"


class Pipe(io.StringIO):
    """Keeps each write apart."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)


class Broken(Pipe):
    """Takes nothing."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def said(stream: io.StringIO) -> list[str]:
    """What the lines say behind their times."""
    return [line.split(" ", 2)[2] for line in stream.getvalue().splitlines()]


def all_to(stream: Pipe) -> Pipe:
    """Have all lines go to `stream`, as in a process that has set logging up itself."""
    writer = Writer(stream)
    writer.setFormatter(Discreet(FORM))
    logging.getLogger().handlers[:] = [writer]
    logging.getLogger("rawproxy").setLevel(logging.INFO)
    return stream


def line(number: int) -> str:
    return f"INFO rawproxy.record {Record(f'rp_{number}', 0.0).line().decode()}"


@pytest.mark.parametrize("now", [0.0, 1795281829.0, 1795281829.0625, 1795281829.9990234375])
def test_a_records_line_is_that_of_the_logging_module(now: float) -> None:
    record = Record("rp_\N{SNOWMAN}", now)
    message = record.line().decode()
    as_logged = logging.LogRecord("rawproxy.record", logging.INFO, "f", 1, "%s", (message,), None)
    as_logged.created, as_logged.msecs = now, (now - int(now)) * 1000
    writer = Writer(io.StringIO())
    for _ in range(2):  # the first of a second, and another one of the same
        assert writer._line(now, record).decode() == Discreet(FORM).format(as_logged) + "\n"


async def test_records_wait_for_one_another(loggers: None, autojump_clock: MockClock) -> None:
    pipe = all_to(Pipe())
    log = RecordLog()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        for beginning in (0, 2):
            began = len(pipe.writes)
            log.keep(Record(f"rp_{beginning}", 0.0))
            await trio.sleep(WAIT_SECONDS / 2)
            log.keep(Record(f"rp_{beginning + 1}", 0.0))
            assert len(pipe.writes) == began
            await trio.sleep(WAIT_SECONDS)
            assert len(pipe.writes) == began + 1
        assert said(pipe) == [line(number) for number in range(4)]
        log.keep(Record("rp_4", 0.0))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert said(pipe) == [line(number) for number in range(5)]


async def test_any_other_line_comes_after_those_that_wait(loggers: None) -> None:
    pipe = all_to(Pipe())
    log = RecordLog()
    log.keep(Record("rp_1", 0.0))
    logging.getLogger("rawproxy").error("it broke")
    log.keep(Record("rp_2", 0.0))
    logging.getLogger("other").warning("so did I")
    assert said(pipe) == [line(1), "ERROR rawproxy it broke", line(2), "WARNING other so did I"]


async def test_only_so_many_wait(loggers: None) -> None:
    pipe = all_to(Pipe())
    log = RecordLog()
    for number in range(MOST_WAITING):
        log.keep(Record(f"rp_{number}", 0.0))
    assert pipe.writes == []
    log.keep(Record(f"rp_{MOST_WAITING}", 0.0))
    assert said(pipe) == [line(number) for number in range(MOST_WAITING + 1)]


async def test_a_write_holds_whole_lines_and_no_more_than_a_pipe_takes_at_once(
    loggers: None,
) -> None:
    pipe = all_to(Pipe())
    log = RecordLog()
    for number in range(30):
        log.keep(Record(f"rp_{number}", 0.0, why="x" * (5000 if number == 7 else 10 * number)))
    flush()
    assert len(said(pipe)) == 30
    assert all(text.endswith("\n") for text in pipe.writes)
    large = [text for text in pipe.writes if len(text) > 4096]
    assert [text.count("\n") for text in large] == [1]
    assert len(pipe.writes) < 10


async def test_a_clean_exit_loses_none(loggers: None) -> None:
    pipe = all_to(Pipe())
    RecordLog().keep(Record("rp_1", 0.0))
    logging.shutdown([lambda: logging.getLogger().handlers[0]])
    assert said(pipe) == [line(1)]


def test_below_its_level_nothing_is_kept(loggers: None) -> None:
    pipe = all_to(Pipe())
    logging.getLogger("rawproxy").setLevel(logging.WARNING)
    RecordLog().keep(Record("rp_1", 0.0))
    flush()
    assert pipe.writes == []


def test_where_others_set_logging_up_a_record_is_a_line_like_any_other(
    loggers: None, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger().handlers[:] = [caplog.handler]
    with caplog.at_level(logging.INFO, "rawproxy"):
        RecordLog().keep(Record("rp_1", 0.0))
    flush()
    assert [f"{one.levelname} {one.name} {one.getMessage()}" for one in caplog.records] == [line(1)]


async def test_what_cannot_be_written_costs_nobody_else_anything(
    loggers: None, capsys: pytest.CaptureFixture[str]
) -> None:
    all_to(Broken())
    RecordLog().keep(Record("rp_1", 0.0))
    flush()
    assert "No space left on device" in capsys.readouterr().err
