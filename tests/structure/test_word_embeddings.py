"""Word embeddings against loops over the text, autograd, their optima and gensim."""

import math

import pytest
import torch
import torch.nn.functional as F

from genai_utils import data
from genai_utils.structure import word_embeddings as we
from genai_utils.training import TensorBatches, fit

TIGHT = {"rtol": 0, "atol": 1e-10}


def text(n=400, size=12, seed=0):
    """Random word ids with unequal frequencies; each of the `size` words occurs."""
    g = torch.Generator().manual_seed(seed)
    weights = 1 / torch.arange(1, size + 1).double()
    return torch.cat([torch.arange(size), torch.multinomial(weights, n, True, generator=g)])


# --- blocks


def test_blocks_keep_order_pad_each_text_and_lose_nothing():
    cut = we.blocks([torch.arange(7), torch.arange(10, 14), torch.arange(0)], 4)
    assert cut.dtype == torch.int64
    assert cut.tolist() == [[0, 1, 2, 3], [4, 5, 6, -1], [10, 11, 12, 13]]
    assert we.blocks(torch.arange(5), 3).tolist() == [[0, 1, 2], [3, 4, -1]]


@pytest.mark.parametrize("nothing", [[], torch.tensor([], dtype=torch.int64), [torch.arange(0)]])
def test_empty_corpus_is_refused(nothing):
    with pytest.raises(ValueError, match="corpus is empty"):
        we.blocks(nothing, 4)


# --- negative sampling


def test_negative_sampling_loss_by_hand():
    positive = torch.tensor([0.3, -1.0], dtype=torch.float64)
    negative = torch.tensor([[0.1, 2.0, -0.4], [0.0, 1.0, -3.0]], dtype=torch.float64)

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    by_hand = 0.0
    for s, others in zip(positive.tolist(), negative.tolist(), strict=True):
        by_hand -= math.log(sigmoid(s)) + sum(math.log(sigmoid(-t)) for t in others)
    assert we.negative_sampling_loss(positive, negative).item() == pytest.approx(by_hand / 2)
    huge = we.negative_sampling_loss(torch.tensor([-1e4]), torch.tensor([[1e4]]))
    assert huge.item() == pytest.approx(2e4)


def test_noise_distribution_is_a_power_of_the_counts():
    p = we.noise_distribution(torch.tensor([16, 1]))
    assert p.tolist() == pytest.approx([8 / 9, 1 / 9])
    model = we.SkipGram(torch.tensor([16, 1, 81]), dim=2)
    torch.manual_seed(0)
    drawn = torch.bincount(model.draw(200, 500).flatten(), minlength=3) / 100_000
    torch.testing.assert_close(drawn, torch.tensor([8, 1, 27]) / 36, rtol=0, atol=0.006)


def skipgram_by_loops(model, blocks, made_up):
    """The loss pair by pair, with each centre's negatives averaged over the block's shared ones."""
    w, y = model.input.weight, model.output.weight
    mask = model.pairs(blocks)
    total, pairs = 0.0, 0
    for b, block in enumerate(blocks.tolist()):
        for i, centre in enumerate(block):
            for j, context in enumerate(block):
                if not mask[b, i, j]:
                    continue
                assert centre >= 0 and context >= 0 and 0 < abs(i - j) <= model.window
                total = total - F.logsigmoid(w[centre] @ y[context])
                noise = sum(F.logsigmoid(-(w[centre] @ y[n])) for n in made_up[b])
                total = total - model.negatives * noise / len(made_up[b])
                pairs += 1
    return total / pairs


def test_skipgram_loss_and_gradients_equal_a_loop_over_pairs(monkeypatch):
    torch.manual_seed(1)
    ids = text(30, 7)
    model = we.SkipGram(torch.bincount(ids), dim=4, window=3, negatives=2, shared=5).double()
    torch.nn.init.normal_(model.output.weight)
    torch.nn.init.normal_(model.input.weight)
    cut = we.blocks([ids[:20], ids[20:]], 8)
    made_up, pairs = model.draw(len(cut), 5), model.pairs(cut)
    monkeypatch.setattr(model, "draw", lambda *shape: made_up)
    monkeypatch.setattr(model, "pairs", lambda blocks: pairs)
    ours, slow = model.loss(cut), skipgram_by_loops(model, cut, made_up.tolist())
    assert ours.item() == pytest.approx(slow.item(), abs=1e-12)
    wanted = torch.autograd.grad(slow, [model.input.weight, model.output.weight])
    found = torch.autograd.grad(ours, [model.input.weight, model.output.weight])
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, **TIGHT)


