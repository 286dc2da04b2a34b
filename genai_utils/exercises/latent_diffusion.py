"""Exercises of notebook 29_latent_diffusion: words, a scale, no words, several, what is seen."""

import torch

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.vision import cross_attention as cross
from genai_utils.vision import dit, image_coder, latent_diffusion, scene_judge

NOTEBOOK = "29_latent_diffusion"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


# --- all_agree -----------------------------------------------------------------------------------


def _tables(seed, silent=False, nothing=False):
    g = _generator(seed)
    cases = []
    for n, k in ((12, 3), (15, 4), (11, 2)):
        said = torch.randint(0, 4, (n, k), generator=g)
        said = said.masked_fill(torch.rand(n, k, generator=g) < 0.3, -1)
        said[:, 0] = torch.randint(0, 4, (n,), generator=g)  # something is said of each
        said[0, 1] = -1
        seen = torch.where(said == -1, torch.randint(0, 4, (n, k), generator=g), said)
        wrong = torch.rand(n, generator=g) < 0.4
        wrong[:3] = torch.tensor([False, True, True])
        seen[:, 0] = torch.where(wrong, (seen[:, 0] + 1) % 4, seen[:, 0])
        if silent:
            said[2:5] = -1
        if nothing:
            said[:] = -1
        cases.append((seen, said))
    return cases


def _checked(said):
    known = said != -1
    if not known.any():
        raise ValueError("said")
    return known, known.any(1)


def _shares(how):
    def found(seen, said):
        known, counts = _checked(said)
        return how(seen, said, known, counts)

    return found


exercise(
    scene_judge.all_agree,
    cases=_tables,
    mistakes={
        "attributes instead of pictures": (
            _shares(lambda seen, said, known, counts: (seen == said)[known].double().mean()),
            "You count attributes. A picture counts as right only where all that was said is seen.",
        ),
        "unsaid counts as wrong": (
            _shares(
                lambda seen, said, known, counts: (seen == said).all(1)[counts].double().mean()
            ),
            "What was not said counts as wrong in yours. There anything may be seen.",
        ),
        "one is enough": (
            _shares(
                lambda seen, said, known, counts: (
                    ((seen == said) & known).any(1)[counts].double().mean()
                )
            ),
            "In yours one thing that agrees is enough. All that was said has to be seen.",
        ),
        "only complete ones": (
            _shares(
                lambda seen, said, known, counts: (
                    (seen == said).all(1).double().sum() / known.all(1).sum().clamp(min=1)
                )
            ),
            "You count only pictures of which everything was said.",
        ),
        "what is wrong": (
            _shares(
                lambda seen, said, known, counts: (
                    1 - ((seen == said) | ~known).all(1)[counts].double().mean()
                )
            ),
            "That is the share of pictures that do not agree.",
        ),
        "a count": (
            _shares(
                lambda seen, said, known, counts: (
                    ((seen == said) | ~known).all(1)[counts].double().sum()
                )
            ),
            "You return how many agree. Return their share.",
        ),
    },
    clauses={
        "nothing said of some": Clause(
            lambda seed: _tables(seed, silent=True),
            "A picture of which nothing was said agrees with anything. It does not count, neither "
            "above nor below the line.",
            _shares(
                lambda seen, said, known, counts: ((seen == said) | ~known).all(1).double().mean()
            ),
        ),
        "nothing said at all": Clause(
            lambda seed: _tables(seed, nothing=True),
            "Where nothing was said of any picture there is no share: raise ValueError.",
            lambda seen, said: (
                scene_judge.all_agree(seen, said)
                if (said != -1).any()
                else torch.tensor(1.0, dtype=torch.float64)
            ),
            raises=ValueError,
        ),
    },
    hints=[
        "First for each attribute: it is fine where seen == said, or where nothing was said.",
        "Then for each picture: .all(1). And which pictures count: (said != -1).any(1).",
        "right[counts].double().mean(), after the error.",
    ],
)


