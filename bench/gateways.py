"""What stands between client and upstream, and how each of them is started and asked.

rawproxy is one of them; `bench/peers/` has the others.
"""

import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import START_SECONDS, Cores, Running, StartError, running
from bench.rig import DEFAULT_PROXY, Load, proxy_config

__all__ = [
    "OURS",
    "TWO_WORKERS",
    "Gateway",
    "Launch",
    "passing_only",
    "rawproxy",
    "started",
    "started_all",
    "two_workers",
]

OURS = "rawproxy"
TWO_WORKERS = "rawproxy, 2 workers"


@dataclass(frozen=True)
class Launch:
    """What starts a gateway: see `processes.running`."""

    command: list[str]
    port: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def _as_it_is(load: Load, _port: int) -> Load | None:
    return load


def passing_only(load: Load, _port: int) -> Load | None:
    """Adapt for a gateway that translates nothing."""
    return None if load.translated else load


@dataclass(frozen=True)
class Gateway:
    """One of the columns.

    Attributes:
        name: what it is called in a result and in the tables.
        launch: writes its configuration into a folder of its own, for an upstream on a port;
            returns what starts it.
        adapt: how a load is asked of it, given the upstream's port; None: it cannot do that.
        version: what it says it is.
        exact: its replies are the upstream's, byte for byte, wherever nothing is translated.
        start_seconds: how long it may take to listen.
        most_streams: how many it is given to hold.
        event_rate: events per second, of all these streams together, that it is given to relay.
        wide: it runs on every core, as it has several processes that work.
    """

    name: str
    launch: Callable[[Path, int], Launch]
    adapt: Callable[[Load, int], Load | None] = _as_it_is
    version: str = ""
    exact: bool = False
    start_seconds: float = START_SECONDS
    most_streams: int = 9000
    event_rate: int = 5000
    wide: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether a wrong reply of it is a fault of ours."""
        return self.name.startswith(OURS)

    def cores(self, cores: Cores) -> frozenset[int]:
        """Return where it runs."""
        return cores.proxy | cores.mock | cores.load if self.wide else cores.proxy


def rawproxy(command: str = DEFAULT_PROXY) -> Gateway:
    """Return rawproxy as `command` starts it; `{config}` in it is the configuration's file."""

    def launch(folder: Path, upstream: int) -> Launch:
        config = folder / "bench.toml"
        config.write_text(proxy_config(upstream))
        return Launch(shlex.split(command.format(config=shlex.quote(str(config)))))

    return Gateway(OURS, launch, exact=True)


def two_workers(command: str = DEFAULT_PROXY) -> Gateway:
    """Return rawproxy with two workers, on every core."""
    one = rawproxy(f"{command} --workers 2")
    return Gateway(TWO_WORKERS, one.launch, exact=True, wide=True)


@contextmanager
def started(gateway: Gateway, cores: Cores, upstream: int) -> Iterator[Running]:
    """Run `gateway` before the upstream on a port until the block ends.

    Raises:
        StartError: it ended, or did not come to listen.
    """
    folder = Path(tempfile.mkdtemp(prefix="rawproxy-bench-"))
    try:
        launch = gateway.launch(folder, upstream)
        with running(
            launch.command,
            gateway.cores(cores),
            port=launch.port,
            environment=launch.environment,
            start_seconds=gateway.start_seconds,
        ) as server:
            yield server
    finally:
        # Some write into their folder to the last.
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def started_all(
    gateways: Sequence[Gateway], cores: Cores, upstream: int
) -> Iterator[tuple[dict[Gateway, Running], dict[str, list[str]]]]:
    """Run all of them until the block ends; return those that listen, and what the others said."""
    servers: dict[Gateway, Running] = {}
    faults: dict[str, list[str]] = {}
    with ExitStack() as stack:
        for gateway in gateways:
            try:
                servers[gateway] = stack.enter_context(started(gateway, cores, upstream))
            except StartError as error:
                faults[gateway.name] = [f"{gateway.name}: {error}"]
        yield servers, faults
