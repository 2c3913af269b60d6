"""Credentials that are fetched: AWS's default chain, Google's service accounts and default credentials.

Layer: services. The vendors' own libraries find and renew them: botocore (extra `aws`) and google-auth
(extra `vertex`), imported only when a key needs one. They block, so they run in a thread.

https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
https://cloud.google.com/docs/authentication/application-default-credentials

Nothing that these libraries say of an error is logged but its kind and code: their words may quote
what the other side sent.
"""

import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from rawproxy.errors import ConfigError
from rawproxy.gateway.keys import CHAINS, Key, Secret

if TYPE_CHECKING:
    from google.auth.credentials import Credentials as GoogleCredentials
    from google.auth.transport.requests import Request

__all__ = [
    "EARLY_SECONDS",
    "FIRST_RETRY_SECONDS",
    "LONGEST_RETRY_SECONDS",
    "LOOK_SECONDS",
    "Fetched",
    "Fetcher",
    "fetcher",
    "keep_fresh",
]

EARLY_SECONDS = 240.0
"""How long before its end a credential is fetched again. Google's metadata server, which keeps its
tokens, has a new one only in the last five minutes."""

LOOK_SECONDS = 60.0
"""How often a source is looked at that says nothing of an end: it may hold something new."""

FIRST_RETRY_SECONDS = 5.0
"""The wait after a failure; doubled each time in a row."""

LONGEST_RETRY_SECONDS = 60.0

SCOPE = "https://www.googleapis.com/auth/cloud-platform"

_VISIBLE = re.compile(r"[!-~]+")
_GOOGLE_CODE = re.compile(r"([a-z_]{1,60}):")

_log = logging.getLogger("rawproxy.credentials")


class Fetched(NamedTuple):
    """What was fetched: the secret, as a key holds it, and for how many seconds it is good.

    `seconds` is None where nothing says so.
    """

    secret: Secret
    seconds: float | None = None


Fetcher = Callable[[], Fetched]
"""Fetches a credential, and blocks meanwhile. It may raise anything."""


class _NoUse(Exception):
    """What was found cannot be used. The message is ours."""


def fetcher(provider: str, secret: Secret) -> Fetcher:
    """Return what fetches the credential that `secret` stands for (see `keys.is_fetched`).

    Raises:
        ConfigError: the extra is not installed, or a service account is none.
    """
    try:
        if provider == "bedrock":
            return _aws()
        return _google() if secret in CHAINS else _service_account(secret)
    except ImportError as error:
        extra = "aws" if provider == "bedrock" else "vertex"
        raise ConfigError(f"needs an extra: pip install 'rawproxy[{extra}]'") from error


async def keep_fresh(
    key: Key, fetch: Fetcher, name: str, now: Callable[[], float] = trio.current_time
) -> None:
    """Keep a fresh credential in `key`, until cancelled.

    A key whose credential has ended, while no other can be had, rests.

    Args:
        key: at rest until the first one is there.
        fetch: gets one.
        name: of the key, for the log.
        now: the clock.
    """
    # A thread that hangs is left to itself, and takes no other's place.
    limiter = trio.CapacityLimiter(1)
    ends = float("-inf")
    retry = FIRST_RETRY_SECONDS
    while True:
        try:
            fetched = await trio.to_thread.run_sync(fetch, limiter=limiter, abandon_on_cancel=True)
            if not _VISIBLE.fullmatch(fetched.secret):
                raise _NoUse("what came is not visible ASCII")
        except Exception as error:  # whatever two large libraries may raise
            if now() >= ends:
                key.await_renewal()
            wait, retry = retry, min(2 * retry, LONGEST_RETRY_SECONDS)
            _log.warning("%s: no credential: %s; next try in %d s", name, _reason(error), wait)
        else:
            key.renew(fetched.secret)
            wait, retry = _wait(fetched.seconds), FIRST_RETRY_SECONDS
            ends = now() + (float("inf") if fetched.seconds is None else fetched.seconds)
        await trio.sleep(wait)


def _wait(seconds: float | None) -> float:
    """Return when to fetch again what is good for `seconds`."""
    if seconds is None:
        return LOOK_SECONDS
    return max(seconds - EARLY_SECONDS, seconds / 2, FIRST_RETRY_SECONDS)


def _reason(error: Exception) -> str:
    if isinstance(error, _NoUse):
        return str(error)
    code = ""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore: the code of an error response of AWS
        code = str(response.get("Error", {}).get("Code", ""))
    elif type(error).__module__.startswith("google."):  # "invalid_grant: and more words"
        found = _GOOGLE_CODE.match(str(error.args[0]) if error.args else "")
        code = found[1] if found else ""
    return f"{type(error).__name__} {code}".rstrip()


# -- AWS


def _aws() -> Fetcher:
    import botocore.session  # type: ignore[import-untyped]

    # Its debug lines quote whole responses, with the credentials in them.
    logging.getLogger("botocore").setLevel(logging.INFO)
    kept: Any = None

    def fetch() -> Fetched:
        nonlocal kept
        found = kept or botocore.session.Session().get_credentials()
        kept = None  # after a failure, the whole chain is looked through again
        if found is None:
            raise _NoUse("AWS's default chain has none")
        frozen = found.get_frozen_credentials()
        # These renew themselves, some 10 minutes before their end. All others may be new in a file.
        kept = found if hasattr(found, "refresh_needed") else None
        parts = [frozen.access_key, frozen.secret_key, *([frozen.token] if frozen.token else [])]
        return Fetched(Secret(":".join(parts)))

    return fetch


# -- Google


def _google() -> Fetcher:
    import google.auth
    import google.auth.transport.requests as transport  # google-auth alone has no `requests`

    def fetch() -> Fetched:
        found, _ = google.auth.default(scopes=[SCOPE])
        return _token(found, transport.Request())

    return fetch


def _service_account(text: str) -> Fetcher:
    import google.auth.transport.requests as transport
    from google.oauth2.service_account import Credentials

    try:
        account: GoogleCredentials = Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            json.loads(text), scopes=[SCOPE]
        )
    except Exception:  # of several kinds, and their words may quote the key
        raise ConfigError("is no service account that google-auth can read") from None
    return lambda: _token(account, transport.Request())


def _token(credentials: "GoogleCredentials", request: "Request") -> Fetched:
    """Return a new access token."""
    credentials.refresh(request)  # type: ignore[no-untyped-call]
    ends: datetime | None = credentials.expiry  # in UTC, without saying so
    left = (ends.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds() if ends else None
    return Fetched(Secret(credentials.token), left)
