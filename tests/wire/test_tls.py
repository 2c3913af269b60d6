"""TLS between two sides in memory: whole handshakes, cut ones, refused ones, and how they end."""

import itertools
import ssl
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import certifi
import pytest
import trustme

from rawproxy.errors import ConfigError, WireError
from rawproxy.wire.tls import (
    ANSWER_BYTES,
    CertificateRefused,
    Certificates,
    FileFault,
    Tls,
    client_context,
    server_context,
)
from tests.wire.forgers import Forger12, Forger13

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
    return plain_context(ca.issue_cert(NAME, "10.0.0.1"))


def plain_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
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
    assert carry(here.send(b"question"), there, size) == (b"question", b"")
    assert carry(there.send(b"answer"), here, size) == (b"answer", b"")
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
    assert listener.feed(data + speaker.send(b"first")) == b"first"
    assert listener.handshaken


def test_many_records_in_one_read_come_out_together(
    client: ssl.SSLContext, server: ssl.SSLContext
) -> None:
    here, there = two_sides(client, server)
    shake_hands(here, there)
    data = bytes(range(256)) * 20_000
    assert there.feed(here.send(data)) == data
    assert there.feed(here.send(b"a") + here.send(b"b") + here.send(b"c")) == b"abc"


def test_nothing_makes_no_record(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    here, there = two_sides(client, server)
    shake_hands(here, there)
    assert here.send(b"") == b""


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
    assert there.feed(here.send(b"x")) == b"x"


# --- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_an_end_without_goodbye_is_truncation(
    client: ssl.SSLContext, server: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    client.maximum_version = version
    here, there = two_sides(client, server)
    shake_hands(here, there)
    assert here.feed(there.send(b"half an ans")) == b"half an ans"
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
    assert here.feed(there.send(b"answer") + there.close()) == b"answer"
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
    server = plain_context(trustme.CA().issue_cert(NAME))
    assert "unable to get local issuer certificate" in str(refusal(client, server))


def test_an_expired_certificate_is_refused(client: ssl.SSLContext, ca: trustme.CA) -> None:
    then = datetime(2020, 1, 1, tzinfo=UTC)
    server = plain_context(ca.issue_cert(NAME, not_before=then, not_after=then.replace(month=2)))
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
    assert here.feed(there.send(b"answer") + broken) == b"answer"
    with pytest.raises(WireError, match="bad record mac"):
        here.feed(b"")
    with pytest.raises(WireError, match="bad record mac"):
        here.eof()
    with pytest.raises(WireError, match="TLS: "):
        here.send(b"more")
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
    with pytest.raises(ConfigError, match=r"ca\.pem") as raised:
        client_context(str(path))
    assert isinstance(raised.value, FileFault)
    assert raised.value.option == "ca_file"


# --- what a server shows --------------------------------------------------------------------------

Pair = tuple[str, str]


def pair(ca: trustme.CA, folder: Path, *names: str) -> Pair:
    """Files of a certificate with its chain, and of its key."""
    issued = ca.issue_cert(*names)
    stem = folder / names[0].replace("*", "any")
    certificate, key = f"{stem}.pem", f"{stem}.key"
    chain = b"".join(one.bytes() for one in issued.cert_chain_pems)
    Path(certificate).write_bytes(chain)
    issued.private_key_pem.write_to_path(key)
    return certificate, key


def shown(client: ssl.SSLContext, certificates: Certificates, asked: str, name: str = NAME) -> bool:
    """Return whether a client that looks for `name` is content with what one that asks `asked` gets."""
    here = Tls(client, server_side=False, server_name=name)
    try:
        shake_hands(here, certificates.side(asked))
    except CertificateRefused:
        return False
    return True


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("", "first.example"), ("first.example", "first.example"), ("unknown.example", "first.example"),
        ("second.example", "second.example"),
        ("a.wild.example", "a.wild.example"),
        ("own.wild.example", "own.wild.example"),
        ("wild.example", "first.example"),  # a wildcard is for one label,
        ("a.b.wild.example", "first.example"),  # and for no more
        ("example", "first.example"),
    ],
)  # fmt: skip
def test_a_certificate_for_each_name(
    client: ssl.SSLContext, ca: trustme.CA, tmp_path: Path, asked: str, name: str
) -> None:
    names = [("first.example",), ("second.example", "first.example"), ("*.wild.example",)]
    pairs = [pair(ca, tmp_path, *each) for each in [*names, ("own.wild.example",)]]
    certificates = Certificates(pairs)
    assert certificates.several
    assert not Certificates(pairs[:1]).several
    assert shown(client, certificates, asked, name)
    others = {"first.example", "second.example", "a.wild.example", "own.wild.example"} - {name}
    # The second has the first's name too, and the wildcard the last one's.
    also = {"second.example": {"first.example"}, "a.wild.example": {"own.wild.example"}}
    found = {one for one in others if shown(client, certificates, asked, one)}
    assert found == also.get(name, set())


