"""How soon a gateway answers after it was started, and how long its translators take to import."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence

from bench.gateways import Gateway, started
from bench.processes import StartError, on_cores
from bench.rig import Load, Rig, find_faults

__all__ = ["measure_imports", "measure_starts"]

# A router that speaks one dialect only is asked in that one.
_CALLS = [
    Load(kind, "mock-e0-z1024", stream=False, connections=1, expect=1024)
    for kind in ("chat", "messages")
]

PATIENCE_SECONDS = 30.0

_IMPORT = "from rawproxy.dialects import DIALECTS"
# Modules of dialects are loaded by the look-up.
_IMPORTS = {
    "import_ms": _IMPORT,
    "import_pair_ms": f"{_IMPORT}; DIALECTS['anthropic_messages'], DIALECTS['openai_chat']",
    "import_all_ms": f"{_IMPORT}; [*DIALECTS.values()]",
}


def measure_starts(
    rig: Rig, gateways: Sequence[Gateway], *, runs: int
) -> tuple[dict[str, list[dict[str, float]]], dict[str, list[str]]]:
    """Return milliseconds to listening and to the first answer, run by run; and what went wrong."""
    found: dict[str, list[dict[str, float]]] = {}
    faults: dict[str, list[str]] = {}
    for number in range(1, runs + 1):
        for gateway in gateways:
            load = next(filter(None, (gateway.adapt(one, rig.mock.port) for one in _CALLS)))
            try:
                times = _start_once(rig, gateway, load)
            except StartError as error:
                faults.setdefault(gateway.name, []).append(f"start {gateway.name}: {error}")
                continue
            found.setdefault(gateway.name, []).append(times)
            print(
                f"start {number} {gateway.name:20}answers after {times['answered_ms']:.0f} ms",
                file=sys.stderr,
            )
    return found, faults


def _start_once(rig: Rig, gateway: Gateway, load: Load) -> dict[str, float]:
    with started(gateway, rig.cores, rig.mock.port) as server:
        # Its own start is not in it: that began when the gateway listened.
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            began = time.monotonic()
            process = rig.start_load(load, server.port, "--requests", "1")
            report = json.loads(process.communicate()[0])
            if not find_faults(report, load):
                listening = server.start_seconds * 1000
                waited = (began - (end - PATIENCE_SECONDS)) * 1000
                answered = listening + waited + report["total_us"]["max"] / 1000
                return {"listening_ms": listening, "answered_ms": answered}
    raise StartError(f"it listens, and does not answer: {report['err']}")


def measure_imports(rig: Rig, *, runs: int) -> dict[str, list[float]]:
    """Return CPU milliseconds, run by run: to import the table of dialects, with two of them, with all."""
    with on_cores(rig.cores.proxy):
        times = {
            what: [_import_once(asked) for _ in range(runs + 1)] for what, asked in _IMPORTS.items()
        }
    return {what: found[1:] for what, found in times.items()}  # the first may have compiled it


def _import_once(asked: str) -> float:
    timed = (
        f"import time; began = time.process_time(); {asked};"
        "print((time.process_time() - began) * 1000)"
    )
    return float(subprocess.check_output([sys.executable, "-c", timed]))