def test_rows_are_those_of_an_embedding_and_so_is_the_gradient():
    g = torch.Generator().manual_seed(0)
    table = torch.randn(7, 3, generator=g, requires_grad=True)
    ids = torch.randint(0, 7, (4, 5), generator=g)  # some more than once, some perhaps not at all
    upstream = torch.randn(4, 5, 3, generator=g)
    mine, theirs = we.rows(table, ids), F.embedding(ids, table)
    assert torch.equal(mine, theirs)
    both = [torch.autograd.grad(found, table, upstream)[0] for found in (mine, theirs)]
    torch.testing.assert_close(*both)


def test_window_is_drawn_from_one_to_the_largest_and_never_sees_padding():
    torch.manual_seed(0)
    model = we.SkipGram(torch.ones(50), dim=2, window=3)
    pairs = model.pairs(torch.arange(50).expand(2000, 50))
    share = [pairs.diagonal(k, 1, 2).double().mean().item() for k in range(5)]
    assert share == pytest.approx([0, 1, 2 / 3, 1 / 3, 0], abs=0.01)
    padded = we.blocks([torch.arange(3)], 6)
    assert model.pairs(padded)[:, 3:].sum() == model.pairs(padded)[:, :, 3:].sum() == 0


def test_skipgram_starts_at_log_two_per_score_and_learns_the_pmi_of_a_tiny_text():
    ids = torch.arange(2).repeat(200)
    text = torch.cat([ids, ids + 2])  # words 0 and 1 meet each other, so do 2 and 3
    model = we.SkipGram(torch.bincount(text), dim=8, window=2, negatives=1)
    cut = we.blocks([ids, ids + 2], 10)
    assert model.loss(cut).item() == pytest.approx(2 * math.log(2), abs=1e-5)
    fit(model, TensorBatches(cut, batch_size=40), 300, lr=0.05, progress=False)
    scores = model.vectors @ model.output.weight.detach().T
    pmi = torch.tensor([[4 / 3, 8 / 3], [8 / 3, 4 / 3]]).log()  # distance 2 counts half
    torch.testing.assert_close(scores[:2, :2], pmi, rtol=0, atol=0.15)
    assert (scores[:2, 2:] < -2).all() and (scores[2:, :2] < -2).all()
    assert model.vectors.shape == (4, 8) and not model.vectors.requires_grad


def test_a_block_of_nothing_but_padding_costs_nothing():
    model = we.SkipGram(torch.ones(3, dtype=torch.int64), dim=2)
    assert model.loss(torch.full((2, 5), -1)).item() == 0


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"window": 0}, "window: expected a whole number of at least 1, got 0"),
        ({"window": 2.5}, "window: expected"),
        ({"dim": 0}, "dim: expected"),
        ({"negatives": 0}, "negatives: expected"),
        ({"counts": torch.tensor([], dtype=torch.int64)}, "vocabulary is empty"),
        ({"counts": torch.tensor([3, 0])}, "counts: expected positive"),
        ({"counts": torch.ones(2, 2)}, "counts: expected how often"),
    ],
)
def test_skipgram_says_what_is_wrong(settings, message):
    counts = settings.pop("counts", torch.tensor([3, 2]))
    with pytest.raises((ValueError, TypeError), match=message):
        we.SkipGram(counts, **settings)


# --- counting


def counts_by_loops(texts, size, window, weight):
    M = torch.zeros(size, size)
    for text in texts:
        for i, a in enumerate(text.tolist()):
            for j, b in enumerate(text.tolist()):
                if 0 < abs(i - j) <= window:
                    M[a, b] += weight(abs(i - j))
    return M


