"""h2 as it is used here: what it is told to leave alone, and the settings on both ways.

Layer: wire. Knows h2's switches. Knows no frames.
Spec:  https://www.rfc-editor.org/rfc/rfc9113#section-6.5
"""

from struct import Struct

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from rawproxy.wire.h2.frames import MAX_FRAME, PREFACE
from rawproxy.wire.h2.stream import STREAM_WINDOW
from rawproxy.wire.http1 import Limits

__all__ = ["REMEMBERED", "TABLE_BYTES", "known_settings", "make_h2"]

TABLE_BYTES = 4096
"""Bytes of our HPACK encoder's table, also if the peer offers more: it would pay with our memory."""

REMEMBERED = 1024
"""Streams that have ended and that h2 remembers, for what may still come for them: 120 KiB."""

_UNLIMITED = 2**31 - 1
_SETTING = Struct(">HL")
_TABLE_SIZE = int(SettingCodes.HEADER_TABLE_SIZE)
_SETTINGS = frozenset(int(code) for code in SettingCodes)


class _Connection(H2Connection):
    MAX_CLOSED_STREAMS = REMEMBERED


def make_h2(limits: Limits, *, client_side: bool, streams: int) -> H2Connection:
    """Return a connection of h2's that has written its preface and SETTINGS.

    Args:
        limits: `head_bytes` is advertised.
        client_side: whether it sends requests, or gets them.
        streams: at once; advertised by a server.
    """
    config = H2Configuration(
        client_side=client_side,
        header_encoding=None,
        # All of it is done in `h2.heads` and `outgoing`, for both versions of HTTP alike.
        validate_inbound_headers=False,
        normalize_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
    )
    h2 = _Connection(config)
    settings = {
        SettingCodes.ENABLE_PUSH: 0,
        SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        SettingCodes.MAX_FRAME_SIZE: MAX_FRAME,
        SettingCodes.MAX_HEADER_LIST_SIZE: limits.head_bytes,
    }
    if not client_side:
        settings[SettingCodes.MAX_CONCURRENT_STREAMS] = streams
    h2.local_settings = Settings(client=client_side, initial_values=settings)
    h2.initiate_connection()
    if not client_side:
        h2.receive_data(PREFACE)  # it came, or nothing does: `Guard` has looked
    # h2 would end the connection for one stream too many; we refuse that stream. A client may have
    # opened it before it knew.
    h2.local_settings = Settings(
        client=client_side,
        initial_values={**settings, SettingCodes.MAX_CONCURRENT_STREAMS: _UNLIMITED},
    )
    return h2


def known_settings(payload: bytes) -> bytes:
    """Return those settings that h2 should see.

    It would keep all that do not exist, and an encoder's table as large as the peer wants.
    """
    known = [
        _SETTING.pack(code, min(value, TABLE_BYTES) if code == _TABLE_SIZE else value)
        for code, value in _SETTING.iter_unpack(payload)
        if code in _SETTINGS
    ]
    return b"".join(known)
