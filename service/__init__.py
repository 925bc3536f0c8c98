"""The scoring service: features from Redis, models through ONNX Runtime, sticky experiments. No torch."""

import os

# ONNX Runtime keeps an event store under HOME unless told not to before its first import
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
