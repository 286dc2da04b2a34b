"""Latent diffusion: sentences taken away, what is learned, walks, guidance, frames, bad input."""

import pytest
import torch

from genai_utils.language.gpt import GPTConfig
from genai_utils.language.transformer import Stack
from genai_utils.training import TensorBatches, fit
from genai_utils.vision import scenes
from genai_utils.vision.cross_attention import TextEncoder, text_unet
from genai_utils.vision.diffusion import cumulative, guided, noised
from genai_utils.vision.dit import DiT
from genai_utils.vision.flow_matching import heun, straight
from genai_utils.vision.image_coder import ImageCoder, Pixels
from genai_utils.vision.latent_diffusion import (
    LatentDiffusion,
    composed,
    latent_betas,
    scene_pairs,
    without_some,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def encoder():
    config = GPTConfig(len(scenes.WORDS), scenes.CONTEXT, 1, 4, 16)
    return TextEncoder(Stack(config, causal=True), scenes.END)


def small(kind="flow", net="dit", coder=None, **options):
    coder = ImageCoder(width=8) if coder is None else coder
    if net == "dit":
        net = DiT(encoder(), coder.side, coder.latent, 16, 1, patch=coder.side // 4)
    else:
        net = text_unet(encoder(), coder.side, coder.latent, 8)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    return LatentDiffusion(coder, net, kind, **{"T": 50, **options})


BOTH = pytest.mark.parametrize("kind", ["flow", "ddpm"])
SAID = ["a red circle", "two blue 7s at the top", "a star"]


# -- training --------------------------------------------------------------------------------------


def test_sentences_are_taken_away_whole_and_as_often_as_asked():
    ids = torch.randint(1, 9, (4_000, 5))
    draws = torch.rand(4_000)
    found = without_some(ids, 0, 0.1, draws)
    gone = (found == 0).all(1)
    assert torch.equal(gone, draws < 0.1)
    assert torch.equal(found[~gone], ids[~gone])
    assert gone.double().mean().item() == pytest.approx(0.1, abs=0.02)
    assert torch.equal(without_some(ids, 0, 0.0, draws), ids)
    assert (without_some(ids, 3, 1.0, draws) == 3).all()


@BOTH
@pytest.mark.parametrize("net", ["dit", "unet"])
def test_the_loss_is_that_of_chapter_27(kind, net):
    model = small(kind, net, dropped=0.0)
    z, ids = torch.randn(6, 4, 8, 8), scenes.encode(SAID * 2)
    torch.manual_seed(3)
    found = model.loss((z, ids))["loss"]
    torch.manual_seed(3)
    torch.rand(6)  # who would have lost the sentence
    if kind == "flow":
        u = torch.rand(6)
        place, wanted = straight(z, u, torch.randn_like(z))
        told = 1_000 * u
    else:
        told, wanted = torch.randint(1, 51, (6,)), torch.randn_like(z)
        place = noised(z, model.walker.bar[told], wanted)
    expected = (model.net(place, told, ids) - wanted).square().mean()
    torch.testing.assert_close(found, expected)


def test_without_its_sentence_the_net_gets_the_empty_one():
    model, z = small(dropped=1.0), torch.randn(3, 4, 8, 8)
    torch.manual_seed(1)
    one = model.loss((z, scenes.encode(SAID)))["loss"]
    torch.manual_seed(1)
    other = model.loss((z, scenes.encode(SAID[::-1])))["loss"]
    assert torch.equal(one, other)
    model.dropped = 0.0
    torch.manual_seed(1)
    assert not torch.equal(one, model.loss((z, scenes.encode(SAID)))["loss"])


def test_only_the_denoiser_is_trained():
    model = small()
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"walker"}
    model.loss((torch.randn(3, 4, 8, 8), scenes.encode(SAID)))["loss"].backward()
    assert all(p.grad is None for p in model.coder.parameters())
    assert all(p.grad is None for p in model.text.parameters())


@BOTH
def test_it_learns_what_a_word_looks_like(kind):
    """Two words, two latents: after a short training each word calls its own."""
    coder = Pixels(4, 1)
    model = LatentDiffusion(coder, DiT(encoder(), 4, 1, 16, 1, patch=2), kind, T=50)
    ids = scenes.encode(["red", "blue"]).repeat(32, 1)
    z = torch.tensor([1.0, -1.0]).repeat(32).reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    batches = TensorBatches(z, ids, batch_size=64)
    model = fit(model, batches, 200, lr=1e-2, progress=False).model
    g = torch.Generator().manual_seed(0)
    x = model.draw(["red"] * 20 + ["blue"] * 20, steps=10, guidance=1.0, generator=g)
    assert x[:20].mean() - x[20:].mean() > 0.5


def test_the_schedule_is_stable_diffusions():
    beta = latent_betas()
    assert beta[0].item() == pytest.approx(0.00085) and beta[-1].item() == pytest.approx(0.012)
    gaps = beta.sqrt().diff()
    torch.testing.assert_close(gaps, gaps.mean().expand_as(gaps))
    assert cumulative(beta)[-1].item() == pytest.approx(0.00466, abs=1e-5)
    assert cumulative(latent_betas(50))[-1].item() == pytest.approx(0.0047, abs=0.002)
    assert latent_betas(13).max() < 1  # 12 steps would end with β = 1
    with pytest.raises(ValueError, match="steps"):
        latent_betas(12)


# -- walks -----------------------------------------------------------------------------------------


@BOTH
def test_frames_end_where_the_walk_ends(kind):
    model, noise = small(kind), torch.randn(1, 4, 8, 8)
    frames = list(model.frames(SAID[1], 10, 2.0, noise=noise))
    assert [round(time, 3) for time, *_ in frames] == [round(1 - i / 10, 3) for i in range(11)]
    assert torch.equal(frames[0][1], noise)
    expected = model.walk(noise, scenes.encode(SAID[1:2]), 10, 2.0)
    torch.testing.assert_close(frames[-1][1], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(frames[-1][2], expected, atol=1e-4, rtol=1e-4)
    last, behind = frames[-2][1:]
    assert not torch.allclose(last, behind)
    if kind == "flow":  # the last step ends at what is seen behind it
        torch.testing.assert_close(behind, expected, atol=1e-4, rtol=1e-4)


@BOTH
def test_a_net_that_knows_the_data_walks_to_it(kind):
    """If all data are one latent, the exact velocity, or noise, leads there from anywhere."""
    model, m = small(kind), torch.randn(1, 4, 8, 8)

    class Known(torch.nn.Module):
        condition = model.net.condition

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, z, t, y=None):
            if kind == "flow":
                return (z - m) / (t / 1_000).reshape(-1, 1, 1, 1)
            bar = model.walker.bar[t].reshape(-1, 1, 1, 1)
            return (z - bar.sqrt() * m) / (1 - bar).sqrt()

    model.walker.net = Known()
    noise = torch.randn(3, 4, 8, 8)
    end = model.walk(noise, scenes.encode(SAID), 7, 1.5)
    torch.testing.assert_close(end, m.expand_as(end), atol=1e-3, rtol=1e-3)
    for time, _, behind in model.frames(SAID[0], 7, 1.5):
        if time:
            torch.testing.assert_close(behind, m, atol=1e-3, rtol=1e-3)


@BOTH
def test_guidance_exaggerates_what_the_sentence_adds(kind):
    model, noise = small(kind), torch.randn(3, 4, 8, 8)
    ids, empty = scenes.encode(SAID), torch.zeros(3, scenes.CONTEXT, dtype=torch.long)
    one = {w: model.walk(noise, ids, 1, w) for w in (0.0, 1.0, 2.0)}
    plain = model.walk(noise, empty, 1, 0.0)
    # A walk of one step is affine in the prediction, which is affine in w.
    torch.testing.assert_close(one[1.0], 2 * one[0.0] - plain, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(one[2.0], 3 * one[0.0] - 2 * plain, atol=1e-3, rtol=1e-3)
    assert (one[1.0] - one[0.0]).abs().max() > 1e-3


@BOTH
def test_pictures_of_sentences(kind):
    model = small(kind)
    x = model.draw(SAID, steps=3, generator=torch.Generator().manual_seed(1))
    assert x.shape == (3, 3, 32, 32) and x.min() >= 0 and x.max() <= 1
    again = model.draw(scenes.encode(SAID), 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(x, again)
    noise = model.noise(3, torch.Generator().manual_seed(1))
    assert torch.equal(x, model.draw(SAID, 3, noise=noise))
    parts = model.draw(SAID, 3, noise=noise, chunk=2)
    torch.testing.assert_close(x, parts, atol=1e-4, rtol=1e-3)
    changed = model.draw(["a blue circle", *SAID[1:]], 3, noise=noise)
    assert (changed - x)[0].abs().max() > 1e-4 and (changed - x)[1:].abs().max() < 1e-4
    assert model.sample(2, steps=2).shape == (2, 3, 32, 32)


def test_solvers_of_chapter_27_serve_here():
    model, noise = small(), torch.randn(3, 4, 8, 8)
    ids = scenes.encode(SAID)
    assert not torch.allclose(model.walk(noise, ids, 4), model.walk(noise, ids, 4, solver=heun))


def test_one_sentence_composed_is_guidance_and_a_weight_below_zero_leads_away():
    none, told = torch.randn(3, 2, 4), torch.randn(2, 3, 2, 4)
    one = composed(none, told[:1], torch.tensor([2.5]))
    torch.testing.assert_close(one, guided(none, told[0], 1.5))
    both = composed(none, told, torch.tensor([1.0, -0.5]))
    torch.testing.assert_close(both, told[0] - 0.5 * (told[1] - none))
    assert torch.equal(composed(none, told[:0], torch.zeros(0)), none)


def test_pictures_of_several_sentences():
    model, noise = small(), torch.randn(2, 4, 8, 8)
    alone = model.compose(SAID[:1], [3.0], steps=3, noise=noise)
    torch.testing.assert_close(alone, model.draw(SAID[:1] * 2, 3, 2.0, noise=noise))
    both = model.compose(SAID[:2], [3.0, -1.0], steps=3, noise=noise)
    assert both.shape == (2, 3, 32, 32) and (both - alone).abs().max() > 1e-4
    with pytest.raises(ValueError, match="each of 2 sentences"):
        model.compose(SAID[:2], [3.0])
    with pytest.raises(ValueError, match="kind"):
        small("ddpm").compose(SAID[:1], [1.0])


# -- pairs -----------------------------------------------------------------------------------------


def test_pairs_are_latents_and_captions_of_scenes():
    coder = ImageCoder(width=8)
    z, ids = scene_pairs(30, coder, seed=5, chunk=20)
    assert z.shape == (30, 4, 8, 8) and ids.shape == (30, scenes.CONTEXT)
    x, expected = scenes.SceneBatches(20, 5)(0)
    assert torch.equal(ids[:20], expected)
    torch.testing.assert_close(z[:20], coder.encode(x))
    fewer = scene_pairs(25, coder, seed=5, chunk=20)
    assert torch.equal(fewer[0], z[:25]) and torch.equal(fewer[1], ids[:25])
    rows = torch.stack([scenes.parse(scenes.decode(row)) for row in ids])
    assert not scenes.held_out(rows).any()
    assert not z.requires_grad


# -- bad input -------------------------------------------------------------------------------------


def test_sentences_that_cannot_be_read_are_refused():
    model = small()
    for text, says in (("a red dog", "dog"), ("", "at least one word"), ("a " * 20, "at most 15")):
        for ask in (lambda text: model.draw([text], 2), lambda text: list(model.frames(text, 2))):
            with pytest.raises(ValueError, match=says):
                ask(text)
    with pytest.raises(TypeError, match="list of texts"):
        model.draw("a red circle", 2)
    with pytest.raises(ValueError, match="ids from 0"):
        model.draw(torch.full((1, scenes.CONTEXT), 999), 2)
    with pytest.raises(ValueError, match=r"\(B, 16\)"):
        model.draw(torch.zeros(1, 5, dtype=torch.long), 2)


@BOTH
def test_guidance_below_zero_and_no_steps_are_refused(kind):
    model = small(kind)
    with pytest.raises(ValueError, match="guidance"):
        model.draw(SAID, 2, guidance=-0.5)
    with pytest.raises(ValueError, match="guidance"):
        list(model.frames(SAID[0], 2, guidance=-0.5))
    for ask in (lambda: model.draw(SAID, 0), lambda: list(model.frames(SAID[0], 0))):
        with pytest.raises(ValueError, match="steps"):
            ask()


@BOTH
def test_latents_of_another_size_are_refused(kind):
    model, wrong = small(kind), torch.randn(3, 3, 32, 32)
    ids = scenes.encode(SAID)
    for ask in (
        lambda: model.loss((wrong, ids)),
        lambda: model.check_batch((wrong, ids)),
        lambda: model.walk(wrong, ids),
        lambda: model.draw(SAID, 2, noise=wrong),
        lambda: list(model.frames(SAID[0], 2, noise=wrong)),
    ):
        with pytest.raises(ValueError, match=r"latents of shape \(B, 4, 8, 8\)"):
            ask()
    with pytest.raises(ValueError, match="one for each of 3"):
        model.draw(SAID, 2, noise=torch.randn(2, 4, 8, 8))


def test_batches_that_do_not_fit_are_refused():
    model, z = small(), torch.randn(3, 4, 8, 8)
    ids = scenes.encode(SAID)
    model.check_batch((z, ids))
    with pytest.raises(ValueError, match="each of 3 latents"):
        model.check_batch((z, ids[:2]))
    with pytest.raises(ValueError, match="finite"):
        model.check_batch((z / 0 * 0, ids))
    with pytest.raises(ValueError, match="ids"):
        model.check_batch((z, ids + 1_000))
    with pytest.raises(ValueError, match="kind"):
        small("gan")
    with pytest.raises(ValueError, match="dropped"):
        small(dropped=1.5)
