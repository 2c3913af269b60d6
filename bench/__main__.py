"""`python -m bench`: measure rawproxy beside no gateway and beside others; print tables, keep the result.

Exit code 1 when a reply was wrong or a stream was not closed, directly or through rawproxy, whatever
the speed. What goes wrong with another gateway is told, and no more.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench import http2, tls
from bench.gateways import OURS, Gateway, rawproxy, started_all, two_workers
from bench.hangup import measure_hang_ups
from bench.memory import measure_memory
from bench.pages import write_page
from bench.peers import BASIC, EVERY, find_peers
from bench.processes import StartError, on_cores, plan_cores, raise_file_limit
from bench.report import describe_machine, now_text, save, summarise_scenarios
from bench.rig import DEFAULT_PROXY, Rig, open_rig, tell
from bench.scenarios import DIRECT, SCENARIOS, Scenario, measure_scenarios
from bench.sections import format_tables
from bench.start import measure_imports, measure_starts

FOLDER = Path(__file__).parent

PARTS = [
    *(scenario.name for scenario in SCENARIOS),
    "hangup", "memory", "start", "workers", "tls", "http2",
]  # fmt: skip

Faults = dict[str, list[str]]
"""What went wrong, by side."""


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    `rounds` of `seconds` per scenario and side; `trials` of each hang-up phase; `streams` held open, one
    number after the other; `starts` of each gateway.
    """

    rounds: int
    seconds: float
    trials: int
    streams: tuple[int, ...]
    starts: int


# A hundred streams are opened in 50 ms of CPU time: once would not tell what one of them costs.
_STREAMS = (100, 1000, 100, 9000, 100, 5000, 100, 9000, 100)

FULL = Settings(rounds=3, seconds=2.5, trials=30, streams=_STREAMS, starts=5)
QUICK = Settings(rounds=2, seconds=1.0, trials=10, streams=(1000,), starts=2)
PEERS = replace(FULL, rounds=5)


