"""Credentials that are fetched: where from, when again, and what becomes of the key meanwhile.

The vendors' libraries are real; what they ask stands on loopback.
"""

import json
import logging
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.exceptions import RefreshError
from trio.testing import MockClock

from rawproxy.errors import ConfigError
from rawproxy.gateway.keys import Key, Secret
from rawproxy.services.credentials import (
    EARLY_SECONDS,
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    LOOK_SECONDS,
    Fetched,
    fetcher,
    keep_fresh,
)
from tests.net.fakes import FakeUpstream, Script, Seen, plays, whole

INF = float("inf")
AWS, GOOGLE = Secret("aws:"), Secret("google:")
SECRET = "wJalrXUtnFEMI-secret"


@pytest.fixture(autouse=True)
def nobodys_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of whoever runs the tests, and no network."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "HOME": str(tmp_path),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def account(private_key: str, url: str = "http://127.0.0.1:1") -> Secret:
    """What stands in a service account's file."""
    return Secret(json.dumps({
        "type": "service_account", "client_email": "proxy@p.iam.gserviceaccount.com",
        "private_key_id": "1", "private_key": private_key, "token_uri": f"{url}/token",
    }, indent=2))  # fmt: skip


def tokens(**more: object) -> Script:
    """A token server."""
    body = {"access_token": SECRET, "token_type": "Bearer", "expires_in": 3600} | more
    return plays(whole(200, json.dumps(body).encode()))


# -- AWS


def test_aws_keys_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert fetcher("bedrock", AWS)() == Fetched(Secret(f"AKIA1:{SECRET}"))
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert fetcher("bedrock", AWS)() == Fetched(Secret(f"AKIA1:{SECRET}:token"))


def test_aws_keys_in_a_file_are_read_again(tmp_path: Path) -> None:
    fetch = fetcher("bedrock", AWS)
    with pytest.raises(Exception, match="has none"):
        fetch()
    for number in ("1", "2"):
        (tmp_path / "credentials").write_text(
            f"[default]\naws_access_key_id = AKIA{number}\naws_secret_access_key = {SECRET}\n"
        )
        assert fetch() == Fetched(Secret(f"AKIA{number}:{SECRET}"))


async def test_aws_keys_that_renew_themselves_are_asked_for_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    body = {"AccessKeyId": "AKIA1", "SecretAccessKey": SECRET, "Token": "t", "Expiration": ends}
    async with FakeUpstream(plays(whole(200, json.dumps(body).encode()))).running() as container:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{container.url}/credentials")
        fetch = fetcher("bedrock", AWS)
        for _ in range(2):
            assert await trio.to_thread.run_sync(fetch) == Fetched(Secret(f"AKIA1:{SECRET}:t"))
    assert len(container.seen) == 1
    assert SECRET not in caplog.text


# -- Google


@pytest.mark.parametrize("by_default", [False, True])
async def test_a_service_account_gets_tokens(
    by_default: bool,
    private_key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with FakeUpstream(tokens()).running() as server:
        secret = account(private_key, server.url)
        if by_default:
            (tmp_path / "sa.json").write_bytes(secret.encode())
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "sa.json"))
            monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
            secret = GOOGLE
        fetched = await trio.to_thread.run_sync(fetcher("vertex", secret))
    assert fetched.secret == SECRET
    assert fetched.seconds is not None
    assert 3500 < fetched.seconds <= 3600
    assert b"assertion=" in server.seen[0].body
    assert SECRET not in caplog.text


async def test_a_token_without_an_end(private_key: str) -> None:
    async with FakeUpstream(tokens(expires_in=None)).running() as server:
        fetch = fetcher("vertex", account(private_key, server.url))
        assert await trio.to_thread.run_sync(fetch) == Fetched(Secret(SECRET))


