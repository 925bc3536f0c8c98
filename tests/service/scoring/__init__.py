"""Tests of service/scoring."""
