"""AWS signatures: against AWS's published examples, and against botocore's signer."""

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.credentials import Credentials  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from rawproxy.wire.http import Fields
from rawproxy.wire.sigv4 import sign

HOST = (b"host", b"bedrock-runtime.us-east-1.amazonaws.com")
JSON = (b"content-type", b"application/json")
NOW = 1440938160.9  # 2015-08-30 12:36:00.9 UTC
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3"


def signed(
    target: bytes,
    fields: Fields,
    body: bytes = b"",
    *,
    method: bytes = b"POST",
    token: str | None = None,
    service: str = "bedrock",
    now: float = NOW,
    access_key: str = "AKIDEXAMPLE",
    secret_key: str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
) -> Fields:
    return sign(
        method, target, fields, body, access_key=access_key, secret_key=secret_key,
        session_token=token, region="us-east-1", service=service, now=now,
    )  # fmt: skip


def shown(fields: Fields) -> str:
    return dict(fields)[b"authorization"].decode()


def by_botocore(
    target: str, fields: Fields, body: bytes = b"", *, token: str | None = None, s3: bool = False
) -> dict[str, str]:
    """Return the fields that botocore adds, its clock set to NOW."""
    request = AWSRequest("POST", f"https://{HOST[1].decode()}{target}", data=body)
    for name, value in fields:
        request.headers.add_header(name.decode(), value.decode())
    before = set(request.headers.keys())
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    signer = (S3SigV4Auth if s3 else SigV4Auth)(credentials, "s3" if s3 else "bedrock", "us-east-1")
    # What `add_auth` does, but for its clock.
    request.context["timestamp"] = datetime.fromtimestamp(NOW, UTC).strftime("%Y%m%dT%H%M%SZ")
    signer._modify_request_before_signing(request)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))
    added = set(request.headers.keys()) - before | {"Authorization"}
    return {name.lower(): request.headers[name] for name in added}


# --- AWS's own examples ---------------------------------------------------------------------------

EXAMPLE = (b"host", b"example.amazonaws.com")
FORM = (b"content-type", b"application/x-www-form-urlencoded; charset=utf-8")


