"""Tests of service/experiments/planning."""
