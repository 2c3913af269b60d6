"""Carry one exchange from its request to its last byte.

Layer: net. gateway.exchange decides; this file only does. Everything of an exchange runs in one cancel
scope: cancelling it *is* the handling of a client that left.
"""

import logging
import math
from contextlib import aclosing
from typing import assert_never

import trio

from rawproxy.errors import UpstreamError, UpstreamStall
from rawproxy.gateway.exchange import (
    Answer,
    Attempt,
    Break,
    Commit,
    Done,
    Exchange,
    Finish,
    Preview,
    Step,
)
from rawproxy.gateway.liveness import Clocks, Due
from rawproxy.gateway.record import Outcome, Record
from rawproxy.net.relay import relay
from rawproxy.net.response import ClientGone, Response
from rawproxy.net.upstream import Upstreams
from rawproxy.wire.http import Fields

__all__ = ["Run", "Sweeper"]

_WORDS = {
    Due.CONNECT: "the upstream did not accept a connection in time",
    Due.FIRST_EVENT: "the upstream did not begin to answer in time",
    Due.SILENCE: "the upstream fell silent",
    Due.TOTAL: "the exchange took longer than it may",
}

_log = logging.getLogger("rawproxy")

LARGE_BODY = 524288
"""Bytes of a request that are read in a thread: half a MiB is read in some milliseconds at worst."""

DRAINED = "the proxy is shutting down"


