"""TLS records made by hand, in the name of a client that has shaken hands: floods that no library sends.

The secrets come from the client's key log. Both forgers know one cipher: AES-256-GCM with SHA-384.
"""

import hmac
import struct
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

HANDSHAKE, DATA = 22, 23
CLIENT_HELLO = b"\x01\x00\x00\x00"
KEY_UPDATE = b"\x18\x00\x00\x01"


def logged(keylog: Path, label: str) -> tuple[bytes, bytes]:
    """The client's random and a secret."""
    lines = [line.split() for line in keylog.read_text().splitlines() if line[0] != "#"]
    return next((bytes.fromhex(a), bytes.fromhex(b)) for name, a, b in lines if name == label)


def expand(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 7.1)."""
    name = b"tls13 " + label.encode()
    info = struct.pack("!H", size) + bytes([len(name)]) + name + b"\0"
    return HKDFExpand(SHA384(), size, info).derive(secret)


def prf(secret: bytes, seed: bytes, size: int) -> bytes:
    """P_SHA384 (RFC 5246 5)."""
    out, a = b"", seed
    while len(out) < size:
        a = hmac.digest(secret, a, "sha384")
        out += hmac.digest(secret, a + seed, "sha384")
    return out[:size]


class Forger12:
    """TLS 1.2 (RFC 5288 3). The client has sent its Finished, and nothing since.

    Args:
        keylog: of the client.
        server_random: of the ServerHello.
    """

    def __init__(self, keylog: Path, server_random: bytes) -> None:
        client_random, master = logged(keylog, "CLIENT_RANDOM")
        block = prf(master, b"key expansion" + server_random + client_random, 72)
        self._cipher, self._salt = AESGCM(block[:32]), block[64:68]
        self._sequence = 1

    def record(self, content: bytes, kind: int = DATA) -> bytes:
        nonce = struct.pack("!Q", self._sequence)
        seen = nonce + struct.pack("!BHH", kind, 0x0303, len(content))
        self._sequence += 1
        sealed = nonce + self._cipher.encrypt(self._salt + nonce, content, seen)
        return struct.pack("!BHH", kind, 0x0303, len(sealed)) + sealed

    def renegotiate(self) -> bytes:
        """Ask for a new handshake."""
        return self.record(CLIENT_HELLO, HANDSHAKE)


class Forger13:
    """TLS 1.3 (RFC 8446 5.2, 7.2). The client has sent its Finished, and nothing since."""

    def __init__(self, keylog: Path) -> None:
        _, self._secret = logged(keylog, "CLIENT_TRAFFIC_SECRET_0")
        self._rekey()

    def _rekey(self) -> None:
        self._cipher = AESGCM(expand(self._secret, "key", 32))
        self._iv = expand(self._secret, "iv", 12)
        self._sequence = 0

    def record(self, content: bytes, kind: int = DATA) -> bytes:
        inner = content + bytes([kind])
        head = struct.pack("!BHH", DATA, 0x0303, len(inner) + 16)
        nonce = int.from_bytes(self._iv) ^ self._sequence
        self._sequence += 1
        return head + self._cipher.encrypt(nonce.to_bytes(12), inner, head)

    def key_update(self, *, requested: bool = True) -> bytes:
        """Say that the next record has a new key, and ask the peer to do likewise."""
        data = self.record(KEY_UPDATE + bytes([requested]), HANDSHAKE)
        self._secret = expand(self._secret, "traffic upd", 48)
        self._rekey()
        return data