# --- latent_statistics ---------------------------------------------------------------------------


def _latents(seed, still=False):
    g = _generator(seed)
    cases = []
    for B, C, H, W in ((5, 3, 2, 4), (6, 4, 3, 5), (7, 2, 4, 3)):
        wide = 0.2 + 3 * torch.rand(C, generator=g)[:, None, None]
        z = torch.randn(B, C, H, W, generator=g) * wide
        z = z + torch.randn(C, 1, 1, generator=g) + torch.randn(B, 1, 1, 1, generator=g)
        if still:
            z[:, 0] = 0.5
        cases.append((z,))
    return cases


def _spread(z, dims, correction=0, centred=True):
    mean = z.mean((0, 2, 3))
    std = z.std(dims, correction=correction) if centred else z.square().mean(dims).sqrt()
    return mean, torch.where(std > 0, std, torch.ones_like(std))


exercise(
    image_coder.latent_statistics,
    cases=_latents,
    mistakes={
        "one scale for all": (
            lambda z: (
                z.mean((0, 2, 3)),
                z.std(correction=0).expand(z.shape[1]).clone(),
            ),
            "You took one deviation of all numbers. Each channel has its own.",
        ),
        "one mean for all": (
            lambda z: (
                z.mean().expand(z.shape[1]).clone(),
                (z - z.mean()).square().mean((0, 2, 3)).sqrt(),
            ),
            "You took one mean of all numbers. Each channel has its own.",
        ),
        "not centred": (
            lambda z: _spread(z, (0, 2, 3), centred=False),
            "Your deviation is that from 0. Take the mean off before you square.",
        ),
        "variance": (
            lambda z: (z.mean((0, 2, 3)), _spread(z, (0, 2, 3))[1] ** 2),
            "You return the variance. The latent is divided by its square root.",
        ),
        "one less below the line": (
            lambda z: (z.mean((0, 2, 3)), z.std((0, 2, 3))),
            "You divide by n - 1, as torch.std does by itself. s is the root of a mean: divide by "
            "n, with correction=0.",
        ),
        "each place": (
            lambda z: (z.mean((0, 2, 3)), z.std(0, correction=0).mean((1, 2))),
            "You took the deviation at each place and then the mean of these. All numbers of a "
            "channel count alike: one mean over examples and places.",
        ),
        "each example": (
            lambda z: (z.mean((0, 2, 3)), z.std((2, 3), correction=0).mean(0)),
            "You took the deviation within each example and then the mean of these. What differs "
            "from one example to the next belongs to it, too.",
        ),
        "its inverse": (
            lambda z: (z.mean((0, 2, 3)), 1 / _spread(z, (0, 2, 3))[1]),
            "You return 1 over the deviation. Return what the latent is divided by.",
        ),
    },
    clauses={
        "a channel that never changes": Clause(
            lambda seed: _latents(seed, still=True),
            "A channel that never changes has the deviation 0, and nothing can be divided by it: "
            "return 1 there.",
            lambda z: (z.mean((0, 2, 3)), z.std((0, 2, 3), correction=0)),
        ),
    },
    hints=[
        "Which three of the four dimensions should disappear?",
        "mean = z.mean((0, 2, 3)); to take it off it needs the shape (C, 1, 1).",
        "std = (z - mean[:, None, None]).square().mean((0, 2, 3)).sqrt(), and torch.where for 0.",
    ],
)


# --- cross_attention -----------------------------------------------------------------------------


def _asked(seed, heads=(2, 5, 3), large=False, one_word=False):
    g = _generator(seed)
    cases = []
    for (B, P, S, c), h in zip(((3, 5, 7, 8), (4, 6, 3, 10), (5, 4, 2, 6)), heads, strict=True):
        S = 1 if one_word else S
        q = torch.randn(B, P, c, generator=g)
        k, v = (torch.randn(B, S, c, generator=g) for _ in range(2))
        cases.append((200 * q if large else q, k, v, h))
    return cases


