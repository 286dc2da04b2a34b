"""Stubs and shown source are renewed without a run; what needs one is left as it was and said."""

import nbformat
import pytest

from genai_utils.book.digest import code_sha256
from genai_utils.book.renew import Stale, main, renew, stale_sources
from genai_utils.checks import checking, stubs
from genai_utils.checks.shown import shown_bundle
from genai_utils.vision import vae

IMPORTS = "from genai_utils.course import show_source\nfrom genai_utils.vision import vae as v"
SHOWN = "show_source(v.gaussian_kl, v.VAE.decode)"


def shown(*things):
    return nbformat.v4.new_output(
        "display_data", data=dict(shown_bundle(*things, notebook="24_vae").data)
    )


@pytest.fixture
def path(tmp_path):
    stub = stubs.stub("gaussian_kl", "24_vae").rstrip()
    codes = [IMPORTS, stub, SHOWN, "steps = run.pick(ci=1, cpu=2, gpu=3)"]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in codes])
    nb.cells[2].outputs = [shown(vae.gaussian_kl, vae.VAE.decode)]
    nb.metadata["genai"] = {"profile": "cpu", "code_sha256": code_sha256(nb, "cpu")}
    path = tmp_path / "24_vae.ipynb"
    nbformat.write(nb, path)
    return path


def change(path, work):
    nb = nbformat.read(path, as_version=4)
    work(nb)
    nbformat.write(nb, path)
    return path.read_bytes()


def test_what_is_current_is_not_touched(path, capsys):
    before = path.read_bytes()
    assert main([str(path)]) == 0 and "up to date" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_stubs_and_sources_are_renewed_and_the_card_stays_good(path):
    good = nbformat.read(path, as_version=4)

    def age(nb):
        nb.cells[1].source = nb.cells[1].source.replace("KL", "LK")
        nb.cells[2].outputs = [shown(vae.gaussian_kl, vae.VAE.image)]

    change(path, age)
    assert stale_sources(nbformat.read(path, as_version=4), "24_vae") == [2]
    assert renew(path) == ["stubs: gaussian_kl", "1 shown sources"]
    assert nbformat.read(path, as_version=4) == good


def test_another_signature_asks_for_a_run(path):
    def age(nb):
        nb.cells[1].source = nb.cells[1].source.replace("(mu, ", "(mean, ")
        nb.metadata.genai.code_sha256 = code_sha256(nb, "cpu")

    change(path, age)
    assert "run the notebook again" in renew(path)[-1]


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (lambda nb: nb.cells[2].outputs.clear(), "calls show_source 1 times and stores 0"),
        (lambda nb: nb.cells[2].update(source="show_source(v.no_such)"), "no_such"),
        (lambda nb: nb.cells[2].update(source="show_source(mine)"), "mine"),
    ],
)
def test_what_cannot_be_renewed_is_said_and_left(path, work, told, capsys):
    before = change(path, work)
    with pytest.raises(Stale, match=told):
        renew(path)
    assert main([str(path)]) == 1 and told in capsys.readouterr().err
    assert path.read_bytes() == before


def test_the_tasks_of_a_chapter_are_inserted_without_a_run(path, capsys):
    stub = stubs.stub("log_weights", "24_vae").rstrip()
    ask = 'from genai_utils.course import experiment\n\nexperiment("units-in-use")'
    wait = 'from genai_utils.course import hand_in\n\nhand_in("units-in-use", None)  # yours'
    old = stub.replace("log_prior", "log_p")

    def insert(nb):
        for code in (old, "check(log_weights)", ask, wait):
            nb.cells.append(nbformat.v4.new_code_cell(code))

    change(path, insert)
    assert renew(path) == [
        "stubs: log_weights",
        "drawings, toys and tasks: log_weights, units-in-use, units-in-use",
    ]
    nb = nbformat.read(path, as_version=4)
    assert nb.cells[4].source == stub and nb.cells[4].outputs == []
    assert nb.metadata["genai"]["code_sha256"] == code_sha256(nb, "cpu")
    told, asked, waits = (cell.outputs[0].data["text/plain"] for cell in nb.cells[5:])
    assert "still the planted version" in told and "to do" in waits
    assert asked.startswith("Open experiment (60 minutes)")
    names = {}
    exec("\n".join(stubs.NAMES.values()) + "\n" + stub, names)
    capsys.readouterr()
    checking.check(names["log_weights"])  # as a run says it
    assert capsys.readouterr().out.strip() == told
    assert renew(path) == []
