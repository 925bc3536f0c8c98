"""Tests of service/experiments."""
