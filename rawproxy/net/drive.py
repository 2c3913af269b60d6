"""Carry one exchange from its request to its last byte.

Layer: net. gateway.exchange decides; this file only does. An exchange is made of plain calls by the pump as
long as there is nothing to wait for but an upstream whose connection stands. A task carries on with whatever
is more than that: no connection, a client that is slow or has left, a failure. It runs in one cancel scope,
and cancelling that *is* the handling of a client that left.
"""

import logging
import math
from collections.abc import Callable
from contextlib import aclosing
from typing import assert_never

import outcome
import trio

from rawproxy.errors import NotProcessed, UpstreamError, UpstreamStall
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
from rawproxy.net.pump import Then
from rawproxy.net.relay import Flow, relay
from rawproxy.net.response import ClientGone, Response
from rawproxy.net.upstream import Reply, Sent, Upstreams
from rawproxy.wire.http import Fields

__all__ = ["Run"]

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
        keep: takes it when it is over, and when that was.
        finish_seconds: how long a reply is read on after its client left; 0 = not at all.
    """

    def __init__(
        self,
        exchange: Exchange,
        response: Response,
        upstreams: Upstreams,
        now: float,
        clocks: Clocks,
        keep: "Callable[[Run, float], None]",
        *,
        finish_seconds: float = 0.0,
    ) -> None:
        self._exchange = exchange
        self._response = response
        self._upstreams = upstreams
        self._began = now
        self._clocks = clocks
        self._keep = keep
        self._finish_seconds = finish_seconds
        # Of all there is to wait for; another one after an interruption. None until a task has it.
        self._scope: trio.CancelScope | None = None
        self._until = math.inf  # a client that left is not waited for longer
        self._attempting = False
        self._late: Due | str | None = None  # why an attempt was interrupted
        self._outcome: Outcome | None = None  # why all of it was
        self._unclean = False  # the body has to end as no framing promised
        self._ended = False
        # How far plain calls have brought it: the step that is next (None: the answer was given), what
        # was sent for it, what came back, and what follows from that (None: more has to come).
        self._begun = False
        self._next: Step | None = None
        self._sent: Sent | None = None
        self._reply: Reply | None = None
        self._follows: Step | None = None
        self._flow: Flow | None = None
        self._done: Then | None = None  # both only as long as plain calls go on
        self._wake: Callable[[], None] | None = None
        response.clocks = clocks

    async def run(self) -> None:
        """Run the exchange to its end, from wherever plain calls have brought it."""
        try:
            try:
                step = None if self._outcome else await self._uninterrupted(None)
                while step is not None:
                    step = await self._uninterrupted(step)
            finally:
                self._response.unwatch()
                self._let_go()
            left = self._outcome == "client_gone"
            if left and self._response.flushed and self._exchange.on_left():
                self._outcome = None
            if self._unclean or self._outcome is not None or self._response.gone:
                self._response.abort()
            self._ended = True
        finally:
            self._keep(self, trio.current_time())

    @property
    def id(self) -> str:
        """The exchange's id."""
        return self._exchange.ask.id

    def record(self, now: float) -> Record:
        """Return the exchange's record; at `now` the exchange was over, or ended from outside."""
        outcome = "client_gone" if self._response.gone else self._outcome
        if not self._ended:
            outcome = outcome or "failed"
        return self._exchange.on_sent(now, outcome).record

    # -- plain calls

    def begin(self, done: Then, wake: Callable[[], None]) -> bool:
        """Begin by plain calls; return whether they go on: False, and `run` has to.

        Args:
            done: is called when the exchange is over, and no task was needed.
            wake: is called when `run` has to go on.
        """
        self._begun = True
        try:
            step = self._next = self._start()
            if isinstance(step, Attempt) and step.call is None:
                self._sent = self._upstreams.begin(step, self._clocks, self._began)
        except Exception:
            self._next = self._fault()
        if self._sent is None:
            return False
        if not (self._upstreams.pump.later(self._ask) or self._sent.send_now()):
            return False
        self._done, self._wake, self._attempting = done, wake, True
        self._sent.take(self._on_ready)
        return True

    def stop(self, *, left: bool = False) -> None:
        """Do nothing more until `run`; `left`: the client has left."""
        self._stop()
        if left:
            self._on_left()

    def abandon(self) -> None:
        """Give it up without a word: its connection ends."""
        self._stop()
        self._let_go()
        self._keep(self, trio.current_time())

    def _stop(self) -> None:
        if self._wake is None:
            return
        self._done, self._wake = None, None
        self._leave()

    def _leave(self) -> None:
        """Read no more of the upstream."""
        self._attempting = False
        if self._flow is not None:
            if (parts := self._flow.stop()) and isinstance(step := self._follows, Commit):
                self._follows = Commit(step.status, step.fields, parts, step.pipe)
            self._flow = None
        elif self._sent is not None:
            self._sent.take(None)

    def _hand_over(self) -> None:
        """Have a task go on, where plain calls do."""
        if (wake := self._wake) is not None:
            self._stop()
            wake()

    def _ask(self, _: float) -> None:
        """Send the request, unless a task has it by now."""
        if self._wake is not None and self._sent is not None and not self._sent.send_now():
            self._hand_over()

    def _on_ready(self) -> None:
        """Read what the upstream has sent, and do what follows from it; called by the pump."""
        now = self._upstreams.pump.now()
        try:
            step = self._read(now)
            if isinstance(step, Commit) and not step.last:
                self._carry(step, now)
            elif not isinstance(step, Preview):
                self._conclude(step, now)
        except NotProcessed:  # it takes a new connection, and time
            self._hand_over()
        except Exception:
            self._fail()

    def _read(self, now: float) -> Step:
        """Return what the exchange makes of what one read gives."""
        assert self._sent is not None
        step: Step = Preview()
        try:
            reply = self._reply
            if reply is None:
                self._reply = reply = self._sent.reply_now()
                if reply is None:
                    return step
                step = self._on_head(reply, now)
            elif (data := reply.receive_now()) is not None:
                self._clocks.heard(now)
                step = self._on_data(data, now)
            while isinstance(step, Preview) and (data := reply.held()) is not None:
                step = self._on_data(data, now)
        except NotProcessed:
            raise
        except UpstreamError as error:
            return self._exchange.on_failed(error, now)
        return step

    def _carry(self, step: Commit, now: float) -> None:
        """Begin what goes downstream, and have the pump carry the rest of it."""
        response, reply = self._response, self._reply
        assert reply is not None
        assert step.pipe is not None
        response.begin_now(step.status, step.fields, step.parts)
        self._follows = Commit(step.status, step.fields, [], step.pipe)
        if not response.flushed:
            self._hand_over()
            return
        self._flow = flow = Flow(reply, step.pipe, response, self._clocks)
        result: outcome.Outcome[None] = outcome.Value(None)
        try:
            if flow.goes_on(now) and flow.start(self._on_carried):
                return
        except Exception as error:
            result = outcome.Error(error)
        self._on_carried(result)

    def _on_carried(self, result: outcome.Outcome[None]) -> None:
        """Learn that the reply is over, or that the client takes no more for now."""
        now = self._upstreams.pump.now()
        try:
            assert self._flow is not None
            if isinstance(result, outcome.Value) and self._flow.blocked:
                self._hand_over()
                return
            try:
                result.unwrap()
                step = self._exchange.on_end(now)
            except UpstreamError as error:
                step = self._exchange.on_failed(error, now)
            self._conclude(step, now)
        except ClientGone:
            self._end("client_gone")
        except Exception:
            self._fail()

    def _conclude(self, step: Step, now: float) -> None:
        """Say the last to the client, and be done; whatever needs more than that is left to a task."""
        self._leave()
        self._let_go()
        self._next = step
        self._say(self._says, self._answer, now)

    def _says(self, now: float) -> bool:
        """Have the last for the client wait; return whether it was that."""
        response = self._response
        match self._next:
            case Answer(status=status, fields=fields, body=body):
                response.hold_answer(status, fields, body, now)
            case Commit(status=status, fields=fields, parts=parts) if not (
                response.begun or self._exchange.ask.stream
            ):
                response.hold_answer(status, fields, b"".join(parts), now)
            case Finish(parts=parts):
                response.hold_end(parts, now)
            case _:
                return False
        self._next = None
        return True

    def _answer(self, now: float) -> None:
        """Send the last to the client, unless a task has it by now."""
        if self._done is not None:
            self._say(self._response.hand_over, self._close, now)

    def _say(self, say: Callable[[float], bool], then: Then, now: float) -> None:
        """Say something to the client, and put `then` off; whatever needs more than that is left to a task."""
        try:
            if say(now):
                if not self._upstreams.pump.later(then):
                    then(now)
                return
        except ClientGone:
            self._outcome = "client_gone"
        except Exception:
            self._next = self._fault()
        self._hand_over()

    def _close(self, now: float) -> None:
        """Be done."""
        if (done := self._done) is not None:
            self._stop()
            self._ended = True
            self._keep(self, now)
            done(now)

    def _fail(self) -> None:
        """Learn of a bug of ours, the current exception."""
        self._next = self._fault()
        self._hand_over()
        self._let_go()

    def _let_go(self) -> None:
        """Let go of what plain calls have to do with the upstream."""
        if self._reply is not None:
            self._reply.release()
        elif self._sent is not None:
            self._sent.release(ended=False)
        self._sent = self._reply = self._follows = None

    def _fault(self) -> Step | None:
        """Learn of a bug of ours, the current exception: it costs this exchange, and no other one."""
        _log.exception("exchange %s", self.id)
        try:
            return self._exchange.on_crash()
        except Exception:
            self._unclean = True
            return None

    # -- steps

    async def _uninterrupted(self, step: Step | None) -> Step | None:
        """Do what comes, from `step` on or from the start; return what an interruption makes of it."""
        self._late = None
        with trio.CancelScope(deadline=self._until) as scope:
            self._scope = scope
            try:
                if step is None:
                    self._response.watch(self._on_left)
                    step = await self._first()
                return await self._steps(step)
            except ClientGone:
                self._outcome = "client_gone"
            except Exception:
                await self._crash(self._fault())
        interrupted = scope.cancelled_caught and self._outcome is None
        return self._on_late() if interrupted else None

    async def _crash(self, step: Step | None) -> None:
        """Tell the client that it was us; if even that goes wrong, end without a word."""
        try:
            if isinstance(step, Answer) and not self._response.begun:
                await self._response.answer(step.status, step.fields, step.body)
            else:
                await self._break(step.parts if isinstance(step, Break) else [])
        except Exception:
            self._unclean = True

    async def _first(self) -> Step | None:
        """Return the step that is next; None when the answer was given."""
        if self._begun:
            return self._next
        if len(self._exchange.ask.body) > LARGE_BODY:
            # Reading it may take longer than everybody else may wait.
            return await trio.to_thread.run_sync(self._start)
        return self._start()

    def _start(self) -> Step:
        exchange = self._exchange
        step = exchange.start(self._began)
        self._clocks.streams = exchange.ask.stream
        return step

    async def _steps(self, step: Step | None) -> Step | None:
        """Do `step` and what follows; return what was next when an interruption came too late."""
        if step is None:
            await self._response.flush()
        while step is not None and self._late is None:
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
        sent, reply, step = self._sent, self._reply, self._follows or Preview()
        self._sent = self._reply = self._follows = None
        came = reply is not None
        if reply is None:
            reply = await self._upstreams.send(attempt, self._clocks, sent)
        try:
            now = trio.current_time()
            if not came:
                step = self._on_head(reply, now)
            while isinstance(step, Preview):
                data = reply.held()
                if data is None:
                    data = await reply.receive()
                    now = trio.current_time()
                    self._clocks.heard(now)
                step = self._on_data(data, now)
                del data
            if isinstance(step, Commit) and step.pipe is not None and not step.last:
                pipe = step.pipe
                await self._response.begin(step.status, step.fields, step.parts)
                del step  # what went out is not held as long as the reply goes on
                await relay(reply, pipe, self._response, self._clocks)
                step = self._exchange.on_end(trio.current_time())
            return step
        finally:
            reply.release()

    def _on_head(self, reply: Reply, now: float) -> Step:
        self._clocks.heard(now)
        return self._exchange.on_head(reply.status, reply.fields, now)

    def _on_data(self, data: bytes, now: float) -> Step:
        return self._exchange.on_data(data, now) if data else self._exchange.on_end(now)

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
            self._until = trio.current_time() + self._finish_seconds
            if self._scope is not None:
                self._scope.deadline = self._until
        else:
            self._end("client_gone")

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
                self._end("client_stalled")
            case _:
                self._interrupt(due)

    def drain(self) -> None:
        """End the exchange with an error: the time for draining is over."""
        if self._attempting:
            self._interrupt(DRAINED)
        elif self._scope is None and isinstance(self._next, Attempt):  # no task has it yet
            self._cut(DRAINED)
        else:
            self._end("failed")

    def give_up(self) -> None:
        """End the exchange without a word: a fault of ours has left it without clocks."""
        self._end("internal")

    def _end(self, outcome: Outcome) -> None:
        self._outcome = outcome
        if self._scope is not None:
            self._scope.cancel()
        self._hand_over()

    def _interrupt(self, why: Due | str) -> None:
        if self._attempting and self._late is None:
            if self._scope is None:
                self._cut(why)
            else:
                self._late = why
                self._scope.cancel()

    def _cut(self, why: Due | str) -> None:
        """End an attempt that no task has: plain calls go on with it, or did until now."""
        self._late = why
        self._hand_over()
        self._next = self._on_late()
        self._let_go()

    def _keepalive(self, now: float) -> None:
        if not self._attempting:  # what comes is decided, and a task about to say it
            return
        step = self._exchange.on_quiet(now)
        if isinstance(step, Commit):
            self._response.begin_now(step.status, step.fields, step.parts)
        elif step:
            self._response.nudge(step)
        self._clocks.spoke(now)
