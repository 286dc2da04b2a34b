"""An agent that browses: episodes as rows of tokens, a scripted demonstrator, and the engine.

An episode is one row. What comes from outside, the question and what is seen, and what the agent
writes take turns; ">" asks the agent for an action, and ";" ends it:

    what is the job of ravi ? > search ravi ; [1] mina [2] ravi > open [2] ; page ravi > …

A GPT that predicts the tokens between ">" and ";" is an agent. Shapes: B episodes of T tokens.

Source: Nakano et al. 2021; lecture item A64.
"""

import random
from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor

from genai_utils.inputs import number, refusal, whole
from genai_utils.training.batches import derive_seed

from . import fact_world
from .fact_world import RELATIONS, TAGS, VALUES
from .sampling import draw, evaluating
from .tokens import IGNORE
from .web_browser import ACTIONS, OUTSIDE, STEPS, Browser
from .web_server import Direct
from .web_world import MENTOR, Question

GO, DONE = ">", ";"
WORDS = tuple(dict.fromkeys((
    *fact_world.WORDS, GO, DONE, *ACTIONS, *RELATIONS, MENTOR, OUTSIDE, "page", "nothing",
    "refused", "quoted", "moved", "agent", ",", "is", "of", "the",
)))  # fmt: skip
INDEX = {word: i for i, word in enumerate(WORDS)}
VOCABULARY, END = len(WORDS), fact_world.END
GO_ID, DONE_ID = INDEX[GO], INDEX[DONE]
CONTEXT, ACTION = 144, 12  # tokens of an episode and of an action, at most, ";" included


def ids_of(text):
    """The ids of a text, a list. Words that the agent does not know are left out, and so are the
    signs that only the agent and the engine may write: no page can begin an action."""
    known = (INDEX.get(word) for word in text.split() if word not in (GO, DONE, "<end>"))
    return [i for i in known if i is not None]


def text_of(ids):
    """The text of ids."""
    return " ".join(WORDS[i] for i in ids)


def action_mask(ids: Tensor, go: int, done: int) -> Tensor:
    """Which tokens of an episode the agent wrote: those behind a `go`, up to its `done`.

    A policy learns from its own choices. What came from outside, the question and all that was
    seen, it did not choose, and neither did it choose the `go`. The `done` is its choice: with it
    an action ends.

    ids (B, T) int64; go, done: two tokens. In each row they take turns, `go` first; what fills up
    a row holds neither. An action that is cut off has no `done` and goes to the end of its row.
    Returns (B, T) bool. Source: lecture item A64.
    """
    begun = (ids == go).cumsum(1)
    ended = (ids == done).cumsum(1) - (ids == done).long()  # before this token
    return (begun > ended) & (ids != go)


# --- the demonstrator


def demonstrate(question, fetch, rng, slip=0.0):
    """One episode of the script that shows how it is done: its `Browser`, with the log.

    slip: the probability that it first looks below a wrong heading. Half of the times it notices.
    It opens a page that has moved, follows no link off the host and no order of a page.
    """
    browser = Browser(fetch)
    for hop, name in enumerate(question.path):
        if hop == 0:
            seen = browser.act(f"search {name}").split()
            tag = seen[seen.index(name) - 1]
        else:
            seen = browser.act(f"find {MENTOR}").split()
            tag = next(word for word in seen if word in TAGS)
        seen = browser.act(f"open {tag}").split()
        if "moved" in seen and OUTSIDE not in seen:
            browser.act("open [1]")
    heading = question.relation
    if rng.random() < slip:
        wrong = rng.choice([r for r in RELATIONS if r != heading])
        seen = browser.act(f"find {wrong}")
        heading = wrong if rng.random() < 0.5 else heading
    if heading == question.relation:
        seen = browser.act(f"find {heading}")
    browser.act(f"quote {seen}")
    browser.act("answer " + next(w for w in seen.split() if w in VALUES[heading]))
    return browser


def episode_ids(question, log):
    """The row of an episode: question and log -> ids (T,) int64."""
    ids = [*ids_of(question.text), GO_ID]
    for i, step in enumerate(log):
        ids += [*ids_of(step.action), DONE_ID]
        if i + 1 < len(log):
            ids += [*ids_of(step.seen), GO_ID]
    return torch.tensor(ids)


