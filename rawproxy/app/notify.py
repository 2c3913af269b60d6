"""What systemd is told: ready, reloading, stopping, still alive (sd_notify(3)).

Layer: app. Without a NOTIFY_SOCKET nobody is told anything, and nothing fails for it.
"""

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress

import trio

__all__ = ["Notifier"]

MICROSECONDS = 1_000_000


class Notifier:
    """Tells the service manager about this process.

    Args:
        environ: where it says how it wants to be told; what was read is removed from it.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        path = environ.pop("NOTIFY_SOCKET", "")
        microseconds = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", str(os.getpid()))
        # "@" stands for the zero byte of the abstract namespace (unix(7)).
        self._address = "\0" + path[1:] if path.startswith("@") else path
        watched = pid == str(os.getpid()) and microseconds.isdecimal()
        self.watchdog_seconds = int(microseconds) / MICROSECONDS if watched else 0.0
        """After how long without a word it takes us for dead; 0: never."""

    def ready(self, status: str) -> None:
        """Tell that all listeners are open, or that the configuration was read again."""
        self._say("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Tell that the configuration is being read again; `ready` ends it."""
        # It compares the stamp with its own: CLOCK_MONOTONIC (Type=notify-reload).
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._say("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """Tell that it drains."""
        self._say("STOPPING=1", "STATUS=draining")

    async def keep_alive(self) -> None:
        """Tell that the loop runs, twice in the time that it may take."""
        while self.watchdog_seconds:
            self._say("WATCHDOG=1")
            await trio.sleep(self.watchdog_seconds / 2)

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), self._address)
