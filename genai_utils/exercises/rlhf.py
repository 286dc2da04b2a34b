"""Exercises of notebook 14_rlhf: answers, rankings, advantages, the clip, and a reward's place."""

import torch
import torch.nn.functional as F

from genai_utils.checks import Clause, exercise
from genai_utils.checks.experiments import Experiment
from genai_utils.checks.predictions import Prediction
from genai_utils.language import policy, rlhf

NOTEBOOK = "14_rlhf"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def _masks(g, B, T):
    """Answers that begin at one place and end at several, (B, T) bool."""
    start = int(torch.randint(1, 3, (), generator=g))
    last = torch.randint(start + 1, T, (B,), generator=g)
    last[0] = T - 1
    place = torch.arange(T)
    return (place >= start) & (place <= last[:, None])


# --- answer_mask ---------------------------------------------------------------------------------


def _texts(seed, inside=False, open_end=False):
    """Texts of a prompt, an answer, its end, and what fills up."""
    g = _generator(seed)
    cases = []
    for B, T in ((3, 8), (4, 9), (5, 11)):
        start = torch.randint(1, 4, (B,), generator=g)
        last = torch.stack([torch.randint(int(s) + 1, T - 1, (), generator=g) for s in start])
        ids = torch.randint(1, 9, (B, T), generator=g)
        end = 0
        if not open_end:
            ids = ids.masked_fill(torch.arange(T) >= last[:, None], end)
        if inside:
            ids[:, 0] = end
        cases.append((ids, start, end))
    return cases


def _other_end(seed):
    return [(ids.roll(0) + 3, start, 3) for ids, start, _ in _texts(seed)]


def _one_start(seed):
    return [(ids, int(start.max()), end) for ids, start, end in _texts(seed)]


def _begun(ids, start):
    return torch.arange(ids.shape[1]) >= torch.as_tensor(start).reshape(-1, 1)


def _no_end_before(ids, start, end):
    begun = _begun(ids, start)
    return ((ids == end) & begun).long().cumsum(1) - ((ids == end) & begun).long() == 0


exercise(
    rlhf.answer_mask,
    cases=_texts,
    mistakes={
        "without the end": (
            lambda ids, start, end: _begun(ids, start) & (ids != end),
            "You left the end out. A model that never learns it never stops: the first `end` of "
            "the answer counts.",
        ),
        "what fills up": (
            lambda ids, start, end: _begun(ids, start),
            "You count what fills up after the end. Most of the loss would then be for writing "
            "`end` after `end`.",
        ),
        "prompt too": (
            lambda ids, start, end: _no_end_before(ids, start, end),
            "You count the prompt. The model would learn to ask, not to answer.",
        ),
        "one early": (
            lambda ids, start, end: (
                (torch.arange(ids.shape[1]) >= torch.as_tensor(start).reshape(-1, 1) - 1)
                & _no_end_before(ids, start, end)
            ),
            "Your answer begins one token early: the prompt has the places 0 to start - 1.",
        ),
        "one late": (
            lambda ids, start, end: (
                (torch.arange(ids.shape[1]) > torch.as_tensor(start).reshape(-1, 1))
                & _no_end_before(ids, start, end)
            ),
            "Your answer begins one token late: its first token stands at place start.",
        ),
        "the second end": (
            lambda ids, start, end: (
                _begun(ids, start)
                & (((ids == end) & _begun(ids, start)).long().cumsum(1) <= 2)
                & ~(((ids == end) & _begun(ids, start)).long().cumsum(1) - (ids == end).long() > 1)
            ),
            "You count a second end as well. Only the first one is of the answer.",
        ),
    },
    clauses={
        "an end in the prompt": Clause(
            lambda seed: _texts(seed, inside=True),
            "A prompt may hold the token `end`, and the answer goes on after it: look for the "
            "first end from `start` on.",
            lambda ids, start, end: (
                _begun(ids, start) & ((ids == end).long().cumsum(1) - (ids == end).long() == 0)
            ),
        ),
        "no end": Clause(
            lambda seed: _texts(seed, open_end=True),
            "An answer that does not end goes to the last token.",
            lambda ids, start, end: (
                _begun(ids, start)
                & _no_end_before(ids, start, end)
                & (ids == end).any(1, keepdim=True)
            ),
        ),
        "one number": Clause(
            _one_start,
            "start may be one number for all prompts.",
            lambda ids, start, end: (
                rlhf.answer_mask(ids, start, end)
                if isinstance(start, torch.Tensor)
                else rlhf.answer_mask(ids, 0, end)
            ),
        ),
        "another end": Clause(
            _other_end,
            "The token that ends an answer is an argument; it need not be 0.",
            lambda ids, start, end: rlhf.answer_mask(ids, start, 0),
        ),
    },
    hints=[
        "Two conditions: the place is at least `start`, and no `end` came before it.",
        "cumsum counts the ends so far. The first end itself has one end so far, and none before.",
        "begun & (ends.cumsum(1) - ends == 0), with ends = ((ids == end) & begun).long().",
    ],
)


