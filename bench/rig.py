"""The bench's view of the world: a mock upstream, maybe a proxy before it, and load on either."""

import json
import resource
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import Cores, Running, build, busy_seconds, cpu_seconds, on_cores, running

__all__ = [
    "CALLER_KEY",
    "DEFAULT_PROXY",
    "PROVIDERS",
    "Load",
    "Measured",
    "Rig",
    "find_faults",
    "open_rig",
    "proxy_config",
]

DEFAULT_PROXY = (
    f"{shlex.quote(sys.executable)} -m rawproxy serve --config {{config}} "
    "--listen 127.0.0.1:0 --admin 127.0.0.1:0"
)

CALLER_KEY = "sk-test-0123456789abcdef"
"""What every client of the bench calls with; load.c sends it by itself."""

RUN_MARGIN_SECONDS = 20.0
"""How long a run may last beyond its duration, for the streams that are under way."""

# One upstream per dialect, both of them the mock. Any model's name that holds "mock-e" tells the
# mock what to say, so the name can choose the upstream as well.
PROVIDERS = {
    "mock": ("compatible", "mock-*", "/v1"),
    "claude": ("anthropic", "claude-mock-*", ""),
}


def proxy_config(port: int) -> str:
    """Return rawproxy's configuration for a mock upstream on `port`.

    Nothing is off: a key is checked, every clock runs, and metrics and log lines are written.
    """
    parts = [
        f'[access]\nmode = "callers"\n\n[[access.callers]]\nname = "bench"\nkey = "{CALLER_KEY}"\n',
        "[stream]\ntotal_seconds = 3600\n",
    ]
    for name, (provider, model, path) in PROVIDERS.items():
        parts.append(
            f'[upstreams.{name}]\nprovider = "{provider}"\n'
            f'base_url = "http://127.0.0.1:{port}{path}"\nkeys = ["x"]\n\n'
            f'[[routes]]\nmodel = "{model}"\nto = ["{name}/*"]\n'
        )
    return "\n".join(parts)


@dataclass(frozen=True)
class Load:
    """What the load generator is asked to do; see load.c for the meaning of each option.

    `options` are more of them, as words.
    """

    kind: str
    model: str
    stream: bool
    connections: int
    expect: int
    gap_us: int = 0
    ramp_ms: int = 0
    options: tuple[str, ...] = ()

    @property
    def translated(self) -> bool:
        """Whether the client's dialect is another one than the upstream's (see `PROVIDERS`)."""
        return (self.kind == "messages") != self.model.startswith("claude-")

    def arguments(self, port: int) -> list[str]:
        options = {
            "port": port,
            "kind": self.kind,
            "model": self.model,
            "stream": int(self.stream),
            "conns": self.connections,
            "expect": self.expect,
            "delay-us": self.gap_us,
            "ramp-ms": self.ramp_ms,
        }
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        return [*words, *self.options]


@dataclass(frozen=True)
class Measured:
    """One run of the load generator.

    `report` is what it printed, `proxy_seconds` the CPU time of the proxy's process tree
    meanwhile, `other_cores` how many cores the rest of the machine kept busy.
    """

    report: dict[str, Any]
    proxy_seconds: float
    other_cores: float


def find_faults(report: dict[str, Any], load: Load) -> list[str]:
    """Return what is wrong with the replies that the load generator saw; empty when all is well."""
    faults = [
        f"{report[key]} {key} ({report['err']})"
        for key in ("err_conn", "err_status", "err_incomplete", "err_eof", "unfinished")
        if report[key]
    ]
    if report["ok"] == 0:
        faults.append("no reply was good")
    if load.stream and not faults and report["events"] != report["ok"] * load.expect:
        faults.append(f"{report['events']} events in {report['ok']} streams of {load.expect}")
    return faults


def tell(faults: Sequence[str]) -> int:
    """Say on stderr what was wrong; return the exit code."""
    for fault in faults:
        print(f"WRONG: {fault}", file=sys.stderr)
    return 1 if faults else 0


class Rig:
    """A mock upstream that runs, and the means to load it or a proxy in front of it.

    Args:
        mock: the upstream.
        cores: where each process runs.
        proxy_command: starts the proxy.
        tls: the load generator has to speak it.
    """

    def __init__(
        self, mock: Running, cores: Cores, proxy_command: str = DEFAULT_PROXY, *, tls: bool = False
    ) -> None:
        self.mock = mock
        self.cores = cores
        self._proxy_command = proxy_command
        self._load_program = build("load", tls=tls)

    @contextmanager
    def proxy(self, upstream_port: int | None = None) -> Iterator[Running]:
        """Run a new proxy before the mock, or before another upstream, until the block ends."""
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "bench.toml"
            config.write_text(proxy_config(upstream_port or self.mock.port))
            command = shlex.split(self._proxy_command.format(config=shlex.quote(str(config))))
            with running(command, self.cores.proxy) as proxy:
                yield proxy

    def start_load(self, load: Load, port: int, *more: str) -> subprocess.Popen[str]:
        """Start the load generator; the caller ends it or waits for it."""
        command = [str(self._load_program), *load.arguments(port), *more]
        with on_cores(self.cores.load):
            return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def measure(self, load: Load, *, seconds: float, proxy: Running | None) -> Measured:
        """Send `load` for `seconds` to `proxy`, or to the mock when it is None."""
        port = proxy.port if proxy else self.mock.port
        watched = [target.pid for target in (self.mock, proxy) if target]
        timeout = seconds + RUN_MARGIN_SECONDS
        began, busy, used = time.monotonic(), busy_seconds(), _used_seconds(watched)
        proxy_began = cpu_seconds(proxy.pid) if proxy else 0.0
        process = self.start_load(load, port, "--duration", f"{seconds}", "--timeout", f"{timeout}")
        try:
            written, _ = process.communicate(timeout=2 * timeout)
        finally:
            process.kill()
            process.wait()
        proxy_seconds = cpu_seconds(proxy.pid) - proxy_began if proxy else 0.0
        others = (busy_seconds() - busy) - (_used_seconds(watched) - used)
        other_cores = max(0.0, others) / (time.monotonic() - began)
        return Measured(json.loads(written), proxy_seconds, other_cores)

    def open_streams(self) -> int:
        """Return how many streams the mock is writing."""
        return self.stats()["streams"]

    def stats(self) -> dict[str, int]:
        """Return what the mock has counted since it was started, and what is open now."""
        url = f"http://127.0.0.1:{self.mock.port}/stats"
        with urllib.request.urlopen(url, timeout=5) as response:
            counted: dict[str, int] = json.load(response)
        return counted


@contextmanager
def open_rig(cores: Cores, proxy_command: str = DEFAULT_PROXY) -> Iterator[Rig]:
    """Run a mock upstream until the block ends.

    Args:
        cores: where each process runs.
        proxy_command: starts the proxy on a free port; `{config}` is its configuration file.
    """
    with running([build("mock"), "0"], cores.mock) as mock:
        yield Rig(mock, cores, proxy_command)


def _used_seconds(watched: list[int]) -> float:
    """Return the CPU time that this run itself has used: the rig, the proxy and this process."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        sum(cpu_seconds(pid) for pid in watched)
        + time.process_time()
        + ended.ru_utime
        + ended.ru_stime
    )
