"""Tests of the data report."""
