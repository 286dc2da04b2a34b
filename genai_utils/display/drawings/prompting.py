"""Chapter 12: the two loops of learning in context, and a chain with and without its steps."""

from genai_utils.display.drawings.canvas import LEAST, Canvas


def two_loops():
    """The outer loop changes the weights, the inner loop reads.

    Three streams stand side by side. Each has pairs of letters by a rule of its own: in the first
    every letter is moved on by one, in the second by a table, in the third by three. From top to
    bottom of each stream runs an arrow: the inner loop, in which the model reads pair after pair,
    each label is predicted better than the one before, and no weight changes. From stream to stream
    runs an arrow below all of them: the outer loop, gradient steps that change the weights.
    """
    c = Canvas(500, 372)
    streams = (
        ("one letter on", ("a→b", "d→e", "g→h", "b→?")),
        ("a table", ("a→f", "d→c", "g→a", "d→?")),
        ("three letters on", ("b→e", "a→d", "e→h", "c→?")),
    )
    for i, (rule, pairs) in enumerate(streams):
        x = 78 + 142 * i
        c.text(x + 48, 24, rule, LEAST, kind="muted")
        for j, pair in enumerate(pairs):
            last = j == len(pairs) - 1
            c.box(x, 42 + 52 * j, 96, 38, pair, "output" if last else "data")
        c.arrow((x - 14, 50), (x - 14, 228), kind="operation")
    c.text(40, 140, "inner loop: read", LEAST, kind="operation", turn=-90)
    c.arrow((78, 284), (460, 284), kind="parameter")
    c.text(269, 314, "outer loop: a step after each batch", LEAST,
           kind="parameter")  # fmt: skip
    c.text(269, 348, "only the outer loop changes a weight", LEAST, kind="muted")
    return c


def worked_steps():
    """One long leap, or eight short ones.

    The question is 4 + 7 * 3 + 9 and so on, eight operations from left to right, modulo 10. Above,
    one arrow leads from the whole question to the answer 5. Below, the value after each operation
    is written, 1, 3, 2, 4, 6, 4, 5, 5: each needs the value before it and one operation, and the
    last is the answer. Both are written by the same network; the lower one runs it once for each
    value.
    """
    c = Canvas(500, 336)
    operations, values, now = ("+7", "×3", "+9", "×7", "+2", "×9", "+1", "×3"), [], 4
    for operation in operations:
        by = int(operation[1:])
        now = (now + by if operation[0] == "+" else now * by) % 10
        values.append(now)
    for top, steps in ((44, False), (210, True)):
        title = "with steps: each value from the one before" if steps else "plain: the answer alone"
        c.text(6, top - 18, title, LEAST, "start", "muted")
        c.box(6, top, 34, 34, "4", "data")
        for i, operation in enumerate(operations):
            c.box(52 + 56 * i, top, 42, 34, operation, "operation")
            x = 52 + 56 * i
            if steps:
                c.box(x + 2, top + 74, 38, 34, f"{values[i]}", "output")
                c.arrow((x + 21, top + 34), (x + 21, top + 72))
                start = (23, top + 91) if i == 0 else (x - 16, top + 91)
                c.arrow(start, (x, top + 91), head=True)
        if steps:
            c.arrow((23, top + 34), (23, top + 91), head=False)
        else:
            c.brace((490, top + 40), (10, top + 40))
            c.arrow((250, top + 54), (250, top + 76))
            c.box(231, top + 78, 38, 34, f"{values[-1]}", "output")
    return c


DRAWINGS = {"two-loops": two_loops, "worked-steps": worked_steps}
