"""The Python in a page of Markdown, as code to run."""

import re
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).parents[2]


def python_blocks(page: str) -> list[CodeType]:
    """The blocks of a page, which is named from the top of the tree, in order."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    return [compile(code, page, "exec") for code in blocks]