def _heads(x, h):
    return x.unflatten(-1, (h, -1)).transpose(1, 2)  # (B, h, n, c / h)


def _attend(q, k, v, heads, scale=None, dim=-1):
    q, k, v = _heads(q, heads), _heads(k, heads), _heads(v, heads)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    weights = (scale * q @ k.transpose(-2, -1)).softmax(dim)
    return (weights @ v).transpose(1, 2).flatten(2), weights


def _naive(q, k, v, heads):
    if q.shape[-1] % heads:
        raise ValueError("heads")
    q, k, v = _heads(q, heads), _heads(k, heads), _heads(v, heads)
    scores = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).exp()
    weights = scores / scores.sum(-1, keepdim=True)
    return (weights @ v).transpose(1, 2).flatten(2), weights


def _strided(q, k, v, heads):
    """Head i has the numbers i, i + h, i + 2h, …"""
    turn = [x.unflatten(-1, (-1, heads)).transpose(-2, -1).flatten(2) for x in (q, k, v)]
    out, weights = _attend(*turn, heads)
    return out.unflatten(-1, (heads, -1)).transpose(-2, -1).flatten(2), weights


def _indivisible(seed):
    return [(*case[:3], h) for case, h in zip(_asked(seed), (3, 4, 5), strict=True)]


exercise(
    cross.cross_attention,
    cases=_asked,
    mistakes={
        "over the places": (
            lambda q, k, v, heads: _attend(q, k, v, heads, dim=-2),
            "Your softmax is over the places: the places share out each word. Each place has to "
            "share its attention out among the words.",
        ),
        "over the heads": (
            lambda q, k, v, heads: _attend(q, k, v, heads, dim=1),
            "Your softmax is over the heads. Each head is on its own: in each a place shares its "
            "attention out among the words, the last dimension of the scores.",
        ),
        "no root": (
            lambda q, k, v, heads: _attend(q, k, v, heads, scale=1.0),
            "The scores are not divided by √(c / h).",
        ),
        "root of all": (
            lambda q, k, v, heads: _attend(q, k, v, heads, scale=q.shape[-1] ** -0.5),
            "A head compares c / h numbers, so the scores are divided by √(c / h).",
        ),
        "divided by all": (
            lambda q, k, v, heads: _attend(q, k, v, heads, scale=heads / q.shape[-1]),
            "You divide by c / h. Divide by its square root.",
        ),
        "strided heads": (
            _strided,
            "Your heads take every h-th number. Head i works on c / h neighbours.",
        ),
        "one head": (
            lambda q, k, v, heads: (
                _attend(q, k, v, 1)[0],
                _attend(q, k, v, 1)[1].expand(-1, heads, -1, -1),
            ),
            "There are several heads, each with c / h numbers and weights of its own.",
        ),
        "keys as values": (
            lambda q, k, v, heads: _attend(q, k, k, heads),
            "You averaged the keys. What is averaged are the values.",
        ),
        "heads not side by side": (
            lambda q, k, v, heads: (
                _attend(q, k, v, heads)[0].unflatten(-1, (heads, -1)).transpose(-2, -1).flatten(2),
                _attend(q, k, v, heads)[1],
            ),
            "Your heads are shuffled together at the end. Head 0 has the first c / h numbers of "
            "the output, and so on: transpose before you reshape.",
        ),
    },
    clauses={
        "heads that do not divide c": Clause(
            _indivisible,
            "Heads that do not divide c are refused: raise ValueError.",
            lambda q, k, v, heads: (
                cross.cross_attention(q, k, v, heads)
                if q.shape[-1] % heads == 0
                else cross.cross_attention(q, k, v, 1)
            ),
            raises=ValueError,
        ),
        "one word": Clause(
            lambda seed: _asked(seed, one_word=True),
            "Of one word there is only one mean: each place gets its value.",
            lambda q, k, v, heads: (
                cross.cross_attention(q, k, v, heads)
                if k.shape[1] > 1
                else (torch.zeros_like(q), torch.ones(len(q), heads, q.shape[1], 1))
            ),
        ),
        "large scores": Clause(
            lambda seed: _asked(seed, large=True),
            "Scores of some hundreds give NaN in yours: exp(200) is infinite in float32. "
            "torch.softmax takes the largest off first.",
            _naive,
        ),
    },
    hints=[
        "Cut the last dimension into heads: (B, n, c) → (B, n, h, c / h) → (B, h, n, c / h).",
        "The scores are q @ k.transpose(-2, -1), (B, h, P, S); the softmax is over the words, -1.",
        "Back: (weights @ v).transpose(1, 2).reshape(B, P, c). Return it with the weights.",
    ],
    grad=["q", "k", "v"],
)