def demonstrations(webs, count, seed=0, slip=0.2):
    """Rows of `count` demonstrations: (ids, targets), (count, T) each, for `GPT.loss`.

    webs: a list of `Web`; each question is of one of them, drawn alike, so that no fact can be
    learned by heart. Targets are the agent's tokens; -100 elsewhere.
    Raises ValueError for no web, or a slip that is no probability.
    """
    if not len(webs):
        raise refusal("webs", "at least one web", "none", "web_world.Web()")
    slip, count = number(slip, "slip", least=0, most=1), whole(count, "count")
    rng, rows = random.Random(derive_seed(seed, "demonstrations")), []
    for i in range(count):
        web = webs[rng.randrange(len(webs))]
        question = web.questions(1, derive_seed(seed, "demonstration", i))[0]
        rows.append(episode_ids(question, demonstrate(question, Direct(web), rng, slip).log))
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=END)
    targets = ids.masked_fill(~action_mask(ids, GO_ID, DONE_ID), IGNORE)
    return ids[:, :-1], targets[:, 1:]


# --- the engine


class Played(NamedTuple):
    """Episodes that an agent played: ids (B, T), filled up with 0; questions; browsers."""

    ids: Tensor
    questions: list[Question]
    browsers: list[Browser]

    @property
    def answers(self):
        """The answers that count, or None."""
        return [browser.answer for browser in self.browsers]

    @property
    def right(self):
        """(B,) bool."""
        pairs = zip(self.answers, self.questions, strict=True)
        return torch.tensor([answer == question.answer for answer, question in pairs])


@torch.no_grad()
def play(model, questions, fetch, temperature=1.0, generator=None, steps=STEPS, full=False):
    """Episodes side by side: at each place a row takes a token from outside, or draws its own.

    questions: B of them; fetch: a `Connection` or `Direct`, or a list of B. The agent may write any
    word but the ">" and what fills up, and after 11 words of an action its ";" is given. An episode
    ends with its browser, or where the row has no room for another action. full: fill rows up to
    the model's context, so that all calls give one shape. Returns `Played`, ids on the model's
    device. Raises ValueError for no question.
    """
    if not len(questions):
        raise refusal("questions", "at least one", "none")
    device, context = next(model.parameters()).device, model.config.context
    fetches = fetch if isinstance(fetch, list) else [fetch] * len(questions)
    browsers = [Browser(f, steps) for f in fetches]
    outside = [deque([*ids_of(q.text), GO_ID]) for q in questions]
    action = [[] for _ in questions]
    alive, rows, store = [True] * len(questions), [], model.new_cache()
    allowed = torch.ones(model.config.vocabulary, dtype=torch.bool, device=device)
    allowed[[GO_ID, END]] = False
    logits = None
    with evaluating(model):
        for t in range(context):
            own = [not queue for queue in outside]
            drawn = (
                draw(logits.masked_fill(~allowed, -torch.inf), temperature, generator=generator)
                if any(own) and logits is not None
                else torch.zeros(len(questions))
            ).tolist()
            column = []
            for b, browser in enumerate(browsers):
                if not alive[b]:
                    column.append(END)
                    continue
                token = int(drawn[b]) if own[b] else outside[b].popleft()
                if own[b] and len(action[b]) == ACTION - 1:
                    token = DONE_ID
                column.append(token)
                if own[b] and token != DONE_ID:
                    action[b].append(token)
                elif own[b]:
                    outside[b].extend([*ids_of(browser.act(text_of(action[b]))), GO_ID])
                    action[b] = []
                    room = context - t - 1 - len(outside[b])
                    alive[b] = not browser.over and room >= ACTION
            rows.append(torch.tensor(column, device=device))
            if not any(alive):
                break
            x = model.hidden(model.embed(rows[-1][:, None], t), store)
            logits = model.unembed(x[:, -1])  # (B, V)
    ids = torch.stack(rows, 1)
    if full:
        ids = torch.nn.functional.pad(ids, (0, context - ids.shape[1]), value=END)
    return Played(ids, list(questions), browsers)
