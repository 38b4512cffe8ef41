"""What optimisers and clipping take: layers, models, their gradients, dicts, and lists of these.

A parameter that two of them share is stepped once, with the sum of its gradients.
"""

import numpy as np
import pytest
from steps import STEPS, made

import rnncore as rc
from rnncore.models.sequential import Sequential

V, D, T, B = 7, 5, 6, 3


def parts(dtype=np.float32):
    """A model whose head is its embedding."""
    embedding = rc.Embedding(V, D, dtype=dtype, rng=0)
    lstm, head = rc.LSTM(D, D, dtype=dtype, rng=1), rc.Linear(D, V, dtype=dtype, rng=2)
    head.params["weight"] = embedding.params["weight"]
    return embedding, lstm, head


def batches():
    rng = np.random.default_rng(3)
    return [rng.integers(0, V, (2, T, B)) for _ in range(3)]


def gradients(layers, ids, targets):
    embedding, lstm, head = layers
    x, of_embedding = embedding.forward(ids)
    h, _, of_lstm = lstm.forward(x)
    y, of_head = head.forward(h)
    last = head.backward(of_head, rc.softmax_cross_entropy(y, targets)[1])
    middle = lstm.backward(of_lstm, last.x)
    return [embedding.backward(of_embedding, middle.x), middle, last]


def of_layers(layers):
    return list(layers), lambda ids, targets: gradients(layers, ids, targets)


def of_dicts(layers):
    def back(ids, targets):
        return [grads.params for grads in gradients(layers, ids, targets)]

    return [layer.params for layer in layers], back


def of_one_dict(layers):
    """All under names of one's own; clipping does not know then what is shared."""
    names = [f"{k}.{name}" for k, layer in enumerate(layers) for name in layer.params]

    def back(ids, targets):
        grads = gradients(layers, ids, targets)
        # as one dict, a head's part of the weight goes to the embedding's
        grads[0].params["weight"] += grads[2].params["weight"]
        grads[2].params["weight"][...] = 0
        return dict(
            zip(names, [array for each in grads for array in each.params.values()], strict=True)
        )

    arrays = [array for layer in layers for array in layer.params.values()]
    return dict(zip(names, arrays, strict=True)), back


def of_a_model(layers):
    model = Sequential(*layers)

    def back(ids, targets):
        y, _, trace = model.forward(ids)
        return model.backward(trace, rc.softmax_cross_entropy(y, targets)[1])

    return model, back


def of_a_model_in_a_list(layers):
    model, head = Sequential(*layers[:2]), layers[2]

    def both(ids, targets):
        h, _, trace = model.forward(ids)
        y, of_head = head.forward(h)
        last = head.backward(of_head, rc.softmax_cross_entropy(y, targets)[1])
        return [model.backward(trace, last.x), (last,)]

    return [model, (head,)], both


FORMS = [of_layers, of_dicts, of_one_dict, of_a_model, of_a_model_in_a_list]


def trained(form, name):
    layers = parts()
    params, back = form(layers)
    optimizer, norms = made(name, params), []
    for ids, targets in batches():
        grads = back(ids, targets)
        norms.append(rc.clip_grad_norm(grads, 0.05))
        optimizer.step(grads)
    assert layers[0].params["weight"] is layers[2].params["weight"]
    assert min(norms) > 0.05
    return [norms, *(array for layer in layers for array in layer.params.values())]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", STEPS)
def test_every_form_gives_the_same_steps(form, name):
    for found, expected in zip(trained(form, name), trained(of_layers, name), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", STEPS)
def test_torch_steps_a_shared_parameter_once_too(name, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    kind, options = STEPS[name]
    w, b = rng.standard_normal((3, 17)), rng.standard_normal(33)
    theirs = [torch.nn.Parameter(torch.tensor(a)) for a in (w, b)]
    groups = [{"w": w}, {"again": w[:], "b": b}]
    optimizer, their_optimizer = made(name, groups), getattr(torch.optim, kind)(theirs, **options)
    for _ in range(4):
        one, other = rng.standard_normal((2, 3, 17))
        of_b = rng.standard_normal(33)
        optimizer.step([{"w": one}, {"again": other, "b": of_b}])
        theirs[0].grad, theirs[1].grad = torch.tensor(one + other), torch.tensor(of_b)
        their_optimizer.step()
    for ours, parameter in zip((w, b), theirs, strict=True):
        np.testing.assert_allclose(ours, parameter.detach().numpy(), rtol=1e-12, atol=1e-13)
