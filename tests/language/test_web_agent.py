"""Episodes as rows of tokens: the demonstrator, the engine against a slow one, and practice."""

import random

import pytest
import torch

from genai_utils.language import fact_world, policy, web_agent, web_practice
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.sampling import generate
from genai_utils.language.web_agent import (
    ACTION,
    CONTEXT,
    DONE_ID,
    END,
    GO_ID,
    INDEX,
    VOCABULARY,
    action_mask,
    demonstrate,
    demonstrations,
    episode_ids,
    ids_of,
    play,
    text_of,
)
from genai_utils.language.web_browser import Browser
from genai_utils.language.web_practice import AgentGRPO, Practice, pass_at_k, tries, vote
from genai_utils.language.web_server import Connection, Direct, serve
from genai_utils.language.web_world import ELSEWHERE, Web
from genai_utils.training import TensorBatches, fit


@pytest.fixture(scope="module")
def web():
    return Web(seed=3, noted=0.5)


def small(context=CONTEXT, seed=0):
    torch.manual_seed(seed)
    net = GPT(GPTConfig(VOCABULARY, context, 1, 2, 16))
    with torch.no_grad():
        net.tokens.weight.mul_(30)  # so that it is sure of something
    return net


# --- tokens


def test_every_word_of_the_web_is_known_and_no_page_can_begin_an_action(web):
    for name in web.names:
        words = web.text(name).split()
        assert text_of(ids_of(" ".join(words))).split() == words
    assert ids_of("page ravi > search ada ; <end> zebra") == ids_of("page ravi search ada")
    assert not {GO_ID, DONE_ID, END} & set(ids_of(" ".join(web_agent.WORDS)))
    assert len(web_agent.WORDS) == len(INDEX) and ELSEWHERE not in INDEX


@pytest.mark.parametrize("noted", [False, True])
def test_the_demonstrator_is_right_and_breaks_no_rule(web, noted):
    for question in web.questions(60, seed=5, noted=noted):
        browser = demonstrate(question, Direct(web), random.Random(0))
        assert browser.answer == question.answer and browser.over
        assert not any(step.refused for step in browser.log)
        assert len(episode_ids(question, browser.log)) <= CONTEXT - ACTION


def test_a_slip_is_noticed_half_of_the_times():
    web, rng = Web(seed=3), random.Random(0)
    seen = [demonstrate(q, Direct(web), rng, slip=1.0) for q in web.questions(200)]
    right = [b.answer == q.answer for b, q in zip(seen, web.questions(200), strict=True)]
    assert 0.35 < sum(right) / 200 < 0.65 and all(b.answer for b in seen)


def by_loops(row, go, done):
    own, found = False, []
    for token in row:
        found.append(own)
        own = (own or token == go) and token != done
        found[-1] = found[-1] and token != go
    return found


def test_the_mask_is_what_the_agent_wrote(web):
    ids, targets = demonstrations([web], 20, seed=1, slip=0.5)
    whole = torch.cat([ids, torch.zeros(len(ids), 1, dtype=torch.long)], 1)
    mask = action_mask(whole, GO_ID, DONE_ID)
    assert mask.tolist() == [by_loops(row, GO_ID, DONE_ID) for row in whole.tolist()]
    assert (targets >= 0).equal(mask[:, 1:])
    for row, wanted in zip(ids, targets, strict=True):
        lines = text_of(wanted[wanted >= 0].tolist()).split(" ;")
        assert lines[0].startswith("search ") and lines[-1] == ""
        assert lines[-2].split()[0] == "answer" and lines[-3].split()[0] == "quote"
        assert len(row) == ids.shape[1]


def test_demonstrations_are_a_function_of_the_seed(web):
    a, b, c = (demonstrations([web, Web(seed=4)], 8, seed=s)[0] for s in (1, 1, 2))
    assert a.equal(b) and (a.shape != c.shape or not a.equal(c))
    with pytest.raises(ValueError, match="webs"):
        demonstrations([], 3)
    with pytest.raises(ValueError, match="slip"):
        demonstrations([web], 3, slip=2)


