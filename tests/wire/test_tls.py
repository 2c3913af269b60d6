"""TLS between two sides in memory: whole handshakes, cut ones, refused ones, and how they end."""

import ssl
import warnings
from datetime import UTC, datetime
from pathlib import Path

import certifi
import pytest
import trustme

from rawproxy.errors import ConfigError, WireError
from rawproxy.wire.tls import CertificateRefused, Tls, client_context

NAME = "api.example.com"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def client(ca_file: str) -> ssl.SSLContext:
    return client_context(ca_file)


@pytest.fixture
def server(ca: trustme.CA) -> ssl.SSLContext:
    return server_context(ca.issue_cert(NAME, "10.0.0.1"))


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def two_sides(client: ssl.SSLContext, server: ssl.SSLContext, name: str = NAME) -> tuple[Tls, Tls]:
    return Tls(client, server_side=False, server_name=name), Tls(server, server_side=True)


def carry(data: bytes, to: Tls, size: int) -> tuple[bytes, bytes]:
    """Feed `data` in reads of `size`; return the plaintext, and what goes back."""
    plaintext = back = b""
    for at in range(0, len(data), size):
        plaintext += to.feed(data[at : at + size])
        back += to.take()
    return plaintext, back


def shake_hands(client: Tls, server: Tls, size: int = 2**16) -> None:
    assert server.start() == b""
    data = client.start()
    while data:
        plaintext, data = carry(data, server, size)
        assert plaintext == b""
        plaintext, data = carry(data, client, size)
        assert plaintext == b""
    assert client.handshaken
    assert server.handshaken


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [1, 2, 5, 100, 2**16])
def test_reads_of_any_size_make_a_connection(
    client: ssl.SSLContext, server: ssl.SSLContext, version: ssl.TLSVersion, size: int
) -> None:
    client.maximum_version = version
    here, there = two_sides(client, server)
    shake_hands(here, there, size)
    assert carry(here.send([b"question"]), there, size) == (b"question", b"")
    assert carry(there.send([b"ans", b"", b"wer"]), here, size) == (b"answer", b"")
    assert carry(there.close(), here, size)[0] == b""
    assert here.ended
    here.eof()