@pytest.mark.parametrize(
    "weighting, weight",
    [
        ("flat", lambda o: 1.0),
        ("harmonic", lambda o: 1 / o),
        ("linear", lambda o: (4 - o + 1) / 4),
    ],
)
def test_window_counts_equal_a_loop_and_are_symmetric(weighting, weight):
    texts = [text(60, 7, seed) for seed in range(3)] + [torch.arange(2), torch.arange(0)]
    M = we.window_counts(we.blocks(texts, 71), 7, 4, weighting)
    torch.testing.assert_close(M, counts_by_loops(texts, 7, 4, weight), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(M, M.T)


def test_linear_weights_are_word2vecs_random_windows_on_average():
    torch.manual_seed(0)
    cut = text(48, 7)[None]
    model = we.SkipGram(torch.ones(7), dim=2, window=4)
    drawn = sum(model.pairs(cut) for _ in range(4000))[0] / 4000  # (L, L)
    one_hot = F.one_hot(cut[0], 7).float()
    expected = we.window_counts(cut, 7, 4, "linear")
    torch.testing.assert_close(one_hot.T @ drawn @ one_hot, expected, rtol=0, atol=0.3)


def lecture_table(size):
    text = (
        "The girl walks to her dog to the park. It can take a long time to park your car in NYC. "
        "The dog park is always crowded on Saturdays."
    )
    words = data.words(text)
    vocabulary = data.Vocabulary([words])
    M = we.window_counts(vocabulary.encode(words)[None], len(vocabulary), size - 1)
    chosen = vocabulary.encode(["dog", "park", "crowded", "the"])
    return M[chosen][:, chosen]


def test_the_lectures_table_recounted():
    M = lecture_table(4)
    assert M[torch.triu_indices(4, 4, 1).unbind()].tolist() == [2, 0, 2, 1, 2, 0]  # erratum Y21


@pytest.mark.parametrize("window", [0, -1, 1.5])
def test_bad_window_is_refused(window):
    with pytest.raises(ValueError, match="window should be a whole number of at least 1"):
        we.window_counts(torch.arange(3)[None], 3, window)


def test_counting_nothing_is_refused():
    with pytest.raises(ValueError, match="corpus is empty"):
        we.window_counts(torch.full((2, 4), -1), 3, 2)
    with pytest.raises(ValueError, match="corpus is empty"):
        we.TextBatches([torch.arange(0)], torch.ones(3))
    with pytest.raises(ValueError, match="no word is left"):
        data.Vocabulary([["a", "b"]], min_count=3)


# --- PMI and its factorisation


def test_ppmi_equals_a_loop():
    M = we.window_counts(text(200, 9)[None], 9, 2).double()
    M[0, 1] = M[1, 0] = 0
    total, rows = M.sum().item(), M.sum(1).tolist()
    smooth = [n**0.75 for n in M.sum(0).tolist()]
    found, shifted = we.pmi(M), we.shifted_positive_pmi(M, negatives=3, power=0.75)
    for i in range(9):
        for j in range(9):
            x = M[i, j].item()
            if x == 0:
                assert found[i, j] == -math.inf and shifted[i, j] == 0
                continue
            assert found[i, j].item() == pytest.approx(math.log(x * total / rows[i] / rows[j]))
            value = math.log(x / rows[i] * sum(smooth) / smooth[j]) - math.log(3)
            assert shifted[i, j].item() == pytest.approx(max(value, 0))


def test_independent_words_have_no_mutual_information():
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    torch.testing.assert_close(we.pmi(torch.outer(p, p) * 90), torch.zeros(3, 3).double(), **TIGHT)


def slide_table():
    M = [[0, 2, 0, 2], [2, 0, 1, 2], [0, 1, 0, 0], [2, 2, 0, 0]]
    return torch.tensor(M, dtype=torch.float64)


def test_factorise_is_the_svd_and_beats_the_best_symmetric_factorisation():
    M = slide_table()
    W, Y = we.factorise(M, 2)
    s = torch.linalg.svdvals(M)
    assert (M - W @ Y.T).norm().item() == pytest.approx(s[2:].norm().item(), abs=1e-6)
    assert (W.T @ W).diagonal().tolist() == pytest.approx(s[:2].tolist(), abs=1e-6)
    left, right = we.factorise(M, 2, share=1.0)
    torch.testing.assert_close(right.T @ right, torch.eye(2).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(left @ right.T, W @ Y.T, rtol=0, atol=1e-6)
    S = we.symmetric_factor(M, 2)
    assert (M - W @ Y.T).norm() < (M - S @ S.T).norm()  # erratum Y35
    for seed in range(20):  # nothing near it is better
        g = torch.Generator().manual_seed(seed)
        near = S + 0.05 * torch.randn(S.shape, generator=g, dtype=torch.float64)
        assert (M - S @ S.T).norm() <= (M - near @ near.T).norm()


def test_factorise_has_converged_where_the_spectrum_falls_slowly():
    g = torch.Generator().manual_seed(0)
    A = torch.rand(260, 260, generator=g) * (torch.rand(260, 260, generator=g) < 0.1)
    M = A + A.T  # like a table of counts: sparse, symmetric, indefinite
    W, Y = we.factorise(M, 20)
    U, s, Vt = torch.linalg.svd(M.double())
    best = U[:, :20] * s[:20] @ Vt[:20]
    assert W.dtype == torch.float32 and W.is_contiguous() and Y.is_contiguous()
    assert (W.double() @ Y.double().T - best).norm() < 1e-5 * best.norm()


def test_symmetric_factor_leaves_out_the_negative_eigenvalues():
    M = slide_table()
    S = we.symmetric_factor(M, 4)
    negative = torch.linalg.eigvalsh(M).clamp(max=0).norm().item()
    assert (M - S @ S.T).norm().item() == pytest.approx(negative, abs=1e-9)
    assert negative == pytest.approx(3.05, abs=0.005)  # erratum Y35


def test_symmetric_factor_is_exact_where_m_is_positive_semidefinite():
    g = torch.Generator().manual_seed(0)
    A = torch.randn(6, 3, generator=g, dtype=torch.float64)
    S = we.symmetric_factor(A @ A.T, 3)
    torch.testing.assert_close(S @ S.T, A @ A.T, **TIGHT)
    W, Y = we.factorise(A @ A.T, 3)
    torch.testing.assert_close(W, Y, rtol=0, atol=1e-6)


# --- Levy & Goldberg: the optimum of negative sampling


@pytest.mark.parametrize("power", [1.0, 0.75])
def test_full_rank_optimum_is_pmi_minus_log_k(power):
    M = we.window_counts(text(4000, 8)[None], 8, 2).double() + 1  # no empty cell
    g = torch.Generator().manual_seed(0)
    W, Y = (torch.randn(8, 8, generator=g, dtype=torch.float64) * 0.5 for _ in range(2))
    W.requires_grad_(), Y.requires_grad_()
    descent = torch.optim.LBFGS(
        [W, Y], max_iter=3000, tolerance_grad=1e-11, tolerance_change=1e-16, history_size=50,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure():
        descent.zero_grad()
        loss = we.expected_loss(W @ Y.T, M, negatives=5, power=power)
        loss.backward()
        return loss

    descent.step(closure)
    scores = (W @ Y.T).detach()
    assert (scores - (we.pmi(M, power) - math.log(5))).abs().max() < 1e-4
    if power == 1:
        error = (scores - we.pmi(M)).abs()
        assert error.max().item() == pytest.approx(math.log(5), abs=1e-4)  # erratum Y22


def test_expected_loss_is_what_skipgram_draws_on_average():
    torch.manual_seed(0)
    ids = text(200, 6)
    counts = torch.bincount(ids)
    model = we.SkipGram(counts, dim=4, window=3, negatives=5, power=1.0, shared=8).double()
    torch.nn.init.normal_(model.output.weight)
    torch.nn.init.normal_(model.input.weight)
    cut = ids[None]
    with torch.no_grad():
        drawn = torch.stack([model.loss(cut) for _ in range(1500)]).mean().item()
        M = we.window_counts(cut, 6, 3, "linear").double()
        score = model.input.weight @ model.output.weight.T
        P, q = M / M.sum(), counts / counts.sum()
        made_up = 5 * P.sum(1) @ F.softplus(score) @ q.double()
        exact = (P * F.softplus(-score)).sum() + made_up
    assert drawn == pytest.approx(exact.item(), rel=0.01)
    close = we.expected_loss(score, M, 5).item()  # its q comes from M's margins: borders differ
    assert close == pytest.approx(exact.item(), rel=0.01)


# --- GloVe


def test_glove_loss_by_hand_and_its_gradient():
    score = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    count = torch.tensor([1.0, 16.0, 200.0], dtype=torch.float64)
    weight = [(1 / 100) ** 0.75, (16 / 100) ** 0.75, 1.0]
    error = [0.5 - 0, 1 - math.log(16), 2 - math.log(200)]
    loss = we.glove_loss(score, count)
    assert loss.item() == pytest.approx(
        sum(f * e * e for f, e in zip(weight, error, strict=True)) / 3
    )
    assert torch.autograd.gradcheck(lambda s: we.glove_loss(s, count), score)


def test_glove_score_is_the_product_and_both_biases():
    torch.manual_seed(0)
    model = we.GloVe(5, dim=3)
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    w, y, b, c = (table.weight.tolist() for table in (model.w, model.y, model.b, model.c))
    by_hand = sum(p * q for p, q in zip(w[1], y[4], strict=True)) + b[1][0] + c[4][0]
    assert model(torch.tensor([1]), torch.tensor([4])).item() == pytest.approx(by_hand, rel=1e-5)


def test_glove_fits_the_logarithm_of_the_counts():
    M = we.window_counts(text(4000, 8)[None], 8, 3, "harmonic")
    i, j = M.nonzero(as_tuple=True)
    torch.manual_seed(0)
    model = we.GloVe(8, dim=8, most=50.0)
    batches = TensorBatches(i, j, M[i, j], batch_size=len(i))
    history = fit(model, batches, 800, lr=0.05, progress=False).history["loss"]
    assert history[-1] < 1e-3 * history[0]
    torch.testing.assert_close(model(i, j).detach(), M[i, j].log(), rtol=0, atol=0.15)
    torch.testing.assert_close(model.vectors, (model.w.weight + model.y.weight).detach())


# --- CBOW


def test_cbow_loss_and_gradients_equal_a_loop_over_words(monkeypatch):
    torch.manual_seed(1)
    ids = text(30, 7)
    model = we.CBOW(torch.bincount(ids), dim=4, window=3, negatives=2, shared=5).double()
    torch.nn.init.normal_(model.output.weight)
    torch.nn.init.normal_(model.input.weight)
    cut = we.blocks([ids[:20], ids[20:], ids[:1]], 8)  # two words are alone
    made_up, pairs = model.draw(len(cut), 5), model.pairs(cut)
    monkeypatch.setattr(model, "draw", lambda *shape: made_up)
    monkeypatch.setattr(model, "pairs", lambda blocks: pairs)
    w, y = model.input.weight, model.output.weight
    losses = []
    for b, block in enumerate(cut.tolist()):
        for i, centre in enumerate(block):
            context = [block[j] for j in range(8) if pairs[b, i, j]]
            if not context:
                continue
            h = sum(w[j] for j in context) / len(context)
            noise = [F.logsigmoid(-(h @ y[n])) for n in made_up[b].tolist()]
            losses.append(-F.logsigmoid(h @ y[centre]) - 2 * sum(noise) / 5)
    slow, ours = sum(losses) / len(losses), model.loss(cut)
    assert len(losses) == 36 and ours.item() == pytest.approx(slow.item(), abs=1e-12)
    for a, b in zip(
        torch.autograd.grad(ours, [w, y]), torch.autograd.grad(slow, [w, y]), strict=True
    ):
        torch.testing.assert_close(a, b, **TIGHT)


# --- batches of text


def test_keep_probability_is_word2vecs():
    from gensim.models import Word2Vec

    words = [w for w, n in zip("abcd", (700, 250, 40, 10), strict=True) for _ in range(n)]
    peer = Word2Vec([words], min_count=1, sample=0.01, vector_size=2, epochs=1, workers=1)
    ours = we.keep_probability(torch.tensor([700, 250, 40, 10]), 0.01).tolist()
    theirs = [peer.wv.get_vecattr(w, "sample_int") / (2**32 - 1) for w in "abcd"]
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_text_batches_hold_each_word_once_per_epoch_and_depend_on_the_step_alone():
    texts = [text(500, 9, seed) for seed in range(3)]
    counts = torch.bincount(torch.cat(texts))
    batches = we.TextBatches(texts, counts, batch_size=4, length=16, sample=None)
    n = batches.steps_per_epoch
    found = torch.cat([batches(step) for step in range(n)])
    assert found.shape == (4 * n, 16)
    assert counts.sum() - (found >= 0).sum() < 4 * 16  # at most the blocks left of a full batch
    again = we.TextBatches(texts, counts, batch_size=4, length=16, sample=None)
    assert torch.equal(again(n + 1), batches(n + 1)) and torch.equal(again(0), batches(0))
    assert not torch.equal(batches(n), batches(0))


def test_text_batches_thin_out_frequent_words():
    texts = [text(60_000, 9)]
    counts = torch.bincount(texts[0])
    batches = we.TextBatches(texts, counts, batch_size=1000, length=16, sample=0.01)
    found = torch.cat([batches(step) for step in range(batches.steps_per_epoch)])
    share = torch.bincount(found[found >= 0]).float()
    expected = counts * we.keep_probability(counts, 0.01)
    torch.testing.assert_close(share / share.sum(), expected / expected.sum(), rtol=0.06, atol=0)


# --- against gensim


@pytest.mark.parametrize("model, sg", [(we.SkipGram, 1), (we.CBOW, 0)])
def test_trained_vectors_agree_with_gensims_on_planted_topics(model, sg):
    """Four topics of ten words: both must put a word's neighbours in its own topic."""
    from gensim.models import Word2Vec

    g = torch.Generator().manual_seed(0)
    topics = torch.randint(4, (500, 1), generator=g)
    texts = list(topics * 10 + torch.randint(10, (500, 20), generator=g))
    own = torch.arange(40) // 10

    def purity(vectors):
        unit = F.normalize(vectors, dim=1)
        near = (unit @ unit.T - 2 * torch.eye(40)).topk(9).indices
        return (own[near] == own[:, None]).double().mean().item()

    counts = torch.bincount(torch.cat(texts))
    batches = we.TextBatches(texts, counts, batch_size=64, length=20, sample=None)
    torch.manual_seed(0)
    ours = fit(model(counts, dim=16, window=3), batches, 200, lr=0.02, progress=False).model
    sentences = [[str(i) for i in t.tolist()] for t in texts]
    peer = Word2Vec(sentences, vector_size=16, window=3, sg=sg, epochs=20, min_count=1, seed=0)
    theirs = torch.from_numpy(peer.wv[[str(i) for i in range(40)]])
    assert purity(ours.vectors) > 0.95 and purity(ours.vectors) >= purity(theirs) - 0.02


# --- too little text, and zeros


@pytest.mark.parametrize("words", [1, 5, 20, 60, 100, 136, 300])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_too_little_text_is_refused_at_once_and_no_batch_is_ever_empty(words, batch_size):
    ids = text(words, 30)
    counts = torch.bincount(ids, minlength=30).clamp(min=1)
    for sample in (1e-3, 1e-2, None):
        try:
            batches = we.TextBatches([ids], counts, batch_size, sample=sample)
        except ValueError as error:
            assert "thinning" in str(error) or "two words" in str(error)
            assert words < (200 if sample else 2)
            continue
        for step in range(60):
            assert len(batches(step)) and (batches(step) >= 0).any()


def test_the_loss_of_no_rows_is_refused():
    for kind in (we.SkipGram, we.CBOW):
        with pytest.raises(ValueError, match="B >= 1"):
            kind(torch.ones(3), dim=2).loss(torch.zeros(0, 5, dtype=torch.int64))


def test_a_word_that_met_nobody_has_no_mutual_information():
    M = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.0, 2.0, 1.0]])
    inner = we.pmi(M[1:, 1:])
    for power in (1.0, 0.75):
        found = we.pmi(M, power)
        assert (found[0] == -math.inf).all() and (found[:, 0] == -math.inf).all()
    torch.testing.assert_close(we.pmi(M)[1:, 1:], inner)
    assert we.shifted_positive_pmi(M)[0].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="negatives"):
        we.shifted_positive_pmi(M, 0)