@pytest.mark.parametrize("wrong", ["", "-----BEGIN PRIVATE KEY-----\nno\n"])
def test_a_service_account_that_is_none(wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fetcher("vertex", account(wrong))
    assert str(caught.value) == "is no service account that google-auth can read"


@pytest.mark.parametrize(
    ("provider", "secret", "module", "extra"),
    [
        ("bedrock", AWS, "botocore.session", "aws"),
        ("vertex", GOOGLE, "google.auth", "vertex"),
        ("vertex", GOOGLE, "google.auth.transport.requests", "vertex"),
        ("vertex", Secret("{}"), "google.auth.transport.requests", "vertex"),
    ],
)
def test_a_missing_extra_is_named(
    provider: str, secret: Secret, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install 'rawproxy\[{extra}\]'"):
        fetcher(provider, secret)


# -- when again


class Source:
    """Gives or raises what is listed; then the test is over. Notes when it was asked, and of what key."""

    def __init__(self, *given: Fetched | Exception) -> None:
        self.given = list(given)
        self.key = Key(Secret())
        self.key.await_renewal()
        self.asked: list[float] = []
        self.ready: list[bool] = []
        self.secrets: list[str] = []
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        began = trio.current_time()
        with self._scope:
            await keep_fresh(self.key, self._fetch, "upstreams.u.keys[0]")
        self.asked = [at - began for at in self.asked]

    def _fetch(self) -> Fetched:
        trio.from_thread.run_sync(self._note)
        given = self.given.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    def _note(self) -> None:
        self.asked.append(trio.current_time())
        self.ready.append(self.key.ready_at("m") <= trio.current_time())
        self.secrets.append("".join(self.key.secret))
        if not self.given:
            self._scope.cancel()
            self.given.append(Fetched(Secret("too late")))


def good(name: str, seconds: float | None = None) -> Fetched:
    return Fetched(Secret(name), seconds)


def refused(*words: object) -> Exception:
    return RefreshError(*words)  # type: ignore[no-untyped-call]


WRONG = OSError("no way there")


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ([good("a", 3600), good("b", 3600)], [0, 3600 - EARLY_SECONDS, 7200 - 2 * EARLY_SECONDS]),
        ([good("a"), good("b")], [0, LOOK_SECONDS, 2 * LOOK_SECONDS]),
        ([good("a", 2 * EARLY_SECONDS - 2)], [0, EARLY_SECONDS - 1]),
        ([good("a", 2 * EARLY_SECONDS + 2)], [0, EARLY_SECONDS + 2]),
        ([good("a", 1)], [0, FIRST_RETRY_SECONDS]),
        ([good("a", -1)], [0, FIRST_RETRY_SECONDS]),
        ([WRONG] * 6, [0, 5, 15, 35, 75, 135, 195]),
        ([WRONG, WRONG, good("a"), WRONG], [0, 5, 15, 75, 80]),
    ],
)
async def test_when_it_is_fetched_again(
    given: list[Fetched | Exception], asked: list[float], autojump_clock: MockClock
) -> None:
    source = Source(*given)
    await source.run()
    assert source.asked == pytest.approx(asked)


async def test_failures_for_days(autojump_clock: MockClock) -> None:
    source = Source(*[WRONG] * 1100)
    await source.run()
    assert source.asked[-1] - source.asked[-2] == pytest.approx(LONGEST_RETRY_SECONDS)


async def test_the_key_rests_while_there_is_no_good_credential(autojump_clock: MockClock) -> None:
    source = Source(WRONG, good("a", 300), *[WRONG] * 6, good("b", 300))
    await source.run()
    # "a" came at 5 and is good until 305.
    assert source.asked == pytest.approx([0, 5, 155, 160, 170, 190, 230, 290, 350, 500])
    assert source.ready == [False, False, *[True] * 7, True]
    assert source.secrets == ["", "", *["a"] * 7, "b"]


async def test_a_credential_that_ended_is_not_shown(autojump_clock: MockClock) -> None:
    source = Source(good("a", 300), *[WRONG] * 7, good("a", 300))
    await source.run()
    assert source.asked[6:9] == pytest.approx([285, 345, 405])
    assert source.ready[6:] == [True, True, False, True]


async def test_a_new_credential_wakes_a_dead_key(autojump_clock: MockClock) -> None:
    source = Source(good("a"), good("b"))
    source.key.dead = True
    await source.run()
    assert source.ready == [False, True, True]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (refused(f"invalid_grant: {SECRET}", {"error": SECRET}), "RefreshError invalid_grant;"),
        (refused(SECRET), "RefreshError;"),
        (refused(), "RefreshError;"),
        (ClientError({"Error": {"Code": "ExpiredToken", "Message": SECRET}}, "GetIt"), "ClientError ExpiredToken;"),
        (ClientError({}, SECRET), "ClientError;"),
        (OSError(SECRET), "OSError;"),
        (good(f"{SECRET}\r\nx: y"), "what came is not visible ASCII;"),
        (good(""), "what came is not visible ASCII;"),
    ],
)  # fmt: skip
async def test_what_is_logged(
    given: Fetched | Exception,
    told: str,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    source = Source(given)
    await source.run()
    assert source.ready == [False, False]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"upstreams.u.keys[0]: no credential: {told} next try in 5 s"


async def test_a_refused_service_account_is_tried_again(
    private_key: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    answers = [
        whole(400, b'{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}'),
        whole(200, json.dumps({"access_token": SECRET, "expires_in": 3600}).encode()),
    ]
    done = trio.Event()

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        if not answers:
            done.set()
            await trio.sleep_forever()
        await wire.send_all(answers.pop(0))

    key = Key(Secret())
    key.await_renewal()
    async with FakeUpstream(script).running() as server, trio.open_nursery() as nursery:
        fetch = fetcher("vertex", account(private_key, server.url))
        nursery.start_soon(keep_fresh, key, fetch, "k")
        await done.wait()
        nursery.cancel_scope.cancel()
    assert key.secret == SECRET
    assert key.ready_at("m") == -INF
    assert "k: no credential: RefreshError invalid_grant; next try in 5 s" in caplog.text
