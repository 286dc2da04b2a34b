"""The directive {side-by-side}: our code against its peers, as `python -m benchmarks` found it."""

import json
from pathlib import Path

from genai_utils.book.nodes import BookDirective, link, number, paragraph, table

TABLE = Path("benchmarks", "table.json")


def figure(value):
    """A number with enough digits to be compared: also those above a million in full."""
    return f"{value:,.0f}" if abs(value) >= 1e6 else number(value)


class SideBySide(BookDirective):
    """Sentences on the machines, then a row for each comparison."""

    def build(self, env):
        path = Path(env.srcdir) / TABLE
        env.note_dependency(str(path))
        if not path.is_file():
            return [paragraph("The comparisons have not been run yet.")]
        kept = json.loads(path.read_text(encoding="utf-8"))
        rows = kept["rows"].values()
        head = ["Work", "Peer", "Ours / peer", "Speed: ours; peer", "How good: ours; peer", "Floor"]
        shown = table(head, map(self.row, rows), [26, 12, 14, 18, 20, 10], ["side-by-side"])
        reasons = [
            paragraph(f"Below 1: {row['work']}. {row['why']}")
            for row in kept["rows"].values()
            if row.get("why") and row.get("ratio", 1.0) < 1.0
        ]
        about = (self.about(one, kept["rows"]) for one in kept["machines"].values())
        return [*about, shown, *reasons]

    def about(self, machine, rows):
        """What a machine is, and how busy it was."""
        of = [row for row in rows.values() if row.get("machine") == machine["name"]]
        told = f"Measured on {machine['name']}, with torch {machine['torch']}. A matrix product "
        told += f"reaches {machine['flops'] / 1e9:.0f} GFLOP/s there, "
        told += f"a copy {machine['copy'] / 1e9:.0f} GB/s."
        if any(row["quick"] for row in of):
            told += " Where a row says so, its sizes are smaller."
        busy = max((row["load"] for row in of), default=0.0)
        if busy > machine["threads"] + 0.5:
            told += f" Other work ran beside: up to {busy:.1f} processes for {machine['cores']} "
            told += "cores. The two sides took turns."
        return paragraph(told)

    def row(self, row):
        """The cells of a comparison; of one without a ratio, why there is none."""
        name = row["chapter"]
        work = row["work"] + (f" (here {row['small']})" if row["small"] else "")
        if name in self.book.chapters:
            work = [link(str(int(name[:2])), f"../notebooks/{name}.html"), *paragraph(f" {work}")]
        if "ratio" not in row:
            why = row.get("missing") or f"failed: {row['failed']}"
            return [work, row["peer"], "–", why, "", ""]
        ratio = f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
        speed = f"{figure(row['ours'])}; {figure(row['theirs'])} {row['unit']}"
        judged, floor = row.get("quality"), row.get("floor")
        good = "the same work" if judged is None else (
            f"{judged['measure']} {figure(judged['ours'])}; {figure(judged['theirs'])}"
            + ("" if judged["as good"] else ", not as good")
        )  # fmt: skip
        share = f"{100 * floor['share']:.0f} %: {floor['what']}" if floor else ""
        return [work, f"{row['peer']} {row['version']}", ratio, speed, good, share]