@pytest.mark.parametrize("version", VERSIONS)
def test_data_in_one_read_with_the_end_of_the_handshake_is_read_at_once(
    client: ssl.SSLContext, server: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    client.maximum_version = version
    here, there = two_sides(client, server)
    speaker, listener, data = here, there, here.start()
    while not speaker.handshaken:
        assert listener.feed(data) == b""
        speaker, listener = listener, speaker
        data = speaker.take()
    assert speaker is (here if version is ssl.TLSVersion.TLSv1_3 else there)
    assert listener.feed(data + speaker.send([b"first"])) == b"first"
    assert listener.handshaken


def test_many_records_in_one_read_come_out_together(
    client: ssl.SSLContext, server: ssl.SSLContext
) -> None:
    here, there = two_sides(client, server)
    shake_hands(here, there)
    data = bytes(range(256)) * 20_000
    assert there.feed(here.send([data])) == data
    assert there.feed(here.send([b"a"]) + here.send([b"b"]) + here.send([b"c"])) == b"abc"


def test_small_parts_share_a_record(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    here, there = two_sides(client, server)
    shake_hands(here, there)
    assert len(here.send([b"x"] * 100)) == len(here.send([b"x" * 100]))
    assert here.send([]) == b""
    assert here.send([b""]) == b""


def test_what_both_sides_speak_is_agreed_on(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    client.set_alpn_protocols(["h2", "http/1.1"])
    server.set_alpn_protocols(["http/1.1"])
    here, there = two_sides(client, server)
    before = here.alpn
    shake_hands(here, there)
    assert (before, here.alpn, there.alpn) == (None, "http/1.1", "http/1.1")


def test_an_address_is_a_name_too(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    here, there = two_sides(client, server, name="10.0.0.1")
    shake_hands(here, there)
    assert there.feed(here.send([b"x"])) == b"x"


# --- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_an_end_without_goodbye_is_truncation(
    client: ssl.SSLContext, server: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    client.maximum_version = version
    here, there = two_sides(client, server)
    shake_hands(here, there)
    assert here.feed(there.send([b"half an ans"])) == b"half an ans"
    assert not here.ended
    with pytest.raises(WireError, match="truncated"):
        here.eof()


def test_an_end_in_the_handshake_is_told_apart(
    client: ssl.SSLContext, server: ssl.SSLContext
) -> None:
    here, _ = two_sides(client, server)
    here.start()
    with pytest.raises(WireError, match="during the handshake"):
        here.eof()


@pytest.mark.parametrize("version", VERSIONS)
def test_data_and_goodbye_in_one_read(
    client: ssl.SSLContext, server: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    client.maximum_version = version
    here, there = two_sides(client, server)
    shake_hands(here, there)
    assert here.feed(there.send([b"answer"]) + there.close()) == b"answer"
    assert here.ended
    assert here.feed(b"whatever follows") == b""


@pytest.mark.parametrize("version", VERSIONS)
def test_both_sides_may_say_goodbye(
    client: ssl.SSLContext, server: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    client.maximum_version = version
    here, there = two_sides(client, server)
    shake_hands(here, there)
    ours, theirs = here.close(), there.close()
    assert ours
    assert (here.feed(theirs), there.feed(ours)) == (b"", b"")
    assert (here.ended, there.ended) == (True, True)


def test_there_is_no_goodbye_before_the_handshake(
    client: ssl.SSLContext, server: ssl.SSLContext
) -> None:
    here, there = two_sides(client, server)
    here.start()
    assert (here.close(), there.close()) == (b"", b"")


# --- faults ---------------------------------------------------------------------------------------


def refusal(client: ssl.SSLContext, server: ssl.SSLContext, name: str = NAME) -> CertificateRefused:
    """Return what the client raises; check that the server learns of it."""
    here, there = two_sides(client, server, name)
    there.feed(here.start())
    with pytest.raises(CertificateRefused) as raised:
        here.feed(there.take())
    assert not here.handshaken
    with pytest.raises(WireError, match="alert"):
        there.feed(here.take())
    return raised.value


def test_another_name_is_refused(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    assert str(refusal(client, server, "evil.example.com")) == (
        "TLS: certificate verify failed: Hostname mismatch"
    )


def test_an_unknown_authority_is_refused(client: ssl.SSLContext) -> None:
    server = server_context(trustme.CA().issue_cert(NAME))
    assert "unable to get local issuer certificate" in str(refusal(client, server))


def test_an_expired_certificate_is_refused(client: ssl.SSLContext, ca: trustme.CA) -> None:
    then = datetime(2020, 1, 1, tzinfo=UTC)
    server = server_context(ca.issue_cert(NAME, not_before=then, not_after=then.replace(month=2)))
    assert "certificate has expired" in str(refusal(client, server))


def test_tls_before_1_2_is_refused(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what is deprecated is the point
        server.minimum_version = ssl.TLSVersion.TLSv1
        server.maximum_version = ssl.TLSVersion.TLSv1_1
    server.set_ciphers("ALL:@SECLEVEL=0")
    here, there = two_sides(client, server)
    with pytest.raises(WireError, match="unsupported protocol"):
        there.feed(here.start())
    with pytest.raises(WireError, match="protocol version"):
        here.feed(there.take())


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "wrong version number"), (b"\x00" * 64, "version")],
)
def test_a_peer_that_speaks_no_tls_is_told_by_its_reason_only(
    client: ssl.SSLContext, server: ssl.SSLContext, data: bytes, reason: str
) -> None:
    here, _ = two_sides(client, server)
    here.start()
    with pytest.raises(WireError, match=reason) as raised:
        here.feed(data)
    assert "HTTP" not in str(raised.value)
    assert not here.handshaken


@pytest.mark.parametrize("version", VERSIONS)
def test_what_comes_before_a_broken_record_is_read(
    client: ssl.SSLContext, server: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    client.maximum_version = version
    here, there = two_sides(client, server)
    shake_hands(here, there)
    broken = b"\x17\x03\x03\x00\x20" + b"z" * 32
    assert here.feed(there.send([b"answer"]) + broken) == b"answer"
    with pytest.raises(WireError, match="bad record mac"):
        here.feed(b"")
    with pytest.raises(WireError, match="bad record mac"):
        here.eof()
    with pytest.raises(WireError, match="TLS: "):
        here.send([b"more"])
    assert here.take()  # the alert that tells the peer


def test_a_broken_record_alone_is_told_at_once(
    client: ssl.SSLContext, server: ssl.SSLContext
) -> None:
    here, there = two_sides(client, server)
    shake_hands(here, there)
    with pytest.raises(WireError, match="bad record mac"):
        here.feed(b"\x17\x03\x03\x00\x20" + b"z" * 32)


# --- whom a client trusts -------------------------------------------------------------------------


def authorities(context: ssl.SSLContext) -> int:
    return context.cert_store_stats()["x509_ca"]


def mozilla() -> int:
    return authorities(ssl.create_default_context(cafile=certifi.where()))


def test_a_client_verifies(client: ssl.SSLContext) -> None:
    assert client.verify_mode is ssl.CERT_REQUIRED
    assert client.check_hostname
    assert client.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_file_of_authorities_is_trusted_alone(ca_file: str) -> None:
    assert authorities(client_context(ca_file)) == 1


def test_the_system_is_trusted_without_one(ca_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    assert authorities(client_context()) == 1


@pytest.mark.parametrize("directory", ["empty", "missing"])
def test_mozillas_authorities_stand_in_for_an_empty_system(
    directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", "missing.pem")
    monkeypatch.setenv("SSL_CERT_DIR", directory)
    assert authorities(client_context()) == mozilla()


def test_a_directory_of_authorities_is_a_system(
    ca_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0a1b2c3d.0").write_bytes(Path(ca_file).read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", "missing.pem")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert authorities(client_context()) == 0


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_without_authorities_is_the_operators_fault(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        client_context(str(path))
