"""Check a reply stream, of whatever server, against what its dialect promises clients.

Layer: dialects. Public as `rawproxy.validate`. Each dialect brings its own rules (`Dialect.grammar`);
here are the two that framing has.
"""

from collections.abc import Iterable, Iterator

import msgspec

from rawproxy.dialects.base import Grammar
from rawproxy.dialects.named import named
from rawproxy.errors import FrameTooLong, WireError
from rawproxy.wire.frame import MAX_FRAME, Splitter

__all__ = ["Violation", "validate"]


class Violation(msgspec.Struct, frozen=True):
    """One broken rule.

    Attributes:
        frame: counted from 1; what the end of the stream lacks is missing in the frame after the last.
        rule: the rule's short name, e.g. `order`.
        what: what is wrong.
    """

    frame: int
    rule: str
    what: str

    def __str__(self) -> str:
        return f"frame {self.frame}: {self.rule}: {self.what}"


def validate(dialect: str, data: bytes | Iterable[bytes]) -> Iterator[Violation]:
    """Yield each rule of `dialect` that a stream breaks, as soon as its frame is complete.

    Args:
        dialect: its name.
        data: the stream, or reads of it of any size.

    Raises:
        ValueError: there is no such dialect.
    """
    found = named(dialect)
    reads = [data] if isinstance(data, bytes) else data
    return _check(found.grammar(), found.FRAMING.splitter(MAX_FRAME), reads)


def _check(grammar: Grammar, splitter: Splitter, reads: Iterable[bytes]) -> Iterator[Violation]:
    number = 0
    for read in reads:
        try:
            frames = splitter.feed(read)
        except WireError as error:
            # Nothing behind it can be told apart from its rest.
            rule = "size" if isinstance(error, FrameTooLong) else "framing"
            yield Violation(number + 1, rule, str(error))
            return
        for frame in frames:
            if not frame.whole:
                continue  # the LF of a CRLF that two reads tore apart
            number += 1
            yield from _violations(number, grammar.check(frame))
    if splitter.close().strip(b"\r\n"):
        yield Violation(number + 1, "framing", "the last frame has no end")
    yield from _violations(number + 1, grammar.close())


def _violations(number: int, broken: list[str]) -> Iterator[Violation]:
    for text in broken:
        rule, _, what = text.partition(": ")
        yield Violation(number, rule, what)
