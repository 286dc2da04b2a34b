"""Exercises of notebook 20_pixel_models: what may be seen, what is said, what is drawn."""

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.vision import pixel_chain, pixel_models

NOTEBOOK = "20_pixel_models"

# --- running_log_prob ----------------------------------------------------------------------------


def _images_and_logits(seed):
    g = torch.Generator().manual_seed(seed)
    cases = []
    for shape in (3, 1, 2, 4), (5, 1, 4, 3), (4, 1, 6, 2):
        x = torch.randint(2, shape, generator=g).float()
        cases.append((x, 2 * torch.randn(shape, generator=g)))
    return cases


def _surely_wrong(seed):
    """Sure of the wrong colour, in some pixels or in all: log(sigmoid) underflows."""
    return [
        (x, torch.where(x > 0, -size, size) if every else torch.where(a > 1, 150 - 300 * x, a))
        for (x, a), size, every in zip(
            _images_and_logits(seed), (150.0, 40.0, 90.0), (True, False, True), strict=True
        )
    ]


def _single(seed):
    """One image, one row, one column, one pixel."""
    g = torch.Generator().manual_seed(seed)
    shapes = (1, 1, 3, 4), (3, 1, 1, 5), (3, 1, 4, 1), (1, 1, 1, 1)
    return [
        (torch.randint(2, shape, generator=g).float(), torch.randn(shape, generator=g))
        for shape in shapes
    ]


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
        "without the pixel itself": (
            lambda x, a: _log_p(x, a).flatten(1).cumsum(1) - _log_p(x, a).flatten(1),
            "Your column i leaves out pixel i: the total runs up to it, j <= i.",
        ),
        "each row by itself": (
            lambda x, a: _log_p(x, a).cumsum(-1).flatten(1),
            "Your total starts anew in each row of the image. The chain goes on: flatten first, "
            "then cumsum.",
        ),
        "white pixels only": (
            lambda x, a: (x * F.logsigmoid(a)).flatten(1).cumsum(1),
            "You counted the pixels that are 1 only. A pixel that is 0 has the probability "
            "1 - sigmoid(a), and counts as well.",
        ),
        "probabilities multiplied": (
            lambda x, a: _log_p(x, a).flatten(1).cumsum(1).exp(),
            "These are the probabilities of the beginnings, a running product. Their logarithms "
            "are asked for: a running sum.",
        ),
        "mean over all": (
            lambda x, a: -F.binary_cross_entropy_with_logits(a, x),
            "F.binary_cross_entropy_with_logits takes the mean over all pixels, unless it is told "
            "reduction='none'.",
        ),
    },
    clauses={
        "sure of the wrong colour": Clause(
            _surely_wrong,
            "Right near 0. But sigmoid(-150) rounds to 0 and 1 - sigmoid(150) too, whose "
            "logarithm is infinite, or wrong if it is clamped: use F.logsigmoid or "
            "F.binary_cross_entropy_with_logits.",
            lambda x, a: (
                torch.where(x > 0, a.sigmoid().log(), (1 - a.sigmoid()).log()).flatten(1).cumsum(1)
            ),
        ),
        "sizes of 1": Clause(
            _single,
            "One image, one row, one column or one pixel give the shape (B, H W), too: flatten(1) "
            "keeps the batch where squeeze drops it.",
            lambda x, a: _log_p(x, a).squeeze().flatten(1).cumsum(1),
        ),
    },
    hints=[
        "First one number per pixel: log P(x_i | earlier). F.binary_cross_entropy_with_logits with "
        "reduction='none' gives its negative.",
        "flatten(1) puts the pixels in raster order, cumsum(dim=1) makes the running total.",
    ],
    grad=["logits"],
)


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


def _right_mask(weight, kind):
    return _masked(
        weight, lambda r, c, i, j: (r < i) | ((r == i) & ((c < j) | ((c == j) & (kind == "B"))))
    )


