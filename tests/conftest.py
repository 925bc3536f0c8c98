"""Set before any test imports torch: waiting OpenMP threads sleep, so that shared cores do not ruin training."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
