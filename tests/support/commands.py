"""The command `rnncore` in tests: in a process of its own, and a text that is learned soon."""

import subprocess
import sys

SENTENCES = "The cat, which already ate, was full. The cats, which already ate, were full.\n"
SMALL = ["--hidden", "16", "--embedding", "8", "--batch", "4", "--window", "16"]


def command(*arguments):
    return [sys.executable, "-m", "rnncore", *map(str, arguments)]


def run(*arguments, cwd, **options):
    options = {"capture_output": True, "text": True, "timeout": 120, **options}
    return subprocess.run(command(*arguments), cwd=cwd, check=False, **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
