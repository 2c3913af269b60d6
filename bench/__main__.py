"""`python -m bench`: measure rawproxy beside no proxy; print the tables, keep the result.

Exit code 1 when a reply was wrong or a stream was not closed, whatever the speed.
"""

import argparse
import json
import signal
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.hangup import measure_hang_ups
from bench.memory import measure_memory
from bench.processes import StartError, on_cores, plan_cores, raise_file_limit
from bench.report import describe_machine, format_tables, now_text, save, summarise_scenarios
from bench.rig import DEFAULT_PROXY, Rig, open_rig
from bench.scenarios import SCENARIOS, Cell, Scenario, measure_scenarios

FOLDER = Path(__file__).parent

MARKS = ("<!-- results: begin -->", "<!-- results: end -->")
"""What the generated part of README.md stands between."""

PARTS = [scenario.name for scenario in SCENARIOS] + ["hangup", "memory"]


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    `rounds` of `seconds` per scenario and side; `trials` of each hang-up phase; `runs` of
    `streams` held open.
    """

    rounds: int
    seconds: float
    trials: int
    streams: int
    runs: int


FULL = Settings(rounds=3, seconds=3.0, trials=30, streams=1000, runs=3)
QUICK = Settings(rounds=2, seconds=1.2, trials=10, streams=1000, runs=1)


def read_arguments(words: list[str]) -> argparse.Namespace:
    """Return the options; see README.md."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute, fewer rows, wider spread")
    parser.add_argument("--only", metavar="PART,...", help=f"of {','.join(PARTS)}")
    parser.add_argument("--rounds", type=int, help="how many times each row is measured")
    parser.add_argument("--direct-only", action="store_true", help="no proxy: check the rig itself")
    parser.add_argument(
        "--proxy-command",
        default=DEFAULT_PROXY,
        metavar="COMMAND",
        help="another build to measure, with {config} for its file; default: %(default)s",
    )
    parser.add_argument("--results", type=Path, default=FOLDER / "results", metavar="DIR")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print a kept result and stop")
    parser.add_argument("--readme", action="store_true", help="put the tables into README.md too")
    options = parser.parse_args(words)
    chosen = options.only.split(",") if options.only else PARTS
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    options.chosen = chosen
    return options


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Return the result of a whole run, and what was wrong in it."""
    settings = QUICK if options.quick else FULL
    settings = replace(settings, rounds=options.rounds or settings.rounds)
    with_proxy = not options.direct_only
    result: dict[str, Any] = {
        "date": now_text(),
        "machine": describe_machine(),
        "settings": {
            **asdict(settings),
            "quick": options.quick,
            "proxy": options.proxy_command.replace(f"{FOLDER.parent}/", ""),
        },
        "scenarios": {},
        "memory": {},
        "hang_up": {},
    }
    faults: list[str] = []
    cores = plan_cores()
    with open_rig(cores, options.proxy_command) as rig, on_cores(cores.load):
        if "hangup" in options.chosen:
            result["hang_up"], found = measure_hang_ups(
                rig, trials=settings.trials, with_proxy=with_proxy
            )
            faults += found
        scenarios = [
            scenario
            for scenario in SCENARIOS
            if scenario.name in options.chosen
            and (scenario.quick or options.only or not options.quick)
        ]
        if scenarios:
            cells = _measure_cells(rig, scenarios, settings, with_proxy=with_proxy)
            result["scenarios"] = summarise_scenarios(cells)
            faults += [fault for cell in cells for fault in cell.faults]
        if "memory" in options.chosen:
            result["memory"], found = measure_memory(
                rig, streams=settings.streams, runs=settings.runs, with_proxy=with_proxy
            )
            faults += found
    result["faults"] = faults
    return result, faults


def _measure_cells(
    rig: Rig, scenarios: list[Scenario], settings: Settings, *, with_proxy: bool
) -> list[Cell]:
    with ExitStack() as stack:
        proxy = stack.enter_context(rig.proxy()) if with_proxy else None
        return list(
            measure_scenarios(
                rig,
                scenarios,
                proxy=proxy,
                rounds=settings.rounds,
                seconds=settings.seconds,
            )
        )


def write_readme(tables: str) -> None:
    """Put `tables` between the marks of README.md."""
    path = FOLDER / "README.md"
    before, _, rest = path.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    path.write_text(f"{before}{MARKS[0]}\n{tables}\n{MARKS[1]}{after}")


def main(words: list[str]) -> int:
    """Run the bench; return the exit code."""
    options = read_arguments(words)
    faults: list[str] = []
    if options.show:
        result = json.loads(options.show.read_text())
    else:
        raise_file_limit()
        try:
            result, faults = measure(options)
        except StartError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        print(f"kept in {save(result, options.results)}", file=sys.stderr)
    tables = format_tables(result)
    print(tables)
    if options.readme:
        write_readme(tables)
    for fault in faults:
        print(f"WRONG: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    # SIGTERM ends the run as Ctrl-C does: the processes that were started end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main(sys.argv[1:]))
