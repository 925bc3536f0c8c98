"""Tests of the service, against a real Redis, real ONNX Runtime and real files."""
