"""Parts of the compiled core that the package does not use yet, compiled by themselves."""

import shutil
import subprocess
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"
SOURCES = Path(__file__).parents[2] / "src_cython"
COMPILER = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)


@pytest.mark.skipif(not SOURCES.exists(), reason="the sources are in the checkout alone")
@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler is installed")
def test_weights_may_have_another_type_than_the_sums(tmp_path):
    program = tmp_path / "widened"
    command = [COMPILER, "-std=c++17", "-O1", f"-I{SOURCES}", "-pthread", "-o", str(program)]
    subprocess.run([*command, str(SUPPORT / "widened.cpp")], check=True, timeout=300)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "0\n"
