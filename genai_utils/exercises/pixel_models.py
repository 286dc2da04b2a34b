"""Exercises of notebook 20_pixel_models: what may be seen, what is said, what is drawn."""

import torch
import torch.nn.functional as F

from genai_utils.checks import exercise
from genai_utils.vision import pixel_chain, pixel_models

NOTEBOOK = "20_pixel_models"

# --- masked_weight -------------------------------------------------------------------------------


def _kernels(seed):
    g = torch.Generator().manual_seed(seed)
    shapes = (4, 2, 3, 5), (5, 4, 7, 3), (3, 6, 5, 1), (6, 4, 5, 3)
    return [
        (torch.randn(*shape, generator=g), kind) for shape, kind in zip(shapes, "ABAB", strict=True)
    ]


def _masked(weight, seen):
    """The kernel with `seen(row, column, centre row, centre column)` as its mask."""
    height, width = weight.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return weight * seen(rows, columns, height // 2, width // 2)


exercise(
    pixel_models.masked_weight,
    cases=_kernels,
    mistakes={
        "mask A and mask B swapped": (
            lambda w, kind: pixel_models.masked_weight(w, "B" if kind == "A" else "A"),
            "You swapped the two masks. The first layer needs mask A, which hides the centre: "
            "there stands the very pixel that is to be predicted.",
        ),
        "centre always kept": (
            lambda w, kind: pixel_models.masked_weight(w, "B"),
            "Your mask A keeps the centre. It must hide it, or the model copies the pixel that it "
            "should predict.",
        ),
        "only the rows above": (
            lambda w, kind: _masked(w, lambda r, c, i, j: r < i),
            "You kept the rows above and nothing of the centre row. What is left of the centre "
            "comes earlier, too.",
        ),
        "upper left corner": (
            lambda w, kind: _masked(
                w, lambda r, c, i, j: (r <= i) & (c <= j) & ((kind == "B") | (r < i) | (c < j))
            ),
            "You kept the upper left corner only. In raster order the whole rows above come "
            "earlier, right of the centre as well.",
        ),
        "looks ahead": (
            lambda w, kind: _masked(
                w,
                lambda r, c, i, j: (
                    (r > i)
                    | ((r == i) & (c > j))
                    | ((kind == "B") & (r == i)) & ((kind == "B") & (c >= j))
                ),
            ),
            "Your mask keeps the later places. Keep the earlier ones: above, and left of the "
            "centre.",
        ),
    },
    hints=[
        "Number the places of the kernel in raster order: 0, 1, 2, ... Which number has the "
        "centre, and which places come before it?",
        "torch.arange(kh * kw).reshape(kh, kw) numbers them; the centre is kh // 2 * kw + kw // 2. "
        "Mask A keeps numbers below it, mask B the centre, too.",
    ],
    grad=["weight"],
)


# --- gate ----------------------------------------------------------------------------------------


def _features(seed):
    g = torch.Generator().manual_seed(seed)
    return [
        (2 * torch.randn(*shape, generator=g),)
        for shape in ((3, 8, 4, 5), (5, 4, 7, 3), (4, 6, 3, 2))
    ]


exercise(
    pixel_models.gate,
    cases=_features,
    mistakes={
        "halves swapped": (
            lambda a: a.chunk(2, 1)[1].tanh() * a.chunk(2, 1)[0].sigmoid(),
            "You swapped the halves: the first one goes through tanh, the second through the "
            "sigmoid.",
        ),
        "every other channel": (
            lambda a: a[:, ::2].tanh() * a[:, 1::2].sigmoid(),
            "You took every other channel. The halves are the first h channels and the last h.",
        ),
        "no gate": (
            lambda a: a.chunk(2, 1)[0].tanh(),
            "The tanh is right; the gate is missing. Multiply by the sigmoid of the second half.",
        ),
        "two gates": (
            lambda a: a.chunk(2, 1)[0].sigmoid() * a.chunk(2, 1)[1].sigmoid(),
            "You used the sigmoid twice. What passes is a tanh, which may be negative.",
        ),
        "linear signal": (
            lambda a: F.glu(a, 1),
            "Your signal has no tanh. (That is a GLU, a good gate too, but not this one.)",
        ),
        "added": (
            lambda a: a.chunk(2, 1)[0].tanh() + a.chunk(2, 1)[1].sigmoid(),
            "You added the two halves. A gate multiplies: at 0 nothing passes.",
        ),
    },
    hints=[
        "Channels are dimension 1. a.chunk(2, dim=1) cuts them into two halves.",
        "signal, valve = a.chunk(2, dim=1); the answer is tanh of one times sigmoid of the other.",
    ],
    grad=True,
)


# --- running_log_prob ----------------------------------------------------------------------------


def _images_and_logits(seed):
    g = torch.Generator().manual_seed(seed)
    cases = []
    for shape in (3, 1, 2, 4), (5, 1, 4, 3), (4, 1, 6, 2):
        x = torch.randint(2, shape, generator=g).float()
        cases.append((x, 2 * torch.randn(shape, generator=g)))
    x = cases[0][0].clone()
    sure = torch.where(x > 0, -150.0, 150.0)  # sure of the wrong colour: log(sigmoid) underflows
    return [*cases, (x, sure)]


def _log_p(x, logits):
    return torch.where(x > 0, F.logsigmoid(logits), F.logsigmoid(-logits))  # (B, 1, H, W)


exercise(
    pixel_chain.running_log_prob,
    cases=_images_and_logits,
    mistakes={
        "no running total": (
            lambda x, a: _log_p(x, a).flatten(1),
            "These are the terms of the sum. The chain rule adds them up: column i holds the "
            "total of the first i.",
        ),
        "only the whole image": (
            lambda x, a: _log_p(x, a).flatten(1).sum(1),
            "You returned log P of the whole image only. Wanted is the total after each pixel, "
            "shape (B, H W).",
        ),
        "down the columns": (
            lambda x, a: _log_p(x, a).mT.flatten(1).cumsum(1),
            "You went down the columns. Raster order goes along the rows, which is the order of "
            "flatten.",
        ),
        "wrong sign": (
            lambda x, a: -_log_p(x, a).flatten(1).cumsum(1),
            "Yours is the negative. The logarithm of a probability is never above 0; binary "
            "cross-entropy is its negative.",
        ),
        "total over the batch": (
            lambda x, a: _log_p(x, a).flatten(1).cumsum(0),
            "You added up over the batch (dimension 0). Images are independent; pixels of one "
            "image are chained.",
        ),
        "logarithm of the sigmoid": (
            lambda x, a: (
                torch.where(x > 0, a.sigmoid().log(), (1 - a.sigmoid()).log()).flatten(1).cumsum(1)
            ),
            "Right on paper, but log(sigmoid(a)) is minus infinity for a far below 0. Use "
            "F.logsigmoid or F.binary_cross_entropy_with_logits.",
        ),
        "white pixels only": (
            lambda x, a: (x * F.logsigmoid(a)).flatten(1).cumsum(1),
            "You counted the pixels that are 1 only. A pixel that is 0 has the probability "
            "1 - sigmoid(a), and counts as well.",
        ),
    },
    hints=[
        "First one number per pixel: log P(x_i | earlier). F.binary_cross_entropy_with_logits with "
        "reduction='none' gives its negative.",
        "flatten(1) puts the pixels in raster order, cumsum(dim=1) makes the running total.",
    ],
    grad=["logits"],
)


# --- next_pixel ----------------------------------------------------------------------------------


def _coins(seed):
    g = torch.Generator().manual_seed(seed)
    return [
        (2 * torch.randn(n, generator=g), torch.rand(n, generator=g), temperature)
        for n, temperature in ((200, 1.0), (301, 0.5), (405, 2.0))
    ]


exercise(
    pixel_chain.next_pixel,
    cases=_coins,
    mistakes={
        "other way round": (
            lambda a, u, t=1.0: (u > torch.sigmoid(a / t)).to(a.dtype),
            "Your pixel is 1 with the probability of 0. It is 1 if u falls below the probability.",
        ),
        "likelier colour": (
            lambda a, u, t=1.0: (a > 0).to(a.dtype),
            "You took the likelier colour each time. A sample throws the coin: use u.",
        ),
        "no sigmoid": (
            lambda a, u, t=1.0: (u < a / t).to(a.dtype),
            "You compared u with the logit. A probability is its sigmoid.",
        ),
        "temperature multiplied": (
            lambda a, u, t=1.0: (u < torch.sigmoid(a * t)).to(a.dtype),
            "You multiplied by the temperature. Divide: a low temperature makes the model surer.",
        ),
        "temperature after the sigmoid": (
            lambda a, u, t=1.0: (u < torch.sigmoid(a) / t).to(a.dtype),
            "You divided the probability by the temperature. Divide the logit, before the sigmoid.",
        ),
        "temperature forgotten": (
            lambda a, u, t=1.0: (u < torch.sigmoid(a)).to(a.dtype),
            "You left out the temperature: divide the logit by it.",
        ),
    },
    hints=[
        "A uniform number u falls below 0.3 in 30 % of all cases.",
        "p = torch.sigmoid(logit / temperature); then compare u with p, and turn the answer into "
        "0 and 1 with .to(logit.dtype).",
    ],
)


# --- reorder -------------------------------------------------------------------------------------


def _orders(seed):
    g = torch.Generator().manual_seed(seed)
    return [
        (torch.rand(b, 1, h, w, generator=g), torch.randperm(h * w, generator=g))
        for b, h, w in ((3, 4, 5), (5, 7, 2), (4, 3, 6))
    ]


exercise(
    pixel_chain.reorder,
    cases=_orders,
    mistakes={
        "inverse order": (
            lambda x, order: x.flatten(1)[:, order.argsort()].reshape(x.shape),
            "You did the inverse: your pixel order[i] is pixel i of x. The new pixel i should be "
            "pixel order[i] of x.",
        ),
        "unchanged": (
            lambda x, order: x.clone(),
            "Your images are those that came in.",
        ),
        "images shuffled together": (
            lambda x, order: torch.stack(
                [one.flatten()[order.roll(i)].reshape(one.shape) for i, one in enumerate(x)]
            ),
            "Each of your images has an order of its own. All images must be read in the same one.",
        ),
        "left flat": (
            lambda x, order: x.flatten(1)[:, order],
            "The pixels are right, in a flat row. Give them the shape of x again.",
        ),
        "down the columns": (
            lambda x, order: x.flatten(1)[:, order].reshape(*x.shape[:2], -1, x.shape[2]).mT,
            "You filled the new image column by column. Its raster order goes along the rows.",
        ),
    },
    hints=[
        "x.flatten(1) is one row of pixels per image, in raster order.",
        "An index picks columns: flat[:, order]. Then reshape to the shape of x.",
    ],
)
