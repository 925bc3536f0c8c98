"""Tests of service/experiments/log."""
