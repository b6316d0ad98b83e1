"""Makes ``python -m pipeline`` work. Defines nothing, so nothing is pickled from ``__main__``."""

from pipeline import cli

if __name__ == "__main__":
    raise SystemExit(cli.main())