@pytest.fixture
def own(ca: trustme.CA, tmp_path: Path) -> Pair:
    return pair(ca, tmp_path, NAME)


def test_a_server_offers_what_is_sound(own: Pair) -> None:
    context = server_context(*own)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    wanted = ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    assert context.options & wanted == wanted
    ciphers = context.get_ciphers()
    assert ciphers
    assert all(one["aead"] for one in ciphers)
    assert {one["kea"] for one in ciphers} == {"kx-ecdhe", "kx-any"}  # any: of TLS 1.3
    assert context.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["h2", "http/1.1"], "http/1.1"),
        (["http/1.1", "h3"], "http/1.1"),
        (["h2"], None),
        ([], None),
    ],
)
def test_a_server_chooses_the_protocol(
    client: ssl.SSLContext, own: Pair, offered: list[str], chosen: str | None
) -> None:
    if offered:
        client.set_alpn_protocols(offered)
    here, there = two_sides(client, server_context(*own, alpn=("http/1.1",)))
    shake_hands(here, there)
    assert here.alpn == there.alpn == chosen


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shows", ["a good one", "another authority's", "none"])
def test_a_server_may_want_a_certificate(
    own: Pair, ca: trustme.CA, ca_file: str, tmp_path: Path, version: ssl.TLSVersion, shows: str
) -> None:
    signer = trustme.CA() if shows == "another authority's" else ca
    files = () if shows == "none" else pair(signer, tmp_path, "client.example")
    client = client_context(ca_file, *files)
    client.maximum_version = version
    here, there = two_sides(client, server_context(*own, client_ca=ca_file))
    if shows == "a good one":
        shake_hands(here, there)
        return
    with pytest.raises(WireError, match=r"verify failed|did not return a certificate"):
        shake_hands(here, there)
    assert not there.handshaken


def broken(what: str, own: Pair, ca: trustme.CA, folder: Path) -> tuple[str, ...]:
    """The arguments of `server_context`, one of them not as it should be."""
    certificate, key = own
    bad = folder / "bad.pem"
    if what == "encrypted":
        from cryptography.hazmat.primitives import serialization as pem

        plain = pem.load_pem_private_key(Path(key).read_bytes(), None)
        locked = pem.BestAvailableEncryption(b"secret")
        bad.write_bytes(plain.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, locked))
    elif what == "garbled":
        bad.write_text(Path(certificate).read_text().replace("\nMII", "\nAAA"))
    elif what == "empty":
        bad.write_bytes(b"")
    return certificate, key, str(bad)


