"""The hot path: from a request to its scores."""
