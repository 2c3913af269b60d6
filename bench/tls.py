"""`python -m bench.tls`: what TLS costs, towards the upstream and on both sides, beside nginx.

The mock and the load generator speak TLS themselves, so that nothing else stands in the way. Each
gateway runs three times: plain, with TLS to the upstream (where every real one is), and with TLS on
both sides. All of them are measured in turns within a round, so that the ratios are of one run.
Certificates are made for the run and trusted by nobody else.
"""

import argparse
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trustme

from bench.gateways import Launch
from bench.peers.nginx import prepare
from bench.processes import (
    Cores,
    Running,
    StartError,
    awake,
    build,
    on_cores,
    plan_cores,
    raise_file_limit,
    running,
)
from bench.rig import DEFAULT_PROXY, Load, Rig, find_faults, proxy_config, tell
from bench.samples import Samples
from bench.scenarios import SCENARIOS, Scenario
from bench.tables import markdown

__all__ = ["MODES", "Certificates", "main", "make_certificates", "measure_tls"]

MODES = ("plain", "TLS upstream", "TLS both sides")

NAMES = ("S1", "S3lo", "S3a")

WARM_UP_SECONDS = 0.5

ROUNDS, SECONDS = 3, 3.0

QUICK_ROUNDS, QUICK_SECONDS = 1, 1.2

ENVIRONMENTS = Path(__file__).parent.parent / ".venvs"

PATH = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin"
"""Where a server's program may be: not every user has the first two on their PATH."""


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority, and a certificate of it for 127.0.0.1 and localhost, with its key."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make them in `folder`."""
    found = Certificates(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(found.authority))
    issued.private_key_pem.write_to_path(str(found.key))
    for at, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(str(found.certificate), append=bool(at))
    return found


# -- gateways

Start = Callable[[Path, int, str, Certificates], Launch]
"""Given a folder, the upstream's port, the mode and the certificates: the command that starts a
gateway, and its port where it does not say that itself."""


def start_rawproxy(command: str) -> Start:
    """Return what starts rawproxy by `command`."""

    def start(folder: Path, upstream: int, mode: str, files: Certificates) -> Launch:
        text = proxy_config(upstream)
        if mode != "plain":
            trusted = f'keys = ["x"]\nca_file = "{files.authority}"\n'
            text = text.replace("http://127", "https://127").replace('keys = ["x"]\n', trusted)
        if mode == "TLS both sides":
            text += f'\n[server.tls]\ncertificate = "{files.certificate}"\nkey = "{files.key}"\n'
        config = folder / "rawproxy.toml"
        config.write_text(text)
        return Launch(shlex.split(command.format(config=shlex.quote(str(config)))))

    return start


def start_nginx(program: str) -> Start:
    """Return what starts nginx with the settings that are best for streams."""

    def start(folder: Path, upstream: int, mode: str, files: Certificates) -> Launch:
        above, below = mode != "plain", mode == "TLS both sides"
        verify = (
            f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {files.authority}; "
            "proxy_ssl_name localhost; proxy_ssl_protocols TLSv1.3;"
        )
        serve = (
            f"ssl_certificate {files.certificate}; ssl_certificate_key {files.key}; "
            "ssl_protocols TLSv1.2 TLSv1.3;"
        )
        return prepare(
            program, folder, upstream,
            scheme="https" if above else "http", proxy=verify if above else "",
            listen=" ssl" if below else "", server=serve if below else "",
        )  # fmt: skip

    return start


def find_nginx() -> str | None:
    """Return the program, where it is installed or `bench` has unpacked it."""
    unpacked = sorted(ENVIRONMENTS.glob("peers-nginx-*/usr/sbin/nginx"))
    return str(unpacked[-1]) if unpacked else shutil.which("nginx", path=PATH)


# -- measuring


@dataclass(frozen=True)
class _Side:
    """One gateway in one mode, and the rig it is measured with."""

    gateway: str
    mode: str
    rig: Rig
    server: Running

    def ask(self, load: Load, files: Certificates) -> Load:
        """Return `load` as this side is asked: of TLS or not."""
        if self.mode != "TLS both sides":
            return load
        return replace(load, options=(*load.options, "--tls", str(files.authority)))


@contextmanager
def _rigs(cores: Cores, files: Certificates) -> Iterator[dict[str, Rig]]:
    """Run a mock that speaks plain HTTP, and one that speaks TLS."""
    program = build("mock", tls=True)
    pair = f"{files.certificate},{files.key}"
    with (
        running([program, "0"], cores.mock) as plain,
        running([program, "0", pair], cores.mock) as tls,
    ):
        above = Rig(tls, cores, tls=True)
        yield {"plain": Rig(plain, cores, tls=True), **dict.fromkeys(MODES[1:], above)}


