"""Settings that every test needs before torch is imported."""

import os

# Two pytest processes share the cores already: a second thread in each makes small operations several times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
