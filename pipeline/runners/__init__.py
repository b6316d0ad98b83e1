"""Where a graph runs: options of each runner, the direct runner, its worker processes, the entry point of workers."""
