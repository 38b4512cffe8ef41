"""Floating-point signals: what this package computes is told by its results, and by them alone.

Infinity and NaN travel like any number and what underflows is 0 or subnormal, whatever the caller
has set with `numpy.seterr`; what the caller has set is as it was afterwards.
"""

import numpy as np

# A decorator, for functions that compute with NumPy: any number of threads may be in one at once.
quiet = np.errstate(all="ignore")
