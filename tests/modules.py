"""What a piece of code brings along."""

import subprocess
import sys

__all__ = ["loaded_by"]


def loaded_by(code: str) -> set[str]:
    """Return the modules that are loaded after `code`, which prints nothing, in an interpreter of its own."""
    asked = f"import sys\n{code}\nprint(*sys.modules)"
    (line,) = subprocess.check_output([sys.executable, "-c", asked], text=True).splitlines()
    return set(line.split())
