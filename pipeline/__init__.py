"""What to run: settings, the order of the steps, the command line and the reading of results."""
