"""Chapter 17: the loop of an agent and its environment, and a draft that is criticised."""

from genai_utils.display.drawings.canvas import LEAST, Canvas


def agent():
    """An agent acts, an environment answers, and the rules stand between them.

    On the left the agent, a GPT, reads the question and all that it has seen, and writes an action:
    open link 2. The action goes to the browser on the right, and passes a gate of four rules: this
    host only, quotations that stand on the page, answers that stand in a quotation, so many steps.
    What the rules let pass goes to the server with its pages; what they do not comes back as
    refused. What is seen goes back to the agent, which writes the next action. A page may hold a
    sentence that gives orders: it can reach the agent, but the gate does not read it.
    """
    c = Canvas(500, 420)
    c.text(110, 18, "question", LEAST, kind="muted")
    question = c.box(8, 26, 204, 34, "what does ravi do ?", "data", LEAST)
    agent_box = c.box(30, 118, 160, 60, ["agent: a GPT"], "parameter")
    c.arrow(question.bottom, agent_box.top)
    rules = c.box(292, 96, 196, 140, role="warning")
    c.text(390, 118, "rules", kind="strong")
    for i, line in enumerate(
        ("this host only", "quotations stand", "answers quoted", "12 actions")
    ):
        c.text(390, 144 + 24 * i, line, LEAST)
    c.arrow(agent_box.right, (rules.x, 148))
    c.text(241, 136, "open [2]", LEAST, kind="strong")
    pages = c.box(292, 300, 196, 104, role="data")
    c.text(390, 322, "server on 127.0.0.1", LEAST, kind="muted")
    for i in range(3):
        c.box(308 + 58 * i, 336, 48, 56, ("ravi", "mina", "…")[i], "plain", LEAST)
    c.arrow(rules.bottom, pages.top)
    c.arrow((292, 372), (86, 372), (86, 178))
    c.text(190, 362, "page ravi", LEAST, kind="strong")
    c.arrow((292, 218), (146, 218), (146, 178))
    c.text(222, 240, "refused", LEAST, kind="warning")
    c.text(100, 282, "what is seen", LEAST, "start", "muted")
    return c


def self_critique():
    """Draft, critique, revision: one GPT in three parts, one after the other.

    From a prompt the model writes a draft: the plot was dull. It reads the draft against written
    rules and writes what is wrong: blame dull, missing music. It reads both and writes a revision:
    the plot was moving, the music was warm. A dashed arrow leads from the revisions back to the
    model: trained on them alone, it writes them at once.
    """
    c = Canvas(500, 330)
    prompt = c.box(8, 20, 340, 34, "review aurora : plot and music", "data", LEAST)
    texts = (
        ("draft", "the plot was dull .", "operation"),
        ("critique", "blame dull missing music", "warning"),
        ("revision", "the plot was moving . …", "output"),
    )
    above = prompt
    for i, (name, text, role) in enumerate(texts):
        c.text(8, 124 + 76 * i, name, kind="strong", anchor="start")
        box = c.box(96, 96 + 76 * i, 250, 46, text, role, LEAST)
        c.arrow(above.bottom if i else (133, 54), (133 if not i else box.top[0], 96 + 76 * i))
        above = box
    rules = c.box(372, 172, 96, 46, "the rules", "parameter", LEAST)
    c.arrow(rules.left, (346, 195))
    c.arrow((346, 271), (488, 271), (488, 119), (346, 119), dashed=True)
    c.text(488, 316, "trained on revisions: written at once", LEAST, "end", "muted")
    return c


DRAWINGS = {"agent": agent, "self-critique": self_critique}
