"""Everything that leaves training for serving: `python -m export model|features`."""

import os

# ONNX Runtime keeps an event store under HOME unless told not to before its first import
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