# --- ranking_pairs -------------------------------------------------------------------------------


def _rankings(seed):
    g = _generator(seed)
    cases = []
    for K in (4, 5, 7):
        ranks = torch.randperm(K, generator=g) + 1
        ranks[ranks == 3] = 2  # one tie
        cases.append((ranks,))
    return cases


def _gaps(seed):
    g = _generator(seed)
    return [(torch.randperm(K, generator=g) ** 3 - 5,) for K in (4, 6)]


def _all_tie(seed):
    return [(torch.full((3,), 2),), (torch.zeros(5, dtype=torch.int64),)]


def _too_few(seed):
    return [(torch.zeros(1, dtype=torch.int64),), (torch.zeros(0, dtype=torch.int64),)]


def _pairs(beats):
    return beats.nonzero()


def _ties_pass(ranks):
    if len(ranks) < 2:
        raise ValueError("ranks")
    return _pairs(ranks[:, None] < ranks[None, :])


def _ranks_from_one(ranks):
    """Takes what is below 1 for no rank at all."""
    rlhf.ranking_pairs(ranks)  # the errors
    return _pairs((ranks[:, None] < ranks[None, :]) & (ranks[:, None] > 0))


exercise(
    rlhf.ranking_pairs,
    cases=_rankings,
    mistakes={
        "worse first": (
            lambda ranks: _pairs(ranks[:, None] > ranks[None, :]),
            "Your rows begin with the worse answer. The smallest rank is the best one.",
        ),
        "ties count": (
            lambda ranks: _pairs(
                (ranks[:, None] < ranks[None, :])
                | (
                    (ranks[:, None] == ranks[None, :])
                    & torch.ones(len(ranks), len(ranks)).triu(1).bool()
                )
            ),
            "A pair that ties says nothing about which answer is better. Leave it out.",
        ),
        "neighbours only": (
            lambda ranks: _pairs(
                (ranks[:, None] < ranks[None, :])
                & ~(
                    (ranks[:, None, None] < ranks[None, None, :])
                    & (ranks[None, None, :] < ranks[None, :, None])
                ).any(2)
            ),
            "You compare neighbours of the order only. Each answer is better than all that come "
            "after it.",
        ),
        "both ways": (
            lambda ranks: _pairs(ranks[:, None] != ranks[None, :]),
            "You list each pair twice, once the wrong way round.",
        ),
        "ranks themselves": (
            lambda ranks: ranks[_pairs(ranks[:, None] < ranks[None, :])],
            "Your rows hold ranks. They should hold places: which answer, not how good.",
        ),
        "another order": (
            lambda ranks: _pairs(ranks[:, None] > ranks[None, :]).flip(1),
            "The pairs are right, but not in rising order: sort the rows by the better one's "
            "place, then by the other's.",
        ),
    },
    clauses={
        "all tie": Clause(
            _all_tie,
            "Where all answers tie, there is no pair to learn from: raise ValueError.",
            _ties_pass,
            raises=ValueError,
        ),
        "too few": Clause(
            _too_few,
            "One answer, or none, is no ranking: raise ValueError.",
            lambda ranks: (
                torch.zeros(0, 2, dtype=torch.int64)
                if len(ranks) < 2
                else rlhf.ranking_pairs(ranks)
            ),
            raises=ValueError,
        ),
        "gaps": Clause(
            _gaps,
            "Ranks may leave numbers out, or be negative: only their order counts.",
            _ranks_from_one,
        ),
    },
    hints=[
        "Compare every answer with every other: ranks[:, None] < ranks[None, :] is a table.",
        ".nonzero() lists the places of a table that are True, row by row.",
        "An empty list, or a single answer, has no pair either: the same error serves.",
    ],
)