# --- without_some --------------------------------------------------------------------------------


def _sentences(seed, end=0, share=None, edge=False):
    g = _generator(seed)
    cases = []
    for B, T in ((9, 4), (12, 5), (11, 7)):
        ids = torch.randint(1, 20, (B, T), generator=g)
        ids[:, -1] = 0
        draws = torch.rand(B, generator=g)
        of = 0.3 + 0.4 * torch.rand((), generator=g).item() if share is None else share
        if edge:
            draws[0] = of = 0.5
        cases.append((ids, end, of, draws))
    return cases


exercise(
    latent_diffusion.without_some,
    cases=_sentences,
    mistakes={
        "kept instead": (
            lambda ids, end, share, draws: torch.where((draws >= share)[:, None], end, ids),
            "You keep the share that should go: a row goes where its number is below the share.",
        ),
        "words instead of sentences": (
            lambda ids, end, share, draws: torch.where(
                (draws[:, None] * torch.arange(1, ids.shape[1] + 1)) % 1 < share, end, ids
            ),
            "You take single words away. A sentence goes as a whole, or stays.",
        ),
        "the first words stay": (
            lambda ids, end, share, draws: torch.where(
                (draws < share)[:, None] & (torch.arange(ids.shape[1]) > 0), end, ids
            ),
            "The first word of what should be gone is still there. The empty sentence holds ends "
            "only.",
        ),
        "the last word only": (
            lambda ids, end, share, draws: torch.where(
                (draws < share)[:, None] & (torch.arange(ids.shape[1]) == 0), end, ids
            ),
            "You put one end in front and leave the words behind it: the denoiser can look at them "
            "all the same. The whole row becomes ends.",
        ),
        "all or none": (
            lambda ids, end, share, draws: ids if draws[0] >= share else torch.full_like(ids, end),
            "You decide once for the whole batch. Each sentence has a number of its own.",
        ),
        "dropped from the batch": (
            lambda ids, end, share, draws: ids[draws >= share],
            "You take rows out of the batch: their latents would have lost their partners. The "
            "row stays, and holds ends.",
        ),
    },
    clauses={
        "another end": Clause(
            lambda seed: _sentences(seed, end=7),
            "The token that stands for no sentence is an argument; it need not be 0.",
            lambda ids, end, share, draws: latent_diffusion.without_some(ids, 0, share, draws),
        ),
        "a share of 0": Clause(
            lambda seed: [
                (ids, end, 0.0, torch.where(torch.arange(len(draws)) == 0, 0.0, draws))
                for ids, end, _, draws in _sentences(seed)
            ],
            "A share of 0 takes none away, not even where the number is exactly 0: below, not up "
            "to, the share.",
            lambda ids, end, share, draws: torch.where((draws <= share)[:, None], end, ids),
        ),
    },
    hints=[
        "One decision for each row: draws < share, (B,).",
        "It has to be spread over the row: (draws < share)[:, None] is (B, 1).",
        "torch.where(…, end, ids).",
    ],
)


# --- composed ------------------------------------------------------------------------------------


