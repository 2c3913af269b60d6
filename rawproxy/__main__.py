"""`python -m rawproxy` is the program `rawproxy`.

Layer: app.
"""

from rawproxy.app.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
