"""Everything that leaves training for serving: `python -m export model|features`."""
