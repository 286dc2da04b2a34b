"""BERT against transformers, the 80/10/10 rule by counting, and input that is wrong."""

import math

import pytest
import torch
import torch.nn.functional as F

from genai_utils.language import bert, warm_start
from genai_utils.language.tokenizer import train_wordpiece
from genai_utils.training import fit

CONFIG = bert.BERTConfig(vocabulary=60, context=24, layers=2, heads=2, dim=32)


@pytest.fixture
def model():
    """Random weights large enough that each part matters."""
    torch.manual_seed(0)
    made = bert.PreTraining(CONFIG).eval()
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return made


@pytest.fixture(scope="module")
def tokenizer():
    return train_wordpiece(["the quick brown fox jumps over the lazy dog", "two dogs"], 60)


def batch(B=3, T=20, seed=0):
    """ids, segments and real of rows of unequal length."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, CONFIG.vocabulary, (B, T), generator=g)
    segments = torch.randint(2, (B, T), generator=g)
    real = torch.arange(T) < torch.randint(2, T + 1, (B, 1), generator=g)
    return ids, segments, real


# --- the peer


def test_logits_equal_those_of_transformers_with_and_without_padding(model):
    peer = bert.to_transformers(model)
    ids, segments, real = batch()
    for mask in (None, real):
        words, pair = model(ids, segments, mask)
        theirs = peer(
            input_ids=ids,
            token_type_ids=segments,
            attention_mask=None if mask is None else mask.long(),
        )
        seen = real if mask is not None else torch.ones_like(real)
        assert (words - theirs.prediction_logits)[seen].abs().max() < 1e-4
        assert (pair - theirs.seq_relationship_logits).abs().max() < 1e-4
        assert words.std() > 0.5  # large enough that the comparison means something


def test_every_weight_travels_there_and_back(model):
    peer = bert.to_transformers(model)
    again = bert.from_transformers(peer)
    for (name, one), other in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other), name
    ids, segments, real = batch(seed=1)
    assert torch.equal(model(ids, segments, real)[0], again(ids, segments, real)[0])
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in peer.parameters())


def test_a_bert_of_transformers_is_taken_over_and_another_build_refused():
    from transformers import BertConfig, BertForPreTraining

    torch.manual_seed(1)
    sizes = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 1,
             "num_attention_heads": 4, "intermediate_size": 128,
             "max_position_embeddings": 24, "initializer_range": 0.3}  # fmt: skip
    peer = BertForPreTraining(BertConfig(**sizes)).eval()
    ours = bert.from_transformers(peer)
    ids, segments, real = batch(seed=2)
    theirs = peer(input_ids=ids, token_type_ids=segments, attention_mask=real.long())
    assert (ours(ids, segments, real)[0] - theirs.prediction_logits)[real].abs().max() < 1e-4
    with pytest.raises(ValueError, match="hidden_act: expected one of 'gelu', got 'relu'"):
        bert.from_transformers(BertForPreTraining(BertConfig(**sizes | {"hidden_act": "relu"})))
    with pytest.raises(ValueError, match="layer_norm_eps"):
        bert.from_transformers(BertForPreTraining(BertConfig(**sizes, layer_norm_eps=1e-5)))


# --- the model


def test_each_place_sees_what_comes_later_and_before_but_no_padding(model):
    ids, _, _ = batch(B=1)
    real = torch.arange(20)[None] < 15
    before = model(ids, None, real)[0]
    for place, moves in ((12, True), (17, False)):
        changed = ids.clone()
        changed[0, place] = 5 + (ids[0, place] - 4) % 50
        moved = (model(changed, None, real)[0] - before)[0, :12].abs().amax(-1)
        assert bool((moved > 1e-4).all()) is moves and bool((moved > 0).any()) is moves


def test_segments_positions_and_the_pooler_are_used(model):
    ids, segments, _ = batch()
    assert not torch.allclose(model(ids, segments)[0], model(ids, 1 - segments)[0], atol=1e-3)
    assert not torch.allclose(model(ids.flip(1))[0].flip(1), model(ids)[0], atol=1e-3)
    x, pooled = model.bert(ids, segments)
    assert torch.allclose(pooled, torch.tanh(model.bert.pooler(x[:, 0])))
    assert torch.equal(model(ids)[0], model(ids, torch.zeros_like(ids))[0])


def test_the_loss_is_the_sum_of_both_tasks_at_the_chosen_places_only(model):
    ids, segments, _ = batch()
    inputs, labels = bert.mask_tokens(ids, 60, generator=torch.Generator().manual_seed(0))
    follows = torch.tensor([0, 1, 1])
    words, pair = model(inputs, segments)
    masked = F.cross_entropy(words.flatten(0, 1), labels.flatten(), ignore_index=-100)
    expected = masked + F.cross_entropy(pair, follows)
    for k in (3, 5, 20):  # the number of tokens to predict in a row, and room for more
        chosen = bert.chosen_places(labels, k)
        loss = model.loss((inputs, segments, chosen, follows))["loss"]
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_chosen_places_come_first_and_the_rest_is_not_to_be_predicted():
    labels = torch.full((3, 6), -100)
    labels[0, 4], labels[0, 1], labels[2] = 7, 9, torch.arange(6)
    places, targets = bert.chosen_places(labels, 6)
    assert sorted(places[0].tolist()) == sorted(places[2].tolist()) == list(range(6))
    assert torch.equal(labels.gather(1, places), targets)
    places, targets = bert.chosen_places(labels[:2], 2)
    assert places[0].tolist() == [1, 4] and targets.tolist() == [[9, 7], [-100, -100]]


def test_the_classifier_differs_from_pre_training_in_its_head_only():
    a = bert.PreTraining(CONFIG).state_dict()
    b = bert.Classifier(CONFIG, 3).state_dict()
    trunk = {k for k in a if k.startswith("bert.")}
    assert trunk == {k for k in b if k.startswith("bert.")}
    assert set(b) - trunk == {"head.weight", "head.bias"}
    assert all(a[k].shape == b[k].shape for k in trunk)


def test_training_learns_a_language_in_which_each_token_follows_from_the_one_before():
    torch.manual_seed(0)
    order = torch.arange(12).roll(1)
    texts = [((torch.arange(200) + s) % 12)[:200] + 5 for s in range(6)]
    assert order[1] == 0
    batches = bert.PairBatches(texts, 17, length=20, batch_size=16)
    model = warm_start.neighbour_start(bert.PreTraining(bert.BERTConfig(17, 20, 1, 2, 32)))
    optimizer = warm_start.adamw(model, 3e-3)
    done = fit(model, batches, 120, optimizer=optimizer, warmup=20, clip=1.0, progress=False)
    first, last = done.history["masked"][0], done.history["masked"][-1]
    assert first > 2.4 and last < 1.0  # nats; a guess costs log 12 = 2.48


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.full((1, 25), 7), "at most 24 tokens, the context, got 25"),
        (torch.zeros(1, 0, dtype=torch.int64), "T of at least 1"),
        (torch.full((5,), 7), r"\(B, T\)"),
        (torch.full((1, 3), 60), "ids from 0 to 59, got 60"),
        (torch.full((1, 3), -1), "ids from 0 to 59, got -1"),
    ],
)
def test_ids_that_do_not_fit_are_refused(model, ids, message):
    with pytest.raises(ValueError, match=message):
        model(ids)


def test_a_batch_in_which_everything_is_padding_or_masked_gives_finite_logits(model):
    ids = torch.full((2, 6), bert.MASK)
    assert torch.isfinite(model(ids)[0]).all()
    nobody = torch.zeros(2, 6, dtype=torch.bool)
    assert torch.isfinite(model(ids, None, nobody)[0]).all()


# --- the 80/10/10 rule


def test_the_shares_are_those_of_the_rule_and_special_tokens_are_never_chosen():
    g = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 1000, (400, 128), generator=g)
    inputs, labels = bert.mask_tokens(ids, 1000, generator=g)
    chosen = labels != -100
    assert torch.equal(labels[chosen], ids[chosen]) and torch.equal(inputs[~chosen], ids[~chosen])
    assert not chosen[ids < 5].any()
    assert torch.equal(chosen.sum(1), (0.15 * (ids >= 5).sum(1).double()).round().long())
    n = int(chosen.sum())
    assert n / int((ids >= 5).sum()) == pytest.approx(0.15, abs=5 / math.sqrt(400 * 128))
    hidden = (inputs == bert.MASK)[chosen].float().mean().item()
    same = (inputs == ids)[chosen].float().mean().item()
    assert hidden == pytest.approx(0.8, abs=0.02) and same == pytest.approx(0.1, abs=0.015)
    drawn = inputs[chosen & (inputs != ids) & (inputs != bert.MASK)]
    assert drawn.min() >= 5 and drawn.max() > 900


@pytest.mark.parametrize("rule", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.3, 0.5, 0.2)], ids=str)
def test_other_rules_have_their_shares(rule):
    g = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 5000, (200, 100), generator=g)
    inputs, labels = bert.mask_tokens(ids, 5000, 0.4, g, rule)
    chosen = labels != -100
    hidden = (inputs == bert.MASK)[chosen].float().mean().item()
    same = (inputs == ids)[chosen].float().mean().item()
    assert hidden == pytest.approx(rule[0], abs=0.02) and same == pytest.approx(rule[2], abs=0.02)


def test_each_row_has_a_token_to_predict_if_it_has_a_token_at_all():
    ids = torch.full((50, 6), bert.PAD)
    ids[:, 0], ids[:25, 3] = bert.CLS, 9
    _, labels = bert.mask_tokens(ids, 20, 0.01, torch.Generator().manual_seed(0))
    assert (labels[:25, 3] == 9).all() and (labels[25:] == -100).all()
    assert (labels != -100).sum() == 25


def test_masking_is_repeatable_and_can_mask_everything():
    ids = torch.randint(5, 50, (3, 8), generator=torch.Generator().manual_seed(0))
    one, two = (bert.mask_tokens(ids, 50, 0.3, torch.Generator().manual_seed(4)) for _ in "ab")
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    inputs, labels = bert.mask_tokens(ids, 50, 1.0, rule=(1, 0, 0))
    assert (inputs == bert.MASK).all() and torch.equal(labels, ids)


@pytest.mark.parametrize("rate", [0, -0.1, 1.5])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match="rate: expected a finite number above 0"):
        bert.mask_tokens(torch.full((2, 4), 7), 20, rate)


def test_a_vocabulary_of_special_tokens_alone_is_refused():
    with pytest.raises(ValueError, match="vocabulary: expected a whole number of at least 6"):
        bert.mask_tokens(torch.full((2, 4), 4), 5)


def test_shares_that_do_not_sum_to_one_are_refused():
    with pytest.raises(ValueError, match="sum to 1"):
        bert.mask_tokens(torch.full((2, 4), 7), 20, rule=(0.8, 0.1, 0.2))


# --- loss, pairs and pieces


def test_cloze_loss_is_cross_entropy_at_the_labels_and_0_without_any():
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 7, generator=g, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(7, (3, 5), generator=g)
    labels[torch.rand(3, 5, generator=g) < 0.5] = -100
    expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    assert torch.allclose(bert.cloze_loss(logits, labels), expected)
    nothing = bert.cloze_loss(logits, torch.full((3, 5), -100))
    assert nothing.item() == 0 and nothing.requires_grad


def test_pack_pair_by_hand():
    a, b = torch.tensor([10, 11, 12]), torch.tensor([20, 21])
    ids, segments, real = bert.pack_pair(a, b, 10)
    assert ids.tolist() == [2, 10, 11, 12, 3, 20, 21, 3, 0, 0]
    assert segments.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 0, 0]
    assert real.tolist() == [True] * 8 + [False] * 2
    assert bert.pack_pair(a, b, 7)[0].tolist() == [2, 10, 11, 3, 20, 21, 3]
    assert bert.pack_pair(a, b, 6)[0].tolist() == [2, 10, 11, 3, 20, 3]
    assert bert.pack_pair(a[:0], b, 8)[0].tolist() == [2, 3, 20, 21, 3, 0, 0, 0]
    with pytest.raises(ValueError, match="at least 5, got 4"):
        bert.pack_pair(a, b, 4)


def test_longest_match_cuts_as_the_library_does():
    from tokenizers import Tokenizer, models

    words = ["a", "b", "##a", "##b", "##c", "ab", "##bc", "##abc", "##ca"]
    vocabulary = {w: i for i, w in enumerate(["[UNK]", *words])}
    peer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    starts = [tuple("abc".index(c) for c in w) for w in words if w[0] != "#"]
    inside = [tuple("abc".index(c) for c in w[2:]) for w in words if w[0] == "#"]
    g = torch.Generator().manual_seed(0)
    unknown = 0
    for n in (1, 2, 3, 5, 8) * 12:
        letters = torch.randint(3, (n,), generator=g)
        theirs = peer.encode("".join("abc"[i] for i in letters)).tokens
        # one list for both places: a letter 9 in front marks the start of a word
        pieces = [(9, *p) for p in starts] + inside
        cover = bert.longest_match(torch.cat([torch.tensor([9]), letters]), pieces)
        if theirs == ["[UNK]"]:
            assert (cover == -1).all()
            unknown += 1
            continue
        lengths = [len(w.removeprefix("##")) for w in theirs]
        lengths[0] += 1
        expected = [i for i, n in enumerate(lengths) for _ in range(n)]
        runs = torch.unique_consecutive(cover, return_counts=True)[1]
        assert len(expected) == n + 1 and cover.min() >= 0
        assert [len(pieces[c]) for c in cover.tolist()] == [n for n in lengths for _ in range(n)]
        assert int(runs.sum()) == n + 1
    assert 0 < unknown < 60


def test_a_piece_without_letters_covers_nothing():
    """It fits everywhere, and to go on by no letter is to stay for ever."""
    letters = torch.tensor([0, 1])
    assert bert.longest_match(letters, [(), (0,), (1,)]).tolist() == [1, 2]
    assert bert.longest_match(letters, [(), (0,)]).tolist() == [-1, -1]


# --- pairs from articles


def test_pairs_follow_within_an_article_or_come_from_another():
    texts = [torch.arange(100 * i, 100 * i + 60) for i in range(1, 6)]  # an article's hundreds
    batches = bert.PairBatches(texts, 700, length=32, batch_size=16, rate=0.01, rule=(0, 0, 1))
    for step in range(20):
        ids, segments, (places, targets), follows = batches(step)
        assert ids.shape == segments.shape == (16, 32) and places.shape == targets.shape == (16, 1)
        assert torch.equal(ids.gather(1, places), targets)  # by this rule nothing is hidden
        assert follows.float().mean() == 0.5
        assert (ids[:, 0] == bert.CLS).all() and (ids[:, -1] == bert.SEP).all()
        assert ((ids == bert.SEP).sum(1) == 2).all()
        for row, segment, label in zip(ids, segments, follows, strict=True):
            a = row[(segment == 0) & (row >= 5)]
            b = row[(segment == 1) & (row >= 5)]
            assert (a.diff() == 1).all() and (b.diff() == 1).all()
            assert (b[0] == a[-1] + 1) if label == 0 else (a[0] // 100 != b[0] // 100)


def test_a_batch_depends_on_seed_and_step_alone():
    texts = [
        torch.randint(5, 50, (80,), generator=torch.Generator().manual_seed(i)) for i in (0, 1)
    ]
    make = lambda seed: bert.PairBatches(texts, 50, length=20, batch_size=4, seed=seed)  # noqa: E731
    one, two, other = make(0), make(0), make(1)
    two(7)
    flat = lambda ids, segments, chosen, follows: (ids, segments, *chosen, follows)  # noqa: E731
    assert all(torch.equal(a, b) for a, b in zip(flat(*one(3)), flat(*two(3)), strict=True))
    assert not torch.equal(one(3)[0], one(4)[0]) and not torch.equal(one(3)[0], other(3)[0])


def test_the_other_article_is_found_even_where_one_is_nearly_all_of_the_text():
    """To draw until another one comes would take a million draws for each row."""
    texts = [torch.full((1_000_000,), 9), torch.full((20,), 7)]
    batches = bert.PairBatches(texts, 50, length=20, batch_size=64, rate=0.01, rule=(0, 0, 1))
    ids, segments, _, follows = batches(0)
    rest = ids[(follows == 1)[:, None] & (segments == 1) & (ids >= 5)]
    assert follows.sum() == 32 and len(rest) > 32 * 5 and (rest == 7).all()


def test_the_other_article_comes_up_by_its_length():
    texts = [torch.full((n + 19,), token) for n, token in ((5_000, 5), (20, 6), (60, 7))]
    batches = bert.PairBatches(texts, 50, length=20, batch_size=256, rate=0.01, rule=(0, 0, 1))
    seen = torch.zeros(3)
    for step in range(8):  # article 5 is 98 % of the text: 50 draws give others to 6 rows of 10
        ids, _, _, follows = batches(step)
        pairs = ids[(follows == 1) & (ids[:, 1] == 5)][:, -2]
        assert (pairs != 5).all()
        seen += torch.bincount(pairs - 5, minlength=3)
    assert seen[2] / seen.sum() == pytest.approx(0.75, abs=0.05)


def test_pairs_need_two_articles():
    with pytest.raises(TypeError, match="articles: expected a list of token ids"):
        bert.PairBatches(torch.full((40,), 9), 50)
    with pytest.raises(ValueError, match=r"articles\[1\]: expected ids from 0 to 49, got 9 to 50"):
        bert.PairBatches([torch.full((40,), 9), torch.tensor([9, 50] * 20)], 50, length=32)
    with pytest.raises(ValueError, match="length: expected a whole number of at least 7, got 6"):
        bert.PairBatches([torch.full((40,), 9)] * 2, 50, length=6)
    with pytest.raises(ValueError, match="articles: expected two of at least 32 tokens, got 1"):
        bert.PairBatches([torch.full((40,), 9), torch.full((20,), 9)], 50, length=32)


# --- fill in


@pytest.fixture
def filler(tokenizer):
    torch.manual_seed(0)
    return bert.PreTraining(bert.BERTConfig(len(tokenizer), 16, 1, 2, 32)).eval()


def test_fill_gives_the_models_probabilities_at_the_blank(filler, tokenizer):
    found = bert.fill(filler, tokenizer, "the quick _ fox", k=3)
    ids = torch.tensor([[bert.CLS, *tokenizer.encode("the quick [MASK] fox"), bert.SEP]])
    p = filler(ids)[0][ids == bert.MASK][0].softmax(-1)
    assert len(found) == 1 and len(found[0]) == 3
    for piece, probability in found[0]:
        assert p[tokenizer.index[piece]].item() == pytest.approx(probability, rel=1e-5)
    assert found[0][0][1] == pytest.approx(p.max().item(), rel=1e-5)
    every = bert.fill(filler, tokenizer, "[MASK] [MASK]", k=10_000)  # all masked: a defined result
    assert len(every) == 2 and sum(q for _, q in every[0]) == pytest.approx(1, abs=1e-4)


def test_fill_tells_two_sentences_apart(filler, tokenizer):
    torch.nn.init.normal_(filler.bert.segments.weight, std=3.0)
    ids = torch.tensor([[bert.CLS, *tokenizer.encode("the fox [SEP] [MASK] dog"), bert.SEP]])
    first = ids[0].tolist().index(bert.SEP)
    segments = torch.tensor([[0] * (first + 1) + [1] * (ids.shape[1] - first - 1)])
    p = filler(ids, segments)[0][ids == bert.MASK][0].softmax(-1)
    found = bert.fill(filler, tokenizer, "the fox [SEP] _ dog", k=1)[0][0]
    assert found[1] == pytest.approx(p.max().item(), rel=1e-5)


def test_fill_with_temperature_an_unknown_word_and_bad_input(filler, tokenizer):
    assert bert.fill(filler, tokenizer, "the _", k=2, temperature=0)[0][0][1] == 1.0
    assert bert.fill(filler, tokenizer, "§§ _", k=1)[0]  # [UNK] is a token like any other
    for text in ("", "no blank here"):
        with pytest.raises(ValueError, match="expected a blank in it"):
            bert.fill(filler, tokenizer, text)
    with pytest.raises(ValueError, match="at most 16 tokens, the context"):
        bert.fill(filler, tokenizer, "the _ " * 10)
    with pytest.raises(ValueError, match="temperature: expected .* at least 0, got -1"):
        bert.fill(filler, tokenizer, "the _", temperature=-1)
    with pytest.raises(TypeError, match="text: expected one text with a blank, got a list"):
        bert.fill(filler, tokenizer, ["the _"])
    with pytest.raises(ValueError, match="k: expected"):
        bert.fill(filler, tokenizer, "the _", k=0)
    with pytest.raises(TypeError, match="text: expected one text, got 5"):
        tokenizer.encode(5)


def test_fill_is_without_dropout_and_leaves_the_mode_and_refuses_broken_logits(tokenizer):
    torch.manual_seed(0)
    model = bert.PreTraining(bert.BERTConfig(len(tokenizer), 16, 1, 2, 32, dropout=0.5)).train()
    again = [bert.fill(model, tokenizer, "the _ fox", k=3) for _ in range(2)]
    assert again[0] == again[1] and model.training and model.bert.drop.training
    model.bias.data[7] = math.nan
    for temperature in (0, 1.0):
        with pytest.raises(ValueError, match="logits: expected finite numbers.* got NaN"):
            bert.fill(model, tokenizer, "the _ fox", temperature=temperature)
    assert model.training
