"""TLS as a feeder: ciphertext in, plaintext out, and back.

Layer: wire. Knows the `ssl` module's memory BIOs. Knows no socket: what `start`, `send`, `take` and
`close` return is the caller's to send, in that order.
Spec:  https://www.rfc-editor.org/rfc/rfc8446 and https://docs.python.org/3.11/library/ssl.html#memory-bio-support

    start() -> send it, then for each read:  feed(data) -> plaintext;  take() -> send it
    once handshaken:                         send(parts) -> send it
    at the end of the transport:             eof(), which raises unless the peer had said goodbye
"""

import contextlib
import glob
import ssl
from collections.abc import Iterable

import certifi

from rawproxy.errors import ConfigError, WireError

__all__ = ["CertificateRefused", "Tls", "client_context"]

READ_BYTES = 65536
"""Bytes asked of OpenSSL at once. It gives one record at a time, which is at most 16 KiB."""


class CertificateRefused(WireError):
    """The peer's certificate is not one we trust for that name. Trying again will not help."""


class Tls:
    """One side of a TLS connection.

    Args:
        context: made once and shared: building one takes 20 ms.
        server_side: whether this is the side that is connected to.
        server_name: the name or address that the server must prove; for clients.
    """

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
        )
        self.handshaken = False
        self.ended = False
        """Whether the peer has said that nothing more will come (close_notify)."""
        self._fault: WireError | None = None

    @property
    def alpn(self) -> str | None:
        """The protocol both sides agreed on; None when there is none, or not yet."""
        return self._tls.selected_alpn_protocol()

    def start(self) -> bytes:
        """Return the ciphertext to send first; `b""` for a server."""
        self._shake_hands()
        return self._outgoing.read()

    def feed(self, data: bytes) -> bytes:
        """Return the plaintext that became readable with `data`; during the handshake, `b""`.

        What it makes necessary to send (handshake, tickets, alerts) is in `take`, also if it raises.

        Raises:
            CertificateRefused: the peer is not whom it should be.
            WireError: anything else that breaks TLS; the message names the reason. What could be
                read before it is returned first; the next call then raises.
        """
        self._raise_fault()
        if self.ended:
            return b""
        self._incoming.write(data)
        if not self.handshaken:
            self._shake_hands()
        # The peer's first data may have come in one read with the end of its handshake.
        plaintext = self._read() if self.handshaken else b""
        if not plaintext:
            self._raise_fault()
        return plaintext

    def eof(self) -> None:
        """Learn that the transport has ended.

        Raises:
            WireError: before the peer said so; somebody may have cut the connection.
        """
        # incoming.write_eof() would not do: CPython asks OpenSSL to take such an end for a clean one.
        self._raise_fault()
        if not self.handshaken:
            raise WireError("TLS: the peer closed the connection during the handshake")
        if not self.ended:
            raise WireError("TLS: truncated, the connection ended without close_notify")

    def send(self, parts: Iterable[bytes]) -> bytes:
        """Return the ciphertext for `parts`, and whatever had to be sent before it.

        Only after the handshake; small parts share a record.
        """
        assert self.handshaken
        if data := b"".join(parts):
            try:
                self._tls.write(data)  # to memory, so all of it or an error
            except ssl.SSLError as error:
                raise _as_wire_error(error) from error
        return self._outgoing.read()

    def take(self) -> bytes:
        """Return the ciphertext that has to be sent now; after each `feed`, also one that raised."""
        return self._outgoing.read()

    def close(self) -> bytes:
        """Return the last ciphertext to send: our close_notify, where TLS still stands."""
        # It wants to read the peer's close_notify, too; or there is no TLS to end (any more).
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        return self._outgoing.read()

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            raise _as_wire_error(error) from error
        self.handshaken = True

    def _read(self) -> bytes:
        parts = []
        try:
            while part := self._tls.read(READ_BYTES):
                parts.append(part)
                if not self._incoming.pending:  # one more try would cost an exception: 2 us
                    break
            else:
                self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # instead of b"" when we have said goodbye, too
            self.ended = True
        except ssl.SSLError as error:
            self._fault = _as_wire_error(error)
        return b"".join(parts)


def client_context(ca_file: str | None) -> ssl.SSLContext:
    """Return what a client of ours asks of a server: TLS 1.2 or later, and a certificate.

    Args:
        ca_file: PEM; only what it holds is trusted. Without it the system's certificates are
            (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured); if there are none, Mozilla's. To a
            list of directories in `SSL_CERT_DIR`, Mozilla's are added.

    Raises:
        ConfigError: `ca_file` cannot be read, or holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"no certificates can be read from {ca_file}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    if ca_file is None and _trusts_nobody(context):
        context.load_verify_locations(certifi.where())
    return context


def _trusts_nobody(context: ssl.SSLContext) -> bool:
    """Whether the system's store is empty, which create_default_context() does not mind.

    The certificates of a directory are loaded when they are needed, so the context does not count
    them; their files are named after a hash, with a number behind.
    """
    if context.cert_store_stats()["x509_ca"]:
        return False
    directory = ssl.get_default_verify_paths().capath  # None: it is not there, or is a list
    return not (directory and glob.glob("*.[0-9]", root_dir=directory))


def _as_wire_error(error: ssl.SSLError) -> WireError:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.partition(",")[0]  # "Hostname mismatch, certificate is not ..."
        return CertificateRefused(f"TLS: certificate verify failed: {why}")
    return WireError(f"TLS: {(error.reason or 'unknown error').lower().replace('_', ' ')}")
