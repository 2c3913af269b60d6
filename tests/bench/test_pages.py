"""docs/PERFORMANCE.md: its generated part and the plots are what the kept result gives."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from bench import pages
from bench.pages import MARKS, PAGE, ROOT, generated, plot_path
from bench.plots import Scale, draw_all

RESULTS = ROOT / "bench" / "results"


def shown() -> tuple[Path, str]:
    """The result that the page shows, and the part of the page that is generated."""
    text = PAGE.read_text()
    part = text.partition(f"{MARKS[0]}\n")[2].partition(f"\n{MARKS[1]}")[0]
    name = part.partition("[")[2].partition("]")[0]
    return RESULTS / name, part


def test_the_page_is_what_the_kept_result_gives() -> None:
    path, part = shown()
    assert path.exists()
    assert part == generated(path)


def test_the_plots_are_what_the_kept_result_gives() -> None:
    path, _ = shown()
    plots = draw_all(json.loads(path.read_text()))
    assert "cpu" in [plot.name for plot in plots]  # a run of some parts has no others
    for plot in plots:
        assert plot_path(path, plot.name).read_text() == plot.svg


def test_a_page_is_written_between_its_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "bench" / "results" / "2026-01-01T000000-abc.json"
    kept.parent.mkdir(parents=True)
    machine = {"commit": "a", "cpu": "x", "cores": 2, "kernel": "6", "python": "3", "versions": {}}
    settings = {"rounds": 1, "seconds": 1.0}
    head = {"date": "now", "machine": machine, "settings": settings, "faults": []}
    kept.write_text(json.dumps({**head, "memory": RESULT["memory"]}))
    page = tmp_path / "docs" / "PAGE.md"
    page.parent.mkdir()
    page.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "PAGE", page)
    pages.write_page(kept)
    lines = page.read_text().splitlines()
    assert lines[:2] == ["before", MARKS[0]]
    assert lines[-2:] == [MARKS[1], "after"]
    assert "old" not in lines
    plots = [line for line in lines if line.startswith("![")]
    assert len(plots) == 2
    pages.write_page(kept)
    assert page.read_text().splitlines() == lines
    for line in plots:
        assert (page.parent / line.partition("(")[2].rstrip(")")).read_text().startswith("<svg")


def side(*values: float) -> dict[str, Any]:
    return {"cpu_us": {"median": values[0]}}


def held(streams: int, kib: float | None, event: float | None) -> dict[str, Any]:
    rest = dict.fromkeys(("idle_mib", "open_us", "hang_up_ms", "cpu_ms_after"), event)
    return {"streams": streams, "kib_per_stream": kib, "event_us": event, **rest}


RESULT: dict[str, Any] = {
    "scenarios": {
        "S1": {"direct": {}, "rawproxy": side(40), "a & b": side(9000)},
        "S2": {"direct": {}, "rawproxy": side(4)},
    },
    "memory": {
        "direct": [held(1000, None, None)],
        "refusing": [held(0, 0.0, 0.0)],
        "rawproxy": [held(100, -0.5, 10), held(1000, 2.5, 12), held(1000, 3.5, 14)],
    },
}


def test_a_plot_shows_each_value() -> None:
    cpu, memory, streams = draw_all(RESULT)
    for plot in (cpu, memory, streams):
        ElementTree.fromstring(plot.svg)
    assert [cpu.svg.count(f">{text}<") for text in ("S1", "S2", "9,000", "a &amp; b")] == [1] * 4
    assert "direct" not in cpu.svg
    assert "refusing" not in streams.svg
    assert ">3<" in memory.svg  # the median
    assert streams.svg.count("<circle") == 2
    assert draw_all({}) == []


def test_no_value_lies_outside_of_its_scale() -> None:
    scale = Scale.over([0.5, 20.0, 300.0], 100.0, 700.0)
    assert scale.ticks() == [pytest.approx(10.0**power) for power in (-1, 0, 1, 2, 3)]
    places = [scale.place(value) for value in (0.1, 0.5, 20.0, 300.0, 1000.0)]
    assert places == sorted(places)
    assert places[0] == pytest.approx(100)
    assert places[-1] == pytest.approx(700)
    one = Scale.over([10.0], 0.0, 1.0)
    assert one.place(10.0) == 0
