"""Huffman's code, undone: hpack is what it is held against."""

import hpack.huffman_table
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.wire.h2.huffman import Undecodable, undo_huffman

CODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@given(st.binary(max_size=60))
def test_what_was_coded_comes_back(text: bytes) -> None:
    assert undo_huffman(CODER.encode(text)) == text


@pytest.mark.parametrize("symbol", range(256))
def test_each_symbol(symbol: int) -> None:
    text = bytes([symbol]) * 9
    assert undo_huffman(CODER.encode(text)) == text


@given(st.binary(max_size=30))
def test_any_bytes(coded: bytes) -> None:
    """They are a text where hpack says so, and that text."""
    try:
        text = hpack.huffman_table.decode_huffman(coded)
    except hpack.HPACKDecodingError:
        with pytest.raises(Undecodable):
            undo_huffman(coded)
    else:
        assert undo_huffman(coded) == text


@pytest.mark.parametrize(
    ("coded", "text"),
    [
        (b"", b""),
        (bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff"), b"www.example.com"),
        (bytes.fromhex("6402"), b"302"),
        (b"\x1f", b"a"),
    ],
)
def test_the_examples_of_rfc_7541(coded: bytes, text: bytes) -> None:
    """Appendix C.4.1 and C.6.1; a code of five bits and its padding."""
    assert undo_huffman(coded) == text


@pytest.mark.parametrize(
    "coded",
    [
        b"\x1e",
        b"\x18",
        b"\x1f\xff",
        b"\xff",
        b"\xff\xff\xff\xff",
        b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab",
    ],
    ids=[
        "padding of zeros",
        "padding with a zero",
        "a byte of padding",
        "only padding",
        "the end's own code",
        "cut",
    ],
)
def test_what_is_no_text(coded: bytes) -> None:
    """RFC 7541 5.2: padding is the end's own code, and less than a byte of it."""
    with pytest.raises(Undecodable):
        undo_huffman(coded)
