"""Are our losses of PPO, GRPO and DPO those of TRL?

    pip install -r benchmarks/requirements.txt         # DPO, GRPO
    pip install -r benchmarks/requirements_ppo.txt     # PPO and DPO, in an environment of its own
    python -m benchmarks.rlhf [--store]        # do they agree?
    python -m benchmarks --only dpo grpo       # which is quicker?

Both get the same log-probabilities, values, rewards and masks. The losses, and their gradients by
the log-probabilities and values, must be the same, or the benchmark stops. TRL's newer versions
have no PPO; its last one with a method for each part is 0.11.4. So each installed version answers
for what it has. --store writes that to `rlhf_trl.json`, beside what is there, and a test of CI
holds our numbers against it without TRL. Speed: training steps by TRL's loss of the same policy, of
transformers' GPT-2; its Trainer is left out.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import json
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import torch

from benchmarks.compare import Race, Row
from benchmarks.steps import training_race
from genai_utils.language import gpt, policy

STORED = Path(__file__).with_name("rlhf_trl.json")
CLIP, CLIP_VALUE, GAMMA, LAM, BETA_KL, BETA_DPO = 0.2, 0.3, 0.97, 0.9, 0.04, 0.2
B, T = 4, 6  # texts, tokens
LENGTHS = torch.tensor([6, 3, 1, 4])  # tokens of each answer


def some(shift, *shape):
    """Numbers from −1 to 1 that any machine makes, in double precision, with a gradient."""
    places = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(1.7 * places + 0.9 * shift).reshape(shape).requires_grad_()


def given():
    """The inputs, made anew: log-probabilities, values, rewards, advantages, and the mask."""
    x = {name: some(i, B, T) for i, name in enumerate(("log_p", "old", "ref", "value", "past"))}
    for name in ("old", "ref", "past"):
        x[name] = x[name].detach()
    x |= {name: some(7 + i, B, T).detach() for i, name in enumerate(("reward", "advantage"))}
    return SimpleNamespace(**x, mask=torch.arange(T) < LENGTHS[:, None])


def answers():
    """Log-probabilities of eight answers, the better and the worse of four pairs, and the ref's."""
    better, worse = some(11, B), some(12, B)
    return better, worse, some(13, B).detach(), some(14, B).detach()


def told(loss, *by):
    """The loss and its gradients, as a list of numbers."""
    gradients = torch.autograd.grad(loss, by)
    return [loss.item(), *(x for g in gradients for x in g.flatten().tolist())]


def ours():
    """Our numbers, by the names of the losses."""
    x, found = given(), {}
    found["gae"] = policy.gae(x.reward, x.past, x.mask, GAMMA, LAM).flatten().tolist()
    loss = policy.clipped_surrogate(x.log_p, x.old, x.advantage, x.mask, CLIP)
    found["ppo"] = told(loss, x.log_p)
    loss = policy.value_loss(x.value, x.past, x.reward, x.mask, CLIP_VALUE)
    found["value"] = told(loss, x.value)
    A = x.advantage[:, 0]
    found["grpo"] = told(policy.grpo_loss(x.log_p, x.old, x.ref, A, x.mask, CLIP, BETA_KL), x.log_p)
    better, worse, ref_better, ref_worse = answers()
    loss = policy.dpo_loss(better, worse, ref_better, ref_worse, BETA_DPO)
    found["dpo"] = told(loss, better, worse)
    return found


class Settings(SimpleNamespace):
    """A trainer without a model: what its methods ask for and we did not set is off."""

    def __getattr__(self, name):
        return False


