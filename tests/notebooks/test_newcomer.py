"""A newcomer on Colab: one notebook in an empty folder, and an environment that lacks the package.

The environment holds what this one holds (torch, numpy, matplotlib, scikit-learn, Jupyter, …) but
not genai_utils. The set-up cell installs it with pip from a local git address, which holds the
working tree as it is. There is no network.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NAME = "24_vae"

RUN = """
import importlib.util, sys
import nbformat
from nbclient import NotebookClient
assert importlib.util.find_spec("genai_utils") is None, "the environment has the package already"
path = sys.argv[1]
notebook = nbformat.read(path, as_version=4)
try:
    NotebookClient(notebook, timeout=200, kernel_name="python3").execute()
finally:
    nbformat.write(notebook, path)
"""


def git(*arguments, cwd):
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def repository_of(folder):
    """A git repository in `folder` that holds the project's files as they are now."""
    if (ROOT / ".git").exists():
        listed = git("ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT)
        files = [ROOT / name for name in listed.split("\0") if name]
    else:
        files = [ROOT / "pyproject.toml", ROOT / "README.md", *ROOT.glob("LICENSE*")]
        files += [p for p in (ROOT / "genai_utils").rglob("*") if "__pycache__" not in p.parts]
    for path in files:
        if path.is_file():
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    folder.mkdir(exist_ok=True)
    git("init", "-q", "-b", "main", cwd=folder)
    git("add", "-A", cwd=folder)
    git("commit", "-q", "-m", "as it is now", cwd=folder)
    return folder.as_uri()


def environment(folder):
    """A virtual environment with everything of this one but genai_utils. Returns its python."""
    venv.create(folder, with_pip=False, symlinks=True)
    scheme = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", scheme="venv", vars=scheme))
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(place).iterdir():
            ours = "genai_utils" in path.name.replace("-", "_") or path.name == "__pycache__"
            if not ours and not (site / path.name).exists():
                (site / path.name).symlink_to(path)
    return folder / "bin" / "python"


@pytest.mark.skipif(sys.platform == "win32", reason="Colab is Linux; the test links folders")
def test_the_notebook_runs_alone_in_an_empty_folder(tmp_path):
    source = ROOT / "notebooks" / f"{NAME}.ipynb"
    if not source.exists():
        pytest.skip(f"{NAME} is not written yet")
    address = repository_of(tmp_path / "a repository")
    python = environment(tmp_path / "colab")
    empty = tmp_path / "content"
    empty.mkdir()
    (empty / source.name).write_bytes(source.read_bytes())
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "GENAI_DATA")}
    subprocess.run(
        [python, "-c", RUN, source.name],
        cwd=empty,
        check=True,
        env={
            **inherited,
            "GENAI_PROFILE": "ci",
            "GENAI_REPOSITORY": address,
            "GENAI_PROGRESS": str(tmp_path),
            "JUPYTER_PATH": "",
            "JUPYTER_DATA_DIR": str(tmp_path / "jupyter"),
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads the 0 as "no isolation"
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        },
    )
    notebook = nbformat.read(empty / source.name, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    first = "".join(output.get("text", "") for output in code[0].outputs)
    assert "profile ci" in first
    installed = list((tmp_path / "colab").rglob("site-packages/genai_utils/__init__.py"))
    assert len(installed) == 1, "the set-up cell installed the package"
