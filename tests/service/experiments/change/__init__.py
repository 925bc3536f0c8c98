"""Tests of service/experiments/change."""