def read_arguments(words: list[str]) -> argparse.Namespace:
    """Return the options; see README.md."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="two minutes, fewer rows, wider spread"
    )
    parser.add_argument("--only", metavar="PART,...", help=f"of {','.join(PARTS)}")
    parser.add_argument("--rounds", type=int, help="how many times each row is measured")
    parser.add_argument("--seconds", type=float, help="how long each run of a row lasts")
    parser.add_argument(
        "--direct-only", action="store_true", help="no gateway: check the rig itself"
    )
    parser.add_argument(
        "--peers",
        default=",".join(BASIC),
        metavar="NAME,...",
        help=f"other gateways: `all`, `none`, or of {','.join(EVERY)}; default: %(default)s",
    )
    parser.add_argument(
        "--proxy-command",
        default=DEFAULT_PROXY,
        metavar="COMMAND",
        help="another build to measure, with {config} for its file; default: %(default)s",
    )
    parser.add_argument("--results", type=Path, default=FOLDER / "results", metavar="DIR")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print a kept result and stop")
    parser.add_argument(
        "--page", action="store_true", help="write docs/PERFORMANCE.md from it, too"
    )
    options = parser.parse_args(words)
    options.chosen = options.only.split(",") if options.only else PARTS
    if unknown := set(options.chosen) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    named = {"all": EVERY, "none": ()}.get(options.peers, tuple(options.peers.split(",")))
    options.names = () if options.direct_only else named
    if unknown := set(options.names) - set(EVERY):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    return options


def choose_settings(options: argparse.Namespace) -> Settings:
    """Return how much is measured."""
    settings = QUICK if options.quick else PEERS if set(options.names) - set(BASIC) else FULL
    return replace(
        settings,
        rounds=options.rounds or settings.rounds,
        seconds=options.seconds or settings.seconds,
    )


def choose_scenarios(options: argparse.Namespace) -> list[Scenario]:
    """Return the rows that are measured."""
    return [
        scenario
        for scenario in SCENARIOS
        if scenario.name in options.chosen and (scenario.quick or options.only or not options.quick)
    ]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the result of a whole run."""
    settings = choose_settings(options)
    peers, missing = find_peers(options.names)
    gateways = [] if options.direct_only else [rawproxy(options.proxy_command), *peers]
    result: dict[str, Any] = {
        "date": now_text(),
        "machine": describe_machine(),
        "settings": {
            **asdict(settings),
            "quick": options.quick,
            "proxy": options.proxy_command.replace(f"{FOLDER.parent}/", ""),
        },
        "gateways": {gateway.name: gateway.version for gateway in gateways},
        "missing": missing,
    }
    faults: list[Faults] = []
    cores = plan_cores()
    with open_rig(cores, options.proxy_command) as rig, on_cores(cores.load):
        if "hangup" in options.chosen:
            result["hang_up"], wrong = measure_hang_ups(rig, gateways, trials=settings.trials)
            faults.append(wrong)
        if scenarios := choose_scenarios(options):
            wide = (
                [two_workers(options.proxy_command)]
                if "workers" in options.chosen and _is_long(options)
                else []
            )
            result["scenarios"], wrong = _measure_scenarios(
                rig, scenarios, [*gateways, *wide], settings
            )
            faults.append(wrong)
        if "memory" in options.chosen:
            result["memory"], wrong = measure_memory(rig, gateways, streams=settings.streams)
            faults.append(wrong)
        if "start" in options.chosen and gateways:
            times, wrong = measure_starts(rig, gateways, runs=settings.starts)
            faults.append(wrong)
            imports = measure_imports(rig, runs=settings.starts)
            result["start"] = {"gateways": times, **imports}
        if "http2" in options.chosen and _is_long(options):
            with rig.proxy() as proxy:
                rows, found = http2.measure_http2(
                    rig, proxy, http2.ROWS, rounds=settings.rounds, seconds=settings.seconds
                )
            result["http2"] = http2.section(rows)
            faults.append({OURS: found})
    if "tls" in options.chosen and _is_long(options):
        sides = {OURS: tls.start_rawproxy(options.proxy_command)}
        if program := tls.find_nginx():
            sides["nginx"] = tls.start_nginx(program)
        modes, found = tls.measure_tls(sides, rounds=settings.rounds, seconds=settings.seconds)
        result["tls"] = tls.section(modes)
        faults.append({OURS: found})
    result["faults"] = _pick(faults, ours=True)
    result["remarks"] = _pick(faults, ours=False)
    return result


def _is_long(options: argparse.Namespace) -> bool:
    return not options.quick and not options.direct_only


def _measure_scenarios(
    rig: Rig, scenarios: Sequence[Scenario], gateways: Sequence[Gateway], settings: Settings
) -> tuple[dict[str, Any], Faults]:
    with started_all(gateways, rig.cores, rig.mock.port) as (servers, faults):
        cells = list(
            measure_scenarios(
                rig, scenarios, servers, rounds=settings.rounds, seconds=settings.seconds
            )
        )
    for cell in cells:
        faults.setdefault(cell.side, []).extend(cell.faults)
    return summarise_scenarios(cells), faults


def _pick(faults: Sequence[Faults], *, ours: bool) -> list[str]:
    """Return what went wrong directly and with ours, or with the others."""
    return [
        fault
        for of_part in faults
        for side, found in of_part.items()
        for fault in found
        if (side == DIRECT or side.startswith(OURS)) is ours
    ]


def main(words: list[str]) -> int:
    """Run the bench; return the exit code."""
    # As a user has it: what is compiled at the first start is kept for the next one.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    options = read_arguments(words)
    if path := options.show:
        result = json.loads(path.read_text())
    else:
        raise_file_limit()
        try:
            result = measure(options)
        except StartError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        path = save(result, options.results)
        print(f"kept in {path}", file=sys.stderr)
    print(format_tables(result))
    if options.page:
        write_page(path)
    code = tell(result["faults"])
    return 0 if options.show else code


if __name__ == "__main__":
    # SIGTERM ends the run as Ctrl-C does: the processes that were started end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main(sys.argv[1:]))
