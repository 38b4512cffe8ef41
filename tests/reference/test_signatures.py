"""`rnncore.functional` and `rnncore.reference` are the same functions twice."""

import inspect

import pytest

from rnncore import functional, reference
from rnncore._cells.table import CELLS

NAMES = [f"{cell.prefix}_{way}" for cell in CELLS.values() for way in ("forward", "backward")]

# Of the layers of models, whose arithmetic has no functional core of its own.
OF_MODELS = [
    f"{part}_{way}"
    for part in (
        "activation",
        "batch_norm",
        "conv1d",
        "embedding",
        "layer_norm",
        "linear",
        "merge",
        "pool",
    )
    for way in ("forward", "backward")
]
OF_MODELS += ["dropout_forward", "reverse_forward"]  # whose gradients go the same way


def arguments(function) -> list[inspect.Parameter]:
    """Names, order, kinds and defaults; each module annotates with its own kind of trace."""
    parameters = inspect.signature(function).parameters.values()
    return [p.replace(annotation=inspect.Parameter.empty) for p in parameters]


@pytest.mark.parametrize("name", NAMES)
def test_signature(name):
    assert arguments(getattr(functional, name)) == arguments(getattr(reference, name))


@pytest.mark.parametrize("module", [functional, reference], ids=lambda m: m.__name__)
def test_both_offer_these_functions_and_no_more(module):
    functions = [n for n in module.__all__ if inspect.isroutine(getattr(module, n))]
    assert sorted(functions) == sorted(NAMES + (OF_MODELS if module is reference else []))


@pytest.mark.parametrize("name", NAMES)
def test_the_compiled_functions_are_documented(name):
    assert inspect.getdoc(getattr(functional, name))
