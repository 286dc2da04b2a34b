"""PPO, GRPO and DPO: numbers by hand, TRL's numbers, and a policy that learns."""

import json
import math

import pytest
import torch
import torch.nn.functional as F

from benchmarks import rlhf as benchmark
from genai_utils.language import policy
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.rlhf import answer_mask
from genai_utils.language.rollouts import Rollouts, answer_kl, write
from genai_utils.training import fit

close = torch.testing.assert_close


def tensors(*rows):
    return (torch.tensor(row, dtype=torch.float64) for row in rows)


def some(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MASK = torch.tensor([[0, 1, 1, 1, 0, 0], [0, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 1]]).bool()


# --- rewards and advantages ----------------------------------------------------------------------


def test_token_rewards_by_hand():
    log_p, ref = tensors([[-1.0, -2.0, -0.5]], [[-1.5, -1.0, -0.5]])
    mask = torch.tensor([[False, True, True]])
    found = policy.token_rewards(torch.tensor([3.0]), log_p, ref, mask, 0.1)
    close(found, torch.tensor([[0.0, 0.1, 3.0]]).double())  # -0.1 (-2 + 1), and 0 + 3


def test_the_rewards_of_an_answer_add_up_to_score_minus_kl():
    score, log_p, ref = some(0, 3), some(1, 3, 6), some(2, 3, 6)
    found = policy.token_rewards(score, log_p, ref, MASK, 0.3)
    close(found.sum(1), score - 0.3 * ((log_p - ref) * MASK).sum(1))
    assert (found[~MASK] == 0).all()


def test_gae_by_hand():
    """δ = (0.1, 0.1, 0.3); backwards with λ = ½: 0.3, then 0.1 + 0.15, then 0.1 + 0.125."""
    rewards, values, wanted = tensors([[0, 0, 1.0]], [[0.5, 0.6, 0.7]], [[0.225, 0.25, 0.3]])
    close(policy.gae(rewards, values, torch.ones(1, 3).bool(), 1.0, 0.5), wanted)


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.8), (1.0, 1.0), (0.7, 0.0)])
def test_gae_is_the_sum_of_schulmans_equation(gamma, lam):
    """A_t = Σ_l (γλ)^l δ_{t+l}, for each answer alone, cut out by its mask."""
    rewards, values = some(3, 3, 6), some(4, 3, 6)
    found = policy.gae(rewards, values, MASK, gamma, lam)
    for b in range(3):
        r, v = rewards[b][MASK[b]], values[b][MASK[b]]
        delta = r + gamma * F.pad(v[1:], (0, 1)) - v
        n = len(r)
        sums = [sum((gamma * lam) ** l * delta[t + l] for l in range(n - t)) for t in range(n)]
        close(found[b][MASK[b]], torch.stack(sums))
    assert (found[~MASK] == 0).all()
    if gamma == lam == 1:  # all that came, minus what was expected
        ahead = (rewards * MASK).flip(1).cumsum(1).flip(1) - values
        close(found[MASK], ahead[MASK])


# --- losses --------------------------------------------------------------------------------------


def test_the_surrogate_by_hand():
    """Ratios 1.5 and 0.5 with advantages 1 and -1: 1.2, 0.5, -1.5, -0.8; mean -0.15."""
    log_p = torch.tensor([[1.5, 0.5, 1.5, 0.5]]).log()
    A, mask = torch.tensor([[1.0, 1.0, -1.0, -1.0]]), torch.ones(1, 4).bool()
    loss = policy.clipped_surrogate(log_p, torch.zeros(1, 4), A, mask)
    assert loss.item() == pytest.approx(0.15)


def test_the_clip_stops_the_slope_only_where_there_is_no_more_to_gain():
    log_p = torch.tensor([[1.5, 0.5, 1.5, 0.5]]).log().requires_grad_()
    A, mask = torch.tensor([[1.0, 1.0, -1.0, -1.0]]), torch.ones(1, 4).bool()
    policy.clipped_surrogate(log_p, torch.zeros(1, 4), A, mask).backward()
    assert (log_p.grad != 0).tolist() == [[False, True, True, False]]


