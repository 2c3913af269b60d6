"""The processes of a run: built, pinned, measured from outside, and always ended.

Knows Linux's /proc. Knows nothing of HTTP or of rawproxy.
"""

import os
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Cores",
    "Running",
    "StartError",
    "awake",
    "build",
    "busy_seconds",
    "cpu_seconds",
    "free_port",
    "on_cores",
    "plan_cores",
    "process_tree",
    "pss_bytes",
    "raise_file_limit",
    "running",
]

SOURCES = Path(__file__).parent
BUILT = SOURCES / ".build"

START_SECONDS = 15.0
"""Longest wait for a process to listen: a cold import of the proxy on a busy machine."""

END_SECONDS = 5.0
"""Longest wait after SIGTERM, before SIGKILL."""

POLL_SECONDS = 0.002

_LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")


class StartError(Exception):
    """A process could not be built, or did not come to listen: the message holds its words."""


@dataclass(frozen=True)
class Cores:
    """Which cores the proxy and the rig (mock and load generator) run on."""

    proxy: frozenset[int]
    mock: frozenset[int]
    load: frozenset[int]


@dataclass(frozen=True)
class Running:
    """A process that listens: `port` on 127.0.0.1, `start_seconds` after it was started."""

    pid: int
    port: int
    start_seconds: float


def plan_cores() -> Cores:
    """Return one core for the proxy and the others for the rig; no pinning on a single core."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) == 1:
        every = frozenset(available)
        return Cores(every, every, every)
    proxy, mock, load = available[0], available[1], available[min(2, len(available) - 1)]
    return Cores(frozenset([proxy]), frozenset([mock]), frozenset([load]))


@contextmanager
def on_cores(cores: frozenset[int]) -> Iterator[None]:
    """Give processes that are started inside these cores: they inherit them from this thread."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us; the processes started inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def build(name: str) -> Path:
    """Compile `name`.c when a source is newer than the program, and return the program's path.

    Raises:
        StartError: there is no C compiler.
    """
    program = BUILT / name
    newest = max(path.stat().st_mtime for path in SOURCES.glob("*.[ch]"))
    if not program.exists() or program.stat().st_mtime < newest:
        BUILT.mkdir(exist_ok=True)
        compiler = shlex.split(os.environ.get("CC", "cc"))
        if not shutil.which(compiler[0]):
            raise StartError(f"no C compiler {compiler[0]!r}; CC names another one")
        flags = ["-O2", "-Wall", "-Wextra", "-o", str(program), str(SOURCES / f"{name}.c"), "-lm"]
        subprocess.run([*compiler, *flags], check=True)
    return program


@contextmanager
def running(
    command: Sequence[str | Path],
    cores: frozenset[int],
    *,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
    start_seconds: float = START_SECONDS,
) -> Iterator[Running]:
    """Run a server on `cores` until the block ends.

    Args:
        command: starts it.
        cores: where it runs.
        port: where it was told to listen; None: it says "listening on http://127.0.0.1:PORT" on
            stderr.
        environment: variables it has beside those of this process.
        start_seconds: longest wait for it to listen.

    Raises:
        StartError: it ended, or stayed silent.
    """
    with tempfile.TemporaryFile("w+") as log:
        with on_cores(cores):
            # Its own session: a Ctrl-C reaches this process only, which then ends the others.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        try:
            yield _wait_until_listening(process, log.fileno(), port, start_seconds)
        finally:
            _end(process)


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _wait_until_listening(
    process: subprocess.Popen[bytes], log: int, port: int | None, seconds: float
) -> Running:
    begin = time.monotonic()
    while (passed := time.monotonic() - begin) < seconds:
        if process.poll() is not None:
            break
        if port is not None:
            if _listens(port):
                return Running(process.pid, port, passed)
        elif found := _LISTENING.search(os.pread(log, 65536, 0).decode(errors="replace")):
            return Running(process.pid, int(found[1]), passed)
        time.sleep(POLL_SECONDS)
    written = os.pread(log, 65536, 0).decode(errors="replace")
    raise StartError(f"did not start: {process.args!r}\n{written[-2000:]}")


@contextmanager
def awake(running: Running, *, among: Sequence[Running]) -> Iterator[None]:
    """Let `running` run, and none of the others of `among`, until the block ends; then none."""
    for one in among:
        _signal(one, signal.SIGCONT if one is running else signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(running, signal.SIGSTOP)


def _signal(running: Running, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(running.pid, number)  # it leads a group of its own: see running()


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGCONT)  # one that is stopped would not see the next one
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its children too, which may outlive it
    process.wait()


def process_tree(root: int) -> list[int]:
    """Return `root` and all its descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold spaces; the parent's id is the second word after it.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended meanwhile
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def cpu_seconds(root: int) -> float:
    """Return the CPU time used so far by `root` and its descendants.

    Read from each process's own CPU clock: nanoseconds, and threads that ended are still in it.
    """
    # What clock_getcpuclockid(3) computes: the id inverted, and CPUCLOCK_SCHED.
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in process_tree(root))


def pss_bytes(root: int) -> int:
    """Return the memory of `root` and its descendants; pages they share are counted once."""
    total = 0
    for pid in process_tree(root):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(re.findall(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[0]) * 1024
    return total


def busy_seconds() -> float:
    """Return the time that all cores together have been busy since boot, to 10 ms."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    idle, waiting = ticks[3], ticks[4]
    return (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK")
