"""Batches that a policy writes itself, and how far it has gone from where it began.

Shapes: B texts of T tokens, each a prompt and an answer, as in policy.py.

Source: Ouyang et al. 2022; Shao et al. 2024; lecture item A58.
"""

import copy

import torch
import torch.nn.functional as F

from genai_utils.inputs import refusal, tokens, whole
from genai_utils.training.batches import derive_seed

from .rlhf import answer_mask
from .sampling import evaluating, generate


def write(gpt, prompts, answer, end, generator=None, temperature=1.0):
    """Answers to prompts (B, start): ids (B, start + answer), filled up with `end`."""
    ids = generate(gpt, prompts, answer, temperature, generator=generator, stop=end)
    return F.pad(ids, (0, prompts.shape[1] + answer - ids.shape[1]), value=end)


@torch.no_grad()
def answer_kl(gpt, reference, ids, start, end):
    """KL(π ‖ π_ref) of each answer, (B,), nats: at each place the KL over all tokens, added up.

    ids (B, T) were drawn from π. The mean over them is the KL of whole answers, with less spread
    than that of log π / π_ref of the tokens that were drawn.
    """
    log_p, log_q = (net(ids[:, :-1]).log_softmax(-1) for net in (gpt, reference))
    each = (log_p.exp() * (log_p - log_q)).sum(-1)  # (B, T - 1)
    return torch.where(answer_mask(ids, start, end)[:, 1:], each, 0.0).sum(1)


class Rollouts:
    """Batches that a policy writes itself: anew every `epochs` · `parts` steps.

    policy: a PPO or GRPO; prompts (n, start) int64; score(ids): (B, T) → (B,), the reward of whole
    texts; rows: texts of a rollout; answer: tokens of an answer, at most. A rollout is shuffled
    and cut into `parts` batches, `epochs` times. Prompts follow each other in an order drawn from
    the seed. The reference is the policy as it is when this is made.

    history: for each rollout "step", "score", the mean, and "kl", in nats an answer.
    Raises ValueError for prompts that do not fit, sizes that do not divide, a score that is not
    finite.
    """

    def __init__(self, policy, prompts, score, rows=256, answer=24, epochs=2, parts=2, seed=0):
        tokens(prompts, "prompts", policy.gpt.config.vocabulary)
        if prompts.ndim != 2 or prompts.shape[1] != policy.start or not len(prompts):
            raise refusal("prompts", f"(n, {policy.start})", f"{tuple(prompts.shape)}")
        most = policy.gpt.config.context + 1
        if policy.start + whole(answer, "answer") > most:
            longest = f"at most {most} tokens with the answer"
            raise refusal("prompts", longest, policy.start + answer, "ask for shorter answers")
        self.policy, self.prompts, self.score, self.answer = policy, prompts, score, answer
        self.rows, self.epochs = whole(rows, "rows"), whole(epochs, "epochs")
        self.parts, self.group = whole(parts, "parts"), getattr(policy, "group", 1)
        if self.rows % self.parts or self.rows % self.group:
            needed = f"a multiple of parts, {self.parts}, and of a group, {self.group}"
            raise refusal("rows", needed, self.rows)
        self.reference = copy.deepcopy(policy).requires_grad_(False)
        self.seed, self.held, self.history = seed, (), {"step": [], "score": [], "kl": []}

    def __repr__(self):
        return (
            f"Rollouts(rows={self.rows}, answer={self.answer}, epochs={self.epochs}, "
            f"parts={self.parts}, group={self.group}, seed={self.seed})"
        )

    def state_dict(self):
        """What was sampled last: a run that is taken up in the middle goes on with it."""
        told = {name: torch.tensor(values).double() for name, values in self.history.items()}
        return told | {f"held {i}": each for i, each in enumerate(self.held)}

    def load_state_dict(self, state):
        """Go on with what `state_dict` kept."""
        self.held = tuple(state[f"held {i}"] for i in range(len(state) - len(self.history)))
        self.history = {name: state[name].tolist() for name in self.history}

    @torch.no_grad()
    def sample(self, step):
        """One rollout: prompts, answers, scores, and what the policy makes of them."""
        seed = derive_seed(self.seed, "rollout", step)
        g = torch.Generator(self.prompts.device).manual_seed(seed)
        n = self.rows // self.group
        chosen = torch.randint(len(self.prompts), (n,), generator=g, device=g.device)
        prompts = self.prompts[chosen].repeat_interleave(self.group, 0)
        with evaluating(self.policy):
            ids = write(self.policy.gpt, prompts, self.answer, self.policy.end, g)
            score = self.score(ids).float()
            if not torch.isfinite(score).all():
                raise refusal("score", "finite rewards", "NaN or infinity")
            ref_log_p = self.reference(ids)[0]
            self.held = self.policy.experience(ids, score, ref_log_p)
        gap = torch.where(self.policy.mask(ids), self.held[1] - ref_log_p, 0.0).sum(1)
        row = {"step": step, "score": score.mean().item(), "kl": gap.mean().item()}
        for name, value in row.items():
            self.history[name].append(value)

    def __call__(self, step):
        if step % (self.epochs * self.parts) == 0:
            self.sample(step)
        epoch, part = divmod(step % (self.epochs * self.parts), self.parts)
        g = torch.Generator().manual_seed(derive_seed(self.seed, "order", step - part, epoch))
        order = torch.randperm(self.rows, generator=g).chunk(self.parts)[part]
        order = order.to(self.prompts.device)
        return tuple(each[order] for each in self.held)