@pytest.mark.parametrize("version", ["0.11.4", "1.16.0"])
def test_losses_and_gradients_are_trls(version):
    """As stored by benchmarks/rlhf.py: the older TRL has PPO, the newer one GRPO, both DPO."""
    stored = json.loads(benchmark.STORED.read_text(encoding="utf-8"))[version]
    pins = "".join(path.read_text() for path in benchmark.STORED.parent.glob("requirements*.txt"))
    assert f"trl=={version}\n" in pins and stored.keys() >= {"dpo"}
    found = benchmark.ours()
    for name, wanted in stored.items():
        assert found[name] == pytest.approx(wanted, abs=1e-9)
        assert sum(x != 0 for x in wanted) > len(wanted) / 4


def test_what_is_outside_of_the_mask_has_no_effect():
    new, old, A = some(5, 3, 6) / 3, some(6, 3, 6) / 3, some(7, 3, 6)
    loss = policy.clipped_surrogate(new, old, A, MASK)
    wild = torch.where(MASK, new, 1e4).requires_grad_()
    again = policy.clipped_surrogate(wild, old, torch.where(MASK, A, -1e4), MASK)
    close(again, loss)
    again.backward()
    assert wild.grad.isfinite().all() and (wild.grad[~MASK] == 0).all()


def test_the_value_loss_by_hand():
    """(1 - 0)² = 1; 0.5 is held at 0.2 and (0.2 - 1)² = 0.64 is the larger; half the mean."""
    values, old, returns = tensors([[0.0, 0.5]], [[0.0, 0.0]], [[1.0, 1.0]])
    found = policy.value_loss(values, old, returns, torch.ones(1, 2).bool())
    assert found.item() == pytest.approx((1 + 0.64) / 4)


def test_group_advantage_by_hand():
    """Rewards 1, 0, 0, 1: mean ½, sd √(1/3) = 0.57735; ±0.5 / 0.57745. A group of ties: 0."""
    found = policy.group_advantage(torch.tensor([[1.0, 0, 0, 1], [2, 2, 2, 2]]))
    assert found[0].tolist() == pytest.approx([0.86588, -0.86588, -0.86588, 0.86588], abs=1e-5)
    assert found[1].tolist() == [0, 0, 0, 0]


def test_grpos_loss_by_hand():
    """One token, ratio 1.5 clipped at 1.2, d = log ½: e^d - d - 1 = ½ + 0.693147 - 1."""
    log_p, ref = torch.tensor([[1.5]]).log(), torch.tensor([[0.75]]).log()
    loss = policy.grpo_loss(
        log_p, torch.zeros(1, 1), ref, torch.tensor([1.0]), torch.ones(1, 1).bool(), beta=0.1
    )
    assert loss.item() == pytest.approx(-(1.2 - 0.1 * 0.1931472), abs=1e-6)


def test_grpos_loss_is_a_mean_over_answers_of_means_over_tokens():
    """And what is outside of the mask has no effect."""
    new, old, ref, A = some(5, 3, 6) / 3, some(6, 3, 6) / 3, some(8, 3, 6) / 3, some(7, 3)
    ratio = torch.exp(new - old)
    kl = torch.exp(ref - new) - (ref - new) - 1
    each = -torch.min(ratio * A[:, None], torch.clamp(ratio, 0.8, 1.2) * A[:, None]) + 0.04 * kl
    wanted = ((each * MASK).sum(1) / MASK.sum(1)).mean()
    close(policy.grpo_loss(new, old, ref, A, MASK), wanted)
    wild = torch.where(MASK, new, 1e4).requires_grad_()
    loss = policy.grpo_loss(wild, old, ref, A, MASK)
    close(loss, wanted)
    loss.backward()
    assert wild.grad.isfinite().all()


def test_the_mean_of_grpos_kl_term_is_the_kl():
    p, q = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.2, 0.2, 0.6]).double()
    d = (q / p).log()
    close((p * (d.exp() - d - 1)).sum(), (p * (p / q).log()).sum())


def test_dpos_loss_by_hand():
    better, worse, rb, rw = (v.squeeze(0) for v in tensors([[-5.0]], [[-7.0]], [[-6.0]], [[-6.5]]))
    found = policy.dpo_loss(better, worse, rb, rw, beta=0.5)  # margin 1 + 0.5, times ½
    assert found.item() == pytest.approx(math.log(1 + math.exp(-0.75)))
    better, worse, rb, rw = (some(i, 8) for i in range(4))
    logits = (better - worse) - (rb - rw)
    close(policy.dpo_loss(better, worse, rb, rw, 0.2), -F.logsigmoid(0.2 * logits).mean())