# --- the engine


def test_the_engine_plays_as_a_slow_one_would(web):
    """One row at a time, the whole text anew for each action, the likeliest token."""
    net, questions = small(), web.questions(6, seed=2)
    played = play(net, questions, Direct(web), temperature=0.0)
    allowed = torch.ones(VOCABULARY, dtype=torch.bool)
    allowed[[GO_ID, END]] = False
    for row, question in zip(played.ids.tolist(), questions, strict=True):
        browser, ids = Browser(Direct(web)), [*ids_of(question.text), GO_ID]
        while True:
            new = generate(net, torch.tensor(ids), ACTION - 1, 0.0, stop=DONE_ID, allowed=allowed)
            action = [i for i in new[len(ids) :].tolist() if i != DONE_ID]
            seen = browser.act(text_of(action))
            ids += [*action, DONE_ID]
            if browser.over or len(ids) + len(ids_of(seen)) + 1 + ACTION > CONTEXT:
                break
            ids += [*ids_of(seen), GO_ID]
        assert row[: len(ids)] == ids and set(row[len(ids) :]) <= {END}


def test_what_is_played_over_the_server_is_the_same(web):
    net, questions = small(seed=1), web.questions(5, seed=3)
    draws = [torch.Generator().manual_seed(0) for _ in "ab"]
    with serve(web) as server, Connection(server) as fetch:
        served = play(net, questions, fetch, generator=draws[0])
    direct = play(net, questions, Direct(web), generator=draws[1])
    assert served.ids.equal(direct.ids) and served.answers == direct.answers


def test_a_cloned_agent_answers(web):
    """One question by heart: the engine, the browser and the training fit together."""
    question = web.question("ada", "pet", 2)
    ids = episode_ids(question, demonstrate(question, Direct(web), random.Random(0)).log)
    targets = ids.masked_fill(~action_mask(ids[None], GO_ID, DONE_ID)[0], -100)
    net = small()
    batches = TensorBatches(ids[None, :-1], targets[None, 1:], batch_size=1)
    net = fit(net, batches, 200, lr=1e-2, progress=False).model
    played = play(net, [question], Direct(web), temperature=0.0)
    assert played.answers == [question.answer] and played.right.tolist() == [True]
    assert played.ids[0].tolist() == ids.tolist()
    again = play(net, [question] * 2, Direct(web), temperature=0.0, full=True)
    assert again.ids.shape == (2, CONTEXT) and again.right.all()
    short = play(net, [question], Direct(web), temperature=0.0, steps=3)
    assert short.answers == [None] and len(short.browsers[0].log) == 3


def test_an_episode_ends_before_its_row_is_full(web):
    played = play(
        small(), web.questions(8), Direct(web), generator=torch.Generator().manual_seed(0)
    )
    opened = (played.ids == GO_ID).sum(1)
    assert opened.equal((played.ids == DONE_ID).sum(1)) and (opened >= 1).all()
    assert [len(b.log) for b in played.browsers] == opened.tolist()
    assert not played.right.any()
    with pytest.raises(ValueError, match="questions"):
        play(small(), [], Direct(web))


# --- many tries


def test_pass_at_k_is_the_share_of_choices_with_a_right_one():
    from itertools import combinations

    right = torch.tensor([[1, 0, 0, 0, 0], [1, 1, 0, 1, 0], [0] * 5, [1] * 5]).bool()
    for k in range(1, 6):
        wanted = [
            sum(any(c) for c in combinations(row, k)) / sum(1 for _ in combinations(row, k))
            for row in right.tolist()
        ]
        torch.testing.assert_close(pass_at_k(right, k), torch.tensor(wanted))


