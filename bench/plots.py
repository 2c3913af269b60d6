"""A result as plots: bars and lines in SVG, on scales of powers of ten.

Written by hand, in the few shapes that are needed: the same result gives the same bytes, so that a
test can hold a kept plot against it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import median
from typing import Any

from bench.gateways import TWO_WORKERS
from bench.report import Result
from bench.scenarios import DIRECT, SCENARIOS

__all__ = ["Plot", "draw_all"]

WIDTH = 860
LEFT = 200
RIGHT = 70
TOP = 56
BAR = 15
GAP = 14

COLOURS = (
    "#c2410c", "#0f766e", "#1d4ed8", "#7c3aed", "#a16207", "#be185d", "#475569", "#15803d",
)  # fmt: skip
"""By the order in which the sides stand in a result: ours is first."""

Values = Mapping[str, float]


@dataclass(frozen=True)
class Plot:
    """A drawing: the end of its file's name, what it shows, and the file itself."""

    name: str
    title: str
    svg: str


@dataclass(frozen=True)
class Scale:
    """From values to places, between whole powers of ten."""

    low: int
    high: int
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> "Scale":
        """Return the smallest one that has room for all of `values`."""
        low = math.floor(math.log10(min(values)))
        return cls(low, max(low + 1, math.ceil(math.log10(max(values)))), start, end)

    def place(self, value: float) -> float:
        """Return where `value` stands."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return the powers of ten."""
        return [10.0**power for power in range(self.low, self.high + 1)]


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#d4d4d8"/>'


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _svg(title: str, height: float, shapes: Sequence[str]) -> str:
    body = "\n".join(["", _text(16, 26, title, weight="bold"), *shapes, ""])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{body}</svg>\n'
    )


def _colours(sides: Sequence[str]) -> dict[str, str]:
    return {side: COLOURS[at % len(COLOURS)] for at, side in enumerate(sides)}


def _bars(title: str, groups: Mapping[str, Values]) -> str:
    """Draw a bar for each value, group by group."""
    sides = list(dict.fromkeys(side for values in groups.values() for side in values))
    colours = _colours(sides)
    every = [value for values in groups.values() for value in values.values()]
    scale = Scale.over(every, LEFT, WIDTH - RIGHT)
    shapes: list[str] = []
    y = float(TOP)
    for group, values in groups.items():
        if len(groups) > 1:
            shapes.append(_text(16, y + 12, group, weight="bold"))
        for side, value in values.items():
            end = scale.place(value)
            shapes += [
                _text(LEFT - 8, y + 12, side, "end"),
                (
                    f'<rect x="{LEFT}" y="{y:.1f}" width="{max(end - LEFT, 1):.1f}" '
                    f'height="{BAR - 3}" fill="{colours[side]}"/>'
                ),
                _text(end + 5, y + 11, _short(value)),
            ]
            y += BAR
        y += GAP
    grid = [_line(x, TOP - 4, x, y) for x in map(scale.place, scale.ticks())]
    marks = [_text(scale.place(tick), TOP - 9, f"{tick:g}", "middle") for tick in scale.ticks()]
    return _svg(title, y + 4, [*grid, *marks, *shapes])


def _lines(title: str, under: str, series: Mapping[str, Values]) -> str:
    """Draw a line for each side through its values; the keys of the values are whole numbers."""
    colours = _colours(list(series))
    points = {
        side: [(float(key), value) for key, value in values.items()]
        for side, values in series.items()
    }
    bottom, left = 360.0, 60.0
    every = [point for of_side in points.values() for point in of_side]
    across = Scale.over([x for x, _ in every], left, WIDTH - LEFT)
    up = Scale.over([y for _, y in every], bottom, float(TOP))
    shapes = []
    for tick in across.ticks():
        x = across.place(tick)
        shapes += [_line(x, TOP, x, bottom), _text(x, bottom + 18, f"{tick:,.0f}", "middle")]
    for tick in up.ticks():
        y = up.place(tick)
        shapes += [_line(left, y, WIDTH - LEFT, y), _text(left - 8, y + 4, f"{tick:g}", "end")]
    shapes.append(_text((left + WIDTH - LEFT) / 2, bottom + 38, under, "middle"))
    for at, (side, of_side) in enumerate(points.items()):
        places = [(across.place(x), up.place(y)) for x, y in of_side]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        shapes.append(
            f'<polyline points="{path}" fill="none" stroke="{colours[side]}" stroke-width="2"/>'
        )
        shapes += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colours[side]}"/>' for x, y in places
        ]
        y = TOP + 18 * at
        shapes.append(
            f'<rect x="{WIDTH - LEFT + 20}" y="{y}" width="12" height="12" fill="{colours[side]}"/>'
        )
        shapes.append(_text(WIDTH - LEFT + 38, y + 11, side))
    return _svg(title, bottom + 50, shapes)


def _cpu_by_scenario(result: Result) -> dict[str, Values]:
    found = result.get("scenarios", {})
    groups: dict[str, Values] = {}
    for scenario in SCENARIOS:
        sides = found.get(scenario.name, {})
        values = {
            side: figures["cpu_us"]["median"]
            for side, figures in sides.items()
            if "cpu_us" in figures and side != TWO_WORKERS
        }
        if values:
            groups[scenario.name] = _known(values)
    return groups


def _by_streams(result: Result, figure: str) -> dict[str, Values]:
    series: dict[str, Values] = {}
    for side, runs in result.get("memory", {}).items():
        counts = sorted({run["streams"] for run in runs} - {0})
        values = {
            str(count): median(run[figure] for run in runs if run["streams"] == count)
            for count in counts
            if side != DIRECT
        }
        if values := _known(values):
            series[side] = values
    return series


def _known(values: Values) -> dict[str, Any]:
    """Return those that a scale of powers has room for."""
    return {key: value for key, value in values.items() if value > 0}


def _memory_at(result: Result, count: str) -> Values:
    found = _by_streams(result, "kib_per_stream")
    return {side: values[count] for side, values in found.items() if count in values}


def draw_all(result: Result) -> list[Plot]:
    """Return every plot that there is something to show in."""
    plans: list[tuple[str, str, dict[str, Values], Callable[[str, dict[str, Values]], str]]] = [
        ("cpu", "CPU us per event (S1, S1m: per request)", _cpu_by_scenario(result), _bars),
        ("memory", "Memory per open stream, KiB; 1,000 open", _group(_memory_at(result, "1000")), _bars),
        ("streams", "CPU us per event, by streams that are open", _by_streams(result, "event_us"), _over_streams),
    ]  # fmt: skip
    return [Plot(name, title, draw(title, data)) for name, title, data, draw in plans if data]


def _group(values: Values) -> dict[str, Values]:
    return {"": values} if values else {}


def _over_streams(title: str, series: dict[str, Values]) -> str:
    return _lines(title, "streams open", series)
