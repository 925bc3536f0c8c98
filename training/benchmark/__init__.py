"""Models tuned with one budget, run with several seeds, compared on the same test rows."""
