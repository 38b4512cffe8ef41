"""Dinosaurus Island: gradients that are clipped, and names that are drawn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnncore import _check
from rnncore._common.quiet import quiet
from rnncore.course.checks import checked
from rnncore.course.layouts import Arrays, Parameters
from rnncore.course.rnn import rnn_cell_forward
from rnncore.train.clipping import clip_grad_value

_MOST_CHARACTERS = 50  # after which `sample` ends a name


def clip(gradients: Mapping[str, np.ndarray], maxValue: float) -> Arrays:
    """Clip every element of the gradients to ``[-maxValue, maxValue]``.

    Parameters
    ----------
    gradients : dict of arrays, such as dWaa, dWax, dWya, db, dby
    maxValue : float
        Above 0.

    Returns
    -------
    dict with the same keys; the arrays are new ones.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described above.

    Examples
    --------
    >>> clip({"db": np.array([[-30.0], [4.0]])}, 10)
    {'db': array([[-10.],
           [  4.]])}
    """
    _check.instance("gradients", gradients, Mapping)
    clipped = {name: np.array(gradient) for name, gradient in gradients.items()}
    clip_grad_value(clipped, maxValue)
    return clipped


@quiet
def sample(parameters: Parameters, char_to_ix: Mapping[str, int], seed: int) -> list[int]:
    """Draw the characters of a name from an RNN that was trained to predict the next one.

    The first input and state are zeros; each character drawn is the next input. A name ends with
    the character ``"\\n"``, which is added after 50 others. Draw k is that of NumPy's legacy
    generator with the seed ``seed + 2 * k``: the exercise seeds before every draw, so that equal
    parameters give equal names. The global generator is left alone.

    Parameters
    ----------
    parameters : dict with Wax, Waa, Wya, by and the bias of the state, as `b` or `ba`
        n_x and n_y are the number of characters.
    char_to_ix : dict of the index of every character, with ``"\\n"`` among them
    seed : int

    Returns
    -------
    list of int: the indices drawn, the last one that of ``"\\n"``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    Where the bias of the outputs leaves no other choice, the name is empty:

    >>> parameters = {"Wax": np.zeros((3, 2)), "Waa": np.zeros((3, 3)), "b": np.zeros((3, 1))}
    >>> parameters |= {"Wya": np.zeros((2, 3)), "by": np.array([[1000.0], [0.0]])}
    >>> sample(parameters, {"\\n": 0, "a": 1}, seed=0)
    [0]
    """
    seed = _check.size("seed", seed, minimum=0)
    _check.instance("char_to_ix", char_to_ix, Mapping)
    if "\n" not in char_to_ix:
        raise ValueError(r"char_to_ix has no '\n', expected the character that ends a name")
    _check.instance("parameters", parameters, Mapping)
    parameters = dict(parameters)
    if "b" in parameters:
        parameters["ba"] = parameters["b"]
    by = checked(parameters, None, {"by": ("n_y", 1)})["by"]
    n_a = len(checked(parameters, by.dtype, {"ba": ("n_a", 1)})["ba"])
    end = char_to_ix["\n"]
    xt, a = np.zeros((len(by), 1), by.dtype), np.zeros((n_a, 1), by.dtype)
    indices: list[int] = []
    while len(indices) < _MOST_CHARACTERS and end not in indices[-1:]:
        a, y, _ = rnn_cell_forward(xt, a, parameters)
        draws = np.random.RandomState(seed + 2 * len(indices))
        indices.append(int(draws.choice(len(y), p=y[:, 0])))
        xt[...] = 0
        xt[indices[-1]] = 1
    return indices if indices[-1] == end else [*indices, end]
