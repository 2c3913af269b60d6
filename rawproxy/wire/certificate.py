"""The names that a certificate is for, read off its bytes.

Layer: wire. Knows as much DER as leads to them. A certificate comes here after OpenSSL has taken it:
what this file cannot read has no names, and is shown to those who ask for none.
Spec:  https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.6 (subjectAltName), X.690 section 8 (DER)

Addresses among the names are left out: a client may not ask for one (RFC 6066 section 3).
"""

from collections.abc import Iterator

__all__ = ["dns_names"]

_SEQUENCE, _OID, _OCTETS = 0x30, 0x06, 0x04
_EXTENSIONS = 0xA3  # [3] of TBSCertificate
_DNS_NAME = 0x82  # [2] of GeneralName
_SUBJECT_ALT_NAME = bytes((0x55, 0x1D, 0x11))  # 2.5.29.17


def dns_names(der: bytes) -> list[str]:
    """Return the DNS names of a certificate, in lower case and in their order; wildcards as they stand.

    Args:
        der: one certificate. Without names, or where it is none: [].
    """
    try:
        return [
            value.decode("ascii").lower()
            for extension in _extensions(der)
            for value in _alternatives(extension)
        ]
    except ValueError:
        return []


def _extensions(der: bytes) -> Iterator[bytes]:
    for fields in _members(der, _SEQUENCE):  # Certificate
        for extensions in _members(next(_members(fields, _SEQUENCE), b""), _EXTENSIONS):
            for each in _members(extensions, _SEQUENCE):
                yield from _members(each, _SEQUENCE)


def _alternatives(extension: bytes) -> Iterator[bytes]:
    members = list(_values(extension))  # its OID, maybe whether it is critical, its value
    if members[:1] == [(_OID, _SUBJECT_ALT_NAME)]:
        for value in (value for tag, value in members if tag == _OCTETS):
            for names in _members(value, _SEQUENCE):
                yield from _members(names, _DNS_NAME)


def _members(data: bytes, tag: int) -> Iterator[bytes]:
    return (value for each, value in _values(data) if each == tag)


def _values(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and value of each value in `data`. ValueError where one is cut."""
    at = 0
    while at < len(data):
        head, size = _head(data[at : at + 6])
        end = at + head + size
        if end > len(data):
            raise ValueError("cut")
        yield data[at], data[at + head : end]
        at = end


def _head(data: bytes) -> tuple[int, int]:
    """Return the lengths of a value's head and of its content."""
    if len(data) < 2:
        raise ValueError("cut")
    if data[1] < 0x80:
        return 2, data[1]
    more = data[1] & 0x7F
    # Four bytes of length are more than any certificate has; none at all (0x80) is not DER.
    if not 1 <= more <= 4 or len(data) < 2 + more:
        raise ValueError("no length")
    return 2 + more, int.from_bytes(data[2 : 2 + more])