# --- gae -----------------------------------------------------------------------------------------


def _episodes(seed, wild=False):
    g = _generator(seed)
    cases = []
    for B, T in ((3, 5), (4, 7), (5, 6)):
        mask = _masks(g, B, T)
        rewards, values = (torch.randn(B, T, generator=g) for _ in range(2))
        if wild:  # what stands outside
            rewards, values = (torch.where(mask, x, 50.0) for x in (rewards, values))
        else:
            rewards, values = (torch.where(mask, x, 0.0) for x in (rewards, values))
        gamma, lam = (0.6 + 0.3 * torch.rand(2, generator=g)).tolist()
        cases.append((rewards, values, mask, gamma, lam))
    return cases


def _usual(seed):
    return [case[:3] for case in _episodes(seed)]


def _ends(seed):
    return [(*case[:3], gamma, lam) for case in _episodes(seed)
            for gamma, lam in ((1.0, 1.0), (1.0, 0.0))]  # fmt: skip


def _backwards(rewards, values, mask, gamma, lam, following=None, keep=True):
    following = F.pad(values[:, 1:], (0, 1)) if following is None else following
    delta = rewards + gamma * following - values
    now, rows = torch.zeros_like(delta[:, 0]), []
    for t in reversed(range(delta.shape[1])):
        now = delta[:, t] + gamma * lam * now
        now = now * mask[:, t] if keep else now
        rows.append(now)
    return torch.stack(rows[::-1], 1)