def _small_kernels(seed):
    g = torch.Generator().manual_seed(seed)
    shapes = (4, 2, 1, 1), (3, 2, 1, 5), (3, 2, 1, 1), (3, 2, 1, 5)
    return [
        (torch.randn(*shape, generator=g), kind) for shape, kind in zip(shapes, "AABB", strict=True)
    ]


def _other_kinds(seed):
    weight = _kernels(seed)[0][0]
    return [(weight, kind) for kind in ("a", "C", "AB", "")]


def _known_kind(kind):
    if kind not in ("A", "B"):
        raise ValueError(kind)


def _above_or_all(weight, kind):
    """A kernel of one row, which has no rows above, is not masked."""
    _known_kind(kind)
    return weight * 1 if weight.shape[-2] == 1 else _right_mask(weight, kind)


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
        "the whole centre row": (
            lambda w, kind: _masked(w, lambda r, c, i, j: r <= i),
            "You kept the whole row of the centre. What is right of the centre comes later.",
        ),
        "height and width exchanged": (
            lambda w, kind: _masked(
                w,
                lambda r, c, i, j: (r < j) | ((r == j) & ((c < i) | ((c == i) & (kind == "B")))),
            ),
            "You exchanged height and width: the centre is in row kh // 2 and column kw // 2.",
        ),
        "the mask itself": (
            lambda weight, kind: _right_mask(torch.ones_like(weight), kind),
            "This is the mask. Multiply the weights by it.",
        ),
        "rows below kept": (
            lambda weight, kind: _masked(
                weight, lambda r, c, i, j: (r != i) | (c < j) | ((c == j) & (kind == "B"))
            ),
            "You hid what is right of the centre, and kept the rows below. They come later, too.",
        ),
    },
    clauses={
        "one row": Clause(
            _small_kernels,
            "A kernel may have one row or one place only. Nothing stands above then: mask A keeps "
            "what is left of the centre, of a single place nothing at all.",
            _above_or_all,
        ),
        "another kind": Clause(
            _other_kinds,
            'Raise ValueError for a kind that is neither "A" nor "B": a misspelt mask must not '
            "let the model see what it predicts.",
            _right_mask,
            raises=ValueError,
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


def _far_from_zero(seed):
    """Ordinary numbers, and some that are far from 0 on either side."""
    g = torch.Generator().manual_seed(seed)
    a = 2 * torch.randn(3, 4, 5, 2, generator=g)
    far = torch.rand(a.shape, generator=g) < 0.4
    return [(torch.where(far, 200 * a.sign(), a),)]


def _ones(seed):
    g = torch.Generator().manual_seed(seed)
    return [(torch.randn(*shape, generator=g),) for shape in ((1, 2, 4, 3), (3, 2, 1, 1))]


def _exponentials(a):
    one, two = a.chunk(2, 1)
    return one.tanh() * two.exp() / (1 + two.exp())


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
        "softmax": (
            lambda a: a.chunk(2, 1)[0].tanh() * a.chunk(2, 1)[1].softmax(1),
            "Your gates share one opening (softmax). Each channel has a gate of its own: sigmoid.",
        ),
        "tanh of both": (
            lambda a: F.glu(a.tanh(), dim=1),
            "Both halves go through a tanh in yours. The second one goes into the sigmoid as it "
            "is.",
        ),
    },
    clauses={
        "far from 0": Clause(
            _far_from_zero,
            "Right near 0. Far from it exp is infinite, and the value or the gradient is NaN: "
            "torch.tanh and torch.sigmoid take care of that.",
            _exponentials,
        ),
        "sizes of 1": Clause(
            _ones,
            "One image, one channel, or one pixel keep their dimension: the shape is (B, h, H, W).",
            lambda a: (a.chunk(2, 1)[0].tanh() * a.chunk(2, 1)[1].sigmoid()).squeeze(),
        ),
    },
    hints=[
        "Channels are dimension 1. a.chunk(2, dim=1) cuts them into two halves.",
        "signal, valve = a.chunk(2, dim=1); the answer is tanh of one times sigmoid of the other.",
    ],
    grad=True,
)


