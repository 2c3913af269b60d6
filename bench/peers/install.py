"""Install a program into a folder of its own: a Debian package, a Python or a Node one.

Each function returns at once when it was done before; a version is part of the folder's name, so
that another pin is another folder.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["InstallError", "debian", "node", "python", "version_of"]

ENVIRONMENTS = Path(__file__).parent.parent.parent / ".venvs"


class InstallError(Exception):
    """It cannot be installed here; the message says why in a line."""


def debian(name: str, version: str, *libraries: str) -> Path:
    """Unpack Debian's package of that name, without installing it; return the folder.

    Args:
        name: of the package.
        version: as a pattern, such as `1.22.1-*`: Debian keeps no earlier patch of its own.
        libraries: packages that it needs and that are unpacked beside it.
    """

    def unpack(folder: Path) -> None:
        _need("apt-get", "dpkg-deb")
        with tempfile.TemporaryDirectory() as loads:
            os.chmod(loads, 0o755)  # apt reads as a user of its own
            if not _try("apt-get", "download", "-q", f"{name}={version}", *libraries, cwd=loads):
                # The lists may be old.
                _try("apt-get", "update", "-q")
                _run("apt-get", "download", "-q", f"{name}={version}", *libraries, cwd=loads)
            for package in Path(loads).glob("*.deb"):
                _run("dpkg-deb", "-x", package, folder)

    return _once(name, version.partition("-")[0], unpack)


def python(name: str, version: str, package: str) -> Path:
    """Install `package` of that version into an environment; return the environment's folder."""

    def install(folder: Path) -> None:
        _run(sys.executable, "-m", "venv", folder)
        asked = f"{package}=={version}"
        _run(folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check", asked)

    return _once(name, version, install)


def node(name: str, version: str, package: str, manifest: str) -> Path:
    """Install the npm package by a package.json that holds its pins; return the package's folder."""

    def install(folder: Path) -> None:
        _need("node", "npm")
        folder.mkdir()
        (folder / "package.json").write_text(manifest)
        _run(
            "npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", cwd=folder
        )

    return _once(name, version, install) / "node_modules" / package


def version_of(*command: str | Path) -> str:
    """Return the first thing that looks like a version in what `command` prints.

    Raises:
        InstallError: it does not run, or prints none.
    """
    found = re.search(r"\d+\.\d+[.\w~+-]*", _run(*command))
    if not found:
        raise InstallError(f"{command[0]} tells no version")
    return found[0]


def _once(name: str, version: str, install: Callable[[Path], None]) -> Path:
    """Have `install` fill a folder, unless it has before; a folder is there whole or not at all."""
    folder = ENVIRONMENTS / f"peers-{name}-{version}"
    if (folder / ".done").exists():
        return folder
    print(f"bench: installing {name} {version} into {folder.name}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    ENVIRONMENTS.mkdir(exist_ok=True)
    install(folder)
    (folder / ".done").touch()
    return folder


def _need(*programs: str) -> None:
    for program in programs:
        if not shutil.which(program):
            raise InstallError(f"{program} is not there")


def _run(*command: str | Path, cwd: str | Path | None = None) -> str:
    """Return what a command printed, standard output and errors together."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as error:
        raise InstallError(str(error)) from error
    if done.returncode:
        said = (done.stdout.strip().splitlines() or ["it said nothing"])[-1]
        raise InstallError(f"{Path(command[0]).name} failed: {said}")
    return done.stdout


def _try(*command: str | Path, cwd: str | Path | None = None) -> bool:
    try:
        _run(*command, cwd=cwd)
    except InstallError:
        return False
    return True
