"""From sums per arm to a verdict."""