@pytest.mark.parametrize(
    ("content", "at", "option", "what"),
    [
        ("missing", 0, "certificate", "cannot be read (No such file or directory)"),
        ("missing", 1, "key", "cannot be read (No such file or directory)"),
        ("missing", 2, "client_ca", "cannot be read (No such file or directory)"),
        ("empty", 0, "certificate", "holds no certificate, must be"),
        ("empty", 1, "key", "holds no private key, must be"),
        ("empty", 2, "client_ca", "holds no certificate, must be"),
        ("garbled", 0, "certificate", "cannot be used ("),
        ("garbled", 2, "client_ca", "cannot be used ("),
        ("encrypted", 1, "key", "has a pass phrase"),
        ("another's", 1, "key", "does not belong to"),
    ],
)  # fmt: skip
def test_a_file_that_a_server_cannot_use(
    own: Pair, ca: trustme.CA, tmp_path: Path, content: str, at: int, option: str, what: str
) -> None:
    *files, bad = broken(content, own, ca, tmp_path)
    if content == "another's":
        bad = pair(ca, tmp_path, "other.example")[1]
    files = [*files, ""]
    files[at] = bad
    with pytest.raises(FileFault) as raised:
        server_context(files[0], files[1], files[2])
    assert raised.value.option == option
    assert str(raised.value).startswith(bad) or files[0] == bad
    assert what in str(raised.value)
    assert "secret" not in str(raised.value)


# --- a peer that makes us answer ------------------------------------------------------------------


def forged(ca: trustme.CA, client: ssl.SSLContext, keylog: Path) -> tuple[Forger12 | Forger13, Tls]:
    """A server that has shaken hands, and one who writes in its client's name."""
    client.keylog_filename = str(keylog)
    client.set_ciphers("ECDHE+AES256")
    here, there = two_sides(client, plain_context(ca.issue_cert(NAME)))
    there.feed(here.start())
    flight = there.take()
    here.feed(flight)
    there.feed(here.take())
    there.take()
    assert there.handshaken
    if client.maximum_version is ssl.TLSVersion.TLSv1_2:
        return Forger12(keylog, flight[11:43]), there
    return Forger13(keylog), there


def answers(there: Tls, records: Iterator[bytes]) -> Iterator[int]:
    """Yield how many bytes are answered to each record."""
    for record in records:
        there.feed(record)
        yield len(there.take())


def test_new_keys_are_made_when_a_client_asks(
    ca: trustme.CA, client: ssl.SSLContext, tmp_path: Path
) -> None:
    forger, there = forged(ca, client, tmp_path / "keys")
    assert isinstance(forger, Forger13)
    assert there.feed(forger.record(b"a")) == b"a"
    assert there.feed(forger.key_update() + forger.record(b"b")) == b"b"
    assert there.feed(forger.key_update(requested=False) + forger.record(b"c")) == b"c"
    assert there.send(b"answer")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_flood_that_wants_answers_is_cut(
    ca: trustme.CA, client: ssl.SSLContext, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """Renegotiations (each is refused with an alert) or new keys: at the limit all is well, one more is too much."""
    client.maximum_version = version
    forger, there = forged(ca, client, tmp_path / "keys")
    ask = forger.renegotiate if isinstance(forger, Forger12) else forger.key_update
    flood = (ask() for _ in range(5000))
    next(answers(there, flood))  # OpenSSL gives new keys with the next message
    size = next(answers(there, flood))
    assert size > 0
    there.may_answer = room = 100 * size
    assert sum(itertools.islice(answers(there, flood), 100)) == room
    assert there.feed(forger.record(b"fine")) == b"fine"
    with pytest.raises(WireError, match=f"more than {ANSWER_BYTES} bytes"):
        next(answers(there, flood))


def test_a_whole_flood_is_cut_within_its_limit(
    ca: trustme.CA, client: ssl.SSLContext, tmp_path: Path
) -> None:
    forger, there = forged(ca, client, tmp_path / "keys")
    assert isinstance(forger, Forger13)
    sizes: list[int] = []
    with pytest.raises(WireError, match="answers"):
        sizes.extend(answers(there, (forger.key_update() for _ in range(5000))))
    answered = sum(sizes)
    assert ANSWER_BYTES - 2000 < answered <= ANSWER_BYTES
