"""Header blocks: undo HPACK, within limits, and do it.

Layer: wire. Knows sizes. Knows no names: what the fields mean is in `h2.heads`.
Spec:  https://www.rfc-editor.org/rfc/rfc7541

What we write leaves the table that fields share alone, and Huffman's code too: a field is the same
bytes wherever it stands, and costs half a microsecond where hpack takes seven.
"""

from functools import lru_cache

from h2.errors import ErrorCodes
from hpack import Decoder, HPACKError, NeverIndexedHeaderTuple, OversizedHeaderListError
from hpack.table import HeaderTable

from rawproxy.wire.h2.events import Http2Error
from rawproxy.wire.http import Fields

__all__ = ["BLOCK_FACTOR", "BOMB_FACTOR", "MAX_TABLE_UPDATES", "BlockDecoder", "write_block"]

BLOCK_FACTOR = 2
"""A header block may have this many times `head_bytes`, compressed: HPACK seldom makes it longer."""

BOMB_FACTOR = 4
"""A header block that grows past this many times `head_bytes` is cut while it is decoded, and ends
the connection, for the table is lost with it. Up to there the one request is refused (431)."""

MAX_TABLE_UPDATES = 2
"""Changes of the table's size before a header block: RFC 7541 4.2."""

_TABLE_UPDATE = 0x20
_TABLE_UPDATE_MASK = 0xE0
_TABLE_UPDATE_MORE = 0x1F
_MORE = 0x80

_INDEXED = 0x80
_NEVER_INDEXED = 0x10
_NAME_MOST, _SIZE_MOST = 0x0F, 0x7F  # what the first byte of a number holds
_MORE_BITS = 7

# Of the static table: https://www.rfc-editor.org/rfc/rfc7541#appendix-A
_WHOLE = {field: bytes([_INDEXED | at]) for at, field in enumerate(HeaderTable.STATIC_TABLE, 1)}
_NAMES = {name: at for at, (name, _) in reversed([*enumerate(HeaderTable.STATIC_TABLE, 1)])}


class BlockDecoder:
    """Reads the header blocks of one direction of one connection; all of them, in order.

    Args:
        head_bytes: of a head; BOMB_FACTOR times as many are decoded.
    """

    def __init__(self, head_bytes: int) -> None:
        self._decoder = Decoder(max_header_list_size=BOMB_FACTOR * head_bytes)

    def decode(self, block: bytes) -> Fields:
        """Return the fields as they are, pseudo-header fields too.

        Raises:
            Http2Error: the block, and with it every later one, cannot be read.
        """
        if _table_updates(block) > MAX_TABLE_UPDATES:
            raise Http2Error("a header block is malformed", ErrorCodes.COMPRESSION_ERROR)
        try:
            return list(self._decoder.decode(block, raw=True))
        except OversizedHeaderListError:
            raise Http2Error(
                "a header block grows without end", ErrorCodes.ENHANCE_YOUR_CALM
            ) from None
        except HPACKError:
            raise Http2Error("a header block is malformed", ErrorCodes.COMPRESSION_ERROR) from None


def _table_updates(block: bytes) -> int:
    """Return how often a header block changes the table's size before its first field.

    hpack reads any number, at 1 us for each byte.
    """
    updates = at = 0
    while at < len(block) and block[at] & _TABLE_UPDATE_MASK == _TABLE_UPDATE:
        more = block[at] & _TABLE_UPDATE_MORE == _TABLE_UPDATE_MORE
        at += 1
        while more and at < len(block):
            more = bool(block[at] & _MORE)
            at += 1
        updates += 1
    return updates


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
        secret = type(field) is NeverIndexedHeaderTuple
        parts += (_begin(name, secret), _size(len(value)), value)
    return b"".join(parts)


@lru_cache(256)
def _begin(name: bytes, secret: bool) -> bytes:
    """Return what a field begins with: that it is not for the table, and its name."""
    kind = _NEVER_INDEXED if secret else 0
    at = _NAMES.get(name)
    if at is not None:
        return _number(at, kind, _NAME_MOST)
    return bytes([kind]) + _size(len(name)) + name


@lru_cache(1024)
def _size(size: int) -> bytes:
    return _number(size, 0, _SIZE_MOST)


def _number(number: int, kind: int, most: int) -> bytes:
    """Source: https://www.rfc-editor.org/rfc/rfc7541#section-5.1"""
    if number < most:
        return bytes([kind | number])
    digits = [kind | most]
    number -= most
    while number > _SIZE_MOST:
        digits.append(_MORE | number & _SIZE_MOST)
        number >>= _MORE_BITS
    return bytes([*digits, number])
