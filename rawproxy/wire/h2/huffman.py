"""Huffman's code as HPACK has it: undone a byte at a time.

Layer: wire. Knows the code, by hpack's table of it. Knows no fields.
Spec:  https://www.rfc-editor.org/rfc/rfc7541#section-5.2
"""

from hpack.huffman_table import (
    HUFFMAN_COMPLETE,
    HUFFMAN_EMIT_SYMBOL,
    HUFFMAN_FAIL,
    HUFFMAN_TABLE,
)

from rawproxy.errors import WireError

__all__ = ["Undecodable", "undo_huffman"]


class Undecodable(WireError):
    """Bytes that no text is coded as."""


class _Steps(dict[int, tuple[int, bytes]]):
    """What a byte comes to, by `state << 8 | byte`: the next `state << 8`, and up to two symbols.

    hpack's table goes by half bytes. This one is filled as bytes come: 65,536 steps and 10 MB are all
    that it can have, of which text takes a tenth.
    """

    def __missing__(self, key: int) -> tuple[int, bytes]:
        state, symbols = key >> 8, b""
        for half in (key >> 4 & 0xF, key & 0xF):
            state, flags, symbol = HUFFMAN_TABLE[state << 4 | half]
            if flags & HUFFMAN_FAIL:
                raise Undecodable("no code of Huffman's")
            if flags & HUFFMAN_EMIT_SYMBOL:
                symbols += bytes([symbol])
        step = self[key] = (state << 8, symbols)
        return step


_STEPS = _Steps()
_WHOLE = {state << 8 for state, flags, _ in HUFFMAN_TABLE if flags & HUFFMAN_COMPLETE}
"""States in which a text may end: at the end of a code, or in fewer than eight bits of padding."""


def undo_huffman(coded: bytes) -> bytes:
    """Return the text that `coded` stands for.

    Raises:
        Undecodable: it is none, or not a whole one.
    """
    state, symbols = 0, list[bytes]()
    for byte in coded:
        state, some = _STEPS[state | byte]
        symbols.append(some)
    if state not in _WHOLE:
        raise Undecodable("a text that ends inside of a code")
    return b"".join(symbols)
