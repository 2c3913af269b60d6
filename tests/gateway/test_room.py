"""The room that request bodies have together."""

import pytest

from rawproxy.errors import HttpError
from rawproxy.gateway.room import Room


@pytest.mark.parametrize("size", [9, 10])
def test_what_fits(size: int) -> None:
    room = Room(10)
    with room.share() as share:
        share.take(size)
        assert room.taken == size
    assert room.taken == 0


def test_what_does_not_fit() -> None:
    room = Room(10)
    with room.share() as share, pytest.raises(HttpError, match="10 bytes together") as error:
        share.take(11)
    assert (error.value.status, error.value.retry_after) == (503, 1.0)
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
