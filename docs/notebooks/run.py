"""Run the notebooks, and keep what they print and draw: ``python docs/notebooks/run.py [NAME ..]``.

Needs nbclient, ipykernel and matplotlib. Pictures are kept as SVG with their words as text, and
without dates and random names, so that what has not changed is not another file.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
WIDGET = "application/vnd.jupyter.widget-view+json"
MATPLOTLIB = "svg.fonttype: none\nsvg.hashsalt: rnncore\nfigure.max_open_warning: 0\n"
KERNEL = ["--InlineBackend.figure_formats={'svg'}"]


def run(path, timeout=300):
    """The notebook at `path`, with what its cells give now."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "matplotlibrc").write_text(MATPLOTLIB)
        environment = os.environ | {"MATPLOTLIBRC": folder, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        place = {"metadata": {"path": folder}}
        options = {"coalesce_streams": True, "extra_arguments": KERNEL, "resources": place}
        client = NotebookClient(notebook, timeout=timeout, **options)
        with client.setup_kernel(env=environment):
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
    return notebook


def tidied(notebook):
    """Without what is other at every run; a slider has no place where nothing computes."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if WIDGET not in one.get("data", {})]
            for output in cell.outputs:
                svg = output.get("data", {}).get("image/svg+xml")
                if svg:
                    svg = re.sub(r" <metadata>.*?</metadata>\n", "", svg, flags=re.DOTALL)
                    output.data = {"image/svg+xml": svg}
                    output.metadata = {}
    return notebook


def main():
    import nbformat

    for path in sorted(FOLDER.glob("*.ipynb")):
        if path.stem in sys.argv[1:] or not sys.argv[1:]:
            nbformat.write(tidied(run(path)), path)
            print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
