"""The optimisers, with options that use all that there is."""

from rnncore.train import optim

STEPS = {
    "sgd": ("SGD", {"lr": 0.1}),
    "momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "adam": ("Adam", {"lr": 0.05}),
    "decay": ("Adam", {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-4, "weight_decay": 0.1}),
    "adamw": ("AdamW", {"lr": 0.05}),
    "adamw without decay": ("AdamW", {"lr": 0.05, "betas": (0.7, 0.9), "weight_decay": 0.0}),
    "rmsprop": ("RMSprop", {"lr": 0.05}),
    "rmsprop momentum": ("RMSprop", {"lr": 0.05, "alpha": 0.9, "momentum": 0.8, "eps": 1e-4}),
    "rmsprop centered": (
        "RMSprop",
        {"lr": 0.05, "alpha": 0.7, "weight_decay": 0.1, "momentum": 0.5, "centered": True},
    ),
    "rmsprop decay": ("RMSprop", {"lr": 0.05, "weight_decay": 0.3}),
}


def made(name, params):
    kind, options = STEPS[name]
    return getattr(optim, kind)(params, **options)
