"""Header blocks: what HPACK gives, what it may cost, and that hpack reads what we write."""

import hpack
import pytest
from hpack.hpack import decode_integer
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.wire.h2.blocks import (
    BOMB_FACTOR,
    MAX_DIGITS,
    MAX_TABLE_UPDATES,
    BlockDecoder,
    write_block,
)
from rawproxy.wire.h2.events import Http2Error
from tests.wire.h2peer import GET, block

FIELDS = [(name.encode(), value.encode()) for name, value in GET]


def code_of(sent: bytes, head_bytes: int = 1000) -> int:
    with pytest.raises(Http2Error) as caught:
        BlockDecoder(head_bytes).decode(sent)
    return caught.value.code


@given(
    st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=5), st.booleans()
)
def test_fields_come_as_they_were(fields: list[tuple[bytes, bytes]], huffman: bool) -> None:
    encoder, decoder = hpack.Encoder(), BlockDecoder(1000)
    for _ in range(2):
        assert decoder.decode(encoder.encode(fields, huffman=huffman)) == fields


def test_no_fields() -> None:
    assert BlockDecoder(1000).decode(b"") == []


@pytest.mark.parametrize(
    "sent", [b"\x80", b"\xfe", b"\xff\xff\xff\xff\xff\xff\xff", b"\x40\x05ab", b"\x40\x81\x00"]
)
def test_blocks_that_cannot_be_read(sent: bytes) -> None:
    assert code_of(sent) == 9


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_block_is_decoded_to_four_times_a_head(more: int) -> None:
    """RFC 9113 6.5.2: a field counts 32 bytes more than its name and value."""
    sent = block([("a", "b" * (BOMB_FACTOR * 100 - 33 + more))])
    if more <= 0:
        assert len(BlockDecoder(100).decode(sent)) == 1
    else:
        assert code_of(sent, 100) == 0xB


def test_a_bomb_is_not_blown_up() -> None:
    """CVE-2016-6581: one byte for each copy of a field in the table."""
    bomb = block([("a", "b" * 3000)]) + b"\xbe" * 10_000
    assert code_of(bomb, 32_768) == 0xB


@pytest.mark.parametrize("update", [b"\x20", b"\x3f\x00", b"\x3f\x80\x00", b"\x3f\xe1\x1f"])
@pytest.mark.parametrize("times", [MAX_TABLE_UPDATES - 1, MAX_TABLE_UPDATES, MAX_TABLE_UPDATES + 1])
def test_changes_of_the_table(update: bytes, times: int) -> None:
    """RFC 7541 4.2: to the smallest size since the last block, and to the last one."""
    sent = update * times + block(GET)
    if times <= MAX_TABLE_UPDATES:
        assert BlockDecoder(1000).decode(sent) == FIELDS
    else:
        assert code_of(sent) == 9


def test_a_change_of_the_table_that_ends_early() -> None:
    assert code_of(b"\x3f\xff\xff") == 9


def test_a_change_of_the_table_after_a_field() -> None:
    assert code_of(block(GET) + b"\x20") == 9


# hpack, which has the same to read.

NAMES = st.sampled_from([b"a", b"date", b":path", b"x-id"]) | st.binary(max_size=8)
SENT = st.lists(st.tuples(NAMES, st.binary(max_size=40)), max_size=6)
SIZES = st.sampled_from([0, 40, 100, 4095, 4096])


@given(st.lists(st.tuples(SENT, SIZES, st.booleans()), max_size=6))
def test_blocks_in_a_row(rows: list[tuple[list[tuple[bytes, bytes]], int, bool]]) -> None:
    """With what is in the table, falls out of it, and no longer has room in it."""
    encoder, decoder = hpack.Encoder(), BlockDecoder(10_000)
    for fields, size, huffman in rows:
        encoder.header_table_size = size
        assert decoder.decode(encoder.encode(fields, huffman=huffman)) == fields