exercise(
    policy.gae,
    cases=_episodes,
    mistakes={
        "lambda in delta": (
            lambda rewards, values, mask, gamma=1.0, lam=0.95: _backwards(
                rewards, values, mask, gamma, lam, lam * F.pad(values[:, 1:], (0, 1))
            ),
            "λ has no place in δ: δ_t = r_t + γ V_{t+1} - V_t. It discounts the sum of the δ.",
        ),
        "gamma once": (
            lambda rewards, values, mask, gamma=1.0, lam=0.95: _backwards(
                rewards + (gamma - 1) * F.pad(values[:, 1:], (0, 1)), values, mask, 1.0, lam
            ),
            "You discount the sum by λ alone. Its factor is γ λ.",
        ),
        "no next value": (
            lambda rewards, values, mask, gamma=1.0, lam=0.95: _backwards(
                rewards, values, mask, gamma, lam, torch.zeros_like(values)
            ),
            "V_{t+1}, what is expected afterwards, is missing in δ.",
        ),
        "the last value stays": (
            lambda rewards, values, mask, gamma=1.0, lam=0.95: _backwards(
                rewards,
                values,
                mask,
                gamma,
                lam,
                torch.where(F.pad(mask[:, 1:], (0, 1)), F.pad(values[:, 1:], (0, 1)), values)
                * mask,
            ),
            "After the last token nothing more is expected: V is 0 there, not the last value "
            "once more.",
        ),
        "forwards": (
            lambda rewards, values, mask, gamma=1.0, lam=0.95: _backwards(
                (rewards + gamma * F.pad(values[:, 1:], (0, 1)) - values).flip(1),
                torch.zeros_like(values),
                mask.flip(1),
                gamma,
                lam,
            ).flip(1),
            "Your sums look back. An advantage is about what comes after: begin with the last "
            "token.",
        ),
        "sign": (
            lambda rewards, values, mask, gamma=1.0, lam=0.95: (
                -_backwards(rewards, values, mask, gamma, lam)
            ),
            "Yours is positive where it went worse than expected. δ is what came minus what was "
            "expected.",
        ),
        "returns": (
            lambda rewards, values, mask, gamma=1.0, lam=0.95: (
                _backwards(rewards, values, mask, gamma, lam) + values
            ),
            "These are the returns, the targets of the value head. The advantage is that minus V.",
        ),
        "one step": (
            lambda rewards, values, mask, gamma=1.0, lam=0.95: _backwards(
                rewards, values, mask, gamma, 0.0
            ),
            "These are the δ alone. Add what the later ones say, discounted by γ λ.",
        ),
        "the mask only at the end": (
            lambda rewards, values, mask, gamma=1.0, lam=0.95: (
                _backwards(rewards, values, mask, gamma, lam, keep=False) * mask
            ),
            "You blank the places outside of the answer only in the result. By then what stands "
            "after the answer has been added to its tokens: blank A at each step on the way back, "
            "and V outside of the mask.",
        ),
    },
    clauses={
        "outside of the mask": Clause(
            lambda seed: _episodes(seed, wild=True),
            "What stands outside of the mask has no effect, and the result is 0 there: neither a "
            "value of the prompt nor one after the end belongs to the answer.",
            lambda rewards, values, mask, gamma=1.0, lam=0.95: _backwards(
                rewards, values, mask, gamma, lam
            ),
        ),
        "the ends of λ": Clause(
            _ends,
            "λ = 1 and λ = 0 are no special cases: all that came minus V, and δ alone.",
            lambda rewards, values, mask, gamma=1.0, lam=0.95: policy.gae(
                rewards, values, mask, gamma, min(max(lam, 0.05), 0.95)
            ),
        ),
        "usual factors": Clause(
            _usual,
            "Without the last two arguments γ is 1 and λ is 0.95.",
            lambda rewards, values, mask, gamma=0.99, lam=0.95: policy.gae(
                rewards, values, mask, gamma, lam
            ),
        ),
    },
    hints=[
        "First δ for all places at once. V_{t+1} is values[:, 1:] with a 0 at the end; outside of "
        "the mask V is 0.",
        "Then go backwards: A_t = δ_t + γ λ A_{t+1}, times the mask, so that the next text does "
        "not begin with what is left of filled-up places.",
        "Collect the columns in a list, turn it round, and torch.stack(…, 1).",
    ],
    grad=["rewards"],
)


# --- clipped_surrogate ---------------------------------------------------------------------------


def _steps(seed, wild=False, clips=(None,)):
    g = _generator(seed)
    cases = []
    for B, T in ((3, 5), (4, 7), (5, 6)):
        mask = _masks(g, B, T)
        log_p, old, A = (torch.randn(B, T, generator=g) for _ in range(3))
        log_p = old + 0.4 * log_p
        if wild:
            log_p, A = torch.where(mask, log_p, 300.0), torch.where(mask, A, -7.0)
        else:
            log_p, A = torch.where(mask, log_p, old), torch.where(mask, A, 0.0)
        cases += [(log_p, old, A, mask, *(() if c is None else (c,))) for c in clips]
    return cases


def _ratio(log_p, old):
    return (log_p - old).exp()


def _mean(x, mask):
    return torch.where(mask, x, 0.0).sum() / mask.sum()


def _gain(log_p, old, A, clip):
    r = _ratio(log_p, old)
    return torch.minimum(r * A, r.clamp(1 - clip, 1 + clip) * A)