@pytest.mark.parametrize(
    ("method", "target", "fields", "service", "expected"),
    [
        # aws-sig-v4-test-suite: get-vanilla, post-vanilla, get-vanilla-query-order-key-case
        (b"GET", b"/", [EXAMPLE], "service",
         "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (b"POST", b"/", [EXAMPLE], "service",
         "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (b"GET", b"/?Param2=value2&Param1=value1", [EXAMPLE], "service",
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        # https://docs.aws.amazon.com/general/latest/gr/sigv4-signed-request-examples.html
        (b"GET", b"/?Action=ListUsers&Version=2010-05-08",
         [(b"host", b"iam.amazonaws.com"), FORM], "iam",
         "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"),
    ],
    ids=["get", "post", "query", "ListUsers"],
)  # fmt: skip
def test_published_examples(
    method: bytes, target: bytes, fields: Fields, service: str, expected: str
) -> None:
    added = signed(target, fields, method=method, service=service)
    assert [name for name, _ in added] == [b"x-amz-date", b"authorization"]
    names = ";".join(sorted([*(name.decode() for name, _ in fields), "x-amz-date"]))
    assert dict(added)[b"x-amz-date"] == b"20150830T123600Z"
    assert shown(added) == (
        f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/{service}/aws4_request, "
        f"SignedHeaders={names}, Signature={expected}"
    )


def test_the_published_example_of_s3() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, GET Object."""
    added = signed(
        b"/test.txt", [(b"host", b"examplebucket.s3.amazonaws.com"), (b"range", b"bytes=0-9")],
        method=b"GET", service="s3", now=1369353600, access_key="AKIAIOSFODNN7EXAMPLE",
        secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )  # fmt: skip
    assert added == [
        (b"x-amz-date", b"20130524T000000Z"),
        (
            b"x-amz-content-sha256",
            b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            b"authorization",
            (
                b"AWS4-HMAC-SHA256 "
                b"Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
                b"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
                b"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
            ),
        ),
    ]


# --- botocore -------------------------------------------------------------------------------------

# name -> (target, fields, body)
REQUESTS: dict[str, tuple[str, Fields, bytes]] = {
    "a colon": ("/model/anthropic.claude-v2:1/invoke", [HOST, JSON], b"{}"),
    "an encoded colon": ("/model/anthropic.claude-v2%3A1/invoke", [HOST, JSON], b"{}"),
    "an ARN": (f"/model/{quote(ARN, safe='')}/converse-stream", [HOST, JSON], b"{}"),
    "an ARN, half encoded": (f"/model/{quote(ARN, safe=':')}/converse", [HOST, JSON], b"{}"),
    "lower case escapes": ("/model/a%3ab%2fc/converse", [HOST, JSON], b"{}"),
    "unicode": ("/model/m%C3%A9%E2%98%85", [HOST], '"\u2605"'.encode()),
    "no path": ("", [HOST], b""),
    "root": ("/", [HOST], b""),
    "a slash at the end": ("/model/", [HOST], b""),
    "slashes and dots": ("//model/.//a/b/../c/.", [HOST], b""),
    "above the root": ("/../../model/..", [HOST], b""),
    "unreserved": ("/a-b_c.d~e", [HOST], b""),
    "reserved": ("/a!b$c&d'e(f)g*h+i,j;k=l@m", [HOST], b""),
    "query": ("/inference-profiles?type=SYSTEM_DEFINED&maxResults=10", [HOST], b""),
    "query out of order": ("/?b=2&a=2&a=1&B=0&a%20=3", [HOST], b""),
    "query without values": ("/?b&a=&c", [HOST], b""),
    "query with escapes": ("/?a=%2F%3D%26%20&%C3%A9=%E2%98%85", [HOST], b""),
    "empty query": ("/?", [HOST], b""),
    "white space": ("/", [HOST, (b"x-a", b"  a   b \t c  "), (b"x-b", b"")], b""),
    "one name twice": ("/", [HOST, (b"x-a", b"2"), (b"x-b", b"3"), (b"x-a", b" 1")], b""),
    "unicode in a field": ("/", [HOST, (b"x-a", "\u00e9\u2605".encode())], b""),
    "what is not signed": (
        "/",
        [HOST, (b"user-agent", b"x"), (b"connection", b"close"), (b"expect", b"100-continue"),
         (b"transfer-encoding", b"chunked"), (b"x-amzn-trace-id", b"1"), (b"traceparent", b"2"),
         (b"tracestate", b"3"), (b"baggage", b"4"), (b"te", b"trailers"), (b"keep-alive", b"5"),
         (b"upgrade", b"h2c"), (b"trailer", b"x"), (b"proxy-authorization", b"6")],
        b"",
    ),
    "what is signed": (
        "/",
        [HOST, JSON, (b"accept", b"*/*"), (b"accept-encoding", b"identity"),
         (b"content-length", b"2"), (b"x-amzn-bedrock-accept", b"application/json")],
        b"{}",
    ),
    "signed before": (
        "/",
        [HOST, (b"authorization", b"old"), (b"x-amz-date", b"old"), (b"x-amz-security-token", b"old")],
        b"",
    ),
    "large": ("/", [HOST], b"x" * 2**20),
}  # fmt: skip


@pytest.mark.parametrize("token", [None, "IQoJb3JpZ2luX2VjE//+=="])
@pytest.mark.parametrize(("target", "fields", "body"), REQUESTS.values(), ids=REQUESTS)
def test_botocore_signs_the_same(
    target: str, fields: Fields, body: bytes, token: str | None
) -> None:
    added = signed(target.encode(), fields, body, token=token)
    theirs = by_botocore(target, fields, body, token=token)
    ours = {name.decode(): value.decode() for name, value in added}
    assert ours == {**theirs, "x-amz-date": "20150830T123600Z"} | (
        {"x-amz-security-token": token} if token else {}
    )


@pytest.mark.parametrize("target", ["/a%3Ab:c", "/a//b/../c", "/%2F%E2%98%85?b=1&a"])
def test_botocore_signs_the_same_for_s3(target: str) -> None:
    added = signed(target.encode(), [HOST], b"x", service="s3")
    theirs = by_botocore(target, [HOST], b"x", s3=True)
    assert {name.decode(): value.decode() for name, value in added} == theirs


TEXT = st.text(max_size=8)
ENCODED = TEXT.map(lambda text: quote(text, safe="-_.~"))
NAMES = st.text("abcxyz-", min_size=1, max_size=8).map(lambda name: f"x-{name}".encode())
VALUES = st.text(" ab\u00e9\u2605\t,;=", max_size=12).map(str.encode)


@settings(max_examples=200)
@given(
    segments=st.lists(ENCODED | st.sampled_from([":", ".", "..", ""]), max_size=5),
    query=st.lists(st.tuples(ENCODED, ENCODED), max_size=4),
    fields=st.lists(st.tuples(NAMES, VALUES), max_size=4),
    body=st.binary(max_size=20),
    token=st.none() | st.text("ab+/=", min_size=1, max_size=8),
)
def test_botocore_signs_anything_the_same(
    segments: list[str],
    query: list[tuple[str, str]],
    fields: Fields,
    body: bytes,
    token: str | None,
) -> None:
    target = "/" + "/".join(segments)
    if query:
        target += "?" + "&".join(f"{name}={value}" for name, value in query)
    added = signed(target.encode(), [HOST, *fields], body, token=token)
    theirs = by_botocore(target, [HOST, *fields], body, token=token)
    assert shown(added) == theirs["authorization"]


# --- what botocore does not show ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "strict"),
    [(b"/?a=b:c/d", b"/?a=b%3Ac%2Fd"), (b"/?a=%3a", b"/?a=%3A"), (b"/?%61=b+c", b"/?a=b%2Bc")],
)
def test_a_query_has_one_spelling(sent: bytes, strict: bytes) -> None:
    assert signed(sent, [HOST]) == signed(strict, [HOST])


def test_the_hash_of_the_body_replaces_a_field_that_tells_another() -> None:
    fields = [HOST, (b"x-amz-content-sha256", b"old")]
    added = signed(b"/", fields, b"x")
    assert [name for name, _ in added] == [
        b"x-amz-date", b"x-amz-content-sha256", b"authorization",
    ]  # fmt: skip
    again = [HOST, added[1]]
    assert shown(added) == shown(signed(b"/", again, b"x"))
    assert shown(added) == by_botocore("/", again, b"x")["authorization"]


def test_what_is_signed_once_can_be_signed_again() -> None:
    """A second attempt starts from the fields of the first."""
    added = signed(b"/", [HOST, JSON], b"{}", token="t")
    assert signed(b"/", [HOST, JSON, *added], b"{}", token="t") == added


@pytest.mark.parametrize(
    "change",
    [{"method": b"GET"}, {"target": b"/y"}, {"fields": [HOST]}, {"body": b"[]"}, {"token": "t"},
     {"service": "bedrock-runtime"}, {"now": NOW + 1}, {"secret_key": "x"}],
    ids=str,
)  # fmt: skip
def test_all_that_is_said_is_signed(change: dict[str, object]) -> None:
    given: dict[str, object] = {"target": b"/x", "fields": [HOST, JSON], "body": b"{}"}
    was, now = (shown(signed(**said)) for said in (given, given | change))  # type: ignore[arg-type]
    assert was.rpartition("=")[2] != now.rpartition("=")[2]


def test_the_secret_is_not_shown() -> None:
    assert b"wJalrXUtnFEMI" not in b"".join(value for _, value in signed(b"/", [HOST]))