def test_dpo_of_the_best_policy_is_the_reward_models_loss():
    """π ∝ π_ref exp(r / β): the constant of the prompt cancels, and the margin is that of r."""
    r, ref, beta = some(0, 5), some(1, 5).log_softmax(0), 0.3
    best = (ref + r / beta).log_softmax(0)
    i, j = torch.tensor([0, 1, 2, 3]), torch.tensor([4, 3, 1, 0])
    close(
        policy.dpo_loss(best[i], best[j], ref[i], ref[j], beta), -F.logsigmoid(r[i] - r[j]).mean()
    )
    close(policy.tilted(ref, r, beta), best)


# --- policies ------------------------------------------------------------------------------------

V, START, ANSWER, END = 8, 2, 5, 0


def tiny():
    torch.manual_seed(0)
    return GPT(GPTConfig(V, context=START + ANSWER, layers=1, heads=2, dim=16))


def threes(ids):
    """The share of threes among the answer's places."""
    return (ids[:, START:] == 3).float().mean(1)


def prompts(n=12):
    return torch.randint(1, V, (n, START), generator=torch.Generator().manual_seed(3))


def rollouts(model, **sizes):
    return Rollouts(model, prompts(), threes, answer=ANSWER, **{"rows": 64, "parts": 4, **sizes})


def test_log_probabilities_are_the_models():
    model = policy.Policy(tiny(), START, END).eval()
    ids = torch.randint(V, (3, 7), generator=torch.Generator().manual_seed(1))
    wanted = model.gpt(ids)[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    close(model(ids)[0][:, 1:], wanted)


def test_a_rollout_is_what_the_policy_wrote():
    model = policy.PPO(tiny(), START, END, beta=0.5)
    batches = rollouts(model, epochs=2, parts=4)
    parts = [batches(step) for step in range(8)]
    ids = torch.cat([part[0] for part in parts[:4]])
    assert sorted(ids.tolist()) == sorted(torch.cat([p[0] for p in parts[4:]]).tolist())
    assert not torch.equal(ids, torch.cat([p[0] for p in parts[4:]]))  # another order
    whole = batches.held
    mask = answer_mask(whole[0], START, END)
    close(whole[1][mask], model(whole[0])[0][mask])  # nothing has moved yet: ratio 1
    assert batches.history["score"] == [pytest.approx(threes(whole[0]).mean().item())]
    assert batches.history["kl"] == [pytest.approx(0, abs=1e-6)]
    A = whole[3][mask]
    assert abs(A.mean()) < 1e-5 and abs(A.square().mean() - 1) < 1e-3
    assert not torch.equal(batches(8)[0], parts[0][0]) and len(batches.history["step"]) == 2


def test_groups_stand_side_by_side():
    model = policy.GRPO(tiny(), START, END, group=4)
    batches = rollouts(model)
    batches(0)
    ids, advantage = batches.held[0], batches.held[3].view(-1, 4)
    assert (ids[:, :START].view(-1, 4, START) == ids[::4, None, :START]).all()
    close(advantage, policy.group_advantage(threes(ids).view(-1, 4)))


@pytest.mark.parametrize("kind", [policy.PPO, policy.GRPO])
def test_a_policy_learns_what_is_rewarded_and_beta_holds_it_back(kind):
    gained, left = {}, {}
    for beta in (0.0, 3.0):
        model = kind(tiny(), START, END, beta=beta)
        batches = rollouts(model)
        fit(model, batches, 160, lr=5e-3, clip=1.0, progress=False, schedule="constant")
        score = batches.history["score"]
        gained[beta], left[beta] = score[-1] - score[0], batches.history["kl"][-1]
    assert gained[0.0] > 0.3 and gained[3.0] < 0.5 * gained[0.0]
    assert left[3.0] < 0.5 * left[0.0]


def test_dpo_makes_the_better_answers_likelier():
    model = policy.DPO(tiny(), START, END, beta=0.5)
    g = torch.Generator().manual_seed(0)
    ids = torch.cat([prompts(64), torch.randint(1, V, (64, ANSWER), generator=g)], 1)
    order = threes(ids).argsort(descending=True)
    better, worse = ids[order[:32]], ids[order[32:]]
    with torch.no_grad():
        ref = [model.answer_log_p(x).clone() for x in (better, worse)]
    done = fit(model, lambda step: (better, worse, *ref), 60, lr=3e-3, progress=False).model
    margin = (done.answer_log_p(better) - ref[0]) - (done.answer_log_p(worse) - ref[1])
    assert margin.mean() > 1 and done.loss((better, worse, *ref)) < math.log(2)


class Stopped(Rollouts):
    """Rollouts that somebody interrupts."""

    stop = None

    def __call__(self, step):
        if step == self.stop:
            raise KeyboardInterrupt
        return super().__call__(step)


def test_a_run_is_taken_up_in_the_middle_of_a_rollout(tmp_path):
    def run(folder, stop=None):
        model = policy.PPO(tiny(), START, END)
        batches = Stopped(model, prompts(), threes, rows=64, answer=ANSWER, parts=4)
        batches.stop = stop
        done = fit(model, batches, 24, progress=False, checkpoint=tmp_path / folder, every=5)
        return done.model.state_dict(), batches.history

    whole, told = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("again", stop=13)  # the checkpoint of step 10 lies inside a rollout
    again, retold = run("again")
    assert all(torch.equal(p, again[name]) for name, p in whole.items())
    assert told["step"] == [0, 8, 16] and told == retold


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"answer": 7}, "prompts: expected at most 8 tokens with the answer"),
        ({"rows": 63}, "rows: expected a multiple of parts"),
        ({"rows": 0}, "rows"),
        ({"answer": 0}, "answer"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes, says):
    with pytest.raises(ValueError, match=says):
        Rollouts(policy.PPO(tiny(), START, END), prompts(), threes, **{"answer": 5, **sizes})