class Run:
    """One exchange under way: its steps, and what its clocks do to it.

    Args:
        exchange: the machine.
        response: the client's side.
        upstreams: the pool.
        now: seconds on trio's clock.
        clocks: started when the request was whole.
        finish_seconds: how long a reply is read on after its client left; 0 = not at all.
    """

    def __init__(
        self,
        exchange: Exchange,
        response: Response,
        upstreams: Upstreams,
        now: float,
        clocks: Clocks,
        *,
        finish_seconds: float = 0.0,
    ) -> None:
        self._exchange = exchange
        self._response = response
        self._upstreams = upstreams
        self._began = now
        self._clocks = clocks
        self._finish_seconds = finish_seconds
        # Of all there is to wait for; another one after an interruption.
        self._scope = trio.CancelScope()
        self._until = math.inf  # a client that left is not waited for longer
        self._attempting = False
        self._late: Due | str | None = None  # why an attempt was interrupted
        self._outcome: Outcome | None = None  # why all of it was
        self._unclean = False  # the body has to end as no framing promised
        self._ended = False
        response.clocks = clocks

    async def run(self) -> None:
        """Run the exchange to its end."""
        try:
            step = await self._uninterrupted(None)
            while step is not None:
                step = await self._uninterrupted(step)
        finally:
            self._response.unwatch()
        if self._outcome == "client_gone" and self._response.flushed and self._exchange.on_left():
            self._outcome = None
        if self._unclean or self._outcome is not None or self._response.gone:
            self._response.abort()
        self._ended = True

    def record(self) -> Record:
        """Return the exchange's record; the exchange is over, or was ended from outside."""
        outcome = "client_gone" if self._response.gone else self._outcome
        if not self._ended:
            outcome = outcome or "failed"
        return self._exchange.on_sent(trio.current_time(), outcome).record

    async def _crash(self) -> None:
        """Tell the client that it was us; if even that goes wrong, end without a word."""
        try:
            step = self._exchange.on_crash()
            if isinstance(step, Answer) and not self._response.begun:
                await self._response.answer(step.status, step.fields, step.body)
            else:
                await self._break(step.parts if isinstance(step, Break) else [])
        except Exception:
            self._unclean = True

    # -- steps

    async def _uninterrupted(self, step: Step | None) -> Step | None:
        """Do what comes, from `step` on or from the start; return what an interruption makes of it."""
        self._late = None
        self._scope = trio.CancelScope(deadline=self._until)
        with self._scope:
            try:
                if step is None:
                    self._response.watch(self._on_left)
                    step = await self._start()
                return await self._steps(step)
            except ClientGone:
                self._outcome = "client_gone"
            except Exception:
                # A bug of ours. It costs this exchange, and no other one.
                _log.exception("exchange %s", self._exchange.ask.id)
                await self._crash()
        interrupted = self._scope.cancelled_caught and self._outcome is None
        return self._on_late() if interrupted else None

    async def _start(self) -> Step:
        exchange = self._exchange
        if len(exchange.ask.body) > LARGE_BODY:
            # Reading it may take longer than everybody else may wait.
            now = trio.current_time()
            step = await trio.to_thread.run_sync(exchange.start, now)
        else:
            step = exchange.start(self._began)
        self._clocks.streams = exchange.ask.stream
        return step

    async def _steps(self, step: Step) -> Step | None:
        """Do `step` and what follows; return what was next when an interruption came too late."""
        while self._late is None:
            # By name: a pattern by position leaves a string in a cache of Python's each time.
            match step:
                case Attempt():
                    step = await self._attempt(step)
                    self._clocks.idle()
                case Answer(status=status, fields=fields, body=body):
                    await self._response.answer(status, fields, body)
                    return None
                case Finish(parts=parts):
                    await self._response.finish(parts)
                    return None
                case Break(parts=parts):
                    await self._break(parts)
                    return None
                case Commit(status=status, fields=fields, parts=parts):
                    await self._last(status, fields, parts)
                    return None
                case Preview() | Done():
                    raise AssertionError(
                        "a preview is part of an attempt, and nothing follows a record"
                    )
                case _:
                    assert_never(step)
        return step

    async def _last(self, status: int, fields: Fields, parts: list[bytes]) -> None:
        """Send a reply that is whole already: with its length, when nothing went before it."""
        if self._response.begun or self._exchange.ask.stream:
            await self._response.begin(status, fields, parts)
            await self._response.finish([])
        else:
            await self._response.answer(status, fields, b"".join(parts))

    async def _break(self, parts: list[bytes]) -> None:
        if parts:
            await self._response.finish(parts)
            self._response.keep_alive = False
        else:
            self._unclean = True

    async def _attempt(self, attempt: Attempt) -> Step:
        """Run one attempt until the exchange wants something else."""
        self._attempting = True
        try:
            if attempt.call is not None:
                return await self._engine(attempt)
            return await self._upstream(attempt)
        except UpstreamError as error:
            return self._exchange.on_failed(error, trio.current_time())
        finally:
            self._attempting = False

    def _on_late(self) -> Step | None:
        now = trio.current_time()
        late = self._late
        if late is None:
            return None
        if late is Due.TAIL:
            return self._exchange.on_end(now)
        if isinstance(late, Due):
            return self._exchange.on_failed(
                UpstreamStall(_WORDS[late]), now, final=late is Due.TOTAL
            )
        return self._exchange.on_failed(UpstreamError(late), now, final=True)

    async def _upstream(self, attempt: Attempt) -> Step:
        exchange = self._exchange
        reply = await self._upstreams.send(attempt, self._clocks)
        try:
            now = trio.current_time()
            self._clocks.heard(now)
            step = exchange.on_head(reply.status, reply.fields, now)
            while isinstance(step, Preview):
                data = reply.held()
                if data is None:
                    data = await reply.receive()
                    now = trio.current_time()
                    self._clocks.heard(now)
                step = exchange.on_data(data, now) if data else exchange.on_end(now)
                del data
            if isinstance(step, Commit) and step.pipe is not None and not step.last:
                pipe = step.pipe
                await self._response.begin(step.status, step.fields, step.parts)
                del step  # what went out is not held as long as the reply goes on
                await relay(reply, pipe, self._response, self._clocks)
                step = exchange.on_end(trio.current_time())
            return step
        finally:
            reply.release()

    async def _engine(self, attempt: Attempt) -> Step:
        """Run an engine: its events take the place of an upstream's bytes."""
        exchange = self._exchange
        engine, call = attempt.candidate.upstream.engine, attempt.call
        assert engine is not None
        assert call is not None
        pipe = exchange.on_engine()
        self._clocks.waiting(trio.current_time())
        step: Step = Preview()
        async with aclosing(engine.generate(call, attempt.candidate.model)) as events:
            async for event in events:
                now = trio.current_time()
                self._clocks.heard(now)
                parts = pipe.say([event])
                if not isinstance(step, Preview):
                    if parts:
                        await self._response.send(parts)
                    continue
                step = exchange.on_parts(parts, now)
                if isinstance(step, Commit):
                    await self._response.begin(step.status, step.fields, step.parts)
                elif not isinstance(step, Preview):
                    return step
        return exchange.on_end(trio.current_time())

    # -- the client

    def _on_left(self) -> None:
        if self._finish_seconds > 0 and self._exchange.output_sent:
            self._response.gone = True
            self._until = self._scope.deadline = trio.current_time() + self._finish_seconds
        else:
            self._outcome = "client_gone"
            self._scope.cancel()

    # -- clocks

    def tick(self, now: float) -> None:
        """Do what is due at `now`. Called by the sweeper; never waits."""
        self._response.retry()
        due = self._clocks.due(now)
        match due:
            case None:
                return
            case Due.KEEPALIVE:
                self._keepalive(now)
            case Due.WRITE:
                self._outcome = "client_stalled"
                self._scope.cancel()
            case _:
                self._interrupt(due)

    def drain(self) -> None:
        """End the exchange with an error: the time for draining is over."""
        if self._attempting:
            self._interrupt(DRAINED)
        else:
            self._outcome = "failed"
            self._scope.cancel()

    def give_up(self) -> None:
        """End the exchange without a word: a fault of ours has left it without clocks."""
        self._outcome = "internal"
        self._scope.cancel()

    def _interrupt(self, why: Due | str) -> None:
        if self._attempting and self._late is None:
            self._late = why
            self._scope.cancel()

    def _keepalive(self, now: float) -> None:
        step = self._exchange.on_quiet(now)
        if isinstance(step, Commit):
            self._response.begin_now(step.status, step.fields, step.parts)
        elif step:
            self._response.nudge(step)
        self._clocks.spoke(now)


class Sweeper:
    """Looks at the clocks of all running exchanges, coarsely: no timer for each event of each stream.

    Args:
        period: seconds between two looks; the error of every clock.
        upstreams: their idle connections are looked at as well.
    """

    def __init__(self, period: float, upstreams: Upstreams) -> None:
        self.period = period
        self.upstreams = upstreams
        self.runs: set[Run] = set()

    async def sweep(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                await trio.sleep(self.period)
                now = trio.current_time()
                for run in tuple(self.runs):
                    self._tick(run, now)
                self.upstreams.sweep(now)
            except Exception:  # without clocks nothing of anybody would ever end
                _log.exception("sweep")

    def _tick(self, run: Run, now: float) -> None:
        try:
            run.tick(now)
        except Exception:  # a bug of ours in one exchange stops no other one's clocks
            _log.exception("tick")
            run.give_up()
