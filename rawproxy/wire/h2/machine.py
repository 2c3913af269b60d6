"""h2 as it is used here: its states of streams and its settings, without most of its frames.

Layer: wire. Knows h2's switches and states. Knows no header blocks, and no frames but SETTINGS.
Spec:  https://www.rfc-editor.org/rfc/rfc9113#section-6.5
"""

from struct import Struct

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, H2Connection
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream, StreamInputs

from rawproxy.wire.h2.blocks import TABLE_BYTES
from rawproxy.wire.h2.frames import MAX_FRAME, PREFACE
from rawproxy.wire.h2.stream import STREAM_WINDOW
from rawproxy.wire.http1 import Limits

__all__ = ["REMEMBERED", "Machine", "known_settings"]

REMEMBERED = 1024
"""Streams that have ended and that h2 remembers, for what may still come for them: 120 KiB."""

_SETTING = Struct(">HL")
_TABLE_SIZE = int(SettingCodes.HEADER_TABLE_SIZE)
_SETTINGS = frozenset(int(code) for code in SettingCodes)


class Machine(H2Connection):
    """A connection of h2's that has written its preface and SETTINGS.

    Frames of settings are shown to it. What else happens to a stream is told to the stream itself (`Stream.tell`):
    shown as frames it would take ten times as long, and a new stream a look at all the others.

    Args:
        limits: `head_bytes` is advertised.
        client_side: whether it sends requests, or gets them.
        streams: at once; advertised by a server.
    """

    MAX_CLOSED_STREAMS = REMEMBERED

    def __init__(self, limits: Limits, *, client_side: bool, streams: int) -> None:
        # What heads may hold is looked at in `h2.heads` and `outgoing`, for both versions of HTTP alike.
        super().__init__(H2Configuration(client_side=client_side))
        settings = {
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            SettingCodes.MAX_FRAME_SIZE: MAX_FRAME,
            SettingCodes.MAX_HEADER_LIST_SIZE: limits.head_bytes,
        }
        if not client_side:
            settings[SettingCodes.MAX_CONCURRENT_STREAMS] = streams
        self.local_settings = Settings(client=client_side, initial_values=settings)
        self.initiate_connection()
        if not client_side:
            self.receive_data(PREFACE)  # it came, or nothing does: `Guard` has looked

    def open(self, number: int) -> H2Stream:
        """Take a stream up, whose first head goes out (client) or has come (server).

        Raises:
            ProtocolError: the number is not of a client's, or not above all that were opened.
        """
        stream = self._begin_new_stream(number, AllowedStreamIDs.ODD)
        ours = self.config.client_side
        stream.state_machine.process_input(
            StreamInputs.SEND_HEADERS if ours else StreamInputs.RECV_HEADERS
        )
        return stream

    def forget(self, number: int) -> None:
        """Let go of a stream that has ended; REMEMBERED of them are remembered, and how they did."""
        self._closed_streams[number] = self.streams.pop(number).closed_by

    def was_reset(self, number: int) -> bool | None:
        """Whether a stream that has ended did so by a reset; None where none is remembered."""
        if number not in self._closed_streams:
            return None
        return self._stream_is_closed_by_reset(number)


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
