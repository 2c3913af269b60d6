"""`python -m bench.flame S1`: where the proxy's time goes while a scenario runs.

py-spy looks at the proxy's stack from outside some hundred times a second, only while it is on a core.
Written are an SVG that any browser shows, and the stacks it was made from; printed are the functions
and modules that the time was spent in. A call into C (a system call, TLS, a regular expression) counts
as the time of the Python function that made it.

py-spy is not among what the project needs: it is in `.venvs/tools` (`make .venvs/tools/.done`), or found
on PATH.
"""

import argparse
import html
import inspect
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.processes import StartError, on_cores, plan_cores, raise_file_limit
from bench.rig import DEFAULT_PROXY, find_faults, open_rig, tell
from bench.scenarios import SCENARIOS
from rawproxy.net.pump import Pump

__all__ = ["Stacks", "draw", "main", "measure_flame", "read_stacks", "table", "times"]

FOLDER = Path(__file__).parent

RATE = 400
"""Looks per second. Each stops the proxy for some 100 us."""

WARM_UP_SECONDS = 1.0

WIDTH, ROW, TOP = 1200, 16, 40
"""Of the picture, in pixels: its width, the height of a frame, the room for the title."""

LEAST = 0.002
"""Share of the time under which a frame is not drawn."""

TOP_FUNCTIONS = 25

_LINE = re.compile(r":\d+\)$")

Stacks = Counter[tuple[str, ...]]
"""How often each stack was seen, outermost function first."""


# -- stacks


def read_stacks(text: str, wait: str = "") -> Stacks:
    """Return the stacks of py-spy's raw format: `outer (file:1);inner (file:2) 12` in each line.

    Args:
        text: what it has written; the numbers of lines are dropped.
        wait: the frame in which the proxy waits for something to do: that is not its time.
    """
    stacks: Stacks = Counter()
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        if not wait or not frames.endswith(wait):
            stacks[tuple(_LINE.sub(")", frame) for frame in frames.split(";"))] += int(count)
    return stacks


def find_wait() -> str:
    """Return the frame in which the pump waits, as py-spy writes it: it takes it for work."""
    lines, first = inspect.getsourcelines(Pump.look)
    (at,) = [number for number, line in enumerate(lines) if "_poll.poll(" in line]
    return f"look (rawproxy/net/pump.py:{first + at})"


def _module(frame: str) -> str:
    """Return the file of a frame, without the line: `rawproxy/net/relay.py`."""
    return frame.rpartition("(")[2].rstrip(")").partition(":")[0]


def times(stacks: Stacks) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Return the samples by function itself, by function with what it calls, and by module itself."""
    own: Counter[str] = Counter()
    under: Counter[str] = Counter()
    modules: Counter[str] = Counter()
    for stack, count in stacks.items():
        own[stack[-1]] += count
        modules[_module(stack[-1])] += count
        for frame in set(stack):
            under[frame] += count
    return own, under, modules


def table(stacks: Stacks) -> str:
    """Return two tables in Markdown: functions and modules, by the time spent in them."""
    own, under, modules = times(stacks)
    total = stacks.total()
    lines = ["| function | itself % | with its calls % |", "|---|--:|--:|"]
    lines += [
        f"| {frame} | {100 * count / total:.1f} | {100 * under[frame] / total:.1f} |"
        for frame, count in own.most_common(TOP_FUNCTIONS)
    ]
    lines += ["", "| module | itself % |", "|---|--:|"]
    lines += [
        f"| {name} | {100 * count / total:.1f} |"
        for name, count in modules.most_common(TOP_FUNCTIONS)
        if count / total >= LEAST
    ]
    return "\n".join(lines)


# -- the picture


@dataclass
class _Node:
    """A frame in the place where it was called from."""

    count: int = 0
    callees: dict[str, "_Node"] = field(default_factory=dict)


def _tree(stacks: Stacks) -> _Node:
    root = _Node()
    for stack, count in stacks.items():
        node = root
        node.count += count
        for frame in stack:
            node = node.callees.setdefault(frame, _Node())
            node.count += count
    return root


def _colour(frame: str) -> str:
    """Return a colour of the frame's own: red to yellow for ours, grey for what we stand on."""
    seed = zlib.crc32(frame.encode())
    if _module(frame).startswith("rawproxy/"):
        return f"#ff{0x88 + seed % 0x58:02x}{0x40 + seed // 0x80 % 0x30:02x}"
    return "#" + f"{0xB8 + seed % 0x20:02x}" * 3


def _crown(stacks: Stacks) -> Stacks:
    """Return the stacks without the frames that all of them begin with, but the last of these."""
    low, high = min(stacks), max(stacks)
    same = 0
    while same < min(len(low), len(high)) and low[same] == high[same]:
        same += 1
    trunk = max(0, same - 1)
    return Counter({stack[trunk:]: count for stack, count in stacks.items()})