def test_a_count_of_zero_has_no_weight_in_glove():
    score = torch.tensor([0.5, -2.0, 1.0], requires_grad=True)
    loss = we.glove_loss(score, torch.tensor([3.0, 0.0, 200.0]))
    loss.backward()
    rest = we.glove_loss(score[[0, 2]], torch.tensor([3.0, 200.0])) * 2 / 3
    assert loss.item() == pytest.approx(rest.item())
    assert torch.isfinite(score.grad).all() and score.grad[1] == 0


def test_arrays_are_tables_of_counts_too():
    M = we.window_counts(text(200, 9)[None], 9, 2)
    for ours, usual in (
        (we.factorise(M.numpy(), 3), we.factorise(M, 3)),
        ([we.symmetric_factor(M.numpy(), 3)], [we.symmetric_factor(M, 3)]),
        ([we.shifted_positive_pmi(M.numpy())], [we.shifted_positive_pmi(M)]),
        ([we.noise_distribution([3, 2])], [we.noise_distribution(torch.tensor([3, 2]))]),
    ):
        assert all(torch.equal(a, b) for a, b in zip(ours, usual, strict=True))
    with pytest.raises(ValueError, match="from 1 to 9"):
        we.symmetric_factor(M, 10)


@pytest.mark.parametrize("texts", ["the cat", ["the cat"], [["the", "cat"]]])
def test_words_have_to_be_numbered_first(texts):
    for use in (lambda: we.blocks(texts, 4), lambda: we.TextBatches(texts, torch.ones(3))):
        with pytest.raises(TypeError, match="word ids.*vocabulary.encode"):
            use()
