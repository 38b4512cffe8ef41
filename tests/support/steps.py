"""The optimisers, with options that use all that there is."""

import rnncore as rc

STEPS = {
    "sgd": ("SGD", {"lr": 0.1}),
    "momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "adam": ("Adam", {"lr": 0.05}),
    "decay": ("Adam", {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-4, "weight_decay": 0.1}),
}


def made(name, params):
    kind, options = STEPS[name]
    return getattr(rc, kind)(params, **options)
