"""``python -m rnncore`` is the command ``rnncore``."""

import sys

from rnncore.cli import main

sys.exit(main())
