"""The parameters of a state_dict by the modules that own them, with normed weights as weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rnncore.convert.widened import Copies, floats

Arrays = dict[str, np.ndarray]

_RECURRENT = re.compile(
    r"(weight_ih|weight_hh|weight_hr|weight_ch|bias_ih|bias_hh)(_l\d+(_reverse)?)?"
)
_PLAIN = re.compile(r"weight|bias|running_mean|running_var")
_LEFT_OUT = re.compile(r"num_batches_tracked|_flat_weights\b.*|_metadata|_extra_state")
_PARAMETRISED = re.compile(r"parametrizations\.([^.]+)\.(.+)")


def groups(state_dict: Mapping[str, Any], owner: str) -> dict[str, Arrays]:
    """Arrays by what stands before their own names, in the order of the mapping.

    Weight norms are folded: of ``weight_g`` and ``weight_v``, or of ``original0`` and ``original1``
    under ``parametrizations``, comes ``weight`` (Salimans and Kingma 2016, equation 2).

    Raises
    ------
    ValueError, TypeError for names that no layer has, and for what is no array of floats.
    """
    found: dict[str, Arrays] = {}
    normed: dict[tuple[str, str], Arrays] = {}
    copies = Copies()
    for name in state_dict:
        if not isinstance(name, str) or len(name) > 1000:
            raise TypeError(f"{owner} has a key of type {type(name).__name__}, expected names")
        prefix, own, piece = _split(name, owner)
        if _LEFT_OUT.fullmatch(own):
            continue
        if piece:
            normed.setdefault((prefix, own), {})[piece] = floats(name, state_dict[name])
            found.setdefault(prefix, {})
            continue
        if not (_RECURRENT.fullmatch(own) or _PLAIN.fullmatch(own)):
            raise ValueError(
                f"{owner} has the key {name!r}, which is no parameter of a layer that is known"
            )
        found.setdefault(prefix, {})[own] = copies(name, state_dict[name])
    for (prefix, own), pieces in normed.items():
        if pieces.keys() != {"g", "v"}:
            raise ValueError(
                f"{owner} has one half of the weight norm of {prefix + own!r}, expected both"
            )
        found[prefix][own] = _folded(prefix + own, pieces["g"], pieces["v"])
    if not found:
        raise ValueError(f"{owner} holds no parameters")
    return found


def _split(name: str, owner: str) -> tuple[str, str, str]:
    """What stands before a parameter's own name, that name, and which half of a norm it is."""
    at = name.find("parametrizations.")
    if at == 0 or (at > 0 and name[at - 1] == "."):
        match = _PARAMETRISED.fullmatch(name[at:])
        piece = {"original0": "g", "original1": "v"}.get(match[2]) if match else None
        if match is None or piece is None:
            raise ValueError(
                f"{owner} has the key {name!r}, a parametrisation other than a weight norm: remove"
                " it first"
            )
        return name[:at], match[1], piece
    prefix, dot, own = name.rpartition(".")
    prefix += dot
    for end, piece in (("_g", "g"), ("_v", "v")):
        stem = own.removesuffix(end)
        if stem != own and (stem == "weight" or _RECURRENT.fullmatch(stem)):
            return prefix, stem, piece
    return prefix, own, ""


def _folded(name: str, g: np.ndarray, v: np.ndarray) -> np.ndarray:
    """g * v / |v|, with the norm over the axes along which g has one number."""
    if g.ndim not in (0, v.ndim):
        raise ValueError(f"the norm of {name!r} has shape {g.shape}, its weight {v.shape}")
    axes = tuple(k for k in range(v.ndim) if g.ndim == 0 or g.shape[k] == 1)
    if any(k not in axes and g.shape[k] != v.shape[k] for k in range(v.ndim)):
        raise ValueError(f"the norm of {name!r} has shape {g.shape}, its weight {v.shape}")
    norm = np.sqrt(np.square(v).sum(axis=axes, keepdims=True))
    folded: np.ndarray = v * (g / norm)
    return folded.astype(v.dtype, copy=False)
