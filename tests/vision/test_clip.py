"""CLIP: the loss and its optimum, zero-shot and retrieval, the encoders, and OpenAI's weights."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel

from genai_utils.training import fit
from genai_utils.vision import clip, contrastive, scenes, vit


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def vectors(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=generator(seed)), dim=-1)


# ---- the losses


def of_table(S):
    """Images and sentences whose cosines are this table times a number, and that number."""
    B = len(S)
    size = torch.linalg.matrix_norm(S, 2) * 1.01
    images = torch.cat([S / size, torch.zeros(B, B, dtype=S.dtype)], 1)
    rest = torch.linalg.cholesky(torch.eye(B, dtype=S.dtype) - images[:, :B] @ images[:, :B].T)
    images[:, B:] = rest
    return images, torch.eye(B, 2 * B, dtype=S.dtype), size


def test_the_loss_by_hand():
    logits = torch.tensor([[2.0, 0.0], [1.0, 3.0]], dtype=torch.float64)
    rows = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(-2))]
    columns = [math.log(1 + math.exp(-1)), math.log(1 + math.exp(-3))]
    expected = (sum(rows) + sum(columns)) / 4
    images, sentences, scale = of_table(logits)
    loss = contrastive.contrastive_loss
    assert loss(images, sentences, scale).item() == pytest.approx(expected, abs=1e-9)
    assert loss(3 * images, 0.2 * sentences, scale).item() == pytest.approx(expected, abs=1e-9)


def test_only_differences_matter():
    S = torch.randn(5, 5, generator=generator(), dtype=torch.float64)
    loss = contrastive.contrastive_loss(*of_table(S)).item()
    for other in (S + 3, S.T, S.flip(0, 1)):  # a constant, both roles changed, another order
        assert contrastive.contrastive_loss(*of_table(other)).item() == pytest.approx(loss)
    assert contrastive.contrastive_loss(*of_table(S.flip(0))).item() != pytest.approx(loss)


def test_the_loss_at_its_ends():
    loss, eye = contrastive.contrastive_loss, torch.eye(3)
    same = torch.ones(9, 4)
    assert loss(same, same, 20.0).item() == pytest.approx(math.log(9), abs=1e-5)
    assert loss(same[:1], -same[:1], 5.0).item() == 0
    assert loss(eye, eye, 1e4).item() == 0
    assert loss(eye, eye.roll(1, 0), 1e4).item() == pytest.approx(1e4)
    with pytest.raises(ValueError, match="sentences: expected one for each of 3, got 4"):
        loss(torch.zeros(3, 5), torch.zeros(4, 5), 1.0)


def test_the_scale_learns_from_the_loss():
    """d loss / d τ is the mean cosine under the softmax minus that of the pairs."""
    I, T = vectors(6, 4).double(), vectors(6, 4, seed=1).double()
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    contrastive.contrastive_loss(I, T, scale).backward()
    S = I @ T.T
    p, q = (5 * S).softmax(1), (5 * S).softmax(0)
    expected = ((p * S).sum() + (q * S).sum()) / 12 - S.diagonal().mean()
    assert scale.grad.item() == pytest.approx(expected.item())


def test_the_slide_by_its_word():
    cosines = torch.tensor([[0.5, 0.2], [-0.4, 1.0]])
    expected = (0.25 + 0.04 + 0.16 + 0) / 4
    assert contrastive.identity_loss(cosines).item() == pytest.approx(expected)
    assert contrastive.identity_loss(torch.eye(4)).item() == 0


# ---- the optimum


@pytest.mark.parametrize(("B", "d"), [(2, 1), (3, 2), (3, 16), (9, 8), (16, 16), (17, 16)])
def test_a_simplex_is_one(B, d):
    x = contrastive.simplex(B, d)
    assert x.shape == (B, d) and x.dtype == torch.float32
    expected = torch.full((B, B), -1 / (B - 1)).fill_diagonal_(1)
    torch.testing.assert_close(x @ x.T, expected, atol=1e-5, rtol=0)
    assert x.sum(0).norm() < 1e-5


@pytest.mark.parametrize(("B", "d"), [(4, 2), (18, 16)])
def test_too_many_vectors_for_a_simplex(B, d):
    with pytest.raises(ValueError, match=f"at most d \\+ 1 = {d + 1} vectors in {d} dimensions"):
        contrastive.simplex(B, d)


@pytest.mark.parametrize("function", [contrastive.simplex, contrastive.welch_bound])
@pytest.mark.parametrize(("B", "d", "name"), [(1, 4, "B"), (2, 0, "d"), (2.5, 4, "B")])
def test_one_vector_has_no_angles(function, B, d, name):
    with pytest.raises((TypeError, ValueError), match=f"{name}: expected a whole number"):
        function(B, d)


def test_a_zero_vector_stays_zero():
    x = contrastive.unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    torch.testing.assert_close(x, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def free_vectors(B, d, scale, steps=500, seed=0):
    """Vectors without a network, trained by the loss: images and sentences (B, d)."""
    g = generator(seed)
    x = [torch.randn(B, d, generator=g).requires_grad_() for _ in range(2)]
    optimizer = torch.optim.Adam(x, lr=0.05)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / steps)
        images, sentences = (contrastive.unit(v) for v in x)
        loss = contrastive.contrastive_loss(images, sentences, scale)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return contrastive.unit(x[0]).detach(), contrastive.unit(x[1]).detach(), loss.item()


@pytest.mark.parametrize(("B", "d"), [(3, 2), (3, 8), (5, 4)])
def test_training_comes_to_the_simplex_and_not_to_orthogonality(B, d):
    images, sentences, loss = free_vectors(B, d, scale=2.0)
    S = images @ sentences.T
    off = S[~torch.eye(B, dtype=torch.bool)]
    np.testing.assert_allclose(off, -1 / (B - 1), atol=0.005)
    np.testing.assert_allclose(S.diagonal(), 1, atol=0.005)
    best = contrastive.simplex(B, d)
    least = contrastive.contrastive_loss(best, best, 2.0).item()
    assert loss == pytest.approx(least, abs=1e-5) and loss > least - 1e-6
    if d >= B:  # orthogonal vectors exist, and cost more
        square = torch.eye(B, d)
        assert contrastive.contrastive_loss(square, square, 2.0).item() > least + 0.005


def test_no_vectors_beat_welch():
    for B, d in ((20, 16), (64, 16), (10, 3)):
        for seed in range(20):
            x = vectors(B, d, seed=seed)
            off = (x @ x.T).fill_diagonal_(0).abs().max().item()
            assert off > contrastive.welch_bound(B, d)
    x = contrastive.simplex(9, 8)  # which meets it
    assert (x @ x.T).fill_diagonal_(0).abs().max().item() == pytest.approx(
        contrastive.welch_bound(9, 8), abs=1e-6
    )
    assert contrastive.welch_bound(64, 16) == pytest.approx(0.2182, abs=1e-4)
    assert contrastive.welch_bound(16, 16) == contrastive.welch_bound(4, 9) == 0


# ---- zero-shot, retrieval, the gap


def test_each_prompt_counts_alike():
    prompts = torch.tensor([[[3.0, 0.0], [0.0, 0.1]], [[-1.0, 0.0], [-1.0, 0.0]]])
    p = contrastive.zero_shot(torch.tensor([[0.0, 7.0]]), prompts, scale=2.0)
    expected = torch.tensor([[2 * 0.5**0.5, 0.0]]).softmax(-1)
    torch.testing.assert_close(p, expected)


def test_zero_shot_is_a_softmax_of_cosines():
    images, prompts = 3 * vectors(6, 8), vectors(4, 3, 8, seed=1)
    p = contrastive.zero_shot(images, prompts, scale=7.0)
    assert p.shape == (6, 4)
    for i in range(6):
        cosines = [
            F.cosine_similarity(images[i], F.normalize(prompts[k].sum(0), dim=0), dim=0)
            for k in range(4)
        ]
        expected = F.softmax(7 * torch.stack(cosines), dim=0)
        torch.testing.assert_close(p[i], expected)


def test_recall_counts_ranks():
    S = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.5, 0.6], [0.3, 0.3, 0.3]])
    assert [contrastive.recall_at(S, k).item() for k in (1, 2, 3)] == pytest.approx(
        [1 / 3, 1 / 3, 1]
    )
    assert contrastive.recall_at(S.T, 1).item() == pytest.approx(2 / 3)
    assert contrastive.recall_at(torch.zeros(5, 5), 4).item() == 0
    assert contrastive.recall_at(torch.eye(4, 9), 1).item() == 1
    with pytest.raises(ValueError, match="k: expected 1 to 3, got 4"):
        contrastive.recall_at(S, 4)


def test_the_gap_is_between_the_middles():
    g = contrastive.modality_gap
    x = vectors(200, 5)
    assert g(x, x) == 0 and g(x, 4 * x) < 1e-6
    assert g(torch.tensor([[2.0, 0.0]]), torch.tensor([[-1.0, 0.0]])).item() == pytest.approx(2)


def test_a_sentence_is_read_at_its_first_end():
    ids = torch.tensor([[5, 6, 0, 0], [5, 0, 7, 0], [1, 2, 3, 4], [0, 3, 3, 3]])
    hidden = torch.arange(16.0).reshape(4, 4, 1)
    assert contrastive.end_vectors(hidden, ids, 0).flatten().tolist() == [2, 5, 11, 12]


# ---- the model


def tiny(**options):
    torch.manual_seed(0)
    return clip.small_clip(
        len(scenes.WORDS), scenes.CONTEXT, dim=16, channels=8, width=32, text=32, **options
    )


def batch(n=6, step=0):
    return scenes.SceneBatches(n)(step)


def test_vectors_have_length_one_and_the_loss_is_that_of_their_cosines():
    model, (x, ids) = tiny(), batch()
    I, T = model.image(x), model.text(ids)
    assert I.shape == T.shape == (6, 16)
    torch.testing.assert_close(I.norm(dim=1), torch.ones(6))
    torch.testing.assert_close(T.norm(dim=1), torch.ones(6))
    found = model.loss((x, ids))
    expected = contrastive.contrastive_loss(I, T, 5.0)
    torch.testing.assert_close(found["loss"], expected)
    assert found["scale"].item() == pytest.approx(5)


def test_other_objectives():
    x, ids = batch()
    model = tiny(objective="identity")
    cosines = model.image(x) @ model.text(ids).T
    torch.testing.assert_close(model.loss((x, ids))["loss"], contrastive.identity_loss(cosines))
    own = tiny(objective=lambda images, sentences, scale: (scale * images @ sentences.T).sum())
    torch.testing.assert_close(own.loss((x, ids))["loss"], (own.scale * cosines).sum())
    with pytest.raises(ValueError, match="objective: expected one of 'contrastive', 'identity'"):
        tiny(objective="mse")


def test_the_temperature_is_learned_and_held():
    model, pairs = tiny(), batch()
    model.loss(pairs)["loss"].backward()
    assert model.log_scale.grad.abs() > 0
    with torch.no_grad():
        model.log_scale.fill_(9.0)
    assert model.scale.item() == 100


def test_what_fills_up_has_no_effect_and_what_comes_before_has():
    model = tiny().eval()
    ids = scenes.encode(["a red circle", "a blue circle"])
    long = model.text(ids)
    torch.testing.assert_close(model.text(ids[:, :4]), long)
    other = ids.clone()
    other[:, 4:] = 9  # after the end
    torch.testing.assert_close(model.text(other), long)
    assert (long[0] - long[1]).abs().max() > 1e-4


def test_pixels_are_brought_to_the_models_scale():
    x = torch.rand(2, 3, 32, 32, generator=generator())
    plain, scaled = tiny(), tiny(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.6, 0.7])
    expected = plain.image((x - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(scaled.image(x), expected)


@pytest.mark.parametrize(
    ("x", "ids", "error", "message"),
    [
        (torch.rand(2, 1, 32, 32), torch.ones(2, 5).long(), ValueError, r"\(B, 3, 32, 32\)"),
        (torch.rand(2, 3, 28, 28), torch.ones(2, 5).long(), ValueError, r"\(B, 3, 32, 32\)"),
        (torch.rand(2, 3, 32, 32), torch.ones(2, 17).long(), ValueError, "at most 16 tokens"),
        (torch.rand(2, 3, 32, 32), torch.ones(2, 5), TypeError, "a tensor of whole numbers"),
    ],
)
def test_what_does_not_fit_is_refused(x, ids, error, message):
    with pytest.raises(error, match=message):
        tiny().loss((x, ids))


@pytest.mark.parametrize(
    ("x", "ids", "message"),
    [
        (2 * torch.ones(2, 3, 32, 32), torch.ones(2, 5).long(), "pixels between 0 and 1"),
        (torch.rand(2, 3, 32, 32), torch.full((2, 5), 999), "ids from 0 to"),
        (torch.rand(2, 3, 32, 32), torch.ones(3, 5).long(), "a sentence for each of 2 images"),
    ],
)
def test_values_are_checked_where_batches_begin(x, ids, message):
    with pytest.raises(ValueError, match=message):
        tiny().check_batch((x, ids))


def test_it_learns():
    """From chance to something, in a few seconds, on pictures that it has not seen."""
    model = tiny()
    x, ids = batch(64, step=10**6)

    def recall():
        with torch.no_grad():
            return contrastive.recall_at(model.image(x) @ model.text(ids).T, 5).item()

    before = recall()
    options = {"optimizer": clip.muon(model), "warmup": 10, "progress": False}
    model = fit(model, scenes.SceneBatches(32), 120, **options).model.eval()
    assert before < 0.2 and recall() > 0.35


def test_the_convolutions_halve_the_side_to_eight_and_then_add():
    for size, count in ((16, 1), (32, 2), (64, 3)):
        net = clip.ConvEncoder(channels=4, size=size, width=10)
        assert [layer.halve for layer in net.layers] == count * [True] + 2 * [False]
        x = torch.rand(2, 3, size, size)
        assert net.layers(x).shape[-1] == 8 and net(x).shape == (2, 10)


def test_what_is_read_wherever_it_is():
    """With weights for the largest number anywhere alone, a place has no effect; else it has."""
    net = clip.ConvEncoder(channels=4, width=10)
    net.layers = torch.nn.Identity()
    h = torch.zeros(2, 12, 8, 8)
    h[0, 3, 1, 1] = h[1, 3, 6, 5] = 2
    assert (net(h)[0] - net(h)[1]).abs().max() > 1e-4
    with torch.no_grad():
        net.last.weight[:, 12:] = 0
        net.last.weight[:, 3], net.last.bias[:] = 1, 0
    torch.testing.assert_close(net(h), 2 * torch.ones(2, 10))


def test_sentences_begin_apart_by_their_words():
    """Before any training, the nearest sentence in another phrasing is the one of its kind; with
    ordinary first weights it is so for 8 to 14 of 18 kinds (four seeds)."""
    torch.manual_seed(0)
    model = clip.small_clip(len(scenes.WORDS), scenes.CONTEXT)
    rows = [scenes.scene(kind=kind, colour="red", size="small") for kind in scenes.KINDS]
    found = []
    for phrasing in (0, 2):
        vectors = model.text(scenes.encode([scenes.caption(row, phrasing) for row in rows]))
        found.append(contrastive.unit(vectors - vectors.mean(0)))
    assert torch.equal((found[0] @ found[1].T).argmax(1), torch.arange(len(rows)))


# ---- the vision transformer, and OpenAI's weights


def test_patches_are_read_in_rows():
    net = vit.VisionTransformer(size=16, patch=4, dim=8, layers=0)
    x = torch.rand(1, 3, 16, 16, generator=generator())
    patch = net.patches(x).flatten(2).mT  # (1, 16, 8)
    expected = (x[0, :, 4:8, 8:12] * net.patches.weight).sum((1, 2, 3))
    torch.testing.assert_close(patch[0, 1 * 4 + 2], expected)
    with pytest.raises(ValueError, match="size: expected a multiple of the patch, 5, got 16"):
        vit.VisionTransformer(size=16, patch=5)


def peer_clip():
    torch.manual_seed(1)
    text = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "max_position_embeddings": 12, "eos_token_id": 59}
    text |= {"bos_token_id": 58, "pad_token_id": 57}
    seen = {"hidden_size": 48, "intermediate_size": 192, "num_hidden_layers": 3}
    seen |= {"num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    peer = CLIPModel(CLIPConfig(text_config=text, vision_config=seen, projection_dim=24)).eval()
    for p in peer.parameters():  # so large that each part is felt
        torch.nn.init.normal_(p, std=0.2)
    return peer


@torch.no_grad()
def test_openais_clip_in_our_class():
    peer = peer_clip()
    model = clip.from_transformers(peer, end=59)
    g = generator()
    x = torch.rand(5, 3, 32, 32, generator=g)
    ids = torch.randint(0, 57, (5, 12), generator=g)
    for row, end in zip(ids, (4, 7, 11, 11, 2), strict=True):
        row[end:] = 57
        row[end] = 59
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (clip.OPENAI_MEAN, clip.OPENAI_STD))
    theirs = peer(input_ids=ids, pixel_values=(x - mean) / std)
    torch.testing.assert_close(model.image(x), theirs.image_embeds, atol=1e-4, rtol=0)
    torch.testing.assert_close(model.text(ids), theirs.text_embeds, atol=1e-4, rtol=0)
    logits = model.scale * model.image(x) @ model.text(ids).T
    torch.testing.assert_close(logits, theirs.logits_per_image, atol=1e-4, rtol=1e-4)
    assert not model.training


@pytest.mark.parametrize(
    ("part", "name", "value", "expected"),
    [
        ("text", "hidden_act", "gelu", "'quick_gelu'"),
        ("vision", "intermediate_size", 100, "192"),
        ("text", "layer_norm_eps", 1e-6, "1e-05"),
    ],
)
def test_a_peer_of_another_form_is_refused(part, name, value, expected):
    peer = peer_clip()
    setattr(getattr(peer.config, f"{part}_config"), name, value)
    with pytest.raises(ValueError, match=f"{part}: {name}: expected one of {expected}"):
        clip.from_transformers(peer)


def test_quick_gelu_is_near_gelu():
    x = torch.linspace(-4, 4, 50)
    torch.testing.assert_close(vit.QuickGELU()(x), F.gelu(x), atol=0.021, rtol=0)
    assert (vit.QuickGELU()(x) - F.gelu(x)).abs().max() > 0.01