def theirs_with_ppo():
    """TRL 0.11: PPOTrainer and DPOTrainer have a method for each loss."""
    from trl import DPOTrainer, PPOTrainer

    x, found = given(), {}
    config = Settings(
        gamma=GAMMA, lam=LAM, cliprange=CLIP, cliprange_value=CLIP_VALUE, vf_coef=1.0,
        ratio_threshold=1e9,
    )  # fmt: skip
    trainer = Settings(config=config)
    mask = x.mask.double()
    # What it calls advantages is brought to mean 0 and spread 1; returns − values is not.
    values, _, returns = PPOTrainer.compute_advantages(trainer, x.past, x.reward, mask)
    found["gae"] = ((returns - values) * mask).flatten().tolist()
    logits = torch.zeros(B, T, 2, dtype=torch.float64)  # for an entropy that it reports only
    loss, value, _ = PPOTrainer.loss(
        trainer, x.old, x.past, logits, x.value, x.log_p, mask, x.advantage, x.reward
    )
    found["ppo"], found["value"] = told(loss, x.log_p), told(value, x.value)
    trainer = Settings(
        accelerator=Settings(device="cpu"), loss_type="sigmoid", beta=BETA_DPO, label_smoothing=0.0,
        f_divergence_type="reverse_kl",
    )  # fmt: skip
    better, worse, *ref = answers()
    found["dpo"] = told(DPOTrainer.dpo_loss(trainer, better, worse, *ref)[0].mean(), better, worse)
    return found


def shared():
    """What both trainers of TRL 1 ask of theirs: one process, no metrics kept."""
    same = Settings(device="cpu", gather=lambda t: t, reduce=lambda t, reduction: t)
    same.gather_for_metrics = same.gather
    return {
        "model": Settings(training=True), "accelerator": same, "args": Settings(delta=None),
        "_metrics": defaultdict(lambda: defaultdict(list)),
    }  # fmt: skip


def grpo_trainer(per_token):
    """TRL's GRPOTrainer without a model: per_token gives log-probabilities (B, T) of answers."""
    return Settings(
        **shared(), beta=BETA_KL, epsilon_low=CLIP, epsilon_high=CLIP, loss_type="grpo",
        importance_sampling_level="token", top_entropy_quantile=1.0,
        current_gradient_accumulation_steps=1.0, off_policy_mask_threshold=None,
        _get_per_token_logps_and_entropies=per_token,
    )  # fmt: skip


def dpo_trainer():
    """TRL's DPOTrainer without a model."""
    return Settings(
        **shared(), beta=BETA_DPO, ld_alpha=None, precompute_ref_logps=True,
        loss_types=["sigmoid"], loss_weights=[1.0], f_divergence_type="reverse_kl", _tp_size=1,
        _total_train_tokens=0,
    )  # fmt: skip


def theirs():
    """TRL 1: the losses stand within the trainers' steps, which get a model that answers ours."""
    from trl import DPOTrainer, GRPOTrainer

    x, found = given(), {}
    trainer = grpo_trainer(lambda *_, **__: (x.log_p, x.log_p.detach(), None))
    ids, mask = torch.zeros(B, T, dtype=torch.int64), x.mask.long()
    batch = {
        "prompt_ids": ids, "prompt_mask": mask, "completion_ids": ids, "completion_mask": mask,
        "advantages": x.advantage[:, 0], "old_per_token_logps": x.old, "ref_per_token_logps": x.ref,
    }  # fmt: skip
    found["grpo"] = told(GRPOTrainer._compute_loss(trainer, model=None, inputs=batch), x.log_p)

    better, worse, *ref = answers()

    def model(**_):  # one token, whose log-probability is the answer's
        return outputs(torch.cat([better, worse])[:, None])

    ids = torch.zeros(2 * B, 2, dtype=torch.int64)
    batch = {
        "input_ids": ids, "attention_mask": ids + 1, "completion_mask": ids + 1,
        "ref_chosen_logps": ref[0], "ref_rejected_logps": ref[1],
    }  # fmt: skip
    loss = DPOTrainer._compute_loss(dpo_trainer(), model, batch, return_outputs=False)
    found["dpo"] = told(loss, better, worse)
    return found


def outputs(log_p):
    """What TRL's DPO reads of a model; beside log-probabilities it reports three things only."""
    zeros = torch.zeros_like(log_p)
    return SimpleNamespace(log_probs=log_p, entropy=zeros, mean_logits=zeros, is_top1=zeros > 0)


def log_probabilities(net, ids, count):
    """Of the last `count` tokens of ids (B, T), by transformers' GPT-2: (B, count)."""
    logits = net(input_ids=ids[:, :-1], use_cache=False, logits_to_keep=count).logits
    return logits.log_softmax(-1).gather(-1, ids[:, -count:, None])[..., 0]


