"""Makes ``python -m heatbeam`` work. Defines nothing, so nothing is pickled from ``__main__``."""

from heatbeam import process

if __name__ == "__main__":
    raise SystemExit(process.start())
