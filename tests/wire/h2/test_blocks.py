"""Header blocks: what HPACK gives, what it may cost, and that hpack reads what we write."""

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.wire.h2.blocks import BOMB_FACTOR, MAX_TABLE_UPDATES, BlockDecoder, write_block
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
