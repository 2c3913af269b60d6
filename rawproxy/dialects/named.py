"""A dialect by the name that somebody typed.

Layer: dialects.
"""

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import Dialect

__all__ = ["named"]


def named(name: str) -> Dialect:
    """Return the dialect called `name`.

    Raises:
        ValueError: there is none; the message lists those that there are.
    """
    dialect = DIALECTS.get(name)
    if dialect is None:
        raise ValueError(f"no such dialect, must be one of: {', '.join(DIALECTS)}")
    return dialect
