"""Import before NumPy and the libraries compared with: each of them is held to one thread."""

import os
import runpy
from importlib.util import find_spec
from pathlib import Path

# The file is run by itself, for importing it would import rnncore and with it NumPy.
_package = Path(find_spec("rnncore").origin).parent
os.environ.update(runpy.run_path(str(_package / "_bench" / "one_core.py"))["ONE_THREAD"])
