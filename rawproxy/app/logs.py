"""How log lines are written: to standard error, and without what exceptions say.

Layer: app. An exception's message may quote what it tripped over, and that may be a credential, or a
word of somebody's prompt. Its type and where it came from say enough.
"""

import logging
import sys
import traceback
from types import TracebackType

__all__ = ["Discreet", "hush", "set_up"]


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


def hush() -> None:
    """Keep the libraries below us from logging what they see: hpack tells every header field."""
    for name in ("hpack", "h2"):
        logging.getLogger(name).setLevel(logging.WARNING)


def set_up(level: str) -> None:
    """Write log lines of `level` and above to standard error; of others' loggers, warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Discreet("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("rawproxy").setLevel(level.upper())
