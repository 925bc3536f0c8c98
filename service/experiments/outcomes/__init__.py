"""From the log of exposures and events to sums per arm."""
