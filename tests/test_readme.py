"""The README's Python runs, block after block, and learns."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_examples_run_and_learn(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    for code in blocks:
        exec(compile(code, str(README), "exec"), names)
    assert names["y_t"].shape == (1, 32)
    (error,) = re.findall(r"mean squared error (\S+)", capsys.readouterr().out)
    assert float(error) < 0.1  # the variance of the target, which a constant reaches, is 0.7
