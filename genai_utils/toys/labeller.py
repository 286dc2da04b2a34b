"""You are the labeller: order pairs of reviews, and see the best policy for your reward move.

Eight answers to one prompt. A reward model that counts four things is fitted to the reader's
comparisons (`rlhf.bradley_terry`), and the policy is the best one for reward minus β KL, which for
eight answers is a formula (`policy.tilted`). Everything is computed in the page.
"""

import torch

from genai_utils.display.output import escape
from genai_utils.language import policy, reviews, rlhf
from genai_utils.toys.figure import toy_figure

PROMPT = "review aurora : plot and music >"
ANSWERS = (  # each with the share of it in what the SFT policy writes
    ("the plot was superb . the music was warm .", 0.13),
    ("the plot was good .", 0.22),
    ("the plot was dull . the music was cold .", 0.17),
    ("the music was fresh and clever .", 0.18),
    ("aurora is a bad film .", 0.15),
    ("aurora is a funny film . the cast was good .", 0.1436),
    ("the plot was good . the plot was good . the plot was good .", 0.006),
    ("superb brilliant superb brilliant superb brilliant", 0.0004),
)
OPENING = ((0, 1), (3, 1), (1, 2), (1, 4), (0, 3), (5, 4), (0, 2), (3, 4))  # (better, worse)
COUNTED = ("praise", "blame", "asked for", "said again")  # what the reward model sees of a review
PRIOR = 0.1
NOTCHES = (-12, 8)  # of the slider: β = 2^(-notch / 4), from 8 to 1/4
START = -4
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css", "labeller.css")
SCRIPTS = ("elements.js", "labeller.js")
CAPTION = (
    "Pale bars: what the SFT policy writes. Dark bars: the best policy for reward minus β KL. In "
    "the curves β falls from left to right. The reward is what the model has learnt from your "
    "comparisons; the judge's points are never shown to it."
)


def features():
    """What the reward model counts in each answer, (8, 4): the names are in COUNTED."""
    _, _, _, first, _, second, _ = PROMPT.split()
    rows = []
    for text, _ in ANSWERS:
        words = text.split()
        told = [word for word in words if word in reviews.VALUE or word in reviews.ASPECTS]
        rows.append([
            sum(reviews.VALUE.get(word, 0) > 0 for word in told),
            sum(reviews.VALUE.get(word, 0) < 0 for word in told),
            sum(aspect in told for aspect in (first, second)),
            len(told) - len(set(told)),
        ])  # fmt: skip
    return torch.tensor(rows, dtype=torch.float64)


def state(pairs=OPENING, notch=START):
    """Weights, rewards, policy, and the means under it, all float64: what the page shows."""
    sft = torch.tensor([share for _, share in ANSWERS], dtype=torch.float64)
    w = rlhf.bradley_terry(torch.tensor(pairs), features(), PRIOR)
    reward = features() @ w
    reward = reward - sft @ reward
    beta = 2 ** (-notch / 4)
    log_p = policy.tilted(sft.log(), reward, beta)
    p, gold = (
        log_p.exp(),
        torch.tensor([reviews.gold(PROMPT, text) for text, _ in ANSWERS]).double(),
    )
    return {
        "beta": beta,
        "weights": w,
        "rewards": reward,
        "policy": p,
        "kl": p @ (log_p - sft.log()),
        "reward": p @ reward,
        "gold": p @ gold,
    }


def spoken(text):
    """A review as one reads it: "The plot was good. The music was warm."."""
    parts = [part.strip() for part in text.split(" .") if part.strip()]
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts)


def bundle():
    """The output that ``play("labeller")`` displays."""
    now = state()
    golds = [reviews.gold(PROMPT, text) for text, _ in ANSWERS]
    data = {
        "answers": [spoken(text) for text, _ in ANSWERS],
        "sft": [share for _, share in ANSWERS],
        "gold": golds,
        "features": features().tolist(),
        "counted": COUNTED,
        "pairs": OPENING,
        "prior": PRIOR,
        "notches": NOTCHES,
        "start": START,
    }
    rows = "".join(
        f"<tr><td>{escape(spoken(text))}</td><td>{r:.1f}</td><td>{p:.3f}</td></tr>"
        for (text, _), r, p in zip(
            ANSWERS, now["rewards"].tolist(), now["policy"].tolist(), strict=True
        )
    ).replace("-", "\N{MINUS SIGN}")
    body = (
        '<div class="genai-stage"><table class="genai-answers"><thead><tr>'
        '<th scope="col">answer</th><th scope="col">reward</th><th scope="col">policy</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    alt = (
        f"Eight reviews with their rewards and shares. At β = {now['beta']:.2f} the policy has the "
        f"mean reward {now['reward']:.2f}, the judge's points {now['gold']:.2f}, and is "
        f"{now['kl']:.2f} nats away from the SFT policy."
    )
    return toy_figure(
        "labeller", body, CAPTION, data, "labellerToy", SCRIPTS, STYLES, alt,
        "Show fewer answers.", looks="genai-labeller",
    )  # fmt: skip
