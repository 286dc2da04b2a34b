"""Chapters 1 to 7 and the page of one idea: a table, and the product of two thin ones."""

import numpy as np

from genai_utils.display.drawings.canvas import LEAST, Box, Canvas, toward

SHAPES = (("data", "circle"), ("parameter", "square"), ("output", "triangle"))  # of three clusters


def row_of(body, rows, i):
    """The Box of row i of a tensor."""
    return Box(body.x, body.y + i * body.height / rows, body.width, body.height / rows)


def column_of(body, columns, j):
    """The Box of column j of a tensor."""
    return Box(body.x + j * body.width / columns, body.y, body.width / columns, body.height)


# --- The page of one idea ------------------------------------------------------------------------


def one_idea():
    """One idea with three dials.

    A table X of n rows and d columns is about the product of two thin tables: Z with n rows and k
    columns, and Y with k rows and d columns. Below stand three dials. Which table: examples by
    features, people by films, documents by words, or words by words. What the factors may be: a
    single 1 in each row, nothing negative, or anything. What counts as close: the squared error,
    the squared error of the cells that were seen, or the log loss of telling real pairs from
    made-up ones.
    """
    c = Canvas(500, 470)
    x = c.tensor(46, 40, 7, 6, "**X**", "*n* × *d*", size=20)
    c.text(206, 117, "≈", 26)
    z = c.tensor(246, 40, 7, 2, "**Z**", "*n* × *k*", "output", size=20)
    y = c.tensor(330, 90, 2, 6, "**Y**", "*k* × *d*", "parameter", size=20)
    c.text(308, 117, "·", 26)
    c.frame(Box(x.x + 80, x.y + 40, 20, 20)), c.frame(row_of(z, 7, 2)), c.frame(column_of(y, 6, 4))
    dials = (
        ("Which table?", 4, 0,
         ["examples × features, people × films,", "documents × words, words × words"]),
        ("What may the factors be?", 3, 1,
         ["a single 1 in each row,", "nothing negative, anything"]),
        ("What counts as close?", 3, 2,
         ["squared error, the same where seen,", "log loss of real and made-up pairs"]),
    )  # fmt: skip
    for i, (title, marks, at, lines) in enumerate(dials):
        top = 250 + 78 * i
        dial(c, 46, top + 22, marks, at)
        c.text(96, top, title, anchor="start", kind="strong")
        c.text(96, top + 21, lines, LEAST, anchor="start", kind="muted")
    return c


def dial(c, x, y, marks, at):
    """A knob that points to one of its marks."""
    angles = np.linspace(-2.3, 2.3, marks)  # from straight up
    for angle in angles:
        way = np.array([np.sin(angle), -np.cos(angle)])
        c.path([tuple((x, y) + 23 * way), tuple((x, y) + 28 * way)], "muted")
    c.node(x, y, 18)
    way = np.array([np.sin(angles[at]), -np.cos(angles[at])])
    c.path([tuple((x, y) + 4 * way), tuple((x, y) + 17 * way)], "warning")


# --- 1 Clustering --------------------------------------------------------------------------------


