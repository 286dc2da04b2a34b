"""The page on several processes: its numbers are those measured, its files are Accelerate's."""

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_multi_gpu_env
from torch.distributed.fsdp import CPUOffloadPolicy
from torch.distributed.run import get_rdzv_endpoint

from genai_utils import train
from genai_utils.book.excerpt import Excerpt
from genai_utils.language.scaling import gpt_parameters, training_flops, training_memory
from genai_utils.training import shards

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "book" / "many_machines.md").read_text(encoding="utf-8")
FOUND = json.loads((ROOT / "benchmarks" / "many_processes.json").read_text(encoding="utf-8"))
NAMES = {
    "VAE, MNIST": "vae", "diffusion": "diffusion", "flow": "flow", "GAN": "gan",
    "MaskGIT": "maskgit", "VQ": "vq", "word2vec": "words", "CLIP": "clip", "GPT": "gpt",
}  # fmt: skip


def rows(first):
    """The rows of the page's table whose header begins so, as lists of cells."""
    lines = PAGE[PAGE.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def is_rounded(text, value):
    """Whether a number of the page is the measured one, to the digits that it shows."""
    text = re.match(r"[\d.,e-]+", text)[0].replace(",", "").rstrip(",")
    digits = len(re.sub(r"e.*|^0\.0*|\.", "", text).lstrip("0")) or 1
    if float(text) == 0:
        return abs(value) < 1e-7
    return float(f"{value:.{digits}g}") == float(text)


def test_the_curves_are_those_measured():
    table = rows("Model | Steps")
    assert {NAMES[name] for name, *_ in table} == set(FOUND["models"])
    for name, steps, losses, before, apart, _ in table:
        row = FOUND["models"][NAMES[name]]
        assert int(steps) == row["steps"]
        for text, key in zip(losses.split(", "), ("first", "last"), strict=True):
            assert is_rounded(text, row[key]), (name, key)
        assert is_rounded(apart, row["end"]), name
        if before:
            assert is_rounded(before, row["before"]["end"]), name
            assert row["before"]["end"] > 10 * row["end"], name


def test_the_ratios_are_those_measured():
    table = rows("Model | Steps a turn")
    assert {NAMES[name] for name, *_ in table} == set(FOUND["speed"])
    for name, steps, *texts in table:
        row = FOUND["speed"][NAMES[name]]
        assert int(steps) == row["steps"]
        for text, kind in zip(texts, ("wall", "cpu"), strict=True):
            found = sorted(row[kind])
            low, middle, high = (f"{found[i]:.2f}" for i in (0, len(found) // 2, -1))
            assert len(found) == 5 and text == f"{middle} ({low} to {high})", (name, kind)
    share = 1 / sorted(FOUND["speed"]["gpt"]["cpu"])[2]
    assert f"Each of GPT's two computed {share:.2f} of what one computes" in PAGE


def test_what_shared_weights_hold_is_what_was_measured():
    table = rows("Model | Steps | Apart, at most")
    assert {NAMES[name] for name, *_ in table} == set(FOUND["shared"])
    for name, steps, apart, weights, alone, each in table:
        row = FOUND["shared"][NAMES[name]]
        assert int(steps) == row["steps"] and is_rounded(apart, row["most"])
        assert row["held"][0] == 12 * row["weights"] == sum(row["held"][1:])
        assert is_rounded(weights, row["weights"] / 1e6)
        assert is_rounded(alone, row["held"][0] / 1e6)
        assert all(is_rounded(each, held / 1e6) for held in row["held"][1:])


def test_the_sizes_are_those_of_the_formula_and_of_accelerate():
    for name, shape, weights, memory, flops, time in rows("Model | Layers, width"):
        row = FOUND["memory"]["sizes"][name]
        layers, dim = (int(n) for n in shape.split(", "))
        N = gpt_parameters(layers, dim, 32_768, 2_048)
        assert (layers, dim, N) == (row["layers"], row["dim"], row["weights"])
        assert training_memory(N) == row["bytes"] == row["accelerate"]
        assert training_flops(N, 20 * N) == row["flops"]
        assert is_rounded(weights, N / 1e6) and is_rounded(memory, N * 16 / 1e9)
        assert is_rounded(flops, row["flops"])
        unit = {"hours": 24, "days": 1, "years": 1 / 365.25}[time.split()[1]]
        assert is_rounded(time, row["H100 days"] * unit), time
    largest = FOUND["memory"]["sizes"]["70 B"]
    assert f"at least {-(-largest['bytes'] // 80_000_000_000)} such cards" in PAGE
    assert f"of 70 B are {4 * largest['weights'] / 1e9:.0f} GB for each process" in PAGE
    assert f"1,024 H100 would take {largest['H100 days'] / 1_024:.0f} days" in PAGE
    assert f"took {FOUND['memory']['bytes each']:.1f} bytes a weight" in PAGE
    assert f"{FOUND['memory']['weights'] / 1e6:.1f} million weights" in PAGE
    assert f"{4 * FOUND['memory']['weights'] / 1e6:.0f} MB a step" in PAGE


@pytest.mark.parametrize(
    "name, hosts, processes",
    [
        ("one_host", 1, 4),
        ("two_hosts", 2, 8),
        ("two_processes", 1, 2),
        ("fsdp_one_host", 1, 4),
        ("fsdp_two_hosts", 2, 8),
    ],
)
def test_accelerate_reads_the_files(name, hosts, processes, monkeypatch):
    """As `accelerate launch` does it: the file starts so many processes on so many hosts."""
    file = ROOT / "book" / "_assets" / "accelerate" / f"{name}.yaml"
    config = load_config_from_file(str(file))
    assert (config.num_machines, config.num_processes) == (hosts, processes)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    meet = ["--rdzv_backend", "c10d"] if hosts > 1 else []  # of a file Accelerate does not take it
    assert " ".join(meet) in file.read_text(encoding="utf-8")
    command = ["--config_file", str(file), *meet, "-m", "genai_utils.train", "24_vae"]
    arguments, *_ = _validate_launch_command(launch_command_parser().parse_args(command))
    shared = name.startswith("fsdp")
    assert not arguments.cpu  # several processes, not a single one
    assert (arguments.multi_gpu, arguments.use_fsdp) == (not shared, shared)
    assert (arguments.num_machines, arguments.num_processes) == (hosts, processes)
    assert arguments.mixed_precision == "no"
    assert f"_assets/accelerate/{name}.yaml" in PAGE
    environment = prepare_multi_gpu_env(arguments)  # what the processes are told
    if hosts > 1:  # they meet where both look
        assert get_rdzv_endpoint(arguments) == "10.0.0.1:29500"
    if not shared:
        return
    for key in [key for key in os.environ if key.startswith("FSDP_")]:
        monkeypatch.delenv(key)
    for key, value in environment.items():
        if key.startswith(("FSDP_", "ACCELERATE_USE_FSDP")):
            monkeypatch.setenv(key, value)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward
    assert plugin.transformer_cls_names_to_wrap == ["Block"]
    assert not isinstance(plugin.cpu_offload, CPUOffloadPolicy)
    assert shards.share_weights(SimpleNamespace(num_processes=processes))


def test_the_killed_run_is_the_one_measured():
    killed = FOUND["killed"]
    assert f"killed after step {killed['killed after']} of {killed['steps']}" in PAGE
    assert f"ended at the loss {killed['last']:.2f}" in PAGE
    assert f"further than {killed['most']:.0e} from" in PAGE


def test_the_chapter_with_shared_weights_is_the_one_measured():
    run = FOUND["killed, shared"]
    assert run["chapter"] == "10_gpt" and f"`--profile {run['profile']}`, {run['steps']} st" in PAGE
    assert f"killed after step {run['killed after']} of {run['steps']} and came back" in PAGE
    assert f"never further than {run['most']:.0e} from" in PAGE


def test_what_the_page_says_of_chapter_24():
    excerpt = Excerpt(ROOT / "notebooks" / "24_vae.ipynb")
    assert len(excerpt.source(*train.MAIN["24_vae"]).splitlines()) == 30
    assert "Of chapter 24 thirty lines stay" in PAGE and "wide" in excerpt.trainings()
