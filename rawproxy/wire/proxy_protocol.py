"""The PROXY protocol, versions 1 and 2: who a connection really comes from.

Layer: wire. Reads the header that a load balancer puts before the client's first byte.
Spec:  https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2

    reader = HeaderReader();  for each read: reader.feed(data);  once reader.done: reader.source, reader.rest
"""

import ipaddress
import re

from rawproxy.errors import WireError

__all__ = ["V1_BYTES", "V2_BYTES", "HeaderReader"]

V1_BYTES = 107
"""The longest line of version 1, its CRLF included: the two longest IPv6 addresses (section 2.1)."""

V2_BYTES = 536
"""The most that may follow the 16 bytes that version 2 begins with. The spec has senders fit all of it
into the smallest TCP segment, which is this long (section 2.2)."""

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_V2_HEAD = 16

_LINE = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (\d{1,5}) (\d{1,5})")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN( [ -~]*)?")
_LAST_PORT = 65535

_LOCAL, _PROXY = 0x20, 0x21
_ADDRESS_BYTES = {0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216}
"""Family and transport (none, TCP over IPv4 and IPv6, unix stream) -> bytes of both addresses. There
is no datagram (0x12, 0x22, 0x32) on a stream."""


class HeaderReader:
    """Reads one header, however it is cut.

    Attributes:
        done: whether the header was read.
        source: the address that the connection comes from, `unix` for a unix socket; "" where the
            sender does not tell, or speaks for itself (LOCAL).
        rest: what followed the header.
    """

    def __init__(self) -> None:
        self._held = b""
        self.done = False
        self.source = ""
        self.rest = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            WireError: they are no header, or one past a limit.
        """
        assert not self.done
        self._held += data
        if _begins(self._held, _V1):
            self._v1()
        elif _begins(self._held, _V2):
            self._v2()
        else:
            raise WireError("there is no PROXY header")

    def _v1(self) -> None:
        line, end, rest = self._held.partition(b"\r\n")
        if len(line) + len(end) > V1_BYTES or (not end and len(line) == V1_BYTES):
            raise WireError(f"the PROXY header is longer than {V1_BYTES} bytes")
        if not end:
            return
        self._finish("" if _UNKNOWN.fullmatch(line) else _v1_source(line), rest)

    def _v2(self) -> None:
        held = self._held
        if len(held) < _V2_HEAD:
            return
        command, family, size = held[12], held[13], int.from_bytes(held[14:16])
        if command not in (_LOCAL, _PROXY):
            raise WireError("the PROXY header has an unknown version or command")
        if size > V2_BYTES:
            raise WireError(f"the PROXY header is longer than {V2_BYTES} bytes")
        # A sender that speaks for itself says nothing of addresses; what it says is skipped.
        needed = 0 if command == _LOCAL else _ADDRESS_BYTES.get(family)
        if needed is None or size < needed:
            raise WireError("the PROXY header has an unknown or a cut address")
        if len(held) < _V2_HEAD + size:
            return
        addresses = held[_V2_HEAD : _V2_HEAD + needed]  # behind them: TLVs, which we do not need
        self._finish(_v2_source(addresses), held[_V2_HEAD + size :])

    def _finish(self, source: str, rest: bytes) -> None:
        self.done, self.source, self.rest = True, source, rest
        self._held = b""


def _begins(data: bytes, mark: bytes) -> bool:
    """Whether `data` begins with `mark`, or may still come to."""
    return data[: len(mark)] == mark[: len(data)]


def _v1_source(line: bytes) -> str:
    match = _LINE.fullmatch(line)
    try:
        if match is None:
            raise ValueError
        kind = ipaddress.IPv4Address if match[1] == b"TCP4" else ipaddress.IPv6Address
        source, _ = (kind(match[at].decode()) for at in (2, 3))
        for port in (match[4], match[5]):
            if int(port) > _LAST_PORT or (port[0] == ord("0") and len(port) > 1):
                raise ValueError
    except ValueError:
        raise WireError("the PROXY header is broken") from None
    return str(source)


def _v2_source(addresses: bytes) -> str:
    match len(addresses):
        case 12:
            return str(ipaddress.IPv4Address(addresses[:4]))
        case 36:
            return str(ipaddress.IPv6Address(addresses[:16]))
        case 216:
            return "unix"
        case _:
            return ""
