"""The arrays that cells compute with."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.floating]  # float32 or float64, as sums and products are
