"""TLS as a feeder: ciphertext in, plaintext out, and back.

Layer: wire. Knows the `ssl` module's memory BIOs. Knows no socket: what `start`, `send`, `take` and
`close` return is the caller's to send, in that order.
Spec:  https://www.rfc-editor.org/rfc/rfc8446 and https://docs.python.org/3.11/library/ssl.html#memory-bio-support

    start() -> send it, then for each read:  feed(data) -> plaintext;  take() -> send it
    once handshaken:                         send(data) -> send it
    at the end of the transport:             eof(), which raises unless the peer had said goodbye
"""

import contextlib
import glob
import re
import ssl
from collections.abc import Sequence
from typing import NamedTuple

import certifi

from rawproxy.errors import ConfigError, WireError
from rawproxy.wire.certificate import dns_names

__all__ = [
    "CertificateRefused", "Certificates", "FileFault", "Session", "Tls", "client_context",
    "server_context",
]  # fmt: skip

READ_BYTES = 65536
"""Bytes asked of OpenSSL at once. It gives one record at a time, which is at most 16 KiB."""

ANSWER_BYTES = 65536
"""Bytes that a peer may make us answer after the handshake, in the whole life of a connection: alerts
that refuse 2,000 renegotiations (RFC 5246 7.2.2), or new keys (RFC 8446 4.6.3). A peer that means well
asks for nothing, or for new keys once in 24 million records."""

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and AEAD only (RFC 9325 4.2). TLS 1.3 has no others."""

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class CertificateRefused(WireError):
    """The peer's certificate is not one we trust for that name. Trying again will not help."""


class FileFault(ConfigError):
    """A file of certificates or keys cannot be used; `option` is the argument that named it."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


class Session(NamedTuple):
    """What a client's next connection to the same server may take up, in place of certificates."""

    context: ssl.SSLContext
    ticket: ssl.SSLSession


class Tls:
    """One side of a TLS connection.

    Args:
        context: made once and shared: building one takes 20 ms.
        server_side: whether this is the side that is connected to.
        server_name: the name or address that the server must prove; for clients.
        session: of a connection to the same server, which then has proven it already (RFC 8446 2.2). One
            of another context is left alone, and one that the server does not know any more does no harm.
    """

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None,
        session: Session | None = None,
    ) -> None:  # fmt: skip
        self._incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        """What `take` gives: `pending` bytes."""
        ticket = session.ticket if session is not None and session.context is context else None
        self._tls = context.wrap_bio(
            self._incoming, self.outgoing, server_side, server_name, ticket
        )
        self.handshaken = False
        self.ended = False
        """Whether the peer has said that nothing more will come (close_notify)."""
        self._fault: WireError | None = None
        self.may_answer = ANSWER_BYTES
        """Bytes of answers that the peer may still ask for."""

    @property
    def alpn(self) -> str | None:
        """The protocol both sides agreed on; None when there is none, or not yet."""
        return self._tls.selected_alpn_protocol()

    @property
    def session(self) -> Session | None:
        """What a client may take up again: None before the server has given a ticket, which TLS 1.3 sends
        behind its handshake, mostly with the first data."""
        ticket = self._tls.session
        return Session(self._tls.context, ticket) if ticket and ticket.has_ticket else None

    def start(self) -> bytes:
        """Return the ciphertext to send first; `b""` for a server."""
        self._shake_hands()
        return self.outgoing.read()

    def feed(self, data: bytes) -> bytes:
        """Return the plaintext that became readable with `data`; during the handshake, `b""`.

        What it makes necessary to send (handshake, tickets, alerts) is in `take`, also if it raises.

        Raises:
            CertificateRefused: the peer is not whom it should be.
            WireError: anything else that breaks TLS; the message names the reason. What could be
                read before it is returned first; the next call then raises.
        """
        if self._fault is not None or self.ended:
            self._raise_fault()
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

    def send(self, data: bytes) -> bytes:
        """Return the ciphertext for `data`, and whatever had to be sent before it. Only after the handshake."""
        assert self.handshaken
        if data:
            try:
                self._tls.write(data)  # to memory, so all of it or an error
            except ssl.SSLError as error:
                raise _as_wire_error(error) from error
        return self.outgoing.read()

    def take(self) -> bytes:
        """Return the ciphertext that has to be sent now; after each `feed`, also one that raised.

        Raises:
            WireError: the peer has made us answer more than ANSWER_BYTES since the handshake.
        """
        data = self.outgoing.read()
        if self.handshaken and data:
            self.may_answer -= len(data)
            if self.may_answer < 0:
                raise WireError(f"TLS: more than {ANSWER_BYTES} bytes of answers were asked for")
        return data

    def close(self) -> bytes:
        """Return the last ciphertext to send: our close_notify, where TLS still stands."""
        # It wants to read the peer's close_notify, too; or there is no TLS to end (any more).
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        return self.outgoing.read()

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
        parts: list[bytes] = []
        try:
            while part := self._tls.read(READ_BYTES):
                if not self._incoming.pending:  # one more try would cost an exception: 2 us
                    return b"".join((*parts, part)) if parts else part
                parts.append(part)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # instead of b"" when we have said goodbye, too
            self.ended = True
        except ssl.SSLError as error:
            self._fault = _as_wire_error(error)
        return b"".join(parts)