def _predictions(seed, sentences=(2, 3, 4), low=0.2):
    g = _generator(seed)
    cases = []
    for K, (B, C, H) in zip(sentences, ((3, 4, 5), (5, 3, 2), (4, 2, 6)), strict=True):
        none = torch.randn(B, C, H, generator=g)
        told = torch.randn(K, B, C, H, generator=g)
        cases.append((none, told, low + 2 * torch.rand(K, generator=g)))
    return cases


def _shaped(weights, none):
    return weights.reshape(-1, *[1] * none.ndim)


exercise(
    latent_diffusion.composed,
    cases=_predictions,
    mistakes={
        "the sum of the predictions": (
            lambda none, told, weights: none + (_shaped(weights, none) * told).sum(0),
            "You add the predictions themselves. Add what each sentence *changes*: v_k - v_none.",
        ),
        "without the start": (
            lambda none, told, weights: (_shaped(weights, none) * (told - none)).sum(0),
            "The prediction without a sentence is missing: the changes are added to it.",
        ),
        "the mean": (
            lambda none, told, weights: none + (_shaped(weights, none) * (told - none)).mean(0),
            "You took the mean over the sentences. Their changes add up.",
        ),
        "weights that sum to one": (
            lambda none, told, weights: (
                none + (_shaped(weights / weights.sum(), none) * (told - none)).sum(0)
            ),
            "You made the weights sum to 1. Then no sentence could be exaggerated.",
        ),
        "one more": (
            lambda none, told, weights: none + (_shaped(1 + weights, none) * (told - none)).sum(0),
            "You exaggerate by 1 + w. Here the weight itself is the factor: 1 is the sentence as "
            "it is.",
        ),
        "away from it": (
            lambda none, told, weights: none + (_shaped(weights, none) * (none - told)).sum(0),
            "The sign is turned: you walk away from what was said.",
        ),
        "only the first": (
            lambda none, told, weights: none + weights[0] * (told[0] - none),
            "You use the first sentence only.",
        ),
    },
    clauses={
        "no sentence": Clause(
            lambda seed: _predictions(seed, sentences=(0, 0, 0)),
            "Without a sentence, K = 0, the prediction without a sentence is the result.",
            lambda none, told, weights: (
                latent_diffusion.composed(none, told, weights)
                if len(weights)
                else torch.zeros_like(none)
            ),
        ),
        "weights below 0": Clause(
            lambda seed: _predictions(seed, low=-3.0),
            "A weight below 0 is allowed: it leads away from its sentence.",
            lambda none, told, weights: latent_diffusion.composed(none, told, weights.clamp(min=0)),
        ),
    },
    hints=[
        "told - none is what each sentence changes, (K, B, …).",
        "The weights need the shape (K, 1, …, 1): weights.reshape(-1, *[1] * none.ndim).",
        "none + (weights * (told - none)).sum(0).",
    ],
    grad=True,
)


# --- unpatched: find the fault -------------------------------------------------------------------


def _turned_squares(tokens, patch, size):
    B, side = len(tokens), size // patch
    if tokens.shape[1] != side**2:
        raise ValueError(f"tokens: expected {side**2} squares, got {tokens.shape[1]}.")
    x = tokens.reshape(B, side, side, -1, patch, patch)
    x = x.permute(0, 3, 1, 5, 2, 4)
    return x.reshape(B, -1, size, size)


def _squares(seed, patch=(2, 2, 3)):
    g = _generator(seed)
    cases = []
    for (B, C, side), p in zip(((3, 5, 4), (5, 2, 3), (4, 3, 5)), patch, strict=True):
        tokens = torch.randn(B, side**2, C * p**2, generator=g)
        cases.append((tokens, p, side * p))
    return cases


def _put(order):
    def back(tokens, patch, size):
        B, side = len(tokens), size // patch
        if tokens.shape[1] != side**2:
            raise ValueError("tokens")
        x = tokens.reshape(B, side, side, -1, patch, patch)
        return x.permute(*order).reshape(B, -1, size, size)

    return back


