"""One loop for two players, for a policy that makes its own batches, for frozen parts.

These toys are what CONTRIBUTING.md describes under "One loop, several players".
"""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import softplus

from genai_utils.training import fit


class Game(nn.Module):
    """A GAN on numbers: the generator shifts noise, the critic tells it from data around 3.

    Both losses in one: each player's is computed with the other held still, so that one backward
    pass gives each the gradient of its own.
    """

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.shift = nn.Parameter(torch.zeros(1))
        self.critic = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))

    def loss(self, x):
        """x (B, 1): loss, critic and generator, scalars."""
        fake = torch.randn_like(x) + self.shift
        critic = softplus(-self.critic(x)).mean() + softplus(self.critic(fake.detach())).mean()
        held = {name: p.detach() for name, p in self.critic.named_parameters()}
        generator = softplus(-functional_call(self.critic, held, fake)).mean()
        return {"loss": critic + generator, "critic": critic, "generator": generator}


class Turns(Game):
    """The same by turns: a batch says whose turn it is, the other's weights have no gradient."""

    def loss(self, batch):
        """(x, "critic") or (x, "generator")."""
        x, player = batch
        fake = torch.randn_like(x) + self.shift
        if player == "critic":
            real, made = self.critic(x), self.critic(fake.detach())
            loss = softplus(-real).mean() + softplus(made).mean()
        else:
            held = {name: p.detach() for name, p in self.critic.named_parameters()}
            loss = softplus(-functional_call(self.critic, held, fake)).mean()
        return {"loss": loss, player: loss}


def around_three(step):
    g = torch.Generator().manual_seed(step)
    return 3 + torch.randn(64, 1, generator=g)


def by_turns(step):
    return around_three(step), "generator" if step % 4 == 3 else "critic"


def two_rates(model):
    groups = [
        {"params": [model.shift], "lr": 0.02},
        {"params": model.critic.parameters(), "lr": 0.01, "weight_decay": 0.1},
    ]
    return torch.optim.AdamW(groups, betas=(0.5, 0.99), weight_decay=0)


def test_two_players_at_once():
    model = Game()
    done = fit(model, around_three, 1_000, optimizer=two_rates(model), progress=False, ema=0.99)
    assert abs(done.ema_model.shift.item() - 3) < 0.5
    assert {"critic", "generator"} < set(done.history)


def test_each_player_follows_its_own_loss_only():
    model, x = Game(), around_three(0)
    torch.manual_seed(1)
    model.loss(x)["loss"].backward()
    for name, own in (("critic", model.critic.parameters()), ("generator", [model.shift])):
        torch.manual_seed(1)
        own = list(own)
        wanted = torch.autograd.grad(model.loss(x)[name], own)
        for p, g in zip(own, wanted, strict=True):
            torch.testing.assert_close(p.grad, g)


def test_players_by_turns(tmp_path):
    model = Turns()
    done = fit(
        model, by_turns, 2_000, optimizer=two_rates(model), schedule="constant",
        progress=False, ema=0.99,
    )  # fmt: skip
    assert abs(done.ema_model.shift.item() - 3) < 0.5
    assert len(done.history["critic"]) == len(done.history["generator"]) == 200
    still, moved = Turns(), []
    fit(
        still, by_turns, 8, optimizer=two_rates(still), progress=False, looks=9,
        look=lambda m, s: moved.append((m.shift.item(), m.critic[0].bias[0].item())) or {},
    )  # fmt: skip
    for step, (before, after) in enumerate(zip(moved, moved[1:], strict=False)):
        assert (before[0] != after[0]) == (step % 4 == 3)  # moments do not push it either
        assert (before[1] != after[1]) == (step % 4 != 3)


class Bandit(nn.Module):
    """A policy over 4 arms with a value head; the loss is that of one-step actor-critic."""

    def __init__(self):
        super().__init__()
        self.logits, self.value = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(()))

    def loss(self, batch):
        """arms (B,), rewards (B,)."""
        arms, rewards = batch
        advantage = rewards - self.value
        policy = -(self.logits.log_softmax(0)[arms] * advantage.detach()).mean()
        return {"loss": policy + 0.5 * advantage.square().mean(), "reward": rewards.mean()}


class Rollouts:
    """Batches that the policy itself samples: anew every 5 steps, as PPO does."""

    def __init__(self, policy, stop=None):
        self.policy, self.stop = policy, stop
        self.arms, self.rewards = torch.zeros(32, dtype=torch.int64), torch.zeros(32)

    def __repr__(self):
        return "Rollouts of 32, anew every 5 steps"

    def state_dict(self):
        """What a restarted run needs in the middle of a rollout."""
        return {"arms": self.arms, "rewards": self.rewards}

    def load_state_dict(self, state):
        """Take it up."""
        self.arms, self.rewards = state["arms"], state["rewards"]

    @torch.no_grad()
    def __call__(self, step):
        if step == self.stop:
            raise KeyboardInterrupt
        if step % 5 == 0:
            g = torch.Generator().manual_seed(step)
            p = self.policy.logits.softmax(0).cpu()
            self.arms = torch.multinomial(p, 32, True, generator=g)
            self.rewards = (self.arms == 2).float()
        return self.arms, self.rewards


def play(folder, steps=200, stop=None):
    policy = Bandit()
    how = {"lr": 0.1, "progress": False, "checkpoint": folder, "every": 8}
    return fit(policy, Rollouts(policy, stop), steps, **how)


def test_a_policy_makes_its_own_batches_and_is_taken_up_in_the_middle(tmp_path):
    whole = play(tmp_path / "whole")
    assert whole.model.logits.softmax(0)[2] > 0.9 and abs(whole.model.value - 1) < 0.2
    with pytest.raises(KeyboardInterrupt):
        play(tmp_path / "run", stop=59)  # the checkpoint of step 56 lies inside a rollout
    again = play(tmp_path / "run")
    assert torch.equal(whole.model.logits, again.model.logits)
    assert whole.history == again.history


def test_frozen_parts_stay_as_they_are():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.0), nn.Linear(3, 1))
    model.loss = lambda x: (model(x) - 1).square().mean()
    model[0].requires_grad_(False)
    before = [p.clone() for p in model.parameters()]
    fit(model, lambda step: torch.ones(4, 3), 20, progress=False)
    same = [torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert same == [True, True, False, False]