def client_context(
    ca_file: str = "", client_certificate: str = "", client_key: str = ""
) -> ssl.SSLContext:
    """Return what a client of ours asks of a server: TLS 1.2 or later, and a certificate.

    Args:
        ca_file: PEM; only what it holds is trusted. Without it the system's certificates are
            (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured); if there are none, Mozilla's. To a
            list of directories in `SSL_CERT_DIR`, Mozilla's are added.
        client_certificate: PEM, shown to servers that ask for one; with its chain.
        client_key: PEM, of that certificate.

    Raises:
        FileFault: a file cannot be read, or holds something else.
    """
    if ca_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _trust(context, "ca_file", ca_file)
    else:
        context = ssl.create_default_context()
        if _trusts_nobody(context):
            context.load_verify_locations(certifi.where())
    _harden(context)
    if client_certificate:
        options = ("client_certificate", "client_key")
        _load(context, options, (client_certificate, client_key))
    return context


def server_context(
    certificate: str, key: str, client_ca: str = "", alpn: Sequence[str] = ()
) -> ssl.SSLContext:
    """Return what a server of ours offers its clients: TLS 1.2 or later, with AEAD ciphers only.

    Args:
        certificate: PEM, with its chain.
        key: PEM, of that certificate, without a pass phrase.
        client_ca: PEM; clients must show a certificate of one of these. "": they need none.
        alpn: the protocols to choose from, the preferred one first (RFC 7301).

    Raises:
        FileFault: a file cannot be read, or holds something else.
    """
    return _serving(certificate, key, client_ca, alpn)[0]


class Certificates:
    """What a server shows, by the name that a client asks for.

    Args:
        pairs: certificate and key, each PEM. The first is shown to those who ask for no name that
            another one has; of several with one name, the earlier.
        client_ca: as `server_context` has it.
        alpn: as `server_context` has it.

    Raises:
        FileFault: a file cannot be read, or holds something else.
    """

    def __init__(
        self, pairs: Sequence[tuple[str, str]], client_ca: str = "", alpn: Sequence[str] = ()
    ) -> None:
        self._contexts: dict[str, ssl.SSLContext] = {}
        for certificate, key in pairs:
            context, names = _serving(certificate, key, client_ca, alpn)
            self._contexts.setdefault("", context)
            for name in names:
                self._contexts.setdefault(name, context)
        self.several = len(pairs) > 1
        """Whether it makes a difference what name is asked for."""

    def side(self, name: str = "") -> Tls:
        """Return the server's side of a connection whose client asks for `name`, in lower case."""
        # A wildcard stands for one label, the first (RFC 9525 6.3).
        wildcard = "*." + name.partition(".")[2]
        contexts = self._contexts
        context = contexts.get(name) or contexts.get(wildcard) or contexts[""]
        return Tls(context, server_side=True)


def _serving(
    certificate: str, key: str, client_ca: str, alpn: Sequence[str]
) -> tuple[ssl.SSLContext, list[str]]:
    """Return a context, and the names that its certificate is for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(CIPHERS)
    pem = _load(context, ("certificate", "key"), (certificate, key))
    if client_ca:
        _trust(context, "client_ca", client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if alpn:
        context.set_alpn_protocols(alpn)
    return context, dns_names(ssl.PEM_cert_to_DER_cert(pem))


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION


def _trust(context: ssl.SSLContext, option: str, path: str) -> None:
    allowed = "must be a file of certificates (PEM)"
    if not _CERTIFICATE.search(_read(option, path, allowed)):
        raise FileFault(option, f"{path} holds no certificate, {allowed}")
    try:
        context.load_verify_locations(path)
    except OSError as error:  # ssl.SSLError is one
        raise FileFault(option, f"{path} cannot be used ({_reason(error)}), {allowed}") from error


def _load(context: ssl.SSLContext, options: tuple[str, str], paths: tuple[str, str]) -> str:
    """Load a certificate and its key; return the certificate (PEM).

    Args:
        context: takes them.
        options: whose fault it is when a file cannot be used.
        paths: of certificate and key.
    """
    allowed = "must be a certificate and its chain (PEM)", "must be a private key (PEM)"
    contents = [_read(*each) for each in zip(options, paths, allowed, strict=True)]
    found = _CERTIFICATE.search(contents[0])
    if found is None:
        raise FileFault(options[0], f"{paths[0]} holds no certificate, {allowed[0]}")
    if b"PRIVATE KEY-----" not in contents[1]:
        raise FileFault(options[1], f"{paths[1]} holds no private key, {allowed[1]}")
    try:
        # Without a password, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(*paths, password="")
    except OSError as error:
        why = _reason(error)
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            what = f"{paths[1]} does not belong to {paths[0]}, must be its private key"
            raise FileFault(options[1], what) from error
        if b"ENCRYPTED" in contents[1]:
            what = f"{paths[1]} has a pass phrase, must be a private key without one"
            raise FileFault(options[1], what) from error
        what = (
            f"{paths[0]} and {paths[1]} cannot be used ({why}), must be a certificate and its key"
        )
        raise FileFault(options[0], what) from error
    return found[0].decode("latin-1")


def _read(option: str, path: str, allowed: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise FileFault(option, f"{path} cannot be read ({error.strerror}), {allowed}") from error


def _reason(error: OSError) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return (reason or "unknown error").lower().replace("_", " ")


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
    return WireError(f"TLS: {_reason(error)}")
