"""Sphinx: notebooks as pages, with what their cells gave when they were run, and nothing run here.

A cell of text is Markdown as any page; code, what it printed and what it drew stand below each
other. docs/notebooks/run.py runs them.
"""

import json
import re

from myst_parser.parsers.sphinx_ import MystParser


class NotebookParser(MystParser):
    """Markdown made of the cells of a notebook."""

    supported = ("notebook",)

    def parse(self, inputstring, document):
        super().parse(markdown(json.loads(inputstring)), document)


def markdown(notebook):
    parts = []
    for k, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else fenced("python", source))
        parts += [shown(output, f"cell{k}") for output in cell.get("outputs", ())]
    return "\n\n".join(parts)


def shown(output, name):
    data = output.get("data", {})
    if "image/svg+xml" in data:
        svg = "".join(data["image/svg+xml"])
        svg = svg[svg.index("<svg") :]
        # Names within a picture are names within the page
        svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", svg)
        return fenced("{raw} html", f'<div class="picture">{svg}</div>')
    return fenced("text", "".join(output.get("text") or data.get("text/plain", "")).rstrip())


def fenced(kind, text):
    return f"````{kind}\n{text}\n````"


def setup(app):
    app.add_source_suffix(".ipynb", "notebook")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True}
