"""Tests of service/experiments/outcomes."""