# --- next_pixel ----------------------------------------------------------------------------------


def _coins(seed):
    g = torch.Generator().manual_seed(seed)
    return [
        (2 * torch.randn(n, generator=g), torch.rand(n, generator=g), temperature)
        for n, temperature in ((200, 1.0), (301, 0.5), (405, 2.0))
    ]


def _without_temperature(seed):
    return [(logit, u) for logit, u, _ in _coins(seed)]


def _on_the_edge(seed):
    """u is the probability itself: 1/2, and 0 for a pixel that cannot be 1."""
    logit = torch.tensor([0.0, -torch.inf, 3.0, 0.0])
    u = torch.tensor([0.5, 0.0, 0.5, 0.25])
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    return [(logit[order], u[order], temperature) for temperature in (1.0, 0.5)]


def _far_logits(seed):
    g = torch.Generator().manual_seed(seed)
    logit = 4 * torch.randn(20, generator=g)
    u = 0.01 + 0.98 * torch.rand(20, generator=g)
    return [(logit.clamp(-6, 6), u, 0.02), (200 * logit.sign(), u, 1.0)]


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
        "the upper end": (
            lambda a, u, t=1.0: (1 - u < torch.sigmoid(a / t)).to(a.dtype),
            "You compared 1 - u with the probability: as random, but here the pixel is 1 where u "
            "itself is below it.",
        ),
    },
    clauses={
        "no temperature given": Clause(
            _without_temperature,
            "Without a temperature it is 1, an honest draw: temperature=1.0 in the first line.",
            lambda logit, u, temperature=0.5: (u < torch.sigmoid(logit / temperature)).float(),
        ),
        "strictly below": Clause(
            _on_the_edge,
            "Where u equals the probability, the pixel is 0: u < p, not u <= p. u can be 0, and a "
            "pixel with the probability 0 must never be drawn.",
            lambda a, u, t=1.0: (u <= torch.sigmoid(a / t)).to(a.dtype),
        ),
        "large logits": Clause(
            _far_logits,
            "Right near 0. For a large a / tau the exponential is infinite, and infinity over "
            "infinity is NaN, which is never above u: torch.sigmoid takes care of that.",
            lambda a, u, t=1.0: (u < (a / t).exp() / (1 + (a / t).exp())).to(a.dtype),
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


def _few(seed):
    """One image, one row, one column, one pixel."""
    g = torch.Generator().manual_seed(seed)
    return [
        (torch.rand(b, 1, h, w, generator=g), torch.randperm(h * w, generator=g))
        for b, h, w in ((1, 3, 4), (3, 1, 5), (3, 4, 1), (1, 1, 1))
    ]


def _whole(seed):
    """Grey levels and truth values."""
    first, second, _ = _orders(seed)
    return [((255 * first[0]).long(), first[1]), (second[0] < 0.5, second[1])]


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
        "height and width exchanged": (
            lambda x, order: x.flatten(1)[:, order].reshape(*x.shape[:2], *x.shape[:1:-1]),
            "The pixels are in the right order, in an image whose height and width are exchanged: "
            "reshape to x.shape.",
        ),
    },
    clauses={
        "sizes of 1": Clause(
            _few,
            "One image, one row, one column or one pixel are images as well: flatten(1) keeps the "
            "batch where squeeze drops it.",
            lambda x, order: x.squeeze().flatten(1)[:, order].reshape(x.shape),
        ),
        "type of x": Clause(
            _whole,
            "The pixels move, they do not change: whole numbers (grey levels) and truth values "
            "keep their type. An index does that; arithmetic with a matrix of zeros and ones does "
            "not.",
            lambda x, order: x.float().flatten(1)[:, order].reshape(x.shape),
        ),
    },
    hints=[
        "x.flatten(1) is one row of pixels per image, in raster order.",
        "An index picks columns: flat[:, order]. Then reshape to the shape of x.",
    ],
)
