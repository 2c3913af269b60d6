"""The clocks of all exchanges are looked at together, coarsely.

Layer: net.
"""

import logging

import trio

from rawproxy.net.drive import Run
from rawproxy.net.upstream import Upstreams

__all__ = ["Sweeper"]

_log = logging.getLogger("rawproxy")


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
        """Run until cancelled.

        A period that took more than twice as long is followed by one more before the next look: we stood
        still, stopped or asleep with our machine, and what came meanwhile has to be read before anybody
        is said to have been silent.
        """
        stood_still = False
        while True:
            try:
                until = trio.current_time() + self.period
                await trio.sleep_until(until)
                now = trio.current_time()
                stood_still = not stood_still and now - until > self.period
                if stood_still:
                    continue
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
