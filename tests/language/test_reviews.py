"""The world of reviews: tasks with one right answer, and a judge that can be checked by hand."""

import random

import pytest
import torch

from genai_utils.language import reviews
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.training import fit

PROMPT = "review aurora : plot and music >"
GOOD = "the plot was superb . the music was warm ."


@pytest.mark.parametrize(
    ("answer", "points"),
    [
        ("", 0),
        (GOOD, 2 + 1 + 2),  # two words of praise, both aspects
        ("the plot was superb and warm .", 2 + 1 + 1),
        ("the plot was awful . the music was cold .", -2 - 1 + 2),
        ("aurora is a good film .", 1),
        (GOOD + " " + GOOD, 2 + 1 + 2 - 4 - 0.25 * 4),  # four words again, 20 words in all
        ("superb superb superb", 2 - 2 - 1.5),  # no sentence
        ("superb warm plot music .", 2 + 1 + 2 - 2.5),
        ("the plot was superb . the the the", 2 + 1 - 1.5),
        ("the cast was good .", 1),  # not asked for
    ],
)
def test_the_judge_by_hand(answer, points):
    assert reviews.gold(PROMPT, answer) == points


def test_scores_of_many():
    found = reviews.gold_scores([PROMPT, PROMPT], ["", GOOD])
    assert found.tolist() == [0, 5]
    with pytest.raises(ValueError, match="answers: expected one for each of the 2 prompts"):
        reviews.gold_scores([PROMPT, PROMPT], [GOOD])


@pytest.mark.parametrize("prompt", ["", "reverse : plot >", "review aurora : good and music >"])
def test_what_asks_for_no_review_is_refused(prompt):
    with pytest.raises(ValueError, match="prompt: expected"):
        reviews.gold(prompt, GOOD)


def test_words_go_there_and_back():
    assert reviews.decode(reviews.encode(GOOD)) == GOOD
    assert reviews.decode(reviews.encode(GOOD + " <end> <end>")) == GOOD
    assert len(set(reviews.WORDS)) == len(reviews.WORDS) and reviews.WORDS[reviews.END] == "<end>"
    with pytest.raises(ValueError, match="text: expected words of this world, got 'rubbish'"):
        reviews.encode("the plot was rubbish .")


def test_tasks_have_one_right_answer():
    assert reviews.TASKS["reverse"](["plot", "dull"]) == ["dull", "plot"]
    assert reviews.TASKS["opposite"](["superb", "dull"]) == ["awful", "moving"]
    rng = random.Random(0)
    for _ in range(200):
        prompt, answer = reviews.instruction(rng)
        name, _, *words, sign = prompt.split()
        assert sign == ">" and 2 <= len(words) <= 3 and len(set(words)) == len(words)
        assert answer.split() == reviews.TASKS[name](words)


def test_demonstrations_are_in_the_judges_language_and_fit():
    rng, scores = random.Random(0), []
    for _ in range(300):
        prompt = reviews.wish(rng)
        answer = reviews.review(rng, prompt)
        ids = reviews.encode(f"{prompt} {answer} <end>")
        assert len(reviews.encode(prompt)) == reviews.PROMPT
        assert reviews.well_formed(answer.split()) == len(answer.split())
        scores.append(reviews.gold(prompt, answer))
        assert len(ids) <= reviews.PROMPT + reviews.ANSWER
    assert torch.tensor(scores).std() > 1 and len(set(scores)) > 8


def test_prompts_are_all_there_once_and_raw_text_answers_nothing():
    found = reviews.every_prompt()
    assert len(found) == len(set(found)) == 16 * 8 * 7 and found != sorted(found)
    rng = random.Random(0)
    texts = [reviews.raw_text(rng) for _ in range(100)]
    assert all(reviews.encode(text)[-1] == reviews.END for text in texts)
    asked = [text for text in texts if ">" in text.split()]
    for text in asked:  # after a task comes another one, or the end
        words = text.split()
        after = {words[i + 1] for i, word in enumerate(words) if word == ">"}
        assert after <= {*reviews.TASKS, "<end>"}
    assert 20 < len(asked) < 80


def test_demonstrations_hold_no_task_that_is_kept_for_later():
    kept = {reviews.instruction(random.Random(i), "opposite")[0] for i in range(150)}
    ids, start = reviews.demonstrations(600, reviews.every_prompt()[:5], 0, kept)
    texts = [reviews.decode(row) for row in ids]
    assert not any(text.startswith(f"{prompt} ") for text in texts for prompt in kept)
    asked = [text for text in texts if text.startswith("review")]
    assert len(asked) == 200 and {" ".join(t.split()[:7]) for t in asked} <= set(
        reviews.every_prompt()[:5]
    )
    signs = ids.gather(1, start[:, None] - 1)
    assert (signs == reviews.INDEX[">"]).all() and ids.shape[1] == reviews.PROMPT + reviews.ANSWER


def test_exact_match_counts_whole_answers():
    """A model that has learnt two tasks by heart, and is asked one that it has not."""
    tasks = [("first : plot dull >", "plot"), ("repeat : good pace >", "good pace")]
    torch.manual_seed(0)
    model = GPT(GPTConfig(len(reviews.WORDS), context=12, layers=1, heads=2, dim=32))
    rows = [reviews.encode(f"{p} {a} <end>") for p, a in tasks]
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    model = fit(model, lambda step: batch, 150, lr=1e-2, progress=False).model
    found = reviews.exact_match(model, [*tasks, ("first : dull plot >", "never")])
    assert found == {"first": 0.5, "repeat": 1.0, "all": 2 / 3}
