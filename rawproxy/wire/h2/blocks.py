"""Header blocks: HPACK, read within limits, and written.

Layer: wire. Knows sizes. Knows no names: what the fields mean is in `h2.heads`.
Spec:  https://www.rfc-editor.org/rfc/rfc7541

What we write leaves the table that fields share alone, and Huffman's code too: a field is the same
bytes wherever it stands, and takes a quarter of hpack's time (`bench.micro`).
"""

from functools import lru_cache

from h2.errors import ErrorCodes
from hpack import NeverIndexedHeaderTuple
from hpack.table import HeaderTable

from rawproxy.wire.h2.events import Http2Error
from rawproxy.wire.h2.huffman import Undecodable, undo_huffman
from rawproxy.wire.http import Field, Fields

__all__ = [
    "BLOCK_FACTOR", "BOMB_FACTOR", "FIELD_OVERHEAD", "MAX_DIGITS", "MAX_TABLE_UPDATES", "TABLE_BYTES",
    "BlockDecoder", "write_block",
]  # fmt: skip

BLOCK_FACTOR = 2
"""A header block may have this many times `head_bytes`, compressed: HPACK seldom makes it longer."""

BOMB_FACTOR = 4
"""A header block that grows past this many times `head_bytes` is cut while it is decoded, and ends
the connection, for the table is lost with it. Up to there the one request is refused (431)."""

MAX_TABLE_UPDATES = 2
"""Changes of the table's size before a header block: RFC 7541 4.2."""

TABLE_BYTES = 4096
"""Bytes of the table, either way: what both have who say nothing else. We put nothing into theirs."""

MAX_DIGITS = 5
"""Bytes behind a number's first one: RFC 7541 5.1 leaves their number to us."""

FIELD_OVERHEAD = 32
"""Bytes that a field counts beside its name and value: RFC 9113 6.5.2."""

# The first byte of a field, and what it holds of a number: https://www.rfc-editor.org/rfc/rfc7541#section-6
_INDEXED, _INDEX = 0x80, 0x7F
_ADDED, _ADDED_NAME = 0x40, 0x3F
_UPDATE, _UPDATE_SIZE, _UPDATE_MASK = 0x20, 0x1F, 0xE0
_NEVER_INDEXED, _NAME = 0x10, 0x0F
# ... and of a text.
_HUFFMAN, _SIZE = 0x80, 0x7F
# ... and each further byte of a number.
_MORE, _DIGIT, _DIGIT_BITS = 0x80, 0x7F, 7

# https://www.rfc-editor.org/rfc/rfc7541#appendix-A
_STATIC: list[Field] = [*HeaderTable.STATIC_TABLE]
_WHOLE = {field: bytes([_INDEXED | at]) for at, field in enumerate(_STATIC, 1)}
_NAMES = {name: at for at, (name, _) in reversed([*enumerate(_STATIC, 1)])}


class BlockDecoder:
    """Reads the header blocks of one direction of one connection; all of them, in order.

    Args:
        head_bytes: of a head; BOMB_FACTOR times as many are decoded.
    """

    def __init__(self, head_bytes: int) -> None:
        self._most = BOMB_FACTOR * head_bytes
        self._table = HeaderTable()
        self._table.maxsize = TABLE_BYTES

    def decode(self, block: bytes) -> Fields:
        """Return the fields as they are, pseudo-header fields too.

        Raises:
            Http2Error: the block, and with it every later one, cannot be read.
        """
        try:
            return self._read(block, self._change_table(block))
        except (IndexError, Undecodable):  # the block, or the table, ends before that
            raise _malformed() from None

    def _change_table(self, block: bytes) -> int:
        """Take changes of the table's size; return where the fields begin."""
        updates = at = 0
        while at < len(block) and block[at] & _UPDATE_MASK == _UPDATE:
            size, at = _number(block, at, _UPDATE_SIZE)
            updates += 1
            if updates > MAX_TABLE_UPDATES or size > TABLE_BYTES:
                raise _malformed()
            self._table.maxsize = size
        return at

    def _read(self, block: bytes, at: int) -> Fields:
        fields: Fields = []
        size = 0
        while at < len(block):
            first = block[at]
            if first & _INDEXED:
                index, at = _number(block, at, _INDEX)
                field = self._entry(index)
            else:
                added = first & _ADDED
                if not added and first & _UPDATE:
                    raise _malformed()
                index, at = _number(block, at, _ADDED_NAME if added else _NAME)
                if index:
                    name, _ = self._entry(index)
                else:
                    name, at = _text(block, at)
                value, at = _text(block, at)
                field = (name, value)
                if added:
                    self._table.add(name, value)
            fields.append(field)
            size += len(field[0]) + len(field[1]) + FIELD_OVERHEAD
            if size > self._most:
                raise Http2Error("a header block grows without end", ErrorCodes.ENHANCE_YOUR_CALM)
        return fields

    def _entry(self, index: int) -> Field:
        """Return what the table has; the newest comes right behind the static ones."""
        if index > len(_STATIC):
            return self._table.dynamic_entries[index - len(_STATIC) - 1]
        if not index:
            raise _malformed()
        return _STATIC[index - 1]


def _malformed() -> Http2Error:
    return Http2Error("a header block is malformed", ErrorCodes.COMPRESSION_ERROR)


def _number(block: bytes, at: int, most: int) -> tuple[int, int]:
    """Return a number that begins with the bits `most` of a byte, and where it ends.

    Source: https://www.rfc-editor.org/rfc/rfc7541#section-5.1
    """
    number = block[at] & most
    at += 1
    if number < most:
        return number, at
    for place in range(MAX_DIGITS):
        digit = block[at + place]
        number += (digit & _DIGIT) << _DIGIT_BITS * place
        if not digit & _MORE:
            return number, at + place + 1
    raise _malformed()


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    """Return a text, and where it ends: https://www.rfc-editor.org/rfc/rfc7541#section-5.2"""
    coded = block[at] & _HUFFMAN
    size, at = _number(block, at, _SIZE)
    end = at + size
    if end > len(block):
        raise _malformed()
    text = block[at:end]
    return undo_huffman(text) if coded else text, end


def write_block(fields: Fields) -> bytes:
    """Return the header block of `fields`: pseudo-header fields first, names in lower case.

    Args:
        fields: one that is a `NeverIndexedHeaderTuple` is to be kept out of every table, by those
            too who pass it on.

    Source: https://www.rfc-editor.org/rfc/rfc7541#section-6
    """
    parts: list[bytes] = []
    for field in fields:
        whole = _WHOLE.get(field)
        if whole is not None:
            parts.append(whole)
            continue
        name, value = field
        at = _NAMES.get(name, 0)
        secret = type(field) is NeverIndexedHeaderTuple
        parts.append(_digits(at, _NEVER_INDEXED if secret else 0, _NAME))
        if not at:
            parts += (_digits(len(name), 0, _SIZE), name)
        parts += (_digits(len(value), 0, _SIZE), value)
    return b"".join(parts)


@lru_cache(1024)
def _digits(number: int, kind: int, most: int) -> bytes:
    """Return a number that begins with the bits `most` of a byte whose others are `kind`."""
    if number < most:
        return bytes([kind | number])
    digits = [kind | most]
    number -= most
    while number > _DIGIT:
        digits.append(_MORE | number & _DIGIT)
        number >>= _DIGIT_BITS
    return bytes([*digits, number])