def _channels_last(tokens, patch, size):
    B, side = len(tokens), size // patch
    if tokens.shape[1] != side**2:
        raise ValueError("tokens")
    x = tokens.reshape(B, side, side, patch, patch, -1)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(B, -1, size, size)


exercise(
    dit.unpatched,
    cases=_squares,
    planted=_turned_squares,
    symptom="Each square still comes out with its rows and columns exchanged. As a whole the "
    "picture is in its place, and its slanted edges have teeth.",
    mistakes={
        "rows and columns of squares": (
            _put((0, 3, 2, 4, 1, 5)),
            "Now the squares stand in the wrong places: the picture is mirrored at its diagonal, "
            "square by square.",
        ),
        "all mirrored": (
            _put((0, 3, 2, 5, 1, 4)),
            "Now the whole picture is mirrored at its diagonal, squares and what is in them.",
        ),
        "channels last": (
            _channels_last,
            "Now the numbers of a square are read as if the channels stood last. `patches` puts "
            "the numbers of a channel together.",
        ),
        "squares side by side": (
            _put((0, 3, 1, 2, 4, 5)),
            "Now the numbers of a square stand in one row, not below each other.",
        ),
    },
    clauses={
        "squares of one pixel": Clause(
            lambda seed: _squares(seed, patch=(1, 1, 1)),
            "Squares of one pixel, patch = 1, are pixels in their order.",
            lambda tokens, patch, size: (
                dit.unpatched(tokens, patch, size)
                if patch > 1
                else tokens.reshape(len(tokens), -1, size, size)
            ),
        ),
        "another number of squares": Clause(
            lambda seed: [(t[:, 1:], p, s) for t, p, s in _squares(seed)],
            "Squares that do not fill the image are refused: raise ValueError.",
            lambda tokens, patch, size: (
                dit.unpatched(tokens, patch, size)
                if tokens.shape[1] == (size // patch) ** 2
                else torch.zeros(len(tokens), 1, size, size)
            ),
            raises=ValueError,
        ),
    },
    hints=[
        "There and back again should change nothing: unpatched(patches(x, 2), 2, 8) == x. For "
        "which x does it hold all the same? And with patch = 1?",
        "After the reshape the dimensions are: image, row and column of the square, channel, row "
        "and column in it.",
        "The rows of the image are (row of the square, row in it), its columns (column of the "
        "square, column in it): one after the other in permute.",
    ],
    grad=["tokens"],
)


# --- predictions ---------------------------------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "never-together",
        "The denoiser has seen circles, and it has seen red, but never a red circle; nor a blue "
        "star, nor a white 7. You ask it for combinations like these. What does it draw?",
        "b",
        "Kind and colour are words of their own, and training shows each of them with others: in "
        "97.3 % of such pictures a judge finds both right (section 29.7). Where one is wrong, it "
        "is the kind.",
        choices=(
            "nothing in particular: it has no picture of that to go by",
            "in most cases what was asked for",
            "a combination that it knows, with one of the two words",
        ),
    ),
)


# --- open experiments ----------------------------------------------------------------------------

EXPERIMENTS = (
    Experiment(
        "fewer-numbers",
        question="How small may the latent be? Train the image encoder with 2, 4, 8 and 16 "
        "channels (and, if you have time, at a side of 4), and for each a denoiser of the same "
        "size and time. Follow two numbers: what the judge reads on decoded real pictures, and the "
        "agreement of drawn ones.",
        hand_in="the number of numbers in the smallest latent whose agreement is within 3 points "
        "of the best",
        good=(
            "Both curves over the size of the latent in one figure: the decoder's bound and what "
            "the denoiser reaches.",
            "Three seeds of at least one size, so that 3 points can be told from chance.",
            "The same steps, batch and denoiser for all sizes, and what this favours.",
            "A picture in which one sees what is lost first: texture, small digits, colour?",
        ),
        minutes=60,
        kind="number",
        unit="numbers",
        between=(16, 1_024),
        beyond="Is it channels times places, 8 × 8 × 8 = 512 for the chapter's own?",
    ),
)
