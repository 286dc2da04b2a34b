"""The plots hold the data that they were given, named, and refuse what cannot be drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from genai_utils.display import plots


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_curves_are_drawn_with_their_names_and_formats():
    fig = plots.line_plot(
        {"a": ([1, 2], torch.tensor([3.0, 5.0])), "b": (np.arange(3), np.ones(3), "--"),
         "_quiet": ([1, 2], [0, 0])},
        "k", "error (dB)", xscale="log", xticks=[1, 1000],
    )  # fmt: skip
    ax = fig.axes[0]
    assert [line.get_ydata().tolist() for line in ax.lines] == [[3, 5], [1, 1, 1], [0, 0]]
    assert [line.get_linestyle() for line in ax.lines[:2]] == ["-", "--"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale()) == ("k", "error (dB)", "log")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "1,000"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b"]


def test_axes_of_a_larger_figure_can_be_used():
    fig, axes = plt.subplots(1, 2)
    assert plots.line_plot({"a": ([1], [2])}, "x", "y", ax=axes[1]) is fig
    assert not axes[0].lines and len(axes[1].lines) == 1


def test_classes_stand_at_their_medians():
    points = torch.tensor([[0.0, 0], [1, 0], [5, 0], [8, 8], [9, 9]])
    ax = plots.class_scatter(points, [3, 3, 3, 7, 7], title="t").axes[0]
    assert {t.get_text(): t.get_position() for t in ax.texts} == {"3": (1, 0), "7": (8.5, 8.5)}
    assert [len(c.get_offsets()) for c in ax.collections] == [3, 2]
    first, second = (c.get_facecolor()[0, :3] for c in ax.collections)
    assert (first != second).any() and ax.get_title() == "t"


@pytest.mark.parametrize("draw, says", [
    (lambda: plots.line_plot({}, "x", "y"), "at least one curve"),
    (lambda: plots.line_plot({"a": ([1, 2], [1])}, "x", "y"), "'a' needs x and y of one length"),
    (lambda: plots.class_scatter(np.zeros((3, 3)), [1, 2, 3]), r"points \(N, 2\)"),
    (lambda: plots.class_scatter(np.zeros((3, 2)), [1, 2]), "N labels"),
])  # fmt: skip
def test_what_cannot_be_drawn_is_named(draw, says):
    with pytest.raises(ValueError, match=says):
        draw()


def test_a_short_logarithmic_axis_has_plain_labels_that_do_not_overlap():
    curves = {"a": ([2.5, 5, 50], [1.0, 10, 1e4])}
    ax = plots.line_plot(curves, "x", "y", xscale="log", yscale="log").axes[0]
    ax.figure.canvas.draw()

    def shown(axis):
        low, high = axis.get_view_interval()
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        return [t.label1 for t in ticks if low <= t.get_loc() <= high and t.label1.get_text()]

    assert [label.get_text() for label in shown(ax.xaxis)] == ["5", "10", "20", "50"]
    assert "$" in shown(ax.yaxis)[0].get_text()  # four decades: powers of ten, as usual
    boxes = [label.get_window_extent() for label in shown(ax.xaxis)]
    assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))
