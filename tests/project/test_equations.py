"""docs/equations.md shows the lines of the twins as they are, and all that have a number."""

import inspect
import re
from importlib import import_module

import pytest
from pages import ROOT

from rnncore import reference

PAGE = (ROOT / "docs" / "equations.md").read_text("utf-8")
NUMBER = re.compile(r"\(([A-Z]\d*[a-z]?)\)")
FILES = ("rnn", "gru", "lstm", "indrnn", "layer_norm_lstm", "loop", "parts", "maps")
TABLE = re.compile(r"^\| \| [^|]+ \| `(\w+)` in `(\w+)\.py` \|\n\|[-|]+\|\n((?:\|.*\n)+)", re.M)


def tables():
    """The function, its file, and the rows: number, equation, line of code."""
    for function, file, rows in TABLE.findall(PAGE):
        cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows.splitlines()]
        assert all(len(row) == 3 for row in cells), rows
        yield function, file, [(n, equation, code.strip("`")) for n, equation, code in cells]


TABLES = list(tables())


def lines_of(file, function):
    """(the numbers of a line, the line); a comment of its own numbers the line below it."""
    source = inspect.getsource(getattr(import_module(f"{reference.__name__}.{file}"), function))
    source = source.split('"""')[-1]
    above, found = [], []
    for line in source.splitlines():
        code, _, comment = line.partition("#")
        numbers = NUMBER.findall(comment)
        if code.strip():
            found.append((numbers or above, code.strip()))
        above = numbers if not code.strip() else []
    return found


@pytest.mark.parametrize(("function", "file", "rows"), TABLES)
def test_the_lines_are_those_of_the_twin_in_their_order(function, file, rows):
    lines = lines_of(file, function)
    at = -1
    for number, equation, code in rows:
        assert equation
        places = [k for k, (_, line) in enumerate(lines) if code in line and k > at]
        assert places, code
        at = places[0]
        numbers, line = lines[at]
        assert number.strip("()") in (numbers or [""]), line
        if numbers:
            assert code == line.removesuffix(",") or code in line.split(" for ")[0]


def test_every_numbered_line_is_on_the_page():
    shown = {(file, code) for _, file, rows in TABLES for _, _, code in rows}
    for file in FILES:
        module = import_module(f"{reference.__name__}.{file}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__:
                for numbers, line in lines_of(file, name):
                    found = any(file == other and code in line for other, code in shown)
                    assert found or not numbers, (file, name, line)


def test_every_number_that_the_twins_quote_is_on_the_page():
    told, quoted = set(NUMBER.findall(PAGE)), set()
    for file in FILES:
        quoted |= set(NUMBER.findall(inspect.getsource(import_module(f"rnncore.reference.{file}"))))
    assert {"L6p", "G3b", "R1", "N6", "A17", "Z", "M"} <= quoted
    assert {number for number in quoted if number in "MZ" or number[1:]} - told == set()


def test_formulas_are_whole():
    """No brace is left open, and nothing in a cell breaks its table."""
    formulas = re.findall(r"(?<!`)\$([^$\n]+)\$", PAGE) + re.findall(r"```math\n(.*?)\n```", PAGE)
    assert len(formulas) > 400
    for formula in formulas:
        assert formula.count("{") == formula.count("}"), formula
        assert formula.count("(") == formula.count(")"), formula
        assert "|" not in formula
        assert formula == formula.strip()