exercise(
    policy.clipped_surrogate,
    cases=_steps,
    mistakes={
        "sign": (
            lambda log_p, old_log_p, advantage, mask, clip=0.2: _mean(
                _gain(log_p, old_log_p, advantage, clip), mask
            ),
            "Yours is what is to be made large. A loss is made small: minus that.",
        ),
        "no clip": (
            lambda log_p, old_log_p, advantage, mask, clip=0.2: (
                -_mean(_ratio(log_p, old_log_p) * advantage, mask)
            ),
            "You left the clip out: one rollout could pull the policy as far as it likes.",
        ),
        "clipped only": (
            lambda log_p, old_log_p, advantage, mask, clip=0.2: (
                -_mean(_ratio(log_p, old_log_p).clamp(1 - clip, 1 + clip) * advantage, mask)
            ),
            "You always take the clipped ratio. A step that went the wrong way too far then has "
            "no slope back: take the smaller of both.",
        ),
        "the larger": (
            lambda log_p, old_log_p, advantage, mask, clip=0.2: (
                -_mean(
                    torch.maximum(
                        _ratio(log_p, old_log_p) * advantage,
                        _ratio(log_p, old_log_p).clamp(1 - clip, 1 + clip) * advantage,
                    ),
                    mask,
                )
            ),
            "You take the larger gain. The smaller one is the careful estimate.",
        ),
        "ratio upside down": (
            lambda log_p, old_log_p, advantage, mask, clip=0.2: (
                -_mean(_gain(old_log_p, log_p, advantage, clip), mask)
            ),
            "Your ratio is old over new. It is new over old.",
        ),
        "difference of logarithms": (
            lambda log_p, old_log_p, advantage, mask, clip=0.2: (
                -_mean(
                    torch.minimum(
                        (log_p - old_log_p) * advantage,
                        (log_p - old_log_p).clamp(1 - clip, 1 + clip) * advantage,
                    ),
                    mask,
                )
            ),
            "You took the difference of the logarithms for the ratio. exp of it is the ratio.",
        ),
        "mean over all places": (
            lambda log_p, old_log_p, advantage, mask, clip=0.2: (
                -(_gain(log_p, old_log_p, advantage, clip) * mask).mean()
            ),
            "You divide by all places. The mean is over the tokens of answers.",
        ),
        "mean of each answer": (
            lambda log_p, old_log_p, advantage, mask, clip=0.2: (
                -((_gain(log_p, old_log_p, advantage, clip) * mask).sum(1) / mask.sum(1)).mean()
            ),
            "You average within each answer first, as GRPO does. PPO's mean is over all tokens.",
        ),
    },
    clauses={
        "outside of the mask": Clause(
            lambda seed: _steps(seed, wild=True),
            "Outside of the mask anything may stand, even what has an infinite ratio. Fill it "
            "before the exponential: infinity times 0 is NaN, in the loss or in its gradient.",
            lambda log_p, old_log_p, advantage, mask, clip=0.2: (
                -(_gain(log_p, old_log_p, advantage, clip) * mask).sum() / mask.sum()
            ),
        ),
        "another clip": Clause(
            lambda seed: _steps(seed, clips=(0.05, 0.5)),
            "clip is an argument: the ratio is held between 1 - clip and 1 + clip.",
            lambda log_p, old_log_p, advantage, mask, clip=0.2: policy.clipped_surrogate(
                log_p, old_log_p, advantage, mask
            ),
        ),
    },
    hints=[
        "The ratio is exp(log_p - old_log_p). Put 0 for the difference outside of the mask first.",
        "torch.minimum(ratio * A, ratio.clamp(1 - clip, 1 + clip) * A) is the careful gain.",
        "Sum over the mask, divide by mask.sum(), and turn the sign.",
    ],
    grad=["log_p"],
)


# --- token_rewards: find the fault ---------------------------------------------------------------


def _late(score, log_p, ref_log_p, mask, beta):
    place = torch.arange(mask.shape[1], device=mask.device)
    last = place == mask.shape[1] - 1
    price = -beta * (log_p - ref_log_p)
    return torch.where(mask, price + last * score[:, None], 0.0)


def _scored(seed, full=False):
    g = _generator(seed)
    cases = []
    for B, T in ((3, 5), (4, 7), (5, 6)):
        mask = torch.ones(B, T).bool() if full else _masks(g, B, T)
        log_p, ref = -torch.rand(2, B, T, generator=g).unbind(0)[0], -torch.rand(B, T, generator=g)
        score = 1 + torch.rand(B, generator=g)
        cases.append((score, log_p, ref, mask, 0.1 + 0.4 * torch.rand((), generator=g).item()))
    return cases


def _priced(score, log_p, ref_log_p, mask, beta, at, sign=-1.0):
    return torch.where(mask, sign * beta * (log_p - ref_log_p) + at * score[:, None], 0.0)


