"""The pictures of the lesson on gates, of trainings that are not as usual."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from matplotlib.figure import Figure

from rnncore.gates import figures
from rnncore.gates.exploding import Exploding, Training

TAME = Training(np.linspace(0.3, 0.1, 40), np.linspace(2, 1, 40), None)
NOTHING = Training(np.array([]), np.array([]), 1)


@pytest.mark.parametrize(
    ("unclipped", "clipped"),
    [
        (TAME, TAME),
        (Training(np.array([1.0, 1e30]), np.array([2.0, 1e30]), 3), TAME),
        (NOTHING, TAME),
        (NOTHING, NOTHING),
    ],
    ids=["none explodes", "one explodes", "at once", "both at once"],
)
def test_whatever_explodes_is_drawn(unclipped, clipped, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FORMS", ("svg",))
    norms = {1.0: np.array([1.0, 0.5]), 2.0: np.array([1.0, 2.0])}
    figures.draw_exploding(tmp_path / "exploding", Exploding(norms, unclipped, clipped))
    assert [path.name for path in tmp_path.iterdir()] == ["exploding.svg"]


@pytest.mark.parametrize("first", [3.0, 1e8])
def test_a_clipped_training_is_drawn_down_to_its_end(first):
    figure = Figure()
    ax = figure.subplots()
    ax.set_yscale("log")
    tame = np.append(np.geomspace(first, 0.5, 40), 0.0)  # which a logarithm does not show
    wild = Training(np.array([1.0]), np.array([first]), 2)
    figures._plot_to_the_edge(ax, wild, wild.norms, tame, "not clipped")
    low, high = ax.get_ylim()
    assert 0.05 < low < 0.5
    assert high > first


def test_means_over_ever_more():
    values = np.arange(1.0, 1501)
    at, means = figures._ever_wider(values)
    np.testing.assert_allclose(means, at)  # of a straight line, block by block
    assert at[:5].tolist() == [1, 2, 3, 4, 5]
    widths = np.diff(at)
    assert widths[-1] > 50
    assert figures._ever_wider(values[:0])[1].size == 0
