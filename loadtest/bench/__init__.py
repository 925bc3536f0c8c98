"""The service against floors, peers and variants of itself: `python -m loadtest.bench --help`."""