START, LONG, KINDS, END = 16, 96, 65, 0  # tokens of a prompt, of a text; kinds, which ends one


def policies(quick, rows):
    """Our GPT and transformers', and so many texts (steps, rows, LONG) for a turn of training."""
    torch.manual_seed(0)
    mine = gpt.GPT(gpt.GPTConfig(KINDS, 128, 4, 4, 256))
    texts = torch.randint(1, KINDS, (4 if quick else 12, rows, LONG))
    return mine, gpt.to_transformers(mine).train(), texts


def dpo(quick) -> Race:
    """16 pairs a step; the reference's log-probabilities are there already."""
    from trl import DPOTrainer

    mine, peer, texts = policies(quick, 32)
    ours, trainer = policy.DPO(mine, START, END, beta=BETA_DPO), dpo_trainer()
    with torch.no_grad():
        ref = [ours.answer_log_p(ids).chunk(2) for ids in texts]
    mask = (torch.arange(LONG) >= START).long().expand(32, -1)

    def its_loss(net, batch):
        ids, (better, worse) = batch

        def model(input_ids, **_):
            log_p = log_probabilities(net, input_ids, LONG - START)
            return outputs(torch.nn.functional.pad(log_p, (START - 1, 0)))

        given = {"input_ids": ids, "attention_mask": mask, "completion_mask": mask,
                 "ref_chosen_logps": better, "ref_rejected_logps": worse}  # fmt: skip
        return DPOTrainer._compute_loss(trainer, model, given, return_outputs=False)

    def our_loss(model, batch):
        return model.loss((*batch[0].chunk(2), *batch[1]))

    batches = list(zip(texts, ref, strict=True))
    return training_race((ours, our_loss), (peer, its_loss), batches, len(batches))


def grpo(quick) -> Race:
    """32 answers a step, in groups of 8; old and reference log-probabilities are there already."""
    from trl import GRPOTrainer

    mine, peer, texts = policies(quick, 32)
    ours = policy.GRPO(mine, START, END, CLIP, BETA_KL, group=8)
    trainer = grpo_trainer(
        lambda net, ids, mask, count, *_, **__: (
            (log_p := log_probabilities(net, ids, count)), torch.zeros_like(log_p), None,
        )
    )  # fmt: skip
    scores = torch.rand(len(texts), 32)
    batches = []
    for ids, score in zip(texts, scores, strict=True):
        with torch.no_grad():
            batches.append(ours.experience(ids, score, ours(ids)[0]))

    def its_loss(net, batch):
        ids, old, ref, advantage = batch
        answer, prompt = ids[:, START:], ids[:, :START]
        given = {
            "prompt_ids": prompt, "prompt_mask": torch.ones_like(prompt),
            "completion_ids": answer, "completion_mask": torch.ones_like(answer),
            "advantages": advantage, "old_per_token_logps": old[:, START:],
            "ref_per_token_logps": ref[:, START:],
        }  # fmt: skip
        return GRPOTrainer._compute_loss(trainer, model=net, inputs=given)

    our_loss = lambda model, batch: model.loss(batch)  # noqa: E731
    return training_race((ours, our_loss), (peer, its_loss), batches, len(batches))


ROWS = [
    Row(name, "14_rlhf", f"{name.upper()}, GPT 4 layers of 256, 32 texts of 96", "trl", "steps/s",
        make, "loss after the steps", slack=1e-3, small="4 steps a turn")
    for name, make in (("dpo", dpo), ("grpo", grpo))
]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true")
    options = parser.parse_args()
    version = metadata.version("trl")
    its = theirs_with_ppo() if version.startswith("0.11.") else theirs()
    mine = ours()
    for name, wanted in its.items():
        off = max(abs(a - b) for a, b in zip(mine[name], wanted, strict=True))
        print(f"TRL {version}, {name}: {len(wanted)} numbers, largest difference {off:.1e}")
        if off > 1e-12:
            raise SystemExit(f"{name}: ours are not TRL's.")
    if options.store:
        kept = json.loads(STORED.read_text("utf-8")) if STORED.exists() else {}
        STORED.write_text(json.dumps({**kept, version: its}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
