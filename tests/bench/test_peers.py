"""Other gateways: what they are asked, and what happens where one cannot be installed.

None is installed here. Nothing is about speed.
"""

import json
import sys
from pathlib import Path

import pytest

from bench import peers
from bench.__main__ import choose_settings, main, read_arguments
from bench.gateways import passing_only
from bench.peers import BASIC, EVERY, envoy, find_peers, install, litellm, portkey, router
from bench.scenarios import SCENARIOS

LOADS = {scenario.name: scenario.load for scenario in SCENARIOS}


@pytest.mark.parametrize(
    ("adapt", "cannot"),
    [
        (passing_only, {"S1m", "S3m", "S5", "S5r"}),
        (portkey.adapt, {"S1m", "S3m", "S5", "S5r"}),
        (litellm.adapt, {"S3b", "S3c", "S5r"}),
        (router.adapt, set(LOADS) - {"S1m", "S3m", "S5"}),
    ],
    ids=["passing", "portkey", "litellm", "router"],
)
def test_what_each_can_do(adapt: object, cannot: set[str]) -> None:
    assert callable(adapt)
    adapted = {name: adapt(load, 1234) for name, load in LOADS.items()}
    assert {name for name, load in adapted.items() if load is None} == cannot


def test_the_mock_is_told_the_same_through_each() -> None:
    translated = LOADS["S5"]
    for adapt in (litellm.adapt, router.adapt):
        load = adapt(translated, 1234)
        assert load is not None
        assert load.model.endswith(translated.model)
    passed = portkey.adapt(LOADS["S1"], 1234)
    assert passed is not None
    assert passed.options[0::2] == ("--header", "--header")
    assert "http://127.0.0.1:1234/v1" in passed.options[3]
    assert passed.arguments(80)[-4:] == list(passed.options)


def test_every_configuration_has_both_ports() -> None:
    for config in (envoy.config(1111, 2222), router.config(1111, 2222)):
        text = json.dumps(config)
        assert "1111" in text
        assert "2222" in text
    assert "2222" in json.dumps(litellm.config(2222))


@pytest.mark.parametrize("name", EVERY)
def test_one_that_cannot_be_installed_is_left_out_with_a_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    found, missing = find_peers((name,))
    assert found == []
    assert list(missing) == [name]
    assert f"bench: without {name}: {missing[name]}\n" in capsys.readouterr().err
    assert not [one for one in tmp_path.iterdir() if (one / ".done").exists()]


def test_what_is_installed_is_not_installed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "ENVIRONMENTS", tmp_path)
    done: list[Path] = []

    def fill(folder: Path) -> None:
        folder.mkdir()
        done.append(folder)

    for version in ("1.0", "1.0", "1.1"):
        install._once("one", version, fill)
    assert [folder.name for folder in done] == ["peers-one-1.0", "peers-one-1.1"]


def test_a_version_is_found_in_what_a_program_says() -> None:
    assert install.version_of("echo", "nginx version: nginx/1.22.1") == "1.22.1"
    assert install.version_of("echo", "HAProxy version 2.6.12-1+deb12u4 2025") == "2.6.12-1+deb12u4"
    with pytest.raises(install.InstallError, match="tells no version"):
        install.version_of("echo", "nothing")
    with pytest.raises(install.InstallError, match="false failed"):
        install.version_of("false")


def test_which_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert read_arguments([]).names == BASIC
    assert read_arguments(["--peers", "all"]).names == EVERY == tuple(peers._ALL)
    assert read_arguments(["--peers", "none"]).names == ()
    assert read_arguments(["--peers", "all", "--direct-only"]).names == ()
    assert read_arguments(["--peers", "nginx,envoy"]).names == ("nginx", "envoy")
    assert choose_settings(read_arguments(["--peers", "all"])).rounds == 5
    assert choose_settings(read_arguments([])).rounds == 3
    chosen = choose_settings(read_arguments(["--peers", "all", "--rounds", "7", "--seconds", ".5"]))
    assert (chosen.rounds, chosen.seconds) == (7, 0.5)
    with pytest.raises(SystemExit):
        main(["--peers", "squid"])
    assert "no such peer: squid" in capsys.readouterr().err
