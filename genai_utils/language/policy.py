"""A language model as a policy: PPO, GRPO and DPO, each a loss. What feeds them: rollouts.py.

A token is an action, the text so far the state, and a reward comes at the answer's last token.
Shapes: B texts of T tokens. What belongs to actions is (B, T): place t is about token t of the
text, given those before it, and counts where `mask` is True, the answer's tokens (`answer_mask`).

Source: Schulman et al. 2016, 2017; Ouyang et al. 2022; Rafailov et al. 2023; Shao et al. 2024;
lecture item A58.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils.inputs import all_finite, number, refusal, tokens, whole

from .rlhf import answer_mask


def token_rewards(score, log_p, ref_log_p, mask, beta):
    """The reward of each token: the price of leaving the reference, and at the end the score.

        r_t = −β (log π(y_t) − log π_ref(y_t))  + [t is the answer's last token] · score

    Their sum over an answer is score − β log(π / π_ref), whose mean is E[score] − β KL.
    score (B,); log_p, ref_log_p (B, T) of the tokens drawn; mask (B, T) bool, in each row one run
    of True. Returns (B, T), 0 outside of the mask.
    Source: Ouyang et al. 2022, eq. 2; lecture item A58.
    """
    place = torch.arange(mask.shape[1], device=mask.device)
    last = place == (place * mask).amax(1, keepdim=True)  # (B, T)
    price = -beta * (log_p - ref_log_p)
    return torch.where(mask, price + last * score[:, None], 0.0)


def gae(rewards, values, mask, gamma=1.0, lam=0.95):
    """Generalised advantage estimation: how much better than expected a token turned out.

        δ_t = r_t + γ V_{t+1} − V_t,      A_t = δ_t + γ λ A_{t+1}

    V_t is what is expected before token t. After the answer's last token nothing more is expected
    or earned: V and A are 0 there. λ = 1: all that came, minus V_t; λ = 0: δ_t alone.

    rewards, values (B, T); mask (B, T) bool, in each row one run of True. 0 ≤ γ, λ ≤ 1.
    Returns (B, T), 0 outside of the mask. What stands outside of the mask has no effect.
    Source: Schulman et al. 2016, eq. 16; lecture item A58.
    """
    values, rewards = values.masked_fill(~mask, 0.0), rewards.masked_fill(~mask, 0.0)
    following = F.pad(values[:, 1:], (0, 1))  # V_{t+1}
    delta = rewards + gamma * following - values
    advantage, rows = torch.zeros_like(delta[:, 0]), []
    for t in reversed(range(delta.shape[1])):
        advantage = (delta[:, t] + gamma * lam * advantage) * mask[:, t]
        rows.append(advantage)
    return torch.stack(rows[::-1], 1)


def masked_mean(x, mask):
    """Mean of x (B, T) where mask is True."""
    return torch.where(mask, x, 0.0).sum() / mask.sum()


def clipped_surrogate(log_p, old_log_p, advantage, mask, clip=0.2):
    """PPO's loss: make good tokens likelier, but no further than the clip allows.

        ρ_t = π(y_t) / π_old(y_t),   loss = −mean over tokens of min(ρ_t A_t, ρ̄_t A_t)

    with ρ̄_t = ρ_t held between 1 − clip and 1 + clip. log_p, old_log_p, advantage (B, T); mask
    (B, T) bool: the mean is over its True places, and others have no effect. Returns a scalar,
    whose gradient flows to log_p. Source: Schulman et al. 2017, eq. 7; lecture item A58.
    """
    ratio = (log_p - old_log_p).masked_fill(~mask, 0.0).exp()
    held = ratio.clamp(1 - clip, 1 + clip)
    gain = torch.minimum(ratio * advantage, held * advantage)
    return -torch.where(mask, gain, 0.0).sum() / mask.sum()


def value_loss(values, old_values, returns, mask, clip=0.2):
    """Half the mean squared error of the value head, which may not leave its old value by a leap.

        ½ mean of max((V − R)², (V̄ − R)²),    V̄ = V held within clip of V_old

    All (B, T). Source: Schulman et al. 2017 (the code with it); Ouyang et al. 2022.
    """
    held = old_values + (values - old_values).clamp(-clip, clip)
    error = torch.maximum((values - returns).square(), (held - returns).square())
    return masked_mean(error, mask) / 2


def group_advantage(rewards, eps=1e-4):
    """GRPO's advantage: better than the other answers to the same prompt, in their own spread.

        A_i = (r_i − mean r) / (sd r + eps)

    rewards (n, G): G answers to each of n prompts; sd with G − 1. Returns (n, G).
    Source: Shao et al. 2024, section 4.1; eps and sd as in TRL.
    """
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, keepdim=True) + eps)


def grpo_loss(log_p, old_log_p, ref_log_p, advantage, mask, clip=0.2, beta=0.04):
    """GRPO's loss: the clipped surrogate, and the KL to the reference in the loss.

        −mean over answers of mean over its tokens of  min(ρ A, ρ̄ A) − β (e^d − d − 1)

    with d = log π_ref − log π: e^d − d − 1 is never negative, and its mean is the KL divergence.
    log_p, old_log_p, ref_log_p (B, T); advantage (B,); mask (B, T) bool, with a True in each row.
    Source: Shao et al. 2024, eqs. 3 and 4.
    """
    ratio = (log_p - old_log_p).masked_fill(~mask, 0.0).exp()
    A = advantage[:, None]
    gain = torch.minimum(ratio * A, ratio.clamp(1 - clip, 1 + clip) * A)
    d = (ref_log_p - log_p).masked_fill(~mask, 0.0)
    each = torch.where(mask, gain - beta * (d.exp() - d - 1), 0.0).sum(1) / mask.sum(1)
    return -each.mean()


def dpo_loss(better, worse, ref_better, ref_worse, beta=0.1):
    """DPO's loss: the reward model's loss, with the policy itself as the reward model.

        −mean of log σ(β log(π/π_ref)(better) − β log(π/π_ref)(worse))

    All (m,): log-probabilities of whole answers. Source: Rafailov et al. 2023, eq. 7.
    """
    margin = (better - ref_better) - (worse - ref_worse)
    return -F.logsigmoid(beta * margin).mean()


def tilted(ref_log_p, reward, beta):
    """The best policy there is for reward − β KL, where all answers can be listed.

        π*(y) = π_ref(y) exp(r(y) / β) / Z

    ref_log_p, reward (…, n): n answers to a prompt; beta above 0. Returns log π* (…, n).
    Source: Rafailov et al. 2023, eq. 4.
    """
    number(beta, "beta", above=0)
    return (ref_log_p + reward / beta).log_softmax(-1)


class Policy(nn.Module):
    """A GPT that is trained as a policy. It starts as a copy of `gpt`.

    start: tokens of each prompt; end: the token that ends an answer.
    forward(ids): (B, T) → log π of each token given those before, (B, T), and hidden (B, T, d).
    """

    def __init__(self, gpt, start, end, clip=0.2, beta=0.1):
        super().__init__()
        self.gpt, self.start, self.end = copy.deepcopy(gpt), whole(start, "start"), end
        self.clip, self.beta = number(clip, "clip", above=0), number(beta, "beta", least=0)

    def forward(self, ids):
        x = self.gpt.hidden(self.gpt.embed(ids[:, :-1]))  # row t has seen 0 … t
        x = F.pad(x, (0, 0, 1, 0))  # (B, T, d): place t is about token t
        log_p = self.gpt.unembed(x).log_softmax(-1)
        return log_p.gather(-1, ids[..., None])[..., 0], x

    def mask(self, ids):
        """Which tokens of ids (B, T) are of the answer, see `answer_mask`."""
        return answer_mask(ids, self.start, self.end)

    def check_batch(self, batch):
        """Raises TypeError or ValueError for ids outside the vocabulary, or numbers not finite."""
        for i, each in enumerate(batch):
            if each.is_floating_point() and not all_finite(each):
                raise refusal(f"batch[{i}]", "finite numbers", "NaN or infinity")
            if not each.is_floating_point():
                tokens(each, f"batch[{i}]", self.gpt.config.vocabulary)


class PPO(Policy):
    """Proximal policy optimisation with a value head. lam: of `gae`; weight: of the value loss.

    experience(ids, score, ref_log_p): what a batch holds: ids, log_p, values, advantages, returns.
    Source: Schulman et al. 2017; Ouyang et al. 2022; lecture item A58.
    """

    def __init__(self, gpt, start, end, clip=0.2, beta=0.1, lam=0.95, weight=0.1):
        super().__init__(gpt, start, end, clip, beta)
        self.lam, self.weight = lam, weight
        self.value = nn.Linear(gpt.config.dim, 1)
        nn.init.zeros_(self.value.weight), nn.init.zeros_(self.value.bias)

    @torch.no_grad()
    def experience(self, ids, score, ref_log_p):
        mask = self.mask(ids)
        log_p, x = self(ids)
        values = self.value(x)[..., 0]  # (B, T): expected before token t
        rewards = token_rewards(score, log_p, ref_log_p, mask, self.beta)
        advantage = gae(rewards, values, mask, lam=self.lam)
        returns = advantage + values
        centred = advantage - masked_mean(advantage, mask)
        spread = masked_mean(centred.square(), mask).sqrt()
        return ids, log_p, values, centred / (spread + 1e-8), returns

    def loss(self, batch):
        ids, old_log_p, old_values, advantage, returns = batch
        mask = self.mask(ids)
        log_p, x = self(ids)
        policy = clipped_surrogate(log_p, old_log_p, advantage, mask, self.clip)
        value = value_loss(self.value(x)[..., 0], old_values, returns, mask, self.clip)
        return {"loss": policy + self.weight * value, "policy": policy, "value": value}


class GRPO(Policy):
    """Group relative policy optimisation: the mean of a group takes the place of a value head.

    group: answers to one prompt, which stand side by side in a rollout. experience: ids, log_p,
    ref_log_p, advantage (B,). Source: Shao et al. 2024.
    """

    def __init__(self, gpt, start, end, clip=0.2, beta=0.04, group=8):
        super().__init__(gpt, start, end, clip, beta)
        self.group = whole(group, "group", least=2)

    @torch.no_grad()
    def experience(self, ids, score, ref_log_p):
        """Texts (B, T), their scores (B,) and log π_ref (B, T) -> what `loss` takes."""
        advantage = group_advantage(score.view(-1, self.group)).flatten()
        return ids, self(ids)[0], ref_log_p, advantage

    def loss(self, batch):
        """`grpo_loss`, a scalar; batch: what `experience` gave."""
        ids, old_log_p, ref_log_p, advantage = batch
        log_p, mask = self(ids)[0], self.mask(ids)
        return grpo_loss(log_p, old_log_p, ref_log_p, advantage, mask, self.clip, self.beta)


class DPO(Policy):
    """Direct preference optimisation. Batches: (better, worse, ref_better, ref_worse).

    better, worse (B, T) ids; ref_… (B,): log-probabilities of the answers by the reference.
    answer_log_p(ids): (B, T) → (B,). Source: Rafailov et al. 2023.
    """

    def answer_log_p(self, ids):
        """log π of whole answers, in nats: ids (B, T) -> (B,)."""
        return torch.where(self.mask(ids), self(ids)[0], 0.0).sum(1)

    def loss(self, batch):
        """`dpo_loss`, nats a pair; batch: (better, worse, ref_better, ref_worse), see the class."""
        better, worse, *ref = batch
        log_p = self.answer_log_p(torch.cat([better, worse])).chunk(2)
        return dpo_loss(*log_p, *ref, beta=self.beta)
