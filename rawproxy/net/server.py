"""What happens with a request: doors, access, errand, and then an exchange or an answer of ours.

Layer: net. The rules are gateway's; this file asks them in order and runs what comes out.
"""

import itertools
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from rawproxy.dialects.envelope import Vault
from rawproxy.errors import ClientError, HttpError
from rawproxy.gateway.access import Access, Caller, Doors
from rawproxy.gateway.ask import Ask
from rawproxy.gateway.exchange import Answer, Exchange, Site
from rawproxy.gateway.face import Face
from rawproxy.gateway.front import Errand, errand, error_answer, local_answer, nearest
from rawproxy.gateway.liveness import Clocks
from rawproxy.gateway.providers import Way
from rawproxy.gateway.record import Record
from rawproxy.net.drive import LARGE_BODY, Run
from rawproxy.net.response import Request, Response
from rawproxy.net.sweep import Sweeper
from rawproxy.wire.fields import get
from rawproxy.wire.http import Fields, RequestHead
from rawproxy.wire.http1 import RequestStart

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


@dataclass(slots=True)
class _Seen:
    """What the head of a request came to, under a configuration and at a door.

    `found` None: a browser asks what it may do. `caller` None: it may be anybody. `starts`: once it came again.
    """

    setup: Setup
    doors: Doors
    extra: Fields
    found: Errand | None
    caller: Caller | None = None
    vault: Vault | None = None
    starts: dict[Way, RequestStart] | None = None


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
        try:
            seen = self._see(request, response, doors)
            if (run := self._run(seen, request, response)) is not None:
                await run.run()
            elif seen.found is None:
                await response.answer(204, [], b"")
            else:
                now = int(time.time())  # noqa: TID251 - a stamp
                await _answer(response, local_answer(seen.found, seen.setup.site.router, now))
        except ClientError as error:
            await _answer(response, error_answer(error, _near(request.head)))

    def beginner(self, request: Request, response: Response, doors: Doors) -> Run | None:
        """Return what serves a request by plain calls; None where only `handle` does, or has to say why not."""
        if len(request.body) > LARGE_BODY:
            return None
        try:
            return self._run(self._see(request, response, doors), request, response)
        except ClientError:
            return None

    def _see(self, request: Request, response: Response, doors: Doors) -> _Seen:
        """Return what a request's head comes to. ClientError."""
        setup, head, alike = self.setup, request.head, request.alike
        seen = alike.made
        if isinstance(seen, _Seen) and seen.setup is setup and seen.doors is doors:
            response.extra = seen.extra
            if seen.starts is None:
                seen.starts = {}
            return seen
        alike.made = None
        doors.check(head.fields)
        response.extra = extra = _cors(doors, head.fields)
        if head.method == b"OPTIONS" and extra:
            return _Seen(setup, doors, extra, None)
        found = errand(head)
        # Whether we are well is no secret; what there is to use is one.
        open_to_all = found.what in ("health", "hello")
        caller = None if open_to_all else setup.access.identify(head.fields, head.query)
        vault = None if caller is None else Vault(setup.seal_key, caller.name)
        seen = alike.made = _Seen(setup, doors, extra, found, caller, vault)
        return seen

    def _run(self, seen: _Seen, request: Request, response: Response) -> Run | None:
        """Return a new exchange; None for a request that is no call."""
        setup, found, caller, vault = seen.setup, seen.found, seen.caller, seen.vault
        if found is None or found.what not in ("call", "count"):
            return None
        assert caller is not None
        assert vault is not None
        head, site = request.head, setup.site
        now = self.upstreams.pump.now()
        forwards = setup.access.mode == "forward"
        ask = Ask(
            f"rp_{_ids.getrandbits(80):020x}", found.face, request.body,
            time.time(),  # noqa: TID251 - a stamp for the record; no clock runs by it
            fields=head.fields, query=head.query, caller=caller, given=found.given,
            counts=found.what == "count",
            sequence=next(self._numbers),
            credential=caller.key if forwards else None, vault=vault,
            client=request.client, starts=seen.starts,
        )  # fmt: skip
        request.body = b""  # the exchange has it, until nobody else may need it
        timing = site.timing
        run = Run(
            Exchange(site, ask, now), response, self.upstreams, now,
            Clocks(timing, site.limits.write_seconds, now), self._end,
            finish_seconds=timing.finish_seconds if timing.on_client_gone == "finish" else 0.0,
        )  # fmt: skip
        self._sweeper.runs.add(run)
        return run

    def _end(self, run: Run, now: float) -> None:
        self._sweeper.runs.discard(run)
        try:
            self._keep(run.record(now))
        except Exception:  # the reply has gone out, and another may follow
            _log.exception("the record of exchange %s is lost", run.id)

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
