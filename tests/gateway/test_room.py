"""The room that request bodies have together."""

import pytest

from rawproxy.errors import HttpError
from rawproxy.gateway.room import Room


@pytest.mark.parametrize(("size", "fits"), [(9, True), (10, True), (11, False)])
def test_the_edge(size: int, fits: bool) -> None:
    room = Room(10)
    with room.share() as share:
        try:
            share.take(size)
        except HttpError as error:
            assert (error.status, error.retry_after) == (503, 1.0)
            assert not fits
        else:
            assert fits
        assert room.taken == (size if fits else 0)
    assert room.taken == 0


def test_shares_are_counted_together_and_come_back_one_by_one() -> None:
    room = Room(10)
    with room.share() as first, room.share() as second:
        first.take(4)
        second.take(6)
        with pytest.raises(HttpError, match="10 bytes together"):
            first.take(1)
        assert room.taken == 10
        with pytest.raises(HttpError):
            second.take(1)
    assert room.taken == 0


def test_a_share_is_given_back_when_its_request_fails() -> None:
    room = Room(10)

    def fails() -> None:
        with room.share() as share:
            share.take(10)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert room.taken == 0


def test_a_smaller_room_after_a_reload() -> None:
    room = Room(10)
    with room.share() as share:
        share.take(8)
        room.most = 5
        with pytest.raises(HttpError):
            share.take(1)
    with room.share() as share:
        share.take(5)
