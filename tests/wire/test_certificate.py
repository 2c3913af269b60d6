"""Names are read off certificates as `cryptography` reads them, and off anything else there are none."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.wire.certificate import dns_names


def made(*names: x509.GeneralName, critical: bool = False, others: bool = True) -> bytes:
    """A certificate (DER) for `names`; () for one without any."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "not.a.name")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(own).issuer_name(own).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now).not_valid_after(now + timedelta(days=1))
    )  # fmt: skip
    if others:
        constraints = x509.BasicConstraints(ca=False, path_length=None)
        builder = builder.add_extension(constraints, critical=True)
        builder = builder.add_extension(x509.IssuerAlternativeName([x509.DNSName("i")]), False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=critical)
    signed = builder.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


LONG = ["a" * 60 + f"{at}.example.com" for at in range(900)]  # a length of three bytes


@pytest.mark.parametrize(
    ("der", "names"),
    [
        (made(x509.DNSName("API.Example.com")), ["api.example.com"]),
        (made(x509.DNSName("b"), x509.DNSName("*.a.example"), critical=True), ["b", "*.a.example"]),
        (made(*map(x509.DNSName, LONG)), LONG),
        (made(), []),
        (made(others=False), []),
        (made(x509.DNSName("a"), others=False), ["a"]),
        (made(x509.RFC822Name("a@b"), x509.DNSName("c"), x509.UniformResourceIdentifier("d:e")), ["c"]),
        (b"", []),
        (b"\x30", []),  # no length
        (b"\x30\x80\x00\x00", []),  # the indefinite length of BER
        (b"\x30\x85\x00\x00\x00\x00\x00", []),  # a length of five bytes
        (b"\x30\x82\x01", []),  # a length that is cut
        (b"\x30\x03\x30\x05\x00", []),  # a value that leads past the end
        (b"\x04\x00", []),
        (b"\x30\x00", []),
        (b"-----BEGIN CERTIFICATE-----", []),
    ],
)  # fmt: skip
def test_names(der: bytes, names: list[str]) -> None:
    assert dns_names(der) == names


def test_a_name_that_is_no_ascii_is_none() -> None:
    der = made(x509.DNSName("abc.example"), x509.DNSName("other.example"))
    assert dns_names(der.replace(b"abc.", b"\xff\xfe\xfd.")) == []


def test_a_certificate_as_authorities_make_them() -> None:
    pem = trustme.CA().issue_cert("a.example", "*.b.example", "10.0.0.1").cert_chain_pems[0].bytes()
    assert dns_names(ssl.PEM_cert_to_DER_cert(pem.decode())) == ["a.example", "*.b.example"]


GOOD = made(x509.DNSName("abc.example"))


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.booleans())
def test_damage_is_never_an_error(at: int, byte: int, cut: bool) -> None:
    dns_names(GOOD[:at] if cut else GOOD[:at] + bytes([byte]) + GOOD[at + 1 :])
