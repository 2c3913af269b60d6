"""The command: what it finds, keeps, prints and returns."""

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.__main__ import Board, lanes_of, main, read_arguments
from fuzz.engine import Finding, Lane, Report
from fuzz.targets import TARGETS
from tests.conftest import ROOT
from tests.fuzz.planted import MAGIC

PLANTED = "tests.fuzz.planted"


def fuzz(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fuzz", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert capsys.readouterr().out.split() == list(TARGETS)
    assert main(["--list", "--target", "h1_*", "--target", "sse"]) == 0
    assert capsys.readouterr().out.split() == ["h1_request", "h1_response", "sse"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--target", "nobody"], "no such target: nobody"),
        (["--jobs", "0"], "--jobs: at least 1"),
        (["--replay", "x"], "--replay takes the --target"),
    ],
)
def test_wrong_arguments(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert "--seconds" in capsys.readouterr().out


def test_spare_jobs_share_a_target() -> None:
    few = lanes_of(read_arguments(["--target", "sse", "--target", "text", "--jobs", "5"]))
    assert [(lane.target, lane.number) for lane in few] == [
        ("sse", 0), ("sse", 1), ("text", 0), ("text", 1),
    ]  # fmt: skip
    every = lanes_of(read_arguments(["--jobs", "2", "--seed", "7"]))
    assert [lane.target for lane in every] == list(TARGETS)
    assert {lane.seed for lane in every} == {7}


def test_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--module", PLANTED, "--target", "fails", "--replay", str(tmp_path / "case")]
    (tmp_path / "case").write_bytes(MAGIC)
    assert main(words) == 1
    assert "AssertionError" in capsys.readouterr().out
    (tmp_path / "case").write_bytes(b"quiet")
    assert main(words) == 0
    assert "nothing wrong" in capsys.readouterr().out


def test_of_one_fault_the_last_input_counts() -> None:
    board, lane = Board(), Lane("sse", 0, 0, 1.0, None)
    board.note(Finding("sse", b"long", "key", ""))
    board.note(Finding("sse", b"s", "key", ""))
    board.note(Report(lane, 50, 0.5, 0.001))
    board.note(Report(lane, 100, 1.0, 0.002, done=True))
    assert [one.data for one in board.findings.values()] == [b"s"]
    assert board.table().splitlines()[1].split() == ["sse", "100", "100", "2.0", "1"]
    assert board.line() is None  # less than a second has passed
    board._told -= 2
    assert "100 runs" in str(board.line())


@pytest.mark.slow
def test_a_planted_fault_is_found_kept_and_replayed(tmp_path: Path) -> None:
    words = ["--module", PLANTED, "--crashes", str(tmp_path), "--runs", "40", "--jobs", "2"]
    done = fuzz(*words, "--seconds", "30")
    assert done.returncode == 1, done.stderr
    kept = {path.name.rpartition("-")[0]: path for path in tmp_path.iterdir()}
    assert kept.keys() == {"fails", "slow", "dies"}
    assert kept["fails"].read_bytes() == MAGIC
    assert "the process ended with 7" in done.stdout
    replays = [line.partition("replay: python -m fuzz ")[2] for line in done.stdout.splitlines()]
    again = next(line for line in replays if "--target fails" in line)
    assert fuzz(*again.split()).returncode == 1


@pytest.mark.slow
def test_make_fuzz(tmp_path: Path) -> None:
    """What the command of the Makefile does, with little time."""
    done = fuzz("--seconds", "0.2", "--runs", "20", "--jobs", "2", "--crashes", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
    assert "nothing found" in done.stdout
    assert all(name in done.stdout for name in TARGETS)
