"""How log lines are written: to standard error, and without what exceptions say.

Layer: app. An exception's message may quote what it tripped over, and that may be a credential, or a
word of somebody's prompt. Its type and where it came from say enough.

Each exchange has a line, its record. `logging` takes 17 us for one, as much as reading its request; so
where the lines are ours to write, records wait for a tenth of a second and are written many at a time, in
the same form. Any other line goes out at once, and those that wait go before it: the order stays. A clean
exit writes them all.
"""

import logging
import sys
import time
import traceback
from collections import deque
from types import TracebackType
from typing import TextIO

import trio

from rawproxy.gateway.record import Record

__all__ = [
    "MOST_WAITING",
    "WAIT_SECONDS",
    "Discreet",
    "RecordLog",
    "Writer",
    "flush",
    "hush",
    "set_up",
]

WAIT_SECONDS = 0.1
"""How long a record's line may wait for others."""

MOST_WAITING = 64
"""Records that wait; with one more all of them are written."""

ONE_WRITE = 4096
"""Bytes of lines in one write. A pipe takes as many at once (PIPE_BUF in pipe(7)): lines of several workers
do not get into one another."""

_FORM = "%(asctime)s %(levelname)s %(name)s %(message)s"
_RECORDS = "rawproxy.record"


class Discreet(logging.Formatter):
    """Writes tracebacks with the types of exceptions, and without their messages."""

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        """Return the traceback of `ei`, the causes first, as Python would write it but for the messages."""
        return "" if ei[1] is None else "\n".join(_lines(ei[1], set()))


def _lines(error: BaseException, seen: set[int]) -> list[str]:
    seen.add(id(error))
    lines: list[str] = []
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        lines += [*_lines(before, seen), "followed by:"]
    lines.append("Traceback (most recent call last):")
    lines += [line.rstrip("\n") for line in traceback.format_tb(error.__traceback__)]
    lines.append(type(error).__qualname__)
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            if id(one) not in seen:
                lines += [f"  {line}" for part in _lines(one, seen) for line in part.split("\n")]
    return lines


class Writer(logging.StreamHandler[TextIO]):
    """Writes log lines; those of records later, and many at a time.

    Any thread may log. Records are kept by one of them, and written by whichever comes to it.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: deque[tuple[float, Record]] = deque()
        self._second: int | None = None  # Unix time, and how it is written
        self._stamp = ""

    def keep(self, record: Record) -> bool:
        """Write the record's line soon; return whether it is the first one that waits."""
        now = time.time()  # noqa: TID251 - a stamp; no clock runs by it
        # Appending needs no lock; only writing does.
        self._waiting.append((now, record))
        waiting = len(self._waiting)
        if waiting > MOST_WAITING:
            self.flush()
        return waiting == 1

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line that does not wait, and before it all that do."""
        self._write_waiting()
        super().emit(record)

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            self._write_waiting()
            super().flush()
        finally:
            self.release()

    def _write_waiting(self) -> None:
        try:
            while self._waiting:
                self.stream.write(self._lines())
        except Exception:  # as `logging` does it: what cannot be logged costs nobody more than that
            self.handleError(logging.makeLogRecord({"name": _RECORDS}))

    def _lines(self) -> str:
        """Return lines of those that wait: ONE_WRITE bytes at most, or a longer one by itself."""
        lines = [self._line(*self._waiting.popleft())]
        size = len(lines[0])
        while self._waiting:
            line = self._line(*self._waiting[0])
            size += len(line)
            if size > ONE_WRITE:
                break
            self._waiting.popleft()
            lines.append(line)
        return b"".join(lines).decode()

    def _line(self, now: float, record: Record) -> bytes:
        """Return a record's line as `_FORM` has it."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime(logging.Formatter.default_time_format, time.localtime(now))
        start = f"{self._stamp},{int((now - second) * 1000):03d} INFO {_RECORDS} "
        return start.encode() + record.line() + b"\n"


def _writer() -> Writer | None:
    """Return what writes all our lines; None where somebody else has set logging up."""
    handlers = logging.root.handlers
    only = handlers[0] if len(handlers) == 1 else None
    return only if isinstance(only, Writer) else None


def flush() -> None:
    """Write what waits."""
    if (writer := _writer()) is not None:
        writer.flush()


class RecordLog:
    """Logs records."""

    def __init__(self) -> None:
        self._log = logging.getLogger(_RECORDS)
        self._alarm = trio.CancelScope()  # its deadline is when those that wait are written

    def keep(self, record: Record) -> None:
        """Log a record."""
        if not self._log.isEnabledFor(logging.INFO):
            return
        writer = _writer()
        if writer is None:
            self._log.info("%s", record.line().decode())
        elif writer.keep(record):
            self._alarm.deadline = trio.current_time() + WAIT_SECONDS

    async def run(self) -> None:
        """Write what has waited long enough, until cancelled."""
        try:
            while True:
                with self._alarm:
                    await trio.sleep_forever()
                self._alarm = trio.CancelScope()
                flush()
        finally:
            flush()


def hush() -> None:
    """Keep the libraries below us from logging what they see: hpack tells every header field."""
    for name in ("hpack", "h2"):
        logging.getLogger(name).setLevel(logging.WARNING)


def set_up(level: str) -> None:
    """Write log lines of `level` and above to standard error; of others' loggers, warnings."""
    handler = Writer(sys.stderr)
    handler.setFormatter(Discreet(_FORM))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("rawproxy").setLevel(level.upper())
