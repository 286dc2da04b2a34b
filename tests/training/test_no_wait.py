"""No model's loss waits for a graphics card: each is run, and trained a step, under `NoWait`."""

import importlib
import inspect
import pkgutil
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_map

import genai_utils
from genai_utils.evaluation.judge import JudgeNet
from genai_utils.language import (
    bert,
    bi_encoder,
    experts,
    fill_in,
    finetuning,
    gpt,
    policy,
    regression,
    rlhf,
    transformer,
    web_agent,
    web_practice,
)
from genai_utils.structure import doc2vec, node_embeddings, pca, word_embeddings
from genai_utils.vision import (
    autoencoder,
    clip,
    cross_attention,
    diffusion,
    dit,
    divergence,
    entrants,
    flow,
    flow_matching,
    gan,
    glow,
    grey_pixels,
    image_coder,
    latent_diffusion,
    manifold,
    maskgit,
    mixture,
    modes,
    pixel_models,
    pixel_rnn,
    scene_judge,
    scenes,
    tangent_prop,
    vae,
    vq,
)
from genai_utils.vision.image_model import ImageModel
from genai_utils.vision.pixel_chain import PixelModel
from tests.card import Card
from tests.no_wait import NoWait, Waits

COUNTS = torch.arange(1.0, 12.0)


def generator():
    return torch.Generator().manual_seed(0)


def images(size=8):
    return torch.rand(6, 1, size, size, generator=generator())


def points():
    return torch.randn(20, 2, generator=generator())


def rings():
    return torch.randn(2, 6, 2, generator=generator())


def binary(size=8):
    return images(size).round()


def labelled():
    return binary(), torch.tensor([0, 1, 2, 2, 1, 0])


def written():
    return vq.TokenImages(vq.VQAutoencoder(8, 4, 4, 8), maskgit.MaskGIT(4, 2, 16, 1, 2))


def ids(V=11, T=9):
    return torch.randint(5, V, (4, T), generator=generator())


def pairs():
    texts = [torch.randint(5, 30, (60,), generator=generator()) for _ in range(3)]
    return bert.PairBatches(texts, 30, length=20, batch_size=4)(0)


def texts_and_labels():
    tokens = ids(30, 20)
    return tokens, tokens % 2, tokens > 6, torch.tensor([0, 1, 2, 0])


def tangent_batch():
    x, v = torch.rand(5, 2, 9), torch.rand(5, 2, 3, 9)
    return x, torch.randint(3, (5, 2)), v


def documents():
    return doc2vec.examples([torch.randint(11, (8,)) for _ in range(3)], 2)


def cells():
    return torch.tensor([0, 1, 2]), torch.tensor([3, 4, 5]), torch.tensor([1.0, 20.0, 300.0])


def cut():
    blocks = ids()
    blocks[-1, 5:] = -1
    return blocks


def examples(rows=1):
    """Texts of a task, each with Extract before its padding, and labels."""
    tokens = ids().repeat_interleave(rows, 0).view(4, rows, -1)
    tokens[..., -2], tokens[..., -1] = finetuning.EXTRACT, finetuning.PAD
    return tokens, torch.tensor([0, 1, 1, 0])


def practised(kind):
    """A policy and what a rollout of it would hold; with a seed, so that both are of one."""
    torch.manual_seed(0)
    return kind(gpt.GPT(GPT), 3, 7)


def experience(kind):
    scores, ref = torch.randn(4, generator=generator()), -torch.rand(4, 9, generator=generator())
    return practised(kind).eval().experience(ids(), scores, ref)


def agent():
    torch.manual_seed(0)
    return web_practice.AgentGRPO(gpt.GPT(replace(GPT, vocabulary=web_agent.VOCABULARY)), group=2)


def episodes():
    """Of two actions each, and what they were worth."""
    row = [5, web_agent.GO_ID, 6, 7, web_agent.DONE_ID, 8, web_agent.GO_ID, 9, web_agent.DONE_ID]
    played, scores = torch.tensor([row] * 4), torch.randn(4, generator=generator())
    return agent().eval().experience(played, scores, -torch.ones(4, 9))