def test_prompts_of_another_length_and_a_reward_of_nan_are_refused():
    model = policy.PPO(tiny(), START, END)
    with pytest.raises(ValueError, match=r"prompts: expected \(n, 2\)"):
        Rollouts(model, torch.ones(4, 3).long(), threes, answer=4)
    nan = lambda ids: torch.full((len(ids),), math.nan)  # noqa: E731
    batches = Rollouts(model, prompts(), nan, answer=ANSWER)
    with pytest.raises(ValueError, match="score: expected finite rewards"):
        batches(0)
    with pytest.raises(ValueError, match="batch"):
        model.check_batch((torch.ones(2, 3).long(), torch.tensor([math.nan])))


def test_the_kl_of_answers_is_that_of_all_texts():
    """By hand over all answers of two tokens: the mean of its estimate is the KL."""
    torch.manual_seed(1)
    one, two = (GPT(GPTConfig(3, context=8, layers=1, heads=2, dim=8)).eval() for _ in range(2))
    for p in one.parameters():
        p.data += 0.3 * torch.randn_like(p)
    texts = torch.tensor([[1, a, b] for a in range(3) for b in range(3) if a or not b])
    with torch.no_grad():
        mask = answer_mask(texts, 1, 0)[:, 1:]
        p, q = (
            torch.where(
                mask, net(texts[:, :-1]).log_softmax(-1).gather(-1, texts[:, 1:, None])[..., 0], 0.0
            ).sum(1)
            for net in (one, two)
        )
    wanted = (p.exp() * (p - q)).sum()  # texts that end at once count once
    assert p.exp().sum().item() == pytest.approx(1, abs=1e-5) and wanted > 0.05
    close((p.exp() * answer_kl(one, two, texts, 1, 0)).sum(), wanted)
    assert answer_kl(one, one, texts, 1, 0).abs().max() < 1e-6


def test_what_is_written_is_filled_up():
    ids = write(tiny(), prompts(5), 4, END, torch.Generator().manual_seed(0))
    assert ids.shape == (5, START + 4) and torch.equal(ids[:, :START], prompts(5))
    after = ~answer_mask(ids, START, END)
    assert (ids[:, START:][after[:, START:]] == END).all()
