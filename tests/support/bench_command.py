"""The command `rnncore bench` in tests: in a process of its own, and what may go wrong."""

import io
import os
import subprocess
import sys

from rnncore._bench import library, one_core

# Where no other library is installed
ALONE = (
    "sys.modules |= dict.fromkeys(('torch', 'onnx', 'onnxruntime', 'openvino', 'jax'));"
    "from rnncore._bench import one_core;"
    "import os; assert not one_core.is_set(); os.environ |= one_core.ONE_THREAD;"
    "from rnncore.cli import main; sys.exit(main())"
)


def run(folder, *arguments, code="from rnncore.cli import main; sys.exit(main())"):
    start = "import sys; "
    environment = {k: v for k, v in os.environ.items() if k not in one_core.ONE_THREAD}
    return subprocess.run(
        [sys.executable, "-c", start + code, "bench", *map(str, arguments)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


class Absent(library.Library):
    name = "absent"
    needs = ("a_module_that_is_not_installed",)


class Full(io.StringIO):
    """A file on a disk that is full."""

    def write(self, text):
        raise OSError(28, "No space left on device")