def kmeans():
    """K-means takes turns between two steps.

    Four panels show the same 24 points. In the first, three centres stand at three of the points.
    In the second, assign, each point has the colour and the shape of the nearest centre. In the
    third, move, an arrow leads each centre to the mean of its points. In the fourth nothing moves
    any more: each centre is the mean of one group. The inertia J is written below each panel and
    falls.
    """
    rng = np.random.default_rng(15)
    middles = np.array([[2.2, 4.4], [7.6, 4.6], [5.0, 1.6]])
    points = (middles[:, None] + rng.normal(size=(3, 8, 2)) * [1.0, 0.75]).reshape(-1, 2)
    centres = points[[19, 20, 21]]
    labels, moved = lloyd(points, centres)
    done, rounds = moved, 1
    end, after = lloyd(points, done)
    while not np.allclose(after, done) and rounds < 20:
        done, rounds = after, rounds + 1
        end, after = lloyd(points, done)
    c = Canvas(500, 440)
    panels = (
        ("Guess three centres", None, centres, None, None),
        ("Assign to the nearest", labels, centres, None, inertia(points, labels, centres)),
        ("Move to the mean", labels, moved, centres, inertia(points, labels, moved)),
        (f"{rounds} rounds: at rest", end, done, None, inertia(points, end, done)),
    )
    for k, (title, groups, heads, before, cost) in enumerate(panels):
        left, top = 8 + 252 * (k % 2), 30 + 222 * (k // 2)
        c.text(left + 2, top - 10, title, anchor="start", kind="strong")
        c.box(left, top, 232, 150, role="plain")

        def place(xy, left=left, top=top):
            return (left + 12 + xy[0] * 21, top + 140 - xy[1] * 20)

        for i, point in enumerate(points):
            role, shape = SHAPES[groups[i]] if groups is not None else ("operation", "circle")
            if groups is not None:
                c.path([place(point), place(heads[groups[i]])], "muted")
            c.mark(*place(point), shape, role, 4.5)
        for j, head in enumerate(heads):
            if before is not None and np.hypot(*(head - before[j])) > 0.5:
                c.node(*place(before[j]), 5, role="plain")
                c.arrow(place(before[j]), toward(place(before[j]), place(head), 12))
            c.node(*place(head), 11, str(j + 1), SHAPES[j][0], LEAST)
        if cost is not None:
            c.text(left + 116, top + 172, f"*J* = {cost:.1f}", LEAST, kind="muted")
    return c


def lloyd(points, centres):
    """Labels of the points, and the centres that these labels give."""
    labels = ((points[:, None] - centres) ** 2).sum(-1).argmin(1)
    return labels, np.array([points[labels == j].mean(0) for j in range(len(centres))])


def inertia(points, labels, centres):
    """The squared distance of all points to their centres."""
    return ((points - centres[labels]) ** 2).sum()


# --- 2 PCA ---------------------------------------------------------------------------------------


def pca():
    """PCA as two products of matrices.

    The table X of n images with d pixels, times V k of d rows and k columns, is the code Z with n
    rows and k columns: this is the encoder. Z times V k transposed, k rows and d columns, is X
    tilde, as large as X: this is the decoder. One row is framed: an image, its k numbers, and the
    image rebuilt from them.
    """
    c = Canvas(500, 300)
    y, n, d, k, size = 60, 10, 7, 2, 12
    x = c.tensor(44, y, n, d, "**X**", "*n* × *d*", size=size)
    v = c.tensor(154, y + 18, d, k, "**V**_{*k*}", "*d* × *k*", "parameter", size)
    z = c.tensor(212, y, n, k, "**Z**", "*n* × *k*", "output", size)
    vt = c.tensor(264, y + 48, k, d, "**V**_{*k*}^{⊤}", "*k* × *d*", "parameter", size)
    back = c.tensor(382, y, n, d, "**X̃**", "*n* × *d*", size=size)
    for at, sign in ((141, "·"), (195, "="), (250, "·"), (365, "=")):
        c.text(at, y + 67, sign, 22)
    for body in (x, z, back):
        c.frame(row_of(body, n, 3))
    c.text(x.x - 10, y + 48, "**x**_{*i*}", anchor="end")
    c.brace((v.x + v.width, 222), (x.x, 222), ["encode", "**W**_{1} = **V**_{*k*}"], kind="")
    c.brace((vt.x + vt.width, 222), (z.x, 222), ["decode", "**W**_{2} = **V**_{*k*}^{⊤}"], kind="")
    return c


def projection():
    """The first principal axis of a cloud, and what is lost.

    A long cloud of points in the plane. An arrow v 1 through its middle points along the cloud.
    From each point a dashed line goes at a right angle to the axis. For one point x the foot of
    that line is called x tilde; its distance from the middle along the axis is the code z 1, and
    the dashed line is the error.
    """
    rng = np.random.default_rng(8)
    angle = -0.42
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = rng.normal(size=(22, 2)) * [105, 34] @ turn.T
    points = points[np.abs(points[:, 0]) < 200]
    points -= points.mean(0)
    v = np.linalg.svd(points, full_matrices=False)[2][0]
    v = v if v[0] > 0 else -v
    c = Canvas(500, 290)
    middle = np.array([245, 148])
    feet = points @ v[:, None] * v
    chosen = 18
    c.arrow(tuple(middle - 215 * v), tuple(middle + 225 * v))
    tip = middle + 225 * v
    c.text(tip[0] - 6, tip[1] + 30, "**v**_{1}", 18)
    for i, (point, foot) in enumerate(zip(points, feet, strict=True)):
        if i != chosen:
            c.path([tuple(middle + point), tuple(middle + foot)], "muted", dashed=True)
            c.mark(*(middle + point), radius=4.5)
    point, foot = middle + points[chosen], middle + feet[chosen]
    c.path([tuple(middle), tuple(foot)], "output")
    c.path([tuple(point), tuple(foot)], "warning", dashed=True)
    c.mark(*foot, "square", "output", 6)
    c.mark(*point, radius=6)
    c.node(*middle, 4, role="plain")
    away = (point - foot) / np.hypot(*(point - foot))
    c.text(*(point + 20 * away + (0, 6)), "**x**", 18)
    c.text(*(foot - 24 * away + 8 * v + (0, 6)), "**x̃**", 18)
    half = (middle + foot) / 2 - 20 * away
    c.text(half[0], half[1] + 6, "*z*_{1}", 17, kind="output")
    side = (point + foot) / 2
    c.text(side[0] - 9, side[1] + 6, "error", LEAST, "end", "warning")
    return c


# --- 3 NMF ---------------------------------------------------------------------------------------

TASTES = np.array([[2, 1], [1, 1], [0, 2], [2, 0.5]])  # people x tastes
FILMS = np.array([[2, 1, 0, 1.5, 0.5], [0.5, 1, 2, 1, 0.5]])  # tastes x films
SEEN = np.array([[0, 1, 1, 1, 0], [1, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 1, 1]], bool)


def nmf():
    """Ratings as a sum of tastes.

    A table X of four people and five films holds ratings in stars, and question marks where a film
    was not seen. It is about the product of W, people by tastes, and H, tastes by films, with no
    negative entry. The first person has (2, 1), the first film (2, 0.5). Where X has a question
    mark for them, the product says 2 times 2 plus 1 times 0.5, which is 4.5 stars.
    """
    c = Canvas(500, 285)
    y, size = 50, 32
    stars = np.round(2 * TASTES @ FILMS) / 2
    cells = [["data" if s else None for s in row] for row in SEEN]
    texts = [
        [f"{star:g}" if s else "?" for star, s in zip(*rows, strict=True)]
        for rows in zip(stars, SEEN, strict=True)
    ]
    x = c.grid(14, y, cells, size, texts=texts)
    w = c.grid(216, y, [["output"] * 2] * 4, size, texts=[[f"{a:g}" for a in r] for r in TASTES])
    h = c.grid(322, y + 32, [["parameter"] * 5] * 2, size,
               texts=[[f"{a:g}" for a in r] for r in FILMS])  # fmt: skip
    for body, name, shape in (
        (x, "**X**", "people × films"), (w, "**W**", "people × tastes"),
        (h, "**H**", "tastes × films"),
    ):  # fmt: skip
        c.text(body.top[0], body.y - 12, name, 18)
        c.text(body.bottom[0], body.y + body.height + 22, shape, LEAST, kind="muted")
    c.text(195, y + 71, "≈", 24)
    c.text(301, y + 71, "·", 24)
    c.frame(Box(x.x, x.y, size, size)), c.frame(row_of(w, 4, 0)), c.frame(column_of(h, 5, 0))
    c.text(250, 256, "?  ≈  2 · 2 + 1 · 0.5  =  4.5 stars", 17)
    return c


# --- 4 LSA ---------------------------------------------------------------------------------------

WORDS = ("doctor", "hospital", "patient", "physician", "goal", "match", "team")
DOCUMENTS = np.array(
    [[1, 1, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1]]
)
TOPICS = ("parameter", "output")  # the colours of medicine and football


def factors():
    """Z = U S and Y = V^T of the four documents, of rank 2 and with positive signs."""
    U, s, Vt = np.linalg.svd(DOCUMENTS.astype(float), full_matrices=False)
    sign = np.sign(Vt[:2].sum(1))
    return U[:, :2] * s[:2] * sign, Vt[:2] * sign[:, None]


def words_above(c, body, size):
    for j, word in enumerate(WORDS):
        c.text(body.x + (j + 0.75) * size, body.y - 8, word, LEAST, "start", turn=-52)


def lsa():
    """Documents by words, as documents by topics and topics by words.

    The table X counts seven words in four documents: a has doctor and hospital, b hospital and
    patient, c patient and physician, d goal, match and team. It is about the product of Z, which
    says how much of two topics each document has, and Y, which says of which words each topic is
    made. The first topic, medicine, is in a, b and c, and the second, football, in d. Documents a
    and c share no word, and the same topic.
    """
    c = Canvas(500, 300)
    Z, Y = factors()
    y, size = 104, 23
    x = c.grid(26, y, [["data" if cell else None for cell in row] for row in DOCUMENTS], size,
               texts=[["1" if cell else "" for cell in row] for row in DOCUMENTS])  # fmt: skip
    z = c.grid(234, y, [[*zip(TOPICS, row / Z.max(), strict=True)] for row in Z.clip(0)], size)
    shares = (Y / Y.max()).clip(0)
    shaded = [[(role, a) for a in row] for role, row in zip(TOPICS, shares, strict=True)]
    t = c.grid(306, y + size, shaded, size)
    words_above(c, x, size), words_above(c, t, size)
    for i, letter in enumerate("abcd"):
        c.text(x.x - 13, y + (i + 0.72) * size, f"*{letter}*")
        c.text(z.x - 12, y + (i + 0.72) * size, f"*{letter}*")
    c.text(203, y + 53, "≈", 22)
    c.text(293, y + 54, "·", 26)
    for body, name, shape in (
        (x, "**X**", "*n* × *V*"),
        (z, "**Z**", "*n* × *k*"),
        (t, "**Y**", "*k* × *V*"),
    ):
        c.text(body.bottom[0], y + 4 * size + 24, name, 18)
        c.text(body.bottom[0], y + 4 * size + 46, shape, LEAST, kind="muted")
    for i, (role, topic) in enumerate(zip(TOPICS, ("medicine", "football"), strict=True)):
        c.mark(150 + 130 * i, 276, "square", role, 7)
        c.text(166 + 130 * i, 281, topic, LEAST, "start")
    return c


def query():
    """A query is folded in.

    On the left the query "doctor" is a row x of the table, with a single 1. Multiplied by V k it
    becomes its code z, two numbers. On the right the codes are places in a plane, medicine to the
    right, football upwards. The query points the same way as the documents a, b and c, so the
    cosine is 1 for all of them, although c does not have the word; to d it is at a right angle, and
    the cosine is 0.
    """
    c = Canvas(500, 300)
    Z, Y = factors()
    x = np.array([1, 0, 0, 0, 0, 0, 0])
    code = Y @ x
    row = c.grid(38, 104, [["data" if cell else None for cell in x]], 23,
                 texts=[["1" if cell else "" for cell in x]])  # fmt: skip
    words_above(c, row, 23)
    c.text(22, 121, "**x**", 18)
    z = c.grid(95, 216, [[*zip(TOPICS, code / Y.max(), strict=True)]], 23)
    c.text(80, 233, "**z**", 18)
    c.arrow(row.bottom, z.top, text="· **V**_{*k*}", shift=(10, 4), anchor="start")
    origin, unit = np.array([300, 232]), 120
    c.arrow(tuple(origin), (486, 232))
    c.arrow(tuple(origin), (300, 14))
    c.text(478, 274, "medicine", LEAST, "end", "parameter")
    c.text(314, 24, "football", LEAST, "start", "output")
    for letter, place, (dx, dy) in zip(
        "abcd", Z, ((0, -14), (0, -14), (0, 25), (-16, 6)), strict=True
    ):
        at = origin + place * [unit, -unit]
        c.mark(*at, radius=6)
        c.text(at[0] + dx, at[1] + dy, f"*{letter}*", 17)
    at = origin + code * [unit, -unit]
    c.arrow(tuple(origin), tuple(at), kind="warning")
    c.text(at[0] - 14, at[1] + 25, "**z**", 18)
    return c


# --- 5, 6 Words and documents --------------------------------------------------------------------


def word2vec():
    """Two ways to learn word vectors from the words around: CBOW and skip-gram.

    The text is "the cat sat on it". On the left CBOW: the vectors w of the four words around the
    gap are averaged to h, and h predicts the word in the middle, sat, by its vector y. On the right
    skip-gram: the word in the middle is given by its vector w and predicts each of the four words
    around it by their vectors y.
    """
    c = Canvas(500, 306)
    around, tops = ("the", "cat", "on", "it"), (38, 83, 173, 218)
    for left, title in ((8, "CBOW"), (276, "Skip-gram")):
        c.text(left + 104, 20, title, kind="strong")
    c.node(126, 146, 22, "**h**", "operation", 18)
    for word, top in zip(around, tops, strict=True):
        given = c.box(8, top, 62, 36, word, "data")
        c.arrow(given.right, toward(given.right, (126, 146), 24))
        asked = c.box(422, top, 62, 36, word, "output")
        c.arrow((346, 146), toward((346, 146), asked.left, 2))
    c.box(8, 128, 62, 36, "?", "plain", dashed=True)
    middle = c.box(180, 128, 62, 36, "sat", "output")
    c.arrow((148, 146), middle.left)
    c.box(284, 128, 62, 36, "sat", "data")
    c.text(142, 184, "mean", LEAST, "start", "muted")
    for x, letter, word in (
        (39, "w", "given"),
        (211, "y", "predicted"),
        (315, "w", "given"),
        (450, "y", "predicted"),
    ):
        c.text(x, 274, f"**{letter}**", 18)
        c.text(x, 294, word, LEAST, kind="muted")
    c.path([(259, 30), (259, 290)], "muted", dashed=True)
    return c


def doc2vec():
    """Two ways to learn a vector for a document: PV-DBOW and PV-DM.

    On the left PV-DBOW: the vector d of document i alone predicts the words of the document, the,
    cat, sat, on and it, by their vectors y, in no order. On the right PV-DM: the document's vector
    d and the vectors x of the words around a gap are averaged to h, and h predicts the word in the
    gap, sat.
    """
    c = Canvas(500, 306)
    c.text(104, 20, "PV-DBOW", kind="strong")
    c.text(372, 20, "PV-DM", kind="strong")
    alone = c.box(14, 126, 66, 40, "**d**_{*i*}", "parameter", 18)
    for k, word in enumerate(("the", "cat", "sat", "on", "it")):
        asked = c.box(160, 40 + 43 * k, 62, 34, word, "output")
        c.arrow(alone.right, toward(alone.right, asked.left, 2))
    mean = (378, 146)
    for k, word in enumerate(("the", "cat", "on", "it")):
        given = c.box(272, (84, 127, 170, 213)[k], 56, 34, word, "data")
        c.arrow(given.right, toward(given.right, mean, 24))
    both = c.box(272, 36, 56, 36, "**d**_{*i*}", "parameter", 18)
    c.arrow(both.right, toward(both.right, mean, 24))
    c.node(*mean, 22, "**h**", "operation", 18)
    asked = c.box(428, 128, 62, 36, "sat", "output")
    c.arrow((400, 146), asked.left)
    c.text(394, 184, "mean", LEAST, "start", "muted")
    for x, letter, word in (
        (47, "**d**_{*i*}", "document"),
        (191, "**y**", "words"),
        (300, "**x**", "around"),
        (459, "**y**", "the gap"),
    ):
        c.text(x, 276, letter, 18)
        c.text(x, 296, word, LEAST, kind="muted")
    c.path([(247, 30), (247, 290)], "muted", dashed=True)
    return c


# --- 7 Node embeddings ---------------------------------------------------------------------------


def walk():
    """A random walk on a graph is a sentence.

    A little graph: nodes 0, 1 and 2 form a triangle, and node 3 hangs on node 2. Arrows with the
    numbers of the steps show a walk from 3 to 2, 0, 1, 2 and 3. From 2 each of the three ways has
    probability one third. Below, the nodes visited stand in a row like the words of a sentence:
    3, 2, 0, 1, 2, 3. A brace marks the window around the 0, whose neighbours in it are 2 and 1.
    """
    c = Canvas(500, 400)
    places = {0: (150, 60), 1: (150, 212), 2: (270, 136), 3: (410, 136)}
    for a, b in ((0, 1), (1, 2), (2, 0), (2, 3)):
        c.path([places[a], places[b]], "muted")
    steps = [3, 2, 0, 1, 2, 3]
    for k, (a, b) in enumerate(zip(steps, steps[1:], strict=False), start=1):
        start, end = np.array(places[a], float), np.array(places[b], float)
        way = (end - start) / np.hypot(*(end - start))
        out = np.array([way[1], -way[0]]) * 9
        c.arrow(tuple(start + out + 26 * way), tuple(end + out - 26 * way), kind="warning")
        label = (start + end) / 2 + 2.6 * out
        c.text(label[0], label[1] + 5, f"{k}", LEAST, kind="warning")
    for node, (x, y) in places.items():
        c.node(x, y, 21, str(node), "data", 18)
    c.text(270, 70, "from 2 each way", LEAST, "start", "muted")
    c.text(270, 90, "has probability ⅓", LEAST, "start", "muted")
    c.text(20, 316, "walk", anchor="start", kind="strong")
    for k, node in enumerate(steps):
        c.box(96 + 62 * k, 292, 46, 38, str(node), "output" if k == 2 else "data", 18)
        if k:
            c.arrow((96 + 62 * k - 15, 311), (96 + 62 * k - 2, 311))
    c.brace((96 + 62 * 3 + 46, 338), (96 + 62, 338), "a window, as of a sentence")
    return c


def node2vec():
    """Two knobs for a walk: back, near or away.

    A walk came from node t to node v and goes on. An arrow back to t has the weight 1 over p. An
    arrow to a node that is a neighbour of both t and v has the weight 1. Two arrows to nodes that
    are no neighbours of t have the weight 1 over q. A small p makes the walk turn back, a small q
    makes it go away.
    """
    c = Canvas(500, 310)
    t, v, near, far, out = (76, 176), (228, 176), (152, 58), (388, 86), (388, 246)
    for a, b in ((t, v), (t, near), (v, near), (v, far), (v, out)):
        c.path([a, b], "muted")
    c.arrow((100, 166), (203, 166), kind="muted", text="came", shift=(0, -7))
    for end, role in ((near, "data"), (far, "output"), (out, "output")):
        c.arrow(toward(end, v, 24), toward(v, end, 24), kind=role)
    c.arrow((203, 187), (101, 187), kind="parameter")
    c.text(152, 216, "1/*p*", 18, kind="parameter")
    c.text(212, 112, "1", 18, "start", "data")
    c.text(296, 114, "1/*q*", 18, "end", "output")
    c.text(296, 250, "1/*q*", 18, "end", "output")
    for (x, y), name, role in (
        (t, "*t*", "parameter"),
        (v, "*v*", "operation"),
        (near, "", "data"),
        (far, "", "output"),
        (out, "", "output"),
    ):
        c.node(x, y, 22, name, role, 18)
    c.text(76, 224, "back", LEAST, kind="muted")
    c.text(152, 26, "neighbour of *t*", LEAST, kind="muted")
    c.text(420, 172, "away", LEAST, kind="muted")
    return c


DRAWINGS = {
    "one-idea": one_idea,
    "kmeans": kmeans,
    "pca": pca,
    "projection": projection,
    "nmf": nmf,
    "lsa": lsa,
    "query": query,
    "word2vec": word2vec,
    "doc2vec": doc2vec,
    "walk": walk,
    "node2vec": node2vec,
}