def levels():
    return (images() * 7).round() / 7


def preferred():
    return ids(), ids().flip(0), -torch.ones(4), -torch.ones(4)


def small_clip(**options):
    sizes = {"dim": 6, "channels": 4, "width": 8, "text": 8, "heads": 2}
    return clip.small_clip(len(scenes.WORDS), scenes.CONTEXT, **sizes, **options)


def scenes_and_captions():
    return scenes.SceneBatches(4)(0)


def latent_model(kind, net):
    config = gpt.GPTConfig(len(scenes.WORDS), scenes.CONTEXT, 1, 4, 16)
    text = cross_attention.TextEncoder(transformer.Stack(config, causal=True))
    nets = {"dit": lambda: dit.DiT(text, width=16, layers=1),
            "unet": lambda: cross_attention.text_unet(text, width=8)}  # fmt: skip
    coder = image_coder.ImageCoder(width=4)
    return latent_diffusion.LatentDiffusion(coder, nets[net](), kind, T=20)


def latents_and_ids():
    ids = scenes.encode(["a red circle", "two blue 7s at the top", "a star"])
    return torch.randn(3, 4, 8, 8, generator=generator()), ids


def scenes_and_tables():
    return scene_judge.JudgeBatches(4)(0)


BERT = bert.BERTConfig(30, 20, 1, 2, 16, dropout=0.1)
GPT = gpt.GPTConfig(11, 9, 1, 4, 16, dropout=0.1)
LM = transformer.TransformerLM

