"""The README's Python runs, block after block, and learns."""

import re

from pages import python_blocks


def test_the_examples_run_and_learn(capsys):
    names = {}
    for code in python_blocks("README.md"):
        exec(code, names)
    assert names["y_t"].shape == (1, 32)
    (error,) = re.findall(r"mean squared error (\S+)", capsys.readouterr().out)
    assert float(error) < 0.1  # the variance of the target, which a constant reaches, is 0.7