@given(st.lists(st.binary(max_size=24) | st.builds(block, st.just(GET)), max_size=4))
def test_any_bytes(blocks: list[bytes]) -> None:
    """They are fields where hpack says so, and those fields; it takes any number of changes of the table."""
    other, decoder = hpack.Decoder(max_header_list_size=4000), BlockDecoder(1000)
    for sent in blocks:
        try:
            told = [tuple(one) for one in other.decode(sent, raw=True)]
        except (hpack.HPACKError, IndexError):
            told = None
        if told is None or changes(sent) > MAX_TABLE_UPDATES:
            with pytest.raises(Http2Error):
                decoder.decode(sent)
            return
        assert decoder.decode(sent) == told


def changes(sent: bytes) -> int:
    """Return how often a block changes the table's size."""
    count = 0
    while sent and sent[0] & 0xE0 == 0x20:
        sent = sent[decode_integer(sent, 5)[1] :]
        count += 1
    return count


@pytest.mark.parametrize("digits", [MAX_DIGITS - 1, MAX_DIGITS, MAX_DIGITS + 1])
def test_numbers_of_many_bytes(digits: int) -> None:
    """They may be longer than they need to be, up to a limit."""
    number = b"\x80" * (digits - 1) + b"\x00"  # 127, behind a first byte that has seven bits of it
    told = {
        b"\xff" + number: (b"n", b"v"),
        b"\x00\x01a\x7f" + number + b"b" * 127: (b"a", b"b" * 127),
    }
    for sent, field in told.items():
        decoder = BlockDecoder(1000)
        decoder.decode(b"\x40\x01n\x01v" * 66)
        if digits <= MAX_DIGITS:
            assert decoder.decode(sent) == [field]
        else:
            with pytest.raises(Http2Error, match="malformed"):
                decoder.decode(sent)


# What goes out.

FIELD = st.tuples(
    st.binary(max_size=20) | st.sampled_from([b":status", b":path", b"date"]),
    st.binary(max_size=300),
)


@given(
    st.lists(
        st.lists(st.one_of(FIELD, FIELD.map(lambda field: hpack.NeverIndexedHeaderTuple(*field)))),
        max_size=3,
    )
)
def test_hpack_reads_what_we_write(blocks: list[list[tuple[bytes, bytes]]]) -> None:
    decoder = hpack.Decoder()
    for fields in blocks:
        read = decoder.decode(write_block(fields), raw=True)
        assert [tuple(one) for one in read] == [tuple(one) for one in fields]
        assert [one.indexable for one in read if one[1]] == [
            not isinstance(one, hpack.NeverIndexedHeaderTuple) for one in fields if one[1]
        ]
        assert not decoder.header_table.dynamic_entries


@pytest.mark.parametrize(
    "size", [0, 1, 126, 127, 128, 254, 255, 127 + 16_383, 127 + 16_384, 40_000]
)
def test_sizes(size: int) -> None:
    """RFC 7541 5.1: seven bits of the first byte, then seven of each."""
    for field in [(b"a", b"b" * size), (b"n" * size, b"b")]:
        decoder = hpack.Decoder(max_header_list_size=2**20)
        assert decoder.decode(write_block([field]), raw=True) == [field]


def test_how_a_field_is_written() -> None:
    """RFC 7541 6: in the static table as a whole, by its name there, by a name of its own."""
    secret = hpack.NeverIndexedHeaderTuple
    told = {
        (b":status", b"200"): b"\x88",
        (b":status", b"201"): b"\x08\x03201",
        (b"date", b"d"): b"\x0f\x12\x01d",
        (b"x", b"y"): b"\x00\x01x\x01y",
        secret(b"cookie", b"c"): b"\x1f\x11\x01c",
        secret(b"x-key", b"k"): b"\x10\x05x-key\x01k",
    }
    for field, sent in told.items():
        assert write_block([field]) == sent
    assert write_block(list(told)) == b"".join(told.values())