# Every model of the package, in all its variants: how to make it, and a batch of it.
SMALL = {"width": 8, "mults": (1, 2)}  # of a U-Net
MODELS = {
    JudgeNet: [(lambda: JudgeNet(8, 8), lambda: (images(), torch.arange(6), images()))],
    bert.PreTraining: [(lambda: bert.PreTraining(BERT), pairs)],
    bert.Classifier: [(lambda: bert.Classifier(BERT, 3), texts_and_labels)],
    bi_encoder.BiEncoder: [
        (
            lambda: bi_encoder.BiEncoder(9, 4),
            lambda: (torch.tensor([[1, 2, -1], [3, -1, -1]]), torch.tensor([[4, 8], [5, 6]])),
        )
    ],
    fill_in.FillIn: [(lambda: fill_in.FillIn(GPT), ids)],
    gpt.GPT: [
        (lambda: gpt.GPT(GPT), ids),
        (lambda: experts.moe_gpt(GPT, 4, 2, z_weight=0.1), ids),
        (lambda: experts.moe_gpt(GPT, 4, balance="bias", capacity=None), ids),
        (lambda: experts.upcycle(gpt.GPT(GPT), 4, share=0.5), ids),
    ],
    finetuning.FineTuned: [
        (lambda: finetuning.FineTuned(gpt.GPT(GPT), 2, aux=0.5), examples),
        (lambda: finetuning.FineTuned(transformer.LSTMLM(11, 8), 2, reads="mean"), examples),
        (lambda: finetuning.FineTuned(gpt.GPT(GPT), choice=True), lambda: examples(3)),
    ],
    regression.RegressionGPT: [
        (
            lambda: regression.RegressionGPT(3, 5, layers=1, heads=2, dim=8),
            lambda: regression.RegressionBatches(4, 5, 3)(0),
        )
    ],
    rlhf.RewardModel: [
        (lambda: rlhf.RewardModel(gpt.GPT(GPT), 3, 7), lambda: (ids(), ids().flip(0)))
    ],
    policy.PPO: [(lambda: practised(policy.PPO), lambda: experience(policy.PPO))],
    policy.GRPO: [
        (
            lambda: policy.GRPO(gpt.GPT(GPT), 3, 7, group=2),
            lambda: policy.GRPO(gpt.GPT(GPT), 3, 7, group=2).experience(
                ids(), torch.rand(4, generator=generator()), -torch.ones(4, 9)
            ),
        )
    ],
    policy.DPO: [(lambda: practised(policy.DPO), preferred)],
    web_practice.AgentGRPO: [(agent, episodes)],
    entrants.CodedAutoencoder: [(lambda: entrants.CodedAutoencoder(8, 3, 8), images)],
    grey_pixels.GreyPixelCNN: [(lambda: grey_pixels.GreyPixelCNN(8, 4, 2), levels)],
    LM: [
        (lambda: LM(11, 16, 1, 2), ids),
        (lambda: LM(11, 16, 1, 2, "sinusoidal", window=3), ids),
        (lambda: LM(11, 16, 1, 2, "none"), lambda: (ids(), ids())),
    ],
    transformer.LSTMLM: [(lambda: transformer.LSTMLM(11, 8), ids)],
    transformer.ConvLM: [(lambda: transformer.ConvLM(11, 8, layers=2), ids)],
    doc2vec.PVDBOW: [(lambda: doc2vec.PVDBOW(3, COUNTS, 4), documents)],
    doc2vec.PVDM: [
        (lambda: doc2vec.PVDM(3, COUNTS, 4, window=2), documents),
        (lambda: doc2vec.PVDM(3, COUNTS, 4, window=2, concatenate=True), documents),
    ],
    node_embeddings.Line: [
        (lambda: node_embeddings.Line(COUNTS, 4), lambda: torch.randint(11, (6, 2)))
    ],
    pca.LinearAutoencoder: [
        (lambda: pca.LinearAutoencoder(8, 3), lambda: torch.randn(5, 8)),
        (lambda: pca.LinearAutoencoder(8, 3, tied=True), lambda: torch.randn(5, 8)),
    ],
    word_embeddings.GloVe: [(lambda: word_embeddings.GloVe(11, 4), cells)],
    word_embeddings.SkipGram: [(lambda: word_embeddings.SkipGram(COUNTS, 4), cut)],
    word_embeddings.CBOW: [(lambda: word_embeddings.CBOW(COUNTS, 4), cut)],
    autoencoder.Autoencoder: [
        (lambda: autoencoder.Autoencoder(8, 3, 8), images),
        (lambda: autoencoder.Autoencoder(8, 3, 8, "conv", binary=True), images),
        (lambda: autoencoder.Autoencoder(8, 3, 8, "transposed"), images),
    ],
    clip.CLIP: [
        (small_clip, scenes_and_captions),
        (lambda: small_clip(mean=(0.1,) * 3, std=(0.5,) * 3), scenes_and_captions),
        (lambda: small_clip(objective="identity"), scenes_and_captions),
    ],
    divergence.LinearGenerator: [(divergence.LinearGenerator, lambda: torch.randn(7))],
    gan.GAN: [
        (lambda: gan.GAN(8, 4, 4, r1=1.0), images),
        (lambda: gan.GAN(8, 4, 4, spectral=True, pack=2), lambda: (images(), "generator")),
    ],
    manifold.ManifoldAutoencoder: [
        (lambda: manifold.ManifoldAutoencoder(8, 5, contraction=0.1, noise=0.2), images),
        (lambda: manifold.ManifoldAutoencoder(8, 5, guard="tied"), images),
    ],
    manifold.PointAutoencoder: [
        (lambda: manifold.PointAutoencoder(noise=0.1), lambda: torch.randn(6, 3)),
        (lambda: manifold.PointAutoencoder(contraction=0.1), lambda: torch.randn(6, 3)),
    ],
    maskgit.MaskGIT: [
        (lambda: maskgit.MaskGIT(11, 3, 16, 1, 2), ids),
        (lambda: maskgit.MaskGIT(11, 3, 16, 1, 2, share=0.5), ids),
    ],
    mixture.BernoulliMixture: [
        (lambda: mixture.BernoulliMixture(images().clamp(0.1, 0.9)), binary)
    ],
    modes.PointGAN: [
        (lambda: modes.PointGAN(2, width=4, loss="wasserstein", slope=1.0), rings),
        (lambda: modes.PointGAN(2, loss="pairs"), lambda: (rings(), "discriminator")),
    ],
    pixel_models.MaskedPixelCNN: [
        (lambda: pixel_models.MaskedPixelCNN(8, 4, 2), binary),
    ],
    pixel_models.PixelCNN: [
        (lambda: pixel_models.PixelCNN(8, 4, 2, dilations=(1, 2)), binary),
        (lambda: pixel_models.PixelCNN(8, 4, 2, classes=3), labelled),
    ],
    pixel_rnn.PixelRNN: [(lambda: pixel_rnn.PixelRNN(8, 4, 1), binary)],
    tangent_prop.Classifiers: [
        (lambda: tangent_prop.Classifiers([0.0, 0.1], (9, 4, 3)), tangent_batch),
        (lambda: tangent_prop.Classifiers([0.0, 0.0], (9, 4, 3)), tangent_batch),
    ],
    diffusion.DDPM: [
        (lambda: diffusion.DDPM(8, T=20, **SMALL), images),
        (lambda: diffusion.DDPM(8, classes=3, T=30, schedule="linear", **SMALL), labelled),
        (lambda: diffusion.DDPM(8, T=20, output="velocity", **SMALL), images),
    ],
    flow_matching.RectifiedFlow: [(lambda: flow_matching.RectifiedFlow(8, **SMALL), images)],
    flow_matching.OneStep: [
        (
            lambda: flow_matching.OneStep(flow_matching.RectifiedFlow(8, **SMALL)),
            lambda: (images(), images()),
        ),
    ],
    image_coder.ImageCoder: [
        (lambda: image_coder.ImageCoder(8, width=4), lambda: torch.rand(3, 3, 8, 8))
    ],
    latent_diffusion.LatentDiffusion: [
        (lambda: latent_model("flow", "dit"), latents_and_ids),
        (lambda: latent_model("ddpm", "dit"), latents_and_ids),
        (lambda: latent_model("flow", "unet"), latents_and_ids),
    ],
    scene_judge.SceneJudge: [(lambda: scene_judge.SceneJudge(4), scenes_and_tables)],
    flow.Flow: [(lambda lu=lu: flow.Flow(2, 2, 8, lu=lu), points) for lu in (False, True)],
    glow.Glow: [
        (lambda: glow.Glow(8, depth=1, width=6, blocks=1, noise_depth=1), images),
        (lambda: glow.Glow(8, depth=1, width=6, blocks=1, noise="uniform", lu=True), images),
    ],
    vae.VAE: [
        (lambda: vae.VAE(8, 3, 8), binary),
        (lambda: vae.VAE(8, 3, 8, "conv", "gaussian", noise=False), images),
        (lambda: vae.VAE(8, 3, 8, classes=3), labelled),
    ],
    vq.VQAutoencoder: [(lambda: vq.VQAutoencoder(8, 4, 4, 8, patience=2), images)],
    vq.TokenImages: [(written, images)],
}
FRAMES = {
    PixelModel,
    diffusion.Diffusion,
    transformer.LanguageModel,
}  # what others are built upon
CASES = [
    pytest.param(*case, id=f"{kind.__name__}-{i}")
    for kind, cases in MODELS.items()
    for i, case in enumerate(cases)
]