def _last(mask):
    place = torch.arange(mask.shape[1])
    return place == (place * mask).amax(1, keepdim=True)


exercise(
    policy.token_rewards,
    cases=_scored,
    planted=_late,
    symptom="Only answers that fill all places get their score. A short answer, however good, is "
    "paid nothing but the price of its words: the policy learns to write on to the last place.",
    mistakes={
        "score everywhere": (
            lambda score, log_p, ref_log_p, mask, beta: _priced(
                score, log_p, ref_log_p, mask, beta, torch.ones_like(log_p)
            ),
            "Now each token of the answer gets the score, and a long answer gets it many times.",
        ),
        "score at the first token": (
            lambda score, log_p, ref_log_p, mask, beta: _priced(
                score, log_p, ref_log_p, mask, beta, mask & (mask.cumsum(1) == 1)
            ),
            "Now the score stands at the first token. It is known when the answer is complete.",
        ),
        "score spread": (
            lambda score, log_p, ref_log_p, mask, beta: _priced(
                score, log_p, ref_log_p, mask, beta, mask / mask.sum(1, keepdim=True)
            ),
            "Now the score is spread over the tokens. The sum is right; the place is not: it "
            "comes at the last token.",
        ),
        "one before the last": (
            lambda score, log_p, ref_log_p, mask, beta: _priced(
                score, log_p, ref_log_p, mask, beta, F.pad(_last(mask)[:, 1:], (0, 1))
            ),
            "Now the score comes one token too early.",
        ),
        "the price is a gift": (
            lambda score, log_p, ref_log_p, mask, beta: _priced(
                score, log_p, ref_log_p, mask, beta, _last(mask), sign=1.0
            ),
            "The price has the wrong sign now: a token that the policy likes better than the "
            "reference does costs β times the difference.",
        ),
    },
    clauses={
        "answers that fill all places": Clause(
            lambda seed: _scored(seed, full=True),
            "Where an answer fills all places, its score stands at the last one, as before.",
            lambda score, log_p, ref_log_p, mask, beta: _priced(
                score, log_p, ref_log_p, mask, beta, _last(mask) & ~mask.all()
            ),
        ),
    },
    hints=[
        "Add up the rewards of each answer. The sum should be its score minus β times the "
        "difference of the logarithms. For which answers is it not?",
        "Two answers of different length, in one batch: which places get a score?",
        "The last True of a row of the mask: (place * mask).amax(1, keepdim=True).",
    ],
    grad=["score"],
)


# --- predictions ---------------------------------------------------------------------------------

PREDICTIONS = (
    Prediction(
        "no-penalty",
        "The same PPO is run once with and once without the price of leaving the SFT policy, "
        "against the same reward model. What do people, who made the reward model's data, "
        "say of the second one's reviews?",
        "c",
        "The judge's points rise at first, and then fall to between −5.0 and 2.3, in each of "
        "three seeds, while the reward still rises: the policy has left the texts on which the "
        "reward model was right (section 14.7).",
        choices=(
            "better: the penalty only held it back",
            "much the same: the reward model has learnt what people like",
            "worse, though the reward model likes them best of all",
        ),
    ),
)

# --- open experiments ----------------------------------------------------------------------------

EXPERIMENTS = (
    Experiment(
        "reward-data",
        question="How many comparisons does it take until hacking stops to hurt? Train the reward "
        "model on 100, 400, 1,600 and 6,400 pairs, run PPO without a penalty against each, and "
        "follow the gold score over KL as in section 14.7.",
        hand_in="the largest mean gold score that a policy without a penalty reaches with 6,400 "
        "pairs, in points",
        good=(
            "A curve of gold over KL for each number of pairs, in one figure.",
            "The accuracy of each reward model on held-out pairs, beside the peak of its curve.",
            "Three seeds of one of them, so that the spread is known.",
            "A sentence on where the pairs came from: all from the SFT policy, which hardly ever "
            "writes what the hacking policy writes.",
        ),
        minutes=60,
        kind="number",
        unit="points",
        between=(0, 16),
        beyond="Is it the gold score of `reviews.gold`, and its mean over held-out prompts?",
    ),
)
