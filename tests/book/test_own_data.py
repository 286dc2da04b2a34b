"""The programs of the page on your own data run as they stand there, in small, on small files."""

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.card import Card


def programs(name):
    """The Python blocks of a page."""
    page = (Path(__file__).parents[2] / name).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


PROGRAMS = programs("book/own_data.md")
# What is made smaller here: numbers that a reader would change, too.
SMALLER = {
    r"steps=50\b": "steps=2",
    r"steps=\d{3}\b|steps=\d_\d{3}": "steps=2",
    r"warmup=\d+": "warmup=1",
    r'"warmup": \d+': '"warmup": 1',
    r"batch_size=\d+": "batch_size=8",
    r"layers=4, heads=4, dim=128": "layers=1, heads=2, dim=32",
    r"depth=4, width=32": "depth=1, width=8",
    r"found\.x\[:\d+\]": "found.x[:8]",
    r"\.sample\(16": ".sample(2",
}
WORDS = ("the", "cat", "dog", "sat", "ran", "on", "mat", "sun", "moon", "fell", "red", "café")


def own_files(folder):
    """The files that the page speaks of, small."""
    draw = random.Random(0)

    def text(n):
        return ". ".join(
            " ".join(draw.choice(WORDS) for _ in range(6)).capitalize() for _ in range(n)
        )

    def write(name, lines):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    np.save(folder / "table.npy", np.random.default_rng(0).random((40, 6)))
    write("my_text.txt", [text(4) for _ in range(60)])
    write("more_text.txt", [text(4) for _ in range(10)])
    answers = {"better": text(1), "worse": text(2)}
    write("pairs.jsonl", [json.dumps({"prompt": text(1)} | answers) for _ in range(9)])
    write("labels.tsv", [f"{i % 2}\t{text(2)}" for i in range(30)])
    names = [f"{kind}/{i}.png" for kind in ("cold", "warm") for i in range(5)]
    for i, name in enumerate(names):
        (folder / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        shape = (20 + 3 * i, 50 - 2 * i, 3)
        pixels = np.random.default_rng(i).integers(0, 255, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / name)
    write("captions.tsv", [f"{name}\ta {name[:4]} picture" for name in names])
    for i in range(4):
        write(f"documents/{i}.txt", [f"{text(8)}. The key of room {i} is green."])


def run(several):
    """Run programs in one namespace, made smaller; return it."""
    names = {}
    for number, program in enumerate(several):
        for pattern, smaller in SMALLER.items():
            program = re.sub(pattern, smaller, program)
        exec(compile(program, f"program {number}", "exec"), names)
    return names


@pytest.mark.parametrize("pattern", SMALLER)
def test_every_number_that_is_made_smaller_is_on_the_page(pattern):
    assert re.search(pattern, "".join(PROGRAMS))


def test_the_programs_run_one_after_the_other_also_where_a_card_is(tmp_path, monkeypatch, capsys):
    own_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    with Card():  # pretended; a tensor on the wrong side raises
        names = run(PROGRAMS)
    assert "The key of room 3 is green. · 3.txt#" in capsys.readouterr().out
    assert names["new"].shape == (2, 3, 32, 32) and names["codes"].shape == (40, 3)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "gpt", "gpt.json", "gpt.safetensors", "hf", "more.safetensors", "tokenizer.json", "vae",
    ]  # fmt: skip


def test_the_program_of_the_readme_runs_and_goes_on(tmp_path, monkeypatch, capsys):
    own_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    first, second = (run(programs("README.md"))["gpt"] for _ in range(2))
    assert "(finished earlier)" in capsys.readouterr().out
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_no_line_of_them_is_broken_in_a_page():
    assert max(len(line) for program in PROGRAMS for line in program.splitlines()) <= 88
