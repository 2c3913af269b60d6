"""Flame graphs: what is counted, and that the picture shows it."""

import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import flame
from bench.flame import draw, find_py_spy, find_wait, main, read_stacks, table, times
from bench.processes import StartError

RAW = """\
main (app/run.py:1);read (rawproxy/net/conn.py:7) 6
main (app/run.py:1);read (rawproxy/net/conn.py:7);cut (rawproxy/wire/sse.py:9) 3
main (app/run.py:1);<lambda> (rawproxy/net/conn.py:20) 1
"""
READ, CUT = "read (rawproxy/net/conn.py)", "cut (rawproxy/wire/sse.py)"


def test_time_is_a_functions_own_or_that_of_what_it_calls() -> None:
    own, under, modules = times(read_stacks(RAW))
    assert (own[READ], under[READ]) == (6, 9)
    assert (own[CUT], under[CUT]) == (3, 3)
    assert under["main (app/run.py)"] == 10
    assert modules == {"rawproxy/net/conn.py": 7, "rawproxy/wire/sse.py": 3}
    assert f"| {READ} | 60.0 | 90.0 |" in table(read_stacks(RAW))


def test_the_wait_is_not_the_proxys_time() -> None:
    wait = find_wait()
    seen = read_stacks(
        f"{RAW}main (app/run.py:1);Pump.{wait} 90\nmain (app/run.py:2);Pump.look (x) 1\n", wait
    )
    assert seen.total() == 11
    number = int(wait.rstrip(")").rpartition(":")[2])
    source = Path(flame.__file__).parent.parent / "rawproxy" / "net" / "pump.py"
    assert "_poll.poll(timeout" in source.read_text().splitlines()[number - 1]


def test_a_function_that_calls_itself_is_counted_once() -> None:
    _, under, _ = times(read_stacks("f (a.py);f (a.py) 5\n"))
    assert under["f (a.py)"] == 5


def test_the_picture_has_a_box_for_each_frame_as_wide_as_its_time() -> None:
    root = ElementTree.fromstring(draw(read_stacks(RAW), "S1 <&>"))
    space = "{http://www.w3.org/2000/svg}"
    boxes = {}
    for group in root.iter(f"{space}g"):
        title, box = group.find(f"{space}title"), group.find(f"{space}rect")
        assert title is not None
        assert box is not None
        boxes[title.text] = (float(box.get("width", 0)), float(box.get("x", 0)))
    assert boxes["main (app/run.py): 100.0 %"][0] == flame.WIDTH
    assert boxes[f"{READ}: 90.0 %"][0] == 0.9 * flame.WIDTH
    assert boxes[f"{CUT}: 30.0 %"][0] == 0.3 * flame.WIDTH
    assert boxes["<lambda> (rawproxy/net/conn.py): 10.0 %"] == (0.1 * flame.WIDTH, 0.0)
    assert "S1 <&>" in [text.text for text in root.iter(f"{space}text")]


def test_the_picture_begins_where_the_stacks_part() -> None:
    trunk = "start (a.py);run (a.py);turn (a.py)"
    picture = draw(read_stacks(f"{trunk};f (b.py) 5\n{trunk};g (b.py) 5\n{trunk} 1\n"), "x")
    assert "turn" in picture
    assert "run" not in picture
    assert "start" not in picture


def test_what_nobody_could_see_is_not_drawn() -> None:
    assert "rare" not in draw(read_stacks("often (a.py) 1000\nrare (a.py) 1\n"), "x")


def test_without_py_spy_one_is_told_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(flame, "FOLDER", tmp_path / "bench")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartError, match=r"make \.venvs/tools/\.done"):
        find_py_spy()
    assert main(["S1"]) == 1
    assert "no py-spy" in capsys.readouterr().err


def _can_look() -> bool:
    try:
        find_py_spy()
    except StartError:
        return False
    return bool(shutil.which("cc")) and sys.platform == "linux"


@pytest.mark.slow
@pytest.mark.skipif(not _can_look(), reason="needs py-spy and a C compiler")
def test_the_proxy_is_seen_at_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["S1", "--quick", "--results", str(tmp_path)]) == 0
    assert "rawproxy/net/conn.py" in capsys.readouterr().out
    assert ElementTree.parse(tmp_path / "flame-S1.svg").getroot().tag.endswith("svg")
    assert read_stacks((tmp_path / "flame-S1.txt").read_text()).total() > 100