def _boxes(
    node: _Node, left: float, depth: int, total: int
) -> Iterator[tuple[float, int, str, int]]:
    """Yield `left` as a share of the width, depth, frame and samples of each box."""
    for frame, callee in sorted(node.callees.items()):
        if callee.count / total >= LEAST:
            yield left, depth, frame, callee.count
            yield from _boxes(callee, left, depth + 1, total)
        left += callee.count / total


def draw(stacks: Stacks, title: str) -> str:
    """Return an SVG: callers below, width is time, order is alphabetical.

    It begins with the last frame that is in every stack.
    """
    total = stacks.total()
    boxes = list(_boxes(_tree(_crown(stacks)), 0.0, 0, total))
    height = TOP + ROW * (1 + max((depth for _, depth, _, _ in boxes), default=0)) + ROW // 2
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        "<style>text {font: 10px Verdana, sans-serif}</style>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{WIDTH // 2}" y="24" text-anchor="middle">{html.escape(title)}</text>',
    ]
    for left, depth, frame, count in boxes:
        width, y = count / total * WIDTH, height - ROW // 2 - ROW * (depth + 1)
        label = frame.partition(" ")[0]
        room = int(width / 6.2)
        label = label if len(label) <= room else label[: room - 1] + "…" if room > 3 else ""
        text = html.escape(f"{frame}: {100 * count / total:.1f} %")
        lines.append(
            f'<g><title>{text}</title><rect x="{left * WIDTH:.1f}" y="{y}" width="{width:.1f}" '
            f'height="{ROW - 1}" rx="1" fill="{_colour(frame)}"/>'
            + (
                f'<text x="{left * WIDTH + 2:.1f}" y="{y + 11}">{html.escape(label)}</text>'
                if label
                else ""
            )
            + "</g>"
        )
    return "\n".join([*lines, "</svg>", ""])


# -- measuring


def find_py_spy() -> str:
    """Return the program.

    Raises:
        StartError: it is not there.
    """
    tools = FOLDER.parent / ".venvs" / "tools" / "bin"
    found = shutil.which("py-spy", path=str(tools)) or shutil.which("py-spy")
    if not found:
        raise StartError("no py-spy: `make .venvs/tools/.done` installs it")
    return found


def measure_flame(
    name: str, *, seconds: float, proxy_command: str = DEFAULT_PROXY
) -> tuple[Stacks, list[str]]:
    """Return the stacks of the proxy under the scenario `name`, and what was wrong in the replies.

    Raises:
        StartError: there is no py-spy, or it may not look.
    """
    spy = find_py_spy()
    [scenario] = [one for one in SCENARIOS if one.name == name]
    cores = plan_cores()
    with (
        tempfile.TemporaryDirectory() as folder,
        open_rig(cores, proxy_command) as rig,
        on_cores(cores.load),
        rig.proxy() as proxy,
    ):
        rig.measure(scenario.load, seconds=WARM_UP_SECONDS, proxy=proxy)
        raw = Path(folder, "raw")
        command = [
            spy, "record", "--pid", str(proxy.pid),
            "--rate", str(RATE), "--duration", f"{seconds:.0f}",
            "--format", "raw", "--output", str(raw),
        ]  # fmt: skip
        watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            # A little longer than the watching, so that no sample is of an idle proxy.
            report = rig.measure(scenario.load, seconds=seconds + 1.0, proxy=proxy).report
            said, _ = watching.communicate(timeout=30)
        finally:
            watching.kill()
            watching.wait()
        if watching.returncode or not raw.exists():
            raise StartError(f"py-spy saw nothing:\n{said.decode(errors='replace')[-2000:]}")
        return read_stacks(raw.read_text(), find_wait()), find_faults(report, scenario.load)


def main(words: Sequence[str]) -> int:
    """Write the pictures and print the tables; 1 when a reply was wrong or nothing was seen."""
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m bench.flame", description=__doc__)
    parser.add_argument(
        "scenarios", nargs="+", choices=names, metavar="SCENARIO", help=", ".join(names)
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of looking")
    parser.add_argument("--quick", action="store_true", help="three seconds")
    parser.add_argument(
        "--proxy-command", default=DEFAULT_PROXY, metavar="COMMAND", help="another build"
    )
    parser.add_argument("--results", type=Path, default=FOLDER / "results", metavar="DIR")
    options: Any = parser.parse_args(words)
    raise_file_limit()
    faults: list[str] = []
    for name in options.scenarios:
        seconds = 3.0 if options.quick else options.seconds
        try:
            stacks, found = measure_flame(
                name, seconds=seconds, proxy_command=options.proxy_command
            )
        except StartError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        faults += found
        options.results.mkdir(parents=True, exist_ok=True)
        picture = options.results / f"flame-{name}.svg"
        picture.write_text(
            draw(stacks, f"{name}: {stacks.total()} samples of rawproxy on its core")
        )
        raw = "".join(f"{';'.join(stack)} {count}\n" for stack, count in sorted(stacks.items()))
        picture.with_suffix(".txt").write_text(raw)
        print(f"{name}: {stacks.total()} samples, {picture}\n\n{table(stacks)}\n")
    return tell(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
