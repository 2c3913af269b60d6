"""What happens with a request: doors, access, errand, and then an exchange or an answer of ours.

Layer: net. The rules are gateway's; this file asks them in order and runs what comes out.
"""

import itertools
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import trio

from rawproxy.dialects.envelope import Vault
from rawproxy.errors import ClientError, HttpError
from rawproxy.gateway.access import Access, Caller, Doors
from rawproxy.gateway.ask import Ask
from rawproxy.gateway.exchange import Answer, Exchange, Site
from rawproxy.gateway.face import Face
from rawproxy.gateway.front import Errand, errand, error_answer, local_answer, nearest
from rawproxy.gateway.liveness import Clocks
from rawproxy.gateway.record import Record
from rawproxy.net.drive import Run, Sweeper
from rawproxy.net.response import Request, Response
from rawproxy.wire.fields import get
from rawproxy.wire.http import Fields, RequestHead

__all__ = ["Server", "Setup"]

_log = logging.getLogger("rawproxy")

_ids = random.Random()  # noqa: S311 - ids have to differ, not to be hard to guess


@dataclass(frozen=True, slots=True)
class Setup:
    """What a configuration makes of the server; swapped whole when it is read again.

    `seal_key` signs envelopes: the same for all replicas.
    """

    site: Site
    access: Access
    seal_key: bytes


class _Seen(NamedTuple):
    """What the head of a call came to, under a configuration and at a door."""

    setup: Setup
    doors: Doors
    extra: Fields
    found: Errand
    caller: Caller
    vault: Vault


class Server:
    """Serves requests of all listeners.

    Args:
        setup: the configuration.
        keep: takes the record of each exchange.
        sweeper: looks at the clocks.
    """

    def __init__(
        self,
        setup: Setup,
        keep: Callable[[Record], None],
        sweeper: Sweeper,
    ) -> None:
        self.setup = setup
        self._keep = keep
        self._sweeper = sweeper
        self._numbers = itertools.count(1)
        self.upstreams = sweeper.upstreams

    async def handle(self, request: Request, response: Response, doors: Doors) -> None:
        """Serve one request."""
        seen = request.seen
        if not isinstance(seen, _Seen) or seen.setup is not self.setup or seen.doors is not doors:
            try:
                seen = await self._look(request, response, doors)
            except ClientError as error:
                await _answer(response, error_answer(error, _near(request.head)))
                return
        request.seen = seen
        if seen is not None:
            await self._exchange(seen, request, response)

    async def _look(self, request: Request, response: Response, doors: Doors) -> _Seen | None:
        """Return what a call's head comes to; None for a request that was answered here. ClientError."""
        setup, head = self.setup, request.head
        doors.check(head.fields)
        response.extra = _cors(doors, head.fields)
        if head.method == b"OPTIONS" and response.extra:
            await response.answer(204, [], b"")
            return None
        found = errand(head)
        # Whether we are well is no secret; what there is to use is one.
        open_to_all = found.what in ("health", "hello")
        caller = None if open_to_all else setup.access.identify(head.fields, head.query)
        if found.what not in ("call", "count"):
            answer = local_answer(found, setup.site.router, int(time.time()))  # noqa: TID251 - a stamp
            await _answer(response, answer)
            return None
        assert caller is not None
        vault = Vault(setup.seal_key, caller.name)
        return _Seen(setup, doors, response.extra, found, caller, vault)

    async def _exchange(self, seen: _Seen, request: Request, response: Response) -> None:
        setup, found, caller = seen.setup, seen.found, seen.caller
        response.extra = seen.extra
        head, site = request.head, setup.site
        now = trio.current_time()
        forwards = setup.access.mode == "forward"
        ask = Ask(
            f"rp_{_ids.getrandbits(80):020x}", found.face, request.body,
            time.time(),  # noqa: TID251 - a stamp for the record; no clock runs by it
            fields=head.fields, query=head.query, caller=caller, given=found.given,
            counts=found.what == "count",
            sequence=next(self._numbers),
            credential=caller.key if forwards else None, vault=seen.vault,
            client=request.client,
        )  # fmt: skip
        request.body = b""  # the exchange has it, until nobody else may need it
        timing = site.timing
        run = Run(
            Exchange(site, ask, now), response, self.upstreams, now,
            Clocks(timing, site.limits.write_seconds, now),
            finish_seconds=timing.finish_seconds if timing.on_client_gone == "finish" else 0.0,
        )  # fmt: skip
        self._sweeper.runs.add(run)
        try:
            await run.run()
        finally:
            self._sweeper.runs.discard(run)
            try:
                self._keep(run.record())
            except Exception:  # the reply has gone out, and another may follow
                _log.exception("the record of exchange %s is lost", ask.id)

    @staticmethod
    async def refuse(error: HttpError, head: RequestHead, response: Response) -> None:
        """Answer a request that broke HTTP or a limit; the connection is closed after it."""
        await _answer(response, error_answer(error, _near(head)))


def _near(head: RequestHead) -> Face:
    return nearest(head.path.decode("latin-1"), head.fields)


async def _answer(response: Response, answer: Answer) -> None:
    await response.answer(answer.status, answer.fields, answer.body)


def _cors(doors: Doors, fields: Fields) -> Fields:
    """Return what lets a page of an allowed origin read the reply."""
    origin = get(fields, b"origin")
    if origin is None or not doors.allows(origin):
        return []
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-allow-headers", get(fields, b"access-control-request-headers") or b"*"),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"origin"),
    ]
