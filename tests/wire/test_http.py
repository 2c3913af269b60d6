"""The events both versions of HTTP share."""

import pytest

from rawproxy.wire.http import RequestHead


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/v1/messages", b"/v1/messages", b""),
        (b"/v1/messages?beta=true", b"/v1/messages", b"beta=true"),
        (b"/a?b=c?d", b"/a", b"b=c?d"),
        (b"/?", b"/", b""),
        (b"*", b"*", b""),
    ],
)
def test_a_target_is_a_path_and_a_query(target: bytes, path: bytes, query: bytes) -> None:
    head = RequestHead(b"GET", target, [])
    assert (head.path, head.query) == (path, query)


def test_a_head_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        RequestHead(b"GET", b"/", []).target = b"/other"  # type: ignore[misc]