def test_the_vote_counts_answers_that_count():
    cat, dog, none = 5, 3, -1
    answers = torch.tensor(
        [[cat, dog, dog, none, none, none], [cat, dog, none, dog, cat, 9], [none] * 6,
         [none, none, none, none, dog, none]]
    )  # fmt: skip
    assert vote(answers).tolist() == [dog, cat, none, dog]
    first = web_practice.first_that_counts(answers)
    assert first.tolist() == [cat, cat, none, dog]
    assert vote(answers[:, :1]).tolist() == [cat, cat, none, none]
    ids = web_practice.answer_ids(["cat", None, "cat dog", "zebra"])
    assert ids.tolist() == [INDEX["cat"], -1, -1, -1]


def test_tries_are_of_each_question(web):
    question = web.question("ada", "pet", 1)
    browser = demonstrate(question, Direct(web), random.Random(0))
    ids = episode_ids(question, browser.log)
    net = small()
    targets = ids.masked_fill(~action_mask(ids[None], GO_ID, DONE_ID)[0], -100)
    batches = TensorBatches(ids[None, :-1], targets[None, 1:], batch_size=1)
    net = fit(net, batches, 200, lr=1e-2, progress=False).model
    other = web.question("boris", "home", 1)
    found = tries(net, [question, other], Direct(web), 3, torch.Generator().manual_seed(0))
    assert found.shape == (2, 3) and (found[0] == INDEX[question.answer]).any()
    with pytest.raises(ValueError, match="n:"):
        tries(small(), web.questions(3), Direct(web), 0)


# --- practice


def test_the_loss_is_chapter_14s_on_the_tokens_of_actions(web):
    net = AgentGRPO(small(), group=2)
    batches = Practice(net, [web], rows=4, parts=1, seed=1)
    batch = batches(0)
    assert net.mask(batch[0]).equal(action_mask(batch[0], GO_ID, DONE_ID))
    batch[3].copy_(torch.tensor([1.0, -1.0, 0.5, -0.5]))
    loss = net.loss(batch)
    log_p, mask = net(batch[0])[0], net.mask(batch[0])
    wanted = policy.grpo_loss(log_p, batch[1], batch[2], batch[3], mask, net.clip, net.beta)
    torch.testing.assert_close(loss, wanted)


def test_practice_makes_the_rewarded_likelier(web):
    """The reward is the share of words with an even number: soon it is larger."""

    def evens(played):
        mine = action_mask(played.ids, GO_ID, DONE_ID)
        return ((played.ids % 2 == 0) & mine).sum(1) / mine.sum(1).clamp(min=1)

    net = AgentGRPO(small(seed=2), beta=0.0, group=8)
    batches = Practice(net, [web], evens, rows=32, parts=1, steps=2, seed=0)
    fit(net, batches, 12, lr=1e-2, schedule="constant", progress=False)
    told = batches.history["score"]
    assert sum(told[-3:]) > sum(told[:3]) + 0.3 and set(batches.history) >= {"right", "kl"}


def test_practice_is_taken_up_in_the_middle(web):
    net = AgentGRPO(small(), group=2)
    one, other = (Practice(net, [web, Web(seed=4)], rows=4, parts=2, seed=1) for _ in "ab")
    first = one(0)
    other.load_state_dict(one.state_dict())
    assert other.history == one.history
    for a, b in zip(one(1), other(1), strict=True):
        assert a.equal(b)
    assert len(first[0]) == 2 and "Practice(rows=4" in repr(one)


def test_bad_practice_is_refused(web):
    net = AgentGRPO(small(), group=4)
    for webs, options, says in (
        ([], {}, "webs"), ([web], {"rows": 6}, "rows"), ([web], {"rows": 8, "parts": 3}, "rows"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            Practice(net, webs, **options)
    with pytest.raises(ValueError, match="context"):
        Practice(AgentGRPO(small(64)), [web])
    with pytest.raises(ValueError, match="score"):
        Practice(net, [web], lambda played: torch.full((8,), torch.nan), rows=8)(0)


def test_values_are_words_of_the_facts():
    assert all(v in INDEX for values in fact_world.VALUES.values() for v in values)
