"""Header blocks: undo HPACK, within limits.

Layer: wire. Knows sizes. Knows no names: what the fields mean is in `h2.heads`.
Spec:  https://www.rfc-editor.org/rfc/rfc7541
"""

from h2.errors import ErrorCodes
from hpack import Decoder, HPACKError, OversizedHeaderListError

from rawproxy.wire.h2.events import Http2Error
from rawproxy.wire.http import Fields

__all__ = ["BLOCK_FACTOR", "BOMB_FACTOR", "MAX_TABLE_UPDATES", "BlockDecoder"]

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
