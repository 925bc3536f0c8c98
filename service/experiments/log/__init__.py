"""Exposures and events on their way to a sink."""
