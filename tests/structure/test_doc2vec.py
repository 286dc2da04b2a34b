"""Document embeddings: their mathematics, what they factorise, order, inference, bad input."""

import copy
import math
import random

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import torch.nn.functional as F

from genai_utils.structure import doc2vec
from genai_utils.structure.word_embeddings import negative_sampling_loss, noise_distribution
from genai_utils.training import TensorBatches, fit


def topics(documents=40, words=30, length=40, seed=0):
    """Documents about one of two topics, each with half of the vocabulary; ids, labels, counts."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(documents) % 2
    half = words // 2
    ids = [torch.randint(0, half, (length,), generator=g) + half * y for y in labels]
    return ids, labels, torch.bincount(torch.cat(ids), minlength=words)


@pytest.fixture(scope="module")
def trained():
    ids, labels, counts = topics()
    torch.manual_seed(0)
    models = {
        "bow": doc2vec.PVDBOW(40, counts, dim=8),
        "mean": doc2vec.PVDM(40, counts, dim=8, window=2),
        "side": doc2vec.PVDM(40, counts, dim=8, window=2, concatenate=True),
        "shared": doc2vec.PVDBOW(40, counts, dim=8, shared=16),
    }
    for model in models.values():
        batches = TensorBatches(*doc2vec.examples(ids, 2), batch_size=200)
        fit(model, batches, 200, lr=0.05, progress=False)
    return models, ids, labels


# --- examples


def test_examples_are_every_word_with_its_neighbours_in_order():
    doc, context, word = doc2vec.examples([torch.tensor([5, 6, 7]), torch.tensor([8])], 2)
    assert doc.tolist() == [0, 0, 0, 1] and word.tolist() == [5, 6, 7, 8]
    expected = [[-1, -1, 6, 7], [-1, 5, 7, -1], [5, 6, -1, -1], [-1, -1, -1, -1]]
    assert context.tolist() == expected


@pytest.mark.parametrize(
    ("documents", "error", "text"),
    [
        ([], ValueError, "corpus is empty"),
        ([torch.tensor([1]), torch.tensor([], dtype=torch.int64)], ValueError, "document 1"),
        ([torch.tensor([0.5])], TypeError, "word ids"),
        ([torch.tensor([[1, 2]])], TypeError, "word ids"),
        (torch.tensor([1, 2]), TypeError, "list of"),
        ("words", TypeError, "list of"),
    ],
)
def test_bad_documents_are_refused(documents, error, text):
    with pytest.raises(error, match=text):
        doc2vec.examples(documents)


@pytest.mark.parametrize("window", [0, -1, 2.0, True])
def test_bad_windows_are_refused(window):
    with pytest.raises((ValueError, TypeError), match="window"):
        doc2vec.examples([torch.tensor([1, 2])], window)


@pytest.mark.parametrize("name", ["documents", "dim", "negatives", "shared"])
@pytest.mark.parametrize("value", [0, 2.5])
def test_bad_sizes_are_refused(name, value):
    sizes = {"documents": 3, "dim": 4, "negatives": 5} | {name: value}
    with pytest.raises((ValueError, TypeError), match=name):
        doc2vec.PVDBOW(counts=torch.ones(6), **sizes)


def test_an_empty_vocabulary_is_refused():
    with pytest.raises(ValueError, match="vocabulary is empty"):
        doc2vec.PVDBOW(3, torch.ones(0))


# --- losses and hidden vectors


def test_pvdbow_loss_is_chapter_5s_loss_and_log_of_probabilities():
    g = torch.Generator().manual_seed(0)
    d, y = torch.randn(6, 4, generator=g), torch.randn(6, 4, generator=g)
    noise = torch.randn(6, 3, 4, generator=g)
    negative = (noise @ d[:, :, None])[:, :, 0]
    loss = doc2vec.pvdbow_loss(d, y, noise)
    assert torch.allclose(loss, negative_sampling_loss((d * y).sum(1), negative))
    by_hand = -torch.sigmoid((d * y).sum(1)).log() - (1 - torch.sigmoid(negative)).log().sum(1)
    assert torch.allclose(loss, by_hand.mean())


def test_an_untrained_model_loses_log_two_per_decision():
    ids, _, counts = topics()
    for model in (doc2vec.PVDBOW(40, counts), doc2vec.PVDM(40, counts, concatenate=True)):
        loss = model.loss(doc2vec.examples(ids, 5))
        assert torch.allclose(loss, 6 * torch.tensor(2.0).log())


@pytest.mark.parametrize("kind", [doc2vec.PVDBOW, doc2vec.PVDM])
def test_model_losses_are_those_of_the_functions(kind):
    ids, _, counts = topics()
    batch = doc2vec.examples(ids, 2)
    model = kind(40, counts, dim=6, negatives=3)
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    torch.manual_seed(3)
    loss = model.loss(batch)
    torch.manual_seed(3)
    drawn = torch.multinomial(model.noise, 3 * len(batch[0]), replacement=True).view(-1, 3)
    again = doc2vec.pvdbow_loss(
        model.hidden(*batch[:2]), model.output(batch[2]), model.output(drawn)
    )
    torch.testing.assert_close(loss, again)


@pytest.mark.parametrize("kind", [doc2vec.PVDBOW, doc2vec.PVDM])
@pytest.mark.parametrize("words", [1, 63, 64, 150])
def test_shared_negatives_count_as_if_each_word_of_the_group_had_drawn_them(kind, words):
    ids, _, counts = topics()
    batch = [part[:words] for part in doc2vec.examples(ids, 2)]
    model = kind(40, counts, dim=6, negatives=3, shared=7)
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    torch.manual_seed(3)
    loss = model.loss(batch)
    torch.manual_seed(3)
    groups = -(-words // doc2vec.GROUP)
    drawn = torch.multinomial(model.noise, groups * 7, replacement=True).view(groups, 7)
    drawn = drawn[torch.arange(words) // doc2vec.GROUP]  # (words, 7)
    h, y, noise = model.hidden(*batch[:2]), model.output(batch[2]), model.output(drawn)
    positive = doc2vec.pvdbow_loss(h, y, noise[:, :0])
    by_hand = positive + 3 / 7 * (doc2vec.pvdbow_loss(h, y, noise) - positive)
    torch.testing.assert_close(loss, by_hand)
    found, expected = (
        torch.autograd.grad(one, [model.output.weight, model.documents.weight], retain_graph=True)
        for one in (loss, by_hand)
    )
    torch.testing.assert_close(found, expected)


def test_hidden_vectors_of_pvdm():
    d = torch.tensor([[6.0, 0.0], [1.0, 1.0]])
    x = torch.tensor([[[3.0, 3.0], [9.0, 9.0]], [[5.0, 5.0], [7.0, 7.0]]])
    present = torch.tensor([[True, False], [False, False]])
    assert doc2vec.pvdm_hidden(d, x, present).tolist() == [[4.5, 1.5], [1.0, 1.0]]
    beside = doc2vec.pvdm_concatenated(d, x, present)
    assert beside.tolist() == [[6, 0, 3, 3, 0, 0], [1, 1, 0, 0, 0, 0]]


@pytest.mark.parametrize("concatenate", [False, True])
def test_the_models_use_them(concatenate):
    """The same vectors and gradients, without the product by the mask."""
    function = doc2vec.pvdm_concatenated if concatenate else doc2vec.pvdm_hidden
    ids, _, counts = topics()
    doc, context, _ = doc2vec.examples(ids, 2)
    model = doc2vec.PVDM(40, counts, dim=4, window=2, concatenate=concatenate).double()
    found = model.hidden(doc, context)
    x = model.input.weight[context.clamp(min=0)]
    expected = function(model.documents.weight[doc], x, context >= 0)
    torch.testing.assert_close(found, expected)
    tables = [model.documents.weight, model.input.weight]
    upstream = torch.randn(found.shape, generator=torch.Generator().manual_seed(0)).double()
    for one, other in zip(*(torch.autograd.grad(h, tables, upstream) for h in (found, expected)),
                          strict=True):  # fmt: skip
        torch.testing.assert_close(one, other)


def test_inference_step_follows_the_gradient_that_autograd_finds():
    g = torch.Generator().manual_seed(1)
    d = torch.randn(5, generator=g, dtype=torch.float64, requires_grad=True)
    y = torch.randn(7, 5, generator=g, dtype=torch.float64)
    noise = torch.randn(7, 3, 5, generator=g, dtype=torch.float64)
    gradient = torch.autograd.grad(doc2vec.pvdbow_loss(d.expand(7, 5), y, noise), d)[0]
    new = doc2vec.inference_step(d.detach(), y, noise, 0.3)
    torch.testing.assert_close(new, d.detach() - 0.3 * gradient)


def test_nll_is_a_normalised_negative_logarithm(trained):
    models, ids, _ = trained
    doc, context, word = (t[:3] for t in doc2vec.examples(ids, 2))
    for model in models.values():
        everything = [model.nll((doc, context, torch.full((3,), w))) for w in range(30)]
        total = torch.stack(everything).neg().exp().sum(0)
        torch.testing.assert_close(total, torch.ones(3))


def test_nll_finds_a_known_conditional_distribution():
    counts = torch.tensor([[30.0, 10, 20], [5, 25, 10]])  # two documents, three words
    model = doc2vec.PVDBOW(2, counts.sum(0), dim=2, negatives=4)
    scores = doc2vec.shifted_pmi(counts, 4)
    U, s, Vt = torch.linalg.svd(scores, full_matrices=False)
    model.documents.weight.data, model.output.weight.data = U * s, Vt.T
    for i in range(2):
        batch = (torch.full((3,), i), None, torch.arange(3))
        torch.testing.assert_close(model.nll(batch).neg().exp(), counts[i] / counts[i].sum())


# --- what PV-DBOW factorises


def test_shifted_pmi_for_power_one_is_pmi_minus_log_k():
    counts = torch.tensor([[4.0, 1, 0], [2, 2, 6]])
    joint = counts / counts.sum()
    pmi = (joint / (joint.sum(1, keepdim=True) * joint.sum(0))).log()
    shifted = doc2vec.shifted_pmi(counts, negatives=5, power=1.0)
    torch.testing.assert_close(shifted, pmi - torch.tensor(5.0).log())
    assert shifted[0, 2] == -torch.inf


def test_expected_loss_is_least_at_shifted_pmi():
    g = torch.Generator().manual_seed(0)
    counts = torch.randint(1, 20, (4, 6), generator=g).double()
    scores = doc2vec.shifted_pmi(counts, 3).requires_grad_()
    loss = doc2vec.expected_loss(scores, counts, 3)
    assert torch.autograd.grad(loss, scores)[0].abs().max() < 1e-6  # float32 noise distribution
    for _ in range(10):
        other = scores.detach() + 0.3 * torch.randn(4, 6, generator=g, dtype=torch.float64)
        assert doc2vec.expected_loss(other, counts, 3) > loss


@pytest.mark.parametrize(("shared", "times"), [(None, 600), (16, 2000)])
def test_expected_loss_is_the_mean_of_the_sampled_one(shared, times):
    ids, _, counts = topics(documents=4, words=12)
    model = doc2vec.PVDBOW(4, counts, dim=5, negatives=6, shared=shared)
    torch.manual_seed(0)
    torch.nn.init.normal_(model.documents.weight, 0, 0.7)
    torch.nn.init.normal_(model.output.weight, 0, 0.7)
    table = torch.stack([torch.bincount(one, minlength=12) for one in ids]).float()
    scores = model.vectors @ model.output.weight.detach().T
    batch = doc2vec.examples(ids, 1)
    sampled = torch.stack([model.loss(batch).detach() for _ in range(times)])
    exact = doc2vec.expected_loss(scores, table, 6)
    error = sampled.std() / times**0.5
    assert abs(sampled.mean() - exact) < 4 * error and error < 0.02


def test_at_full_rank_training_finds_shifted_pmi():
    g = torch.Generator().manual_seed(2)
    counts = torch.randint(5, 60, (5, 12), generator=g).double()

    d, y = (torch.randn(n, 5, generator=g, dtype=torch.float64) for n in (5, 12))
    weights = [d.requires_grad_(), y.requires_grad_()]
    optimiser = torch.optim.LBFGS(weights, max_iter=2000, tolerance_change=1e-14,
                                  line_search_fn="strong_wolfe")  # fmt: skip

    def closure():
        optimiser.zero_grad()
        loss = doc2vec.expected_loss(d @ y.T, counts, 5)
        loss.backward()
        return loss

    optimiser.step(closure)
    gap = (d @ y.T).detach() - doc2vec.shifted_pmi(counts, 5)
    assert gap.abs().max() < 1e-3


# --- order


def swapped(order, window=2):
    """The examples of one document (john likes mary) in an order, as a set of tuples."""
    return doc2vec.examples([torch.tensor(order)], window)


def test_pvdbow_and_the_averaged_pvdm_cannot_tell_a_sentence_from_its_reverse():
    counts = torch.ones(3)
    for kind in ("bow", "mean", "side"):
        torch.manual_seed(0)
        model = (
            doc2vec.PVDBOW(1, counts, dim=4)
            if kind == "bow"
            else doc2vec.PVDM(1, counts, dim=4, window=2, concatenate=kind == "side")
        )
        for weight in model.parameters():
            torch.nn.init.normal_(weight)
        forth, back = (model.nll(swapped(order)).mean() for order in ([0, 1, 2], [2, 1, 0]))
        if kind == "side":
            assert abs(forth - back) > 0.01
        else:
            torch.testing.assert_close(forth, back)


def test_the_averaged_pvdm_sees_order_that_is_no_reversal():
    torch.manual_seed(0)
    model = doc2vec.PVDM(1, torch.ones(4), dim=4, window=1)
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    one, other = (model.nll(swapped(o, 1)).mean() for o in ([0, 1, 2, 3], [1, 0, 2, 3]))
    assert abs(one - other) > 0.01


def test_without_documents_pvdm_is_cbow(trained):
    ids, _, counts = topics()
    model = doc2vec.PVDM(40, counts, dim=8, window=2, document=False)
    batches = TensorBatches(*doc2vec.examples(ids, 2), batch_size=100)
    fit(model, batches, 20, lr=0.05, progress=False)
    assert not model.vectors.any()
    assert model.input.weight.abs().max() > 0.1


# --- training and inference


def accuracy(vectors, labels):
    """Share of documents that lie nearer to their own topic's mean than to the other's."""
    unit = F.normalize(vectors, dim=1)
    means = torch.stack([unit[labels == y].mean(0) for y in (0, 1)])
    return ((unit @ means.T).argmax(1) == labels).float().mean().item()


def test_trained_vectors_know_the_topic(trained):
    models, _, labels = trained
    for model in models.values():
        assert model.vectors.shape == (40, 8)
        assert accuracy(model.vectors, labels) >= 0.95


def test_inferred_vectors_of_new_documents_know_it_too(trained):
    models, _, labels = trained
    new, new_labels, _ = topics(documents=30, seed=7)
    for model in models.values():
        vectors = doc2vec.infer(model, new)
        means = torch.stack([model.vectors[labels == y].mean(0) for y in (0, 1)])
        guessed = (F.normalize(vectors, dim=1) @ F.normalize(means, dim=1).T).argmax(1)
        assert (guessed == new_labels).float().mean() >= 0.95


def test_inference_freezes_the_model_and_repeats_itself(trained):
    models, ids, _ = trained
    for model in models.values():
        before = copy.deepcopy(model.state_dict())
        one, same, other = (doc2vec.infer(model, ids[:3], 10, seed=s) for s in (4, 4, 5))
        after = model.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert all(weight.requires_grad for weight in model.parameters())
        assert torch.equal(one, same) and not torch.equal(one, other)


def test_inference_starts_from_zero_and_lowers_the_loss(trained):
    models, ids, _ = trained
    for model in models.values():
        start = doc2vec.infer(model, ids[:5], steps=1, lr=1e-9)
        assert start.abs().max() < 1e-6
        batch = doc2vec.examples(ids[:5], 2)
        losses = []
        for steps in (1, 100):
            fresh = copy.deepcopy(model)
            fresh.documents.weight.data = doc2vec.infer(model, ids[:5], steps, lr=0.05)
            torch.manual_seed(0)
            losses.append(torch.stack([fresh.loss(batch) for _ in range(20)]).mean().item())
        assert losses[1] < losses[0] - 0.01


def test_a_document_is_inferred_without_regard_to_its_company(trained):
    models, ids, _ = trained
    alone = doc2vec.infer(models["bow"], ids[:1], 300, lr=0.05)
    crowd = doc2vec.infer(models["bow"], ids[:20], 300, lr=0.05)
    assert F.cosine_similarity(alone[0], crowd[0], dim=0) > 0.95


def test_many_documents_are_inferred_in_their_order(trained):
    model, ids = trained[0]["bow"], trained[1]
    many = doc2vec.infer(model, [*ids, *ids, *ids, *ids], 3)  # 160, in two parts
    assert many.shape == (160, 8) and many.any(1).all()
    for first in (128, 159):  # ids[8] and ids[39], once more
        assert F.cosine_similarity(many[first], many[first - 120], dim=0) > 0.9


@pytest.mark.parametrize("i", [40, 1000, -1])
def test_a_document_that_was_never_trained_has_no_vector(trained, i):
    model = trained[0]["bow"]
    assert model.vector(39).shape == (8,)
    with pytest.raises(IndexError, match="never trained.*infer"):
        model.vector(i)


def test_inference_of_unknown_words_only_says_so(trained):
    nothing = torch.tensor([], dtype=torch.int64)
    for model in trained[0].values():
        with pytest.raises(ValueError, match="document 1 has no word that the vocabulary knows"):
            doc2vec.infer(model, [torch.tensor([1, 2]), nothing])
        with pytest.raises(ValueError, match="corpus is empty"):
            doc2vec.infer(model, [])


def test_pvdbow_inference_is_convex(trained):
    """Frozen words make it a logistic regression: every start ends in the same place."""
    model, ids = trained[0]["bow"], trained[1]
    y = model.output.weight.detach().double()
    n = torch.bincount(ids[0], minlength=30).double()
    noise = noise_distribution(topics()[2]).double()
    ends = []
    for seed in range(3):
        start = torch.randn(8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        d = (3 * start).requires_grad_()
        optimiser = torch.optim.LBFGS([d], max_iter=300, line_search_fn="strong_wolfe")

        def closure(d=d, optimiser=optimiser):
            optimiser.zero_grad()
            s = y @ d
            chance = 5 * n.sum() * noise
            loss = (n * F.softplus(-s) + chance * F.softplus(s)).sum() / n.sum()
            loss.backward()
            return loss

        optimiser.step(closure)
        ends.append(d.detach())
    assert (ends[0] - ends[1]).norm() < 1e-2 * ends[0].norm()
    assert (ends[0] - ends[2]).norm() < 1e-2 * ends[0].norm()


# --- the random numbers of others, zeros, other kinds of numbers


def test_inference_leaves_the_global_generators_alone(trained):
    models, ids, _ = trained
    for model in models.values():
        torch.manual_seed(3), np.random.seed(3), random.seed(3)  # noqa: NPY002
        wanted = torch.rand(2), np.random.rand(), random.random()  # noqa: NPY002
        torch.manual_seed(3), np.random.seed(3), random.seed(3)  # noqa: NPY002
        doc2vec.infer(model, ids[:3], 2)
        assert torch.equal(torch.rand(2), wanted[0])
        assert (np.random.rand(), random.random()) == wanted[1:]  # noqa: NPY002


def test_shifted_pmi_takes_whole_numbers_sparse_matrices_and_documents_of_no_words():
    counts = torch.tensor([[1, 2, 0], [3, 1, 1], [0, 0, 0]])
    wanted = doc2vec.shifted_pmi(counts[:2].double())
    for made in (counts, counts.numpy(), sp.csr_matrix(counts.numpy()), counts.float()):
        found = doc2vec.shifted_pmi(made)
        torch.testing.assert_close(found[:2].double(), wanted, rtol=1e-5, atol=0)
        assert (found[2] == -torch.inf).all()
        loss = doc2vec.expected_loss(torch.zeros(3, 3), made)
        assert loss.item() == pytest.approx(6 * math.log(2))  # one word, five negatives


@pytest.mark.parametrize("documents", ["the cat", ["the cat"], [["the", "cat"]]])
def test_words_have_to_be_numbered_first(trained, documents):
    for use in (doc2vec.examples, lambda d: doc2vec.infer(trained[0]["bow"], d)):
        with pytest.raises(TypeError, match="word ids"):
            use(documents)


def test_documents_may_be_arrays_and_lists():
    usual = doc2vec.examples([torch.tensor([1, 2, 0])], 1)
    for made in ([np.array([1, 2, 0])], [[1, 2, 0]], (torch.tensor([1, 2, 0]),)):
        ours = doc2vec.examples(made, 1)
        assert all(torch.equal(a, b) for a, b in zip(ours, usual, strict=True))