def models_of_the_package():
    """Every nn.Module of genai_utils that has a `loss` of its own."""
    found = set()
    for module in pkgutil.walk_packages(genai_utils.__path__, "genai_utils."):
        if module.name.endswith("__main__"):
            continue
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(kind, nn.Module) and kind.__module__ == module.name:
                loss = getattr(kind, "loss", None)
                found |= {kind} if callable(loss) and loss is not ImageModel.loss else set()
    return found


def test_every_model_of_the_package_is_tried_here():
    missing = models_of_the_package() - FRAMES - set(MODELS)
    assert not missing, f"give MODELS a small instance of {missing}, and a batch"


def train_a_step(model, batch):
    """One whole step, as `fit` does it."""
    weights = [p for p in model.parameters() if p.requires_grad]
    loss = model.loss(batch)
    loss = loss["loss"] if isinstance(loss, dict) else loss
    if not weights:  # a mixture is fitted by EM
        return loss
    optimizer = torch.optim.AdamW(weights, lr=1e-3, fused=True)
    loss.backward()
    nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    return loss


@pytest.mark.parametrize(("make", "batch"), CASES)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_no_loss_waits_for_the_card(make, batch, training):
    torch.manual_seed(0)
    model, batch = make().train(training), batch()
    if hasattr(model, "check_batch"):
        model.check_batch(batch)
    for _ in range(3):  # an entry of a codebook dies at the third
        with NoWait():
            loss = train_a_step(model, batch)
    assert torch.isfinite(loss)


