"""Tests of service/experiments/arms."""
