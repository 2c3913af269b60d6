"""Addresses: what is one, what is none, and which can be reached from elsewhere."""

import pytest

from rawproxy.app.address import Address, Inherited, Systemd, Tcp, Unix, parse_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", Tcp("127.0.0.1", 8080)),
        ("[::1]:0", Tcp("::1", 0)),
        ("proxy-1.example_net.org:65535", Tcp("proxy-1.example_net.org", 65535)),
        ("unix:/run/proxy.sock", Unix("/run/proxy.sock")),
        ("unix:relative.sock", Unix("relative.sock")),
        ("fd:3", Inherited(3)),
        ("systemd:", Systemd()),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "8080", ":8080", "localhost", "localhost:", "localhost:http", "localhost:65536",
        "localhost:123456", "::1:8080", "[::1]", "[localhost]:80", "[]:80", "*:80", "a b:80",
        "http://localhost:80", "localhost:80/", "localhost:-1", "localhost:80\n",
        "unix:", "unix:/a\0b", "fd:", "fd:-1", "fd:x", "fd:12345678", "systemd:3", "systemd", "unix:/" + "a" * 107,
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|limit"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "local", "url"),
    [
        ("127.0.0.1:80", True, "http://127.0.0.1:80"),
        ("127.9.9.9:80", True, "http://127.9.9.9:80"),
        ("[::1]:80", True, "http://[::1]:80"),
        ("LocalHost:80", True, "http://LocalHost:80"),
        ("0.0.0.0:80", False, "http://0.0.0.0:80"),
        ("[::]:80", False, "http://[::]:80"),
        ("192.168.0.1:80", False, "http://192.168.0.1:80"),
        ("example.org:80", False, "http://example.org:80"),
        ("unix:/a.sock", True, "unix:/a.sock"),
        ("fd:3", True, "fd:3"),  # whoever opens it looks closer
        ("systemd:", True, "systemd:"),
    ],
)
def test_who_can_reach_it(text: str, local: bool, url: str) -> None:
    address = parse_address(text)
    assert (address.is_local, address.url) == (local, url)
