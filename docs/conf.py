"""Sphinx: ``sphinx-build -W docs docs/_build`` makes the site from these pages and the docstrings.

The pages are plain Markdown that reads as well where it is not built; those below api/ come from
the docstrings of the package that Python imports.
"""

import re
import sys
from itertools import pairwise
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

import rnncore

project = "rnncore"
author = copyright = "rnncore contributors"
version = release = rnncore.__version__

sys.path.insert(0, str(Path(__file__).parent))  # for notebook_pages.py
extensions = ["myst_parser", "notebook_pages", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build"]
smartquotes = False  # "after" is a value to type
highlight_language = "none"  # a block without a language is an equation
default_role = "py:obj"  # `name` in a docstring is a link where it can be one

# $...$ and ```math, as other renderers of Markdown have them
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
html_math_renderer = (
    "mathml"  # which browsers draw by themselves: a page needs no script, no network
)

myst_heading_anchors = 3  # of headings, as other renderers of Markdown make them

autodoc_typehints = "none"  # the docstrings have shapes and dtypes, which say more
autodoc_member_order = "bysource"
add_module_names = False

html_theme = "furo"
html_title = f"rnncore {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def short_types(app, what, name, obj, options, signature, returned):
    """np.float32, as it is written."""
    return signature and re.sub(r"<class 'numpy\.(\w+)'>", r"np.\1", signature), returned


def mathml(display):
    """What Sphinx calls for the formulas of one kind: they are converted when the site is made."""

    def visit(translator, node):
        translator.body.append(convert(node.astext(), display=display))
        raise nodes.SkipNode

    return visit, None


def setup(app):
    app.add_html_math_renderer("mathml", mathml("inline"), mathml("block"))
    app.connect("autodoc-process-docstring", sections)
    app.connect("autodoc-process-signature", short_types)


# The sections of a docstring, in NumPy's style. Napoleon and numpydoc expect a type after the
# colon, and an entry in every line of Returns and Raises; here words may stand in all these places.

ENTRIES = ("Parameters", "Attributes")
SECTIONS = (*ENTRIES, "Returns", "Raises", "Examples")


def sections(app, what, name, obj, options, lines):
    """Rewrite the sections of a docstring, in place, as headings with lists below them."""
    starts = [
        k
        for k, line in enumerate(lines[:-1])
        if line in SECTIONS and lines[k + 1] == "-" * len(line)
    ]
    for start, end in reversed(list(pairwise([*starts, len(lines)]))):
        title, body = lines[start], lines[start + 2 : end]
        lines[start:end] = [f".. rubric:: {title}", "", *section_body(title, body), ""]


def section_body(title, body):
    """Entries as a list; prose and examples as they are."""
    indented = [line.startswith("    ") for line in body]
    heads = [line for line, inner in zip(body, indented, strict=True) if line and not inner]
    listed = title in ENTRIES or any(indented) or all(" : " in line for line in heads)
    if title == "Examples" or not listed:
        return body
    items = []
    for line, inner in zip(body, indented, strict=True):
        if inner:
            # A new sentence begins in a paragraph of its own, the rest of the line above does not
            if items[-1].startswith("*") and not (line[4].islower() or line[4] in "`(["):
                items.append("")
            items.append(line[2:])
        elif line:
            names, colon, rest = line.partition(" : ")
            items.append(f"* ``{names}``{colon}{rest}")
        else:
            items.append(line)
    return items