def on_card(leaf):
    """A tensor of a batch on the card; a word stays."""
    return leaf.to("cuda") if torch.is_tensor(leaf) else leaf


@pytest.mark.parametrize(("make", "batch"), CASES)
def test_no_loss_takes_anything_from_the_processor(make, batch):
    """On the pretended card, where copies and the wrong device are seen as well."""
    with Card():
        torch.manual_seed(0)
        model, batch = make().to("cuda"), tree_map(on_card, batch())
        with NoWait():
            loss = train_a_step(model, batch)
        assert loss.is_cuda and all(p.grad is None or p.grad.is_cuda for p in model.parameters())


WAITING = {
    "item": lambda x: x.sum().item(),
    "if": lambda x: 1 if x.sum() > 0 else 2,
    "bool": lambda x: bool((x > 0).all()),
    "mask": lambda x: x[x > 0],
    "mask, written": lambda x: x.clone().index_put_((x > 0,), torch.ones(())),
    "masked_select": lambda x: x.masked_select(x > 0),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 0),
    "unique": lambda x: x.unique(),
    "unique in a row": lambda x: x.unique_consecutive(),
    "equal": lambda x: torch.equal(x, x),
    "repeat": lambda x: x.repeat_interleave(torch.ones(4, dtype=torch.long)),
    "draw one": lambda x: x.softmax(0).multinomial(1),
    "draw without replacement": lambda x: x.softmax(0).multinomial(2),
    "list": lambda x: torch.tensor([1.0, 2.0]),
    "count": lambda x: x.abs().long().bincount(),
    "svd": lambda x: torch.linalg.eigh(x[:, None] @ x[None]),
    "tolist": lambda x: x.tolist(),
}


@pytest.mark.parametrize("name", WAITING)
def test_the_mode_notices_what_waits(name):
    x = torch.tensor([1.0, -1.0, 2.0, 3.0])
    WAITING[name](x)
    with pytest.raises(Waits), NoWait():
        WAITING[name](x)


CROSSING = {
    "to the processor": lambda x: x.cpu(),
    "to the card": lambda x: x + torch.ones(4).to("cuda"),
    "to that of another": lambda x: torch.ones(4).to(x),
    "a number": lambda x: x + torch.tensor(2.0, device=x.device),
    "an index": lambda x: x[torch.arange(3)],
    "a list as an index": lambda x: x[[0, 2]],
    "written": lambda x: torch.ones(4).copy_(x),
    "written to the card": lambda x: x.copy_(torch.ones(4)),
}


@pytest.mark.parametrize("name", CROSSING)
def test_the_mode_notices_what_crosses_between_processor_and_card(name):
    with Card():
        x = torch.ones(4, device="cuda")
        CROSSING[name](x)
        with pytest.raises(Waits), NoWait():
            CROSSING[name](x)
        with NoWait():
            x.to("cuda").to(torch.float64).to(x)


def test_the_mode_lets_through_what_does_not_wait():
    x = torch.tensor([1.0, -1.0, 2.0, 3.0])
    with NoWait():
        y = x.masked_fill(x > 0, 0.0) + torch.where(x > 0, x, 2.0) + torch.tensor(2.0)
        y = y[x.argsort()] + x.softmax(0).multinomial(4, replacement=True)
        y = y.repeat_interleave(2) + y.repeat_interleave(torch.full((4,), 2), output_size=8)
        y.to(torch.float64).index_fill_(0, x.argmax()[None], 0)
    assert y.shape == (8,)
