"""How a browsing agent gets better than its demonstrations: many tries, a vote, practice.

The losses are those of chapter 14 (policy.py). What is new is which tokens are the agent's own, and
that an episode is played in an environment.

Source: Nakano et al. 2021; Chen et al. 2021 (pass at k); Shao et al. 2024; lecture item A64.
"""

import copy
from collections import Counter

import torch
from torch import Tensor

from genai_utils.inputs import refusal, whole
from genai_utils.training.batches import derive_seed

from . import policy, rollouts
from .web_agent import CONTEXT, DONE_ID, GO_ID, action_mask, play
from .web_browser import STEPS
from .web_server import Direct


def pass_at_k(right: Tensor, k: int) -> Tensor:
    """The probability that one of k tries is right, estimated from n tries at each question.

        1 - C(n - c, k) / C(n, k),   c of the n tries are right

    C(m, k), the number of ways to take k of m, is 0 for k above m. This is the share of all choices
    of k among the n tries that hold a right one. To take only the first k would use less of what
    was measured; and 1 - (1 - c / n)^k is too large, except for k = 1.
    right (Q, n) bool; k from 1 to n. Returns (Q,) floats. Source: Chen et al. 2021, eq. 1.
    """
    n, wrong = right.shape[1], (~right).sum(1)  # (Q,)
    i = torch.arange(k, device=right.device)
    return 1 - ((wrong[:, None] - i).clamp(min=0) / (n - i)).prod(1)


def vote(answers):
    """The answer that most of the tries agree on; of equally many the one that came first.

    answers: a list of words, None for a try without an answer that counts, which has no vote.
    Returns a word, or None where nobody has an answer. Source: Wang et al. 2023.
    """
    counted = Counter(answer for answer in answers if answer is not None)
    return counted.most_common(1)[0][0] if counted else None


def first_that_counts(answers):
    """The first answer that passed the rules of the environment, or None."""
    return next((answer for answer in answers if answer is not None), None)


def tries(model, questions, fetch, n, generator=None, steps=STEPS):
    """n episodes for each question: their answers, Q lists of n words or None."""
    n = whole(n, "n")
    played = play(model, [q for q in questions for _ in range(n)], fetch, 1.0, generator, steps)
    return [played.answers[i : i + n] for i in range(0, len(played.answers), n)]


class AgentGRPO(policy.GRPO):
    """Chapter 14's GRPO for episodes: what counts are the tokens of actions."""

    def __init__(self, gpt, clip=0.2, beta=0.02, group=8):
        super().__init__(gpt, 1, DONE_ID, clip, beta, group)

    def mask(self, ids):
        return action_mask(ids, GO_ID, DONE_ID)


class Practice(rollouts.Rollouts):
    """Batches of episodes that a policy plays itself, anew every `epochs` · `parts` steps.

    policy: an `AgentGRPO`; webs: a list of `Web`, one for each rollout in turn; score(played):
    `Played` -> (B,), None: 1 for a right answer that counts, else 0. rows: episodes of a rollout,
    `group` for each question. history as of `Rollouts`, and "right", the share.
    Raises ValueError for no web, or sizes that do not divide.
    """

    def __init__(self, policy, webs, score=None, rows=64, epochs=1, parts=2, steps=STEPS, seed=0):
        if not len(webs):
            raise refusal("webs", "at least one web", "none", "web_world.Web()")
        self.policy, self.webs, self.score, self.steps = policy, list(webs), score, steps
        self.rows, self.epochs = whole(rows, "rows"), whole(epochs, "epochs")
        self.parts, self.group = whole(parts, "parts"), policy.group
        if self.rows % self.parts or self.rows % self.group:
            needed = f"a multiple of parts, {self.parts}, and of a group, {self.group}"
            raise refusal("rows", needed, self.rows)
        if policy.gpt.config.context < CONTEXT:
            raise refusal("policy", f"a context of {CONTEXT}", policy.gpt.config.context)
        self.reference = copy.deepcopy(policy).requires_grad_(False)
        self.seed, self.held = seed, ()
        self.history = {"step": [], "score": [], "kl": [], "right": []}
        self.prompts = torch.zeros(0, device=next(policy.parameters()).device)  # where it all lies

    def __repr__(self):
        return (
            f"Practice(rows={self.rows}, epochs={self.epochs}, parts={self.parts}, "
            f"group={self.group}, steps={self.steps}, webs={[web.seed for web in self.webs]}, "
            f"seed={self.seed})"
        )

    @torch.no_grad()
    def sample(self, step):
        """One rollout: questions, `group` episodes for each, and what they were worth."""
        seed, device = derive_seed(self.seed, "practice", step), self.prompts.device
        web = self.webs[seed % len(self.webs)]
        asked = web.questions(self.rows // self.group, seed)
        asked = [q for q in asked for _ in range(self.group)]
        g = torch.Generator(device).manual_seed(seed)
        full = device.type != "cpu"  # one shape for a CUDA graph
        played = play(self.policy.gpt, asked, Direct(web), 1.0, g, self.steps, full)
        right = played.right.float().to(device)
        score = right if self.score is None else self.score(played).float().to(device)
        if not torch.isfinite(score).all():
            raise refusal("score", "finite rewards", "NaN or infinity")
        ref_log_p = self.reference(played.ids)[0]
        self.held = self.policy.experience(played.ids, score, ref_log_p)
        gap = torch.where(self.policy.mask(played.ids), self.held[1] - ref_log_p, 0.0).sum(1)
        now = {"step": step, "score": score.mean().item(), "kl": gap.mean().item()}
        for name, value in (now | {"right": right.mean().item()}).items():
            self.history[name].append(value)
