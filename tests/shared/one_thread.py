"""One thread for each process of the tests, as models have in their workers. To be imported before numeric libraries,
which read these variables when they are loaded.

With a thread for each processor, the libraries wait actively for threads that have no processor while others use the
machine: a model of four columns then takes ten times as long to train and to ask.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