@contextmanager
def _sides(
    cores: Cores, folder: Path, files: Certificates, gateways: Mapping[str, Start]
) -> Iterator[list[_Side]]:
    with ExitStack() as stack:
        rigs = stack.enter_context(_rigs(cores, files))
        sides = []
        for mode in MODES:
            for name, start in gateways.items():
                own = folder / f"{name}-{MODES.index(mode)}"
                own.mkdir()
                launch = start(own, rigs[mode].mock.port, mode, files)
                server = stack.enter_context(running(launch.command, cores.proxy, port=launch.port))
                sides.append(_Side(name, mode, rigs[mode], server))
        yield sides


Results = dict[str, dict[str, dict[str, Samples]]]
"""Of scenario, mode and gateway."""


def measure_tls(
    gateways: Mapping[str, Start],
    *,
    names: tuple[str, ...] = NAMES,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
) -> tuple[Results, list[str]]:
    """Return what each gateway costs in each mode and scenario, and what was wrong.

    Raises:
        StartError: a program could not be built or started.
    """
    cores = plan_cores()
    scenarios = [{one.name: one for one in SCENARIOS}[name] for name in names]
    results: Results = {
        name: {mode: {gateway: Samples() for gateway in gateways} for mode in MODES}
        for name in names
    }
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as home, on_cores(cores.load):
        folder = Path(home)
        files = make_certificates(folder)
        with _sides(cores, folder, files, gateways) as sides:
            servers = [side.server for side in sides]
            for number, scenario, side in _plan(scenarios, sides, rounds):
                load = side.ask(scenario.load, files)
                with awake(side.server, among=servers):
                    wanted = seconds if number else WARM_UP_SECONDS
                    measured = side.rig.measure(load, seconds=wanted, proxy=side.server)
                if number:
                    results[scenario.name][side.mode][side.gateway].add(measured, load)
                said = f"{scenario.name} {side.gateway} {side.mode}"
                faults += [f"{said}: {fault}" for fault in find_faults(measured.report, load)]
    return results, faults


def _plan(
    scenarios: list[Scenario], sides: list[_Side], rounds: int
) -> Iterator[tuple[int, Scenario, _Side]]:
    """Yield what is measured in turn, with the number of its round; round 0 warms up."""
    for number in range(rounds + 1):
        for scenario in scenarios:
            for side in sides if number % 2 else reversed(sides):
                yield number, scenario, side
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)


# -- the table


def table(results: Results) -> str:
    """Return a row for each scenario and mode: CPU of each gateway, and ours over the others'."""
    gateways = list(next(iter(next(iter(results.values())).values())))
    ours, *others = gateways
    header = ["scenario", *(f"{name} CPU us" for name in gateways)]
    header += [f"{ours} / {name}" for name in others]
    header += [f"{ours} / plain", *(f"{name} late p99 ms" for name in gateways)]
    rows = []
    for scenario, modes in results.items():
        for mode, found in modes.items():
            ratios = [found[ours].ratio_to(found[name]) for name in others]
            ratios.append(found[ours].ratio_to(modes[MODES[0]][ours]))
            cpu, late = [one.cpu for one in found.values()], [one.late for one in found.values()]
            rows.append([f"{scenario}, {mode}", *cpu, *ratios, *late])
    return markdown(header, rows)


def section(results: Results) -> dict[str, Any]:
    """Return what a result keeps: the table, and how many times nginx's an event of ours costs."""
    paced = [modes for name, modes in results.items() if name.startswith("S3")]
    ratios = {
        place: [
            ratio
            for modes in paced
            if "nginx" in modes[mode]
            for ratio in modes[mode]["rawproxy"].ratios_to(modes[mode]["nginx"])
        ]
        for place, mode in (("upstream", "TLS upstream"), ("both", "TLS both sides"))
    }
    return {"table": table(results), "ratios": ratios}


def main(words: list[str]) -> int:
    """Print the table; 1 when a reply was wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.tls", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, help="how many times each is measured")
    parser.add_argument("--only", metavar="NAME,...", default=",".join(NAMES), help="scenarios")
    parser.add_argument("--nginx", metavar="PROGRAM", help="another one; '': rawproxy alone")
    parser.add_argument("--proxy-command", default=DEFAULT_PROXY, metavar="COMMAND")
    options = parser.parse_args(words)
    raise_file_limit()
    gateways: dict[str, Start] = {"rawproxy": start_rawproxy(options.proxy_command)}
    nginx = find_nginx() if options.nginx is None else options.nginx
    if nginx:
        gateways["nginx"] = start_nginx(nginx)
    elif nginx is None:
        print("bench: no nginx to compare with", file=sys.stderr)
    try:
        results, faults = measure_tls(
            gateways,
            names=tuple(options.only.split(",")),
            rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
            seconds=QUICK_SECONDS if options.quick else SECONDS,
        )
    except StartError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(table(results))
    return tell(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
