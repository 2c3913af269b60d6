"""AWS Signature Version 4: the fields that show a request to AWS as ours.

Layer: wire. A pure function of the request, the credential and the time. Knows no AWS service but
S3, which has rules of its own.
Spec:  https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

The path that is signed is encoded once more than the path that is sent, so a `%3A` counts as
`%253A`, for every service but S3.
"""

import hmac
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote, unquote_to_bytes

from rawproxy.wire.fields import HOP_BY_HOP
from rawproxy.wire.http import Fields

__all__ = ["sign"]

_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = b"authorization"
_DATE = b"x-amz-date"
_TOKEN = b"x-amz-security-token"
_BODY_HASH = b"x-amz-content-sha256"

# Whoever stands between us and AWS may change these: AWS's own SDKs leave them out as well.
_UNSIGNED = HOP_BY_HOP | {
    b"baggage",
    b"expect",
    b"traceparent",
    b"tracestate",
    b"user-agent",
    b"x-amzn-trace-id",
}


def sign(
    method: bytes,
    target: bytes,
    fields: Fields,
    body: bytes,
    *,
    access_key: str,
    secret_key: str,
    session_token: str | None = None,
    region: str,
    service: str,
    now: float,
) -> Fields:
    """Return the fields that sign a request. They replace fields of the same names in `fields`.

    Args:
        method: upper case.
        target: path and query as they will be sent, percent-encoded.
        fields: what will be sent, `host` among it. All are signed but those that a proxy on the
            way may change; a framing field must be among them only if it is sent as it stands.
        body: the whole body.
        access_key: which credential it is.
        secret_key: its secret, which is not sent.
        session_token: what a temporary credential has besides.
        region: where the service is, such as `us-east-1`.
        service: the service's name in signatures; `bedrock` for all of Bedrock.
        now: Unix seconds. AWS takes a request for five minutes.
    """
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    body_hash = sha256(body).hexdigest()
    added: Fields = [(_DATE, stamp.encode())]
    if session_token:
        added.append((_TOKEN, session_token.encode()))
    if service == "s3" or any(name == _BODY_HASH for name, _ in fields):
        added.append((_BODY_HASH, body_hash.encode()))
    ours = {_AUTHORIZATION, *(name for name, _ in added)}
    names, signed = _canonical_fields([pair for pair in fields if pair[0] not in ours] + added)
    path, _, query = target.partition(b"?")
    request = b"\n".join(
        [
            method,
            path if service == "s3" else quote(_normalized(path), safe="/~").encode(),
            _canonical_query(query),
            signed,
            names,
            body_hash.encode(),
        ]
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{sha256(request).hexdigest()}"
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    shown = (
        f"{_ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={names.decode('latin-1')}, "
        f"Signature={_hmac(key, text).hex()}"
    )
    return [*added, (_AUTHORIZATION, shown.encode())]


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _canonical_fields(fields: Fields) -> tuple[bytes, bytes]:
    """Return the names that are signed, and a line for each of them with its values."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        if name not in _UNSIGNED:
            values.setdefault(name, []).append(b" ".join(value.split()))
    names = sorted(values)
    lines = [b"%b:%b\n" % (name, b",".join(values[name])) for name in names]
    return b";".join(names), b"".join(lines)


def _canonical_query(query: bytes) -> bytes:
    """Return the query with one spelling for each byte, in order of the names."""
    pairs = [pair.partition(b"=") for pair in query.split(b"&")] if query else []
    encoded = sorted((_encoded(name), _encoded(value)) for name, _, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded).encode()


def _encoded(text: bytes) -> str:
    return quote(unquote_to_bytes(text), safe="~")


def _normalized(path: bytes) -> bytes:
    """Return the path without empty segments and dots: so AWS reads it.

    Source: https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4
    """
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    last = b"/" if kept and path.endswith(b"/") else b""
    return b"/" + b"/".join(kept) + last
