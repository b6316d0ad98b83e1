"""From settings to a finished run directory: plan, graph, run, check, and what is taken over from earlier runs."""
