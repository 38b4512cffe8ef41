"""The README's Python runs and learns."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_example_learns(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(code, str(README), "exec"), {})
    (error,) = re.findall(r"mean squared error (\S+)", capsys.readouterr().out)
    assert float(error) < 0.1  # the variance of the target, which a constant reaches, is 0.7
