"""Everything that leaves training for serving: `python -m export model|features`."""

import os

# ONNX Runtime keeps an event store under HOME unless told not to before its first import
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# OpenMP's waiting threads spin unless told not to before torch's first import
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
