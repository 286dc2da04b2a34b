"""How a browsing agent gets better than its demonstrations: many tries, a vote, practice.

The losses are those of chapter 14 (policy.py). What is new is which tokens are the agent's own, and
that an episode is played in an environment.

Source: Nakano et al. 2021; Chen et al. 2021 (pass at k); Shao et al. 2024; lecture item A64.
"""

import copy

import torch
from torch import Tensor

from genai_utils.inputs import refusal, whole
from genai_utils.training.batches import derive_seed

from . import policy, rollouts
from .web_agent import CONTEXT, DONE_ID, GO_ID, INDEX, action_mask, play
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
    return 1 - ((wrong[:, None] - i) / (n - i)).prod(1)  # a factor is 0 where k is above n - c


def vote(answers: Tensor) -> Tensor:
    """The answer that most of the tries at a question agree on.

    answers (Q, n) int64: an id for the answer of each try, -1 for a try without an answer that
    counts, which has no vote. Of answers with equally many votes the one that came first wins.
    Returns (Q,) int64, -1 where no try has a vote. Source: Wang et al. 2023 (self-consistency).
    """
    votes = (answers[:, :, None] == answers[:, None, :]).sum(2)  # (Q, n)
    winner = votes.masked_fill(answers < 0, 0).argmax(1, keepdim=True)
    return answers.gather(1, winner)[:, 0]


def first_that_counts(answers: Tensor) -> Tensor:
    """The first answer of each question that counts by the rules, (Q, n) -> (Q,), or -1."""
    return answers.gather(1, (answers >= 0).long().argmax(1, keepdim=True))[:, 0]


def answer_ids(answers):
    """Answers, words or None, as ids (n,): -1 for none, and for more than one word."""
    return torch.tensor([INDEX.get(answer, -1) for answer in answers])


def tries(model, questions, fetch, n, generator=None, steps=STEPS):
    """n episodes for each question, at temperature 1: the ids of their answers, (Q, n); see
    `answer_ids`."""
    n = whole(n, "n")
    played = play(model, [q for q in questions for _ in range(n)], fetch, 1.0, generator, steps)
    return answer_ids(played.answers).view(-1, n)


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
