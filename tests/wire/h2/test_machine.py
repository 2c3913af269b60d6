"""What h2 is told, and which settings of the peer's it sees."""

import struct

import pytest
from h2.exceptions import ProtocolError
from h2.stream import StreamInputs

from rawproxy.wire.h2.blocks import TABLE_BYTES
from rawproxy.wire.h2.machine import REMEMBERED, Machine, known_settings
from rawproxy.wire.http1 import Limits
from tests.wire.h2peer import PREFACE, cut


def payload(*pairs: tuple[int, int]) -> bytes:
    return b"".join(struct.pack(">HI", *pair) for pair in pairs)


@pytest.mark.parametrize("client_side", [False, True])
def test_what_is_advertised(client_side: bool) -> None:
    made = Machine(Limits(head_bytes=4321), client_side=client_side, streams=17)
    sent = made.data_to_send()
    assert sent.startswith(PREFACE) is client_side
    (settings,) = cut(sent.removeprefix(PREFACE))
    said = dict(struct.iter_unpack(">HI", settings.payload))
    assert (said[2], said[4], said[5], said[6], said[8]) == (0, 65536, 16384, 4321, 0)
    assert said.get(3) == (None if client_side else 17)


def test_as_many_streams_are_remembered_as_were_said() -> None:
    assert Machine.MAX_CLOSED_STREAMS == REMEMBERED


@pytest.mark.parametrize("client_side", [False, True])
def test_streams_that_have_ended_are_forgotten(client_side: bool) -> None:
    made = Machine(Limits(), client_side=client_side, streams=1)
    numbers = range(1, 2 * REMEMBERED + 3, 2)
    for number in numbers:
        stream = made.open(number)
        stream.state_machine.process_input(StreamInputs.SEND_RST_STREAM)
        made.forget(number)
    assert not made.streams
    assert [number for number in numbers if made.was_reset(number) is None] == [1]


def test_how_a_stream_ended() -> None:
    made = Machine(Limits(), client_side=False, streams=1)
    ways = {
        1: [StreamInputs.RECV_RST_STREAM],
        3: [StreamInputs.SEND_RST_STREAM],
        5: [StreamInputs.RECV_END_STREAM, StreamInputs.SEND_END_STREAM],
        7: [StreamInputs.SEND_END_STREAM, StreamInputs.RECV_END_STREAM],
    }
    for number, way in ways.items():
        stream = made.open(number)
        for step in way:
            stream.state_machine.process_input(step)
        made.forget(number)
    assert [made.was_reset(number) for number in (1, 3, 5, 7, 9)] == [
        True,
        True,
        False,
        False,
        None,
    ]


@pytest.mark.parametrize("number", [0, 2, 3, 1])
def test_a_stream_that_cannot_be_opened(number: int) -> None:
    made = Machine(Limits(), client_side=False, streams=1)
    made.open(3)
    with pytest.raises(ProtocolError):
        made.open(number)


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
