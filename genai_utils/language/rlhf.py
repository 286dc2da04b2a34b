"""From people's answers and orders to losses: instruction tuning, rankings, the reward model.

Shapes: B texts of T tokens, each a prompt of `start` tokens and an answer that ends with the token
`end` and is filled up with it.

Source: Ouyang et al. 2022 (InstructGPT); Stiennon et al. 2020; lecture items A56, A57.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genai_utils.inputs import array, number, refusal, whole

from .tokens import IGNORE, require_ids


def answer_mask(ids, start, end):
    """Which tokens are of the answer: those from `start` on, the first `end` of it included.

    The model must learn to stop, so that `end` counts. What fills up after it does not, nor does
    the prompt, which may hold the token `end` too.

    ids (B, T) int64; start: the length of each prompt, (B,) int64, or one number for all; end: a
    token. Returns (B, T) bool, up to the last token where an answer does not end.
    Source: Ouyang et al. 2022, step 1; lecture item A56.
    """
    place = torch.arange(ids.shape[1], device=ids.device)
    first = start.reshape(-1, 1) if isinstance(start, Tensor) else start
    begun = (place >= first).expand_as(ids)  # (B, T)
    ends = ((ids == end) & begun).long()
    return begun & (ends.cumsum(1) - ends == 0)  # no end before it


def answer_targets(ids, start, end):
    """Inputs and targets of a batch of which only the answers are learned, for `GPT.loss`.

        inputs[b, t] = ids[b, t],   targets[b, t] = ids[b, t + 1] if it is of the answer, else -100

    Arguments as of `answer_mask`. Returns two tensors (B, T - 1), int64.
    Raises TypeError or ValueError for ids that are no (B, T), or a prompt without a token before
    the answer or longer than the text.
    Source: Ouyang et al. 2022, step 1; lecture item A56.
    """
    require_ids(ids)
    low, high = torch.as_tensor(start).aminmax()
    if low < 1 or high >= ids.shape[1]:
        expected = f"prompts of 1 to {ids.shape[1] - 1} tokens"
        raise refusal("start", expected, f"{int(low)} to {int(high)}", "shorten the prompt")
    targets = ids.masked_fill(~answer_mask(ids, start, end), IGNORE)
    return ids[:, :-1], targets[:, 1:]


def ranking_pairs(ranks):
    """The comparisons that a ranking holds: who is better than whom.

    D > C > A = B of the answers A, B, C, D is ranks = [3, 3, 2, 1]. Of the K (K - 1) / 2 pairs
    those that tie say nothing and are left out: 6 - 1 = 5 here.

    ranks (K,) whole numbers, the smallest is best, equal ones tie; gaps between them mean nothing.
    Returns (m, 2) int64: rows (better, worse), places in `ranks`, in rising order.
    Raises ValueError for fewer than 2 answers, or where all tie.
    Source: Ouyang et al. 2022, section 3.5; lecture item A57.
    """
    ranks = torch.as_tensor(ranks)
    if ranks.ndim != 1 or len(ranks) < 2:
        shape = tuple(ranks.shape)
        raise ValueError(f"ranks: expected (K,) with K of at least 2, got the shape {shape}.")
    pairs = (ranks[:, None] < ranks[None, :]).nonzero()  # (m, 2)
    if not len(pairs):
        raise ValueError("ranks: expected two that differ, got a tie of all; leave it out.")
    return pairs


def preference_loss(better, worse):
    """Bradley and Terry's loss of pairs: how surprising it is that the better one won.

        Pr(i beats j) = σ(r_i − r_j),    loss = −1/m Σ log σ(r_better − r_worse)

    better, worse (m,): rewards, of any size. Returns a scalar, nats a pair; ln 2 for a coin.
    Source: Bradley and Terry 1952; Ouyang et al. 2022, eq. 1; lecture item A57.
    """
    return -F.logsigmoid(better - worse).mean()


def bradley_terry(pairs, features, prior=0.1, steps=50):
    """Weights w of scores r = φ w that make the observed wins most probable, by Newton's method.

        minimise  −Σ log σ((φ_better − φ_worse) · w) + prior/2 |w|²

    The prior keeps an answer that has won all its pairs from a score of infinity.
    pairs (m, 2) int64, rows (better, worse); features φ (K, F), torch.eye(K) for a score of its
    own for each answer. Returns w (F,) float64.
    Raises ValueError for no pairs, pairs outside of the K answers, or a prior of 0 or less.
    Source: Bradley and Terry 1952; Hunter 2004; lecture item A57.
    """
    pairs, phi = torch.as_tensor(pairs), array(features, "features", torch.float64)
    number(prior, "prior", above=0)
    if pairs.ndim != 2 or pairs.shape[-1] != 2 or not len(pairs):
        raise refusal("pairs", "at least one row (better, worse)", f"{tuple(pairs.shape)}")
    if int(pairs.min()) < 0 or int(pairs.max()) >= len(phi):
        raise refusal("pairs", f"places from 0 to {len(phi) - 1}", pairs.tolist())
    d = phi[pairs[:, 0]] - phi[pairs[:, 1]]  # (m, F)
    w, eye = torch.zeros(phi.shape[1], dtype=torch.float64), torch.eye(phi.shape[1]).double()
    for _ in range(whole(steps, "steps")):
        p = torch.sigmoid(-(d @ w))  # of the observed loser
        slope = prior * w - d.T @ p
        curvature = prior * eye + d.T @ (d * (p * (1 - p))[:, None])
        w = w - torch.linalg.solve(curvature, slope)
    return w


class RewardModel(nn.Module):
    """A GPT that ends in one number: how much people would like this answer to this prompt.

    The number is read at the answer's last token, which has seen all of it. It starts from the
    weights of `gpt`, which is copied. forward(ids): (B, T) → rewards (B,), (score − mean) / sd.
    loss(batch): batch (better, worse), two tensors (B, T) → dict: loss, and accuracy, the share of
    pairs in the right order.
    standardise(ids): sets mean and sd so that these answers have mean 0 and standard deviation 1:
    only differences of rewards were learned.

    Raises ValueError for answers of one and the same reward, or NaN.
    Source: Ouyang et al. 2022, eq. 1; lecture item A57.
    """

    def __init__(self, gpt, start, end):
        super().__init__()
        self.gpt, self.start, self.end = copy.deepcopy(gpt), whole(start, "start"), end
        self.score = nn.Linear(gpt.config.dim, 1)
        nn.init.normal_(self.score.weight, std=0.02)
        nn.init.zeros_(self.score.bias)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("sd", torch.ones(()))

    def forward(self, ids):
        x = self.gpt.hidden(self.gpt.embed(ids))  # (B, T, d)
        last = self.start + answer_mask(ids, self.start, self.end).sum(1) - 1  # (B,)
        x = x.gather(1, last[:, None, None].expand(-1, 1, x.shape[2]))[:, 0]  # (B, d)
        return (self.score(x)[:, 0] - self.mean) / self.sd

    def loss(self, batch):
        better, worse = batch
        r = self(torch.cat([better, worse])).chunk(2)
        right = (r[0] > r[1]).float().mean()
        return {"loss": preference_loss(*r), "accuracy": right}

    @torch.no_grad()
    def standardise(self, ids):
        r = array(self(ids), "rewards") * self.sd + self.mean
        sd = number(r.std(), "the standard deviation of the rewards", above=1e-6)
        self.mean.copy_(r.mean()), self.sd.fill_(sd)
