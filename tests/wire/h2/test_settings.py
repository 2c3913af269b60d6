"""What h2 is told, and which settings of the peer's it sees."""

import struct

import h2.connection
import pytest

from rawproxy.wire.h2.settings import REMEMBERED, TABLE_BYTES, known_settings, make_h2
from rawproxy.wire.http1 import Limits
from tests.wire.h2peer import PREFACE, cut


def payload(*pairs: tuple[int, int]) -> bytes:
    return b"".join(struct.pack(">HI", *pair) for pair in pairs)


@pytest.mark.parametrize("client_side", [False, True])
def test_what_is_advertised(client_side: bool) -> None:
    made = make_h2(Limits(head_bytes=4321), client_side=client_side, streams=17)
    sent = made.data_to_send()
    assert sent.startswith(PREFACE) is client_side
    (settings,) = cut(sent.removeprefix(PREFACE))
    said = dict(struct.iter_unpack(">HI", settings.payload))
    assert (said[2], said[4], said[5], said[6], said[8]) == (0, 65536, 16384, 4321, 0)
    assert said.get(3) == (None if client_side else 17)


def test_h2_takes_more_streams_than_were_advertised() -> None:
    """It would end the connection; we refuse the stream."""
    made = make_h2(Limits(), client_side=False, streams=1)
    assert made.local_settings.max_concurrent_streams == 2**31 - 1
    assert isinstance(made, h2.connection.H2Connection)
    assert made.MAX_CLOSED_STREAMS == REMEMBERED


def test_streams_that_have_ended_are_forgotten() -> None:
    made = make_h2(Limits(), client_side=True, streams=1)
    for number in range(1, 2 * REMEMBERED + 200, 2):
        made.send_headers(number, [(b":method", b"GET")], end_stream=True)
        made.reset_stream(number)
    assert made.open_outbound_streams == 0
    assert len(made._closed_streams) == REMEMBERED


@pytest.mark.parametrize(
    ("came", "seen"),
    [
        ([], []),
        ([(4, 5), (3, 7)], [(4, 5), (3, 7)]),
        ([(0, 1), (9, 1), (0xFFFF, 1), (4, 5)], [(4, 5)]),
        ([(1, TABLE_BYTES - 1)], [(1, TABLE_BYTES - 1)]),
        ([(1, TABLE_BYTES)], [(1, TABLE_BYTES)]),
        ([(1, TABLE_BYTES + 1)], [(1, TABLE_BYTES)]),
        ([(1, 2**32 - 1)], [(1, TABLE_BYTES)]),
        ([(1, 0)], [(1, 0)]),
        ([(4, 5), (4, 6)], [(4, 5), (4, 6)]),
    ],
)
def test_which_settings_h2_sees(came: list[tuple[int, int]], seen: list[tuple[int, int]]) -> None:
    assert known_settings(payload(*came)) == payload(*seen)
