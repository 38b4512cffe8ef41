"""Import before NumPy and the libraries compared with: each of them is held to one thread.

The libraries of linear algebra read their variables once, when they are loaded.
"""

import os

for _variable in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RNNCORE_NUM_THREADS",
    "NPROC",  # the thread pools of XLA, which JAX runs on
):
    os.environ[_variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
