"""The rules for reviews, who criticises and revises by them, and what a model writes and pays."""

import random

import pytest
import torch

from genai_utils.language import reviews
from genai_utils.language import self_critique as sc
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.tokens import IGNORE

PROMPT = "review aurora : plot and music >"


@pytest.mark.parametrize(
    "review, found",
    [
        ("the plot was superb . the music was warm .", []),
        ("the plot was superb .", ["missing music"]),
        ("the plot was dull . the music was cold .", ["blame dull", "blame cold"]),
        ("the plot was warm . the music was warm .", ["twice warm"]),
        ("the plot was warm . the music was good . the cast was fresh .", ["beside cast"]),
        ("the plot was warm . the music was", ["broken ."]),
        ("", ["missing plot", "missing music"]),
        ("superb superb", ["missing plot", "missing music", "twice superb", "broken ."]),
        ("aurora is a dull film . the plot was good and warm . the music was fresh .",
         ["blame dull"]),
    ],
)  # fmt: skip
def test_each_fault_is_found(review, found):
    assert sc.faults(PROMPT, review) == found
    assert sc.critique(PROMPT, review) == (" ".join(found) or "fine")


def test_the_editor_leaves_no_fault_and_keeps_what_was_good():
    rng = random.Random(0)
    for _ in range(500):
        prompt = reviews.wish(rng)
        draft = reviews.review(rng, prompt)
        revised = sc.revision(prompt, draft, rng)
        assert sc.faults(prompt, revised) == []
        assert len(sc.critique(prompt, draft).split()) < sc.MOST[sc.CRITIQUE]
        assert len(revised.split()) < sc.MOST[sc.REVISION]
    kept = sc.revision(PROMPT, "the music was funny . the plot was dull and fresh .", rng)
    assert kept == "the plot was superb and fresh . the music was funny ." or (
        kept.startswith("the plot was") and "fresh" in kept and kept.endswith("music was funny .")
    )


def test_a_demonstration_is_prompt_draft_critique_revision():
    ids, targets = sc.demonstrations(40, [PROMPT], seed=1)
    assert ids.shape == (40, sc.CONTEXT - 1)
    for row, wanted in zip(ids, targets, strict=True):
        parts = " ".join(sc.WORDS[i] for i in row.tolist()).split(" <end>")
        draft = parts[0].removeprefix(PROMPT + " ")
        said = parts[1].removeprefix(" critique ")
        assert said == sc.critique(PROMPT, draft)
        assert sc.faults(PROMPT, parts[2].removeprefix(" revision ")) == []
        own = [sc.WORDS[i] for i in wanted.tolist() if i != IGNORE]
        assert (
            own == f"{draft} <end> {said} <end>{parts[2].removeprefix(' revision')} <end>".split()
        )
    assert ids.equal(sc.demonstrations(40, [PROMPT], seed=1)[0])
    assert not ids.equal(sc.demonstrations(40, [PROMPT], seed=2)[0])


class Scripted:
    """Stands for a model in `write`: what it would write, one text after the other."""

    def __init__(self, monkeypatch, *texts):
        texts = iter(texts)

        def write(model, begun, most, generator=None, temperature=1.0):
            said = [next(texts) for _ in begun]
            return sc.Part(said, [len(text.split()) + 1 for text in said])

        monkeypatch.setattr(sc, "write", write)


GOOD, WORSE = "the plot was superb . the music was warm .", "the plot was dull ."


def test_resampling_keeps_the_draft_with_the_fewest_faults(monkeypatch):
    Scripted(monkeypatch, WORSE, GOOD, WORSE)
    kept = sc.resample(None, [PROMPT], [17])  # 6 + 11 tokens: the third is not paid for
    assert kept == sc.Part([GOOD], [17])


def test_a_critic_of_its_own_is_paid_for_and_may_be_wrong(monkeypatch):
    Scripted(monkeypatch, GOOD, WORSE)

    def critic(prompts, drafted):
        said = ["blame plot" if d == GOOD else "fine" for d in drafted]
        return sc.Part(said, [5] * len(said))

    kept = sc.resample(None, [PROMPT], [27], critic)
    assert kept == sc.Part([WORSE], [11 + 5 + 6 + 5])


def test_as_much_is_spent_as_there_is_on_the_whole(monkeypatch):
    for budget, spent in ((1, 11), (16, 11), (17, 22), (27, 22), (28, 33)):
        Scripted(monkeypatch, *[GOOD] * 5)
        assert sc.resample(None, [PROMPT], [budget]).tokens == [spent]


def test_a_budget_of_nothing_buys_nothing(monkeypatch):
    Scripted(monkeypatch)
    assert sc.resample(None, [PROMPT], [0]) == sc.Part([""], [0])


def test_what_a_model_writes_is_cut_at_its_end_and_counted():
    torch.manual_seed(0)
    net = GPT(GPTConfig(sc.VOCABULARY, sc.CONTEXT, 1, 2, 16))
    g = torch.Generator().manual_seed(0)
    prompts = reviews.every_prompt()[:5]
    drafted = sc.drafts(net, prompts, g)
    said = sc.criticise(net, prompts, drafted.texts)
    revised = sc.revise(net, prompts, drafted.texts, said.texts, g)
    for part, most in zip((drafted, said, revised), sc.MOST.values(), strict=True):
        for text, tokens in zip(part.texts, part.tokens, strict=True):
            assert len(text.split()) <= tokens <= most and "<end>" not in text
            assert tokens == most or tokens == len(text.split()) + 1


def test_a_finished_revision_is_learned_alone():
    ids, targets = sc.without_critique([PROMPT, PROMPT], [GOOD, WORSE])
    assert sc.decode(targets[0][targets[0] != IGNORE]) == GOOD
    assert (targets[1] != IGNORE).sum() == len(WORSE.split()) + 1
    assert sc.decode(ids[1]) == f"{PROMPT} {WORSE}"


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="prompt"):
        sc.faults("repeat : plot >", GOOD)
    with pytest.raises(ValueError, match="words of this world"):
        sc.encode("the plot was fabulous")
    with pytest.raises(TypeError, match="prompts"):
        sc.demonstrations(3, PROMPT)
    with pytest.raises(ValueError, match="n:"):
        sc.demonstrations(0, [PROMPT])
