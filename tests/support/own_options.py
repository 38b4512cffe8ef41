"""What each option of a single cell is not, and activations other than a cell's own."""

from rnncore._cells.kind import CellKind


def size(name, minimum=1):
    return minimum - 1, f"{name} is {minimum - 1}, expected an integer of at least {minimum}"


def flag(name):
    return "no", f"{name} is 'no', expected True or False"


def choice(name, *allowed):
    return "no", f"{name} is 'no', expected {' or '.join(map(repr, allowed))}"


def above(name):
    return 0, f"{name} is 0, expected a number above 0"


# Option -> a wrong value with its message.
WRONG = {
    "nonlinearity": choice("nonlinearity", "tanh", "relu"),
    "reset": choice("reset", "after", "before"),
    "peephole": choice("peephole", None, "previous", "current"),
    "coupled": flag("coupled"),
    "proj_size": size("proj_size", 0),
    "eps": (0.0, "eps is 0.0, expected a finite number of at least 1.18e-38"),
}


def wrong_activations(kind: CellKind):
    """More entries than any cell has functions."""
    places = ", ".join(own_functions(kind))
    message = f"activations has 4 entries, expected one entry in the place of each of {places}"
    return ("tanh",) * 4, message


def own_functions(kind: CellKind, **options) -> tuple[str, ...]:
    """The activations that a cell has anyway, by the names of ONNX's list."""
    return kind.own_functions(kind.defaults | options)


# How many functions a cell has -> others in their places.
_OTHERS = {
    1: (("ScaledTanh", 1.7159, 0.6667),),
    2: (("HardSigmoid", 0.25), "softsign"),
    3: ("Sigmoid", ("elu", 0.5), ("Affine", 0.5, 0.1)),
}


def other_functions(kind: CellKind):
    return _OTHERS[len(kind.functions)]
