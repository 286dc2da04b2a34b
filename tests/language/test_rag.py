"""The store of passages: what is in it, what survives, and answers that cite."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from genai_utils.language import rag
from genai_utils.language.rag import Answer, Hit, Passage, Store, chunks, quote

DIM = 8


def passages(n, first=0):
    return [Passage(f"book#{i}", f"passage number {i}") for i in range(first, first + n)]


def vectors(n, first=0):
    rows = [
        torch.randn(DIM, generator=torch.Generator().manual_seed(i))
        for i in range(first, first + n)
    ]
    return torch.stack(rows)


# --- chunks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "overlap"), [(5, 0), (5, 2), (7, 6), (1, 0), (100, 20)])
@pytest.mark.parametrize("n", [1, 5, 6, 23])
def test_chunks_cover_the_text_and_overlap(size, overlap, n):
    text = "  " + "\n ".join(f"word{i}" for i in range(n)) + " \n"
    found = chunks("a", text, size, overlap)
    assert [p.source for p in found] == [f"a#{i}" for i in range(len(found))]
    words, told = text.split(), []
    for i, (_, piece) in enumerate(found):
        assert piece in text and len(piece.split()) <= size
        shared = overlap if i else 0
        assert told[len(told) - shared :] == piece.split()[:shared]
        told += piece.split()[shared:]
    assert told == words
    assert all(len(p.text.split()) == size for p in found[:-1])


def test_edges_of_chunks():
    assert chunks("a", " \n ") == []
    with pytest.raises(ValueError, match="overlap: expected less than the size, 5, got 5"):
        chunks("a", "b c", 5, 5)


# --- the store -----------------------------------------------------------------------------------


def test_search_is_exact_and_sorted():
    X, q = vectors(300), vectors(1, 10**6)[0]
    with Store(DIM) as store:
        store.add(passages(300), X)
        found = store.search(3 * q, 20)
        scores = torch.nn.functional.cosine_similarity(X, q[None])
        order = scores.argsort(descending=True)[:20].tolist()
        assert [hit.source for hit in found] == [f"book#{i}" for i in order]
        assert [hit.text for hit in found] == [f"passage number {i}" for i in order]
        torch.testing.assert_close(
            torch.tensor([h.score for h in found]), scores[order], atol=1e-5, rtol=0
        )


def test_edges_of_the_store():
    with Store(DIM) as store:
        assert len(store) == 0 and store.search(torch.ones(DIM), 3) == []
        assert store.get("book#0") is None
        store.delete(["book#0"])  # nothing to take out
        store.add([], torch.zeros(0, DIM))
        store.add(passages(2), vectors(2))
        assert len(store.search(torch.ones(DIM), 50)) == 2  # k above the size
        assert store.search(torch.zeros(DIM), 3) == []  # a question of unknown words
        for bad, match in (
            (lambda: store.search(torch.ones(DIM), 0), "k"),
            (lambda: store.search(torch.ones(DIM + 1)), "8"),
            (lambda: store.search(torch.full((DIM,), torch.nan)), "vector"),
            (lambda: store.add(passages(2), vectors(3)), "one for each of 2"),
            (lambda: store.add(passages(1), torch.ones(1, 3)), "8"),
        ):
            with pytest.raises(ValueError, match=match):
                bad()
        assert len(store) == 2
    with pytest.raises(ValueError, match="both"):
        Store(DIM, folder="a", url="http://localhost:6333")


def test_adding_again_replaces_and_deleting_takes_out():
    with Store(DIM) as store:
        store.add(passages(5), vectors(5))
        store.add([Passage("book#3", "new words")], -vectors(1, 3))
        assert len(store) == 5 and store.get("book#3").text == "new words"
        assert store.search(-vectors(1, 3)[0], 1)[0].source == "book#3"
        store.delete(["book#3", "book#99"])
        assert len(store) == 4 and store.get("book#3") is None
        assert "book#3" not in [hit.source for hit in store.search(vectors(1, 3)[0], 9)]


def test_a_folder_keeps_what_was_put_in(tmp_path):
    with Store(DIM, tmp_path / "db") as store:
        store.add(passages(6), vectors(6))
        store.delete(["book#0"])
        with pytest.raises(ValueError, match="nobody has open"):
            Store(DIM, tmp_path / "db")
    with Store(DIM, tmp_path / "db") as store:
        assert len(store) == 5 and store.get("book#5").text == "passage number 5"
        assert store.search(vectors(1, 4)[0], 1)[0] == Hit(
            "book#4", "passage number 4", pytest.approx(1)
        )
    with pytest.raises(ValueError, match="dim: expected 8"):
        Store(DIM + 1, tmp_path / "db")
    Store(DIM, tmp_path / "db").close()  # the refusal left it closed


WRITER = """
import sys, torch
sys.path.insert(0, {here!r})
from test_rag import DIM, Store, passages, vectors
store = Store(DIM, {folder!r})
for first in range(0, 100_000, 20):
    store.add(passages(20, first), vectors(20, first))
    print(first + 20, flush=True)  # add has returned
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_killed_in_the_middle_of_an_insertion_nothing_is_lost(tmp_path):
    code = WRITER.format(here=str(Path(__file__).parent), folder=str(tmp_path / "db"))
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    written = 0
    for line in writer.stdout:
        written = int(line)
        if written >= 60:
            time.sleep(0.003)  # it is in the middle of the next
            writer.send_signal(signal.SIGKILL)
            break
    rest = writer.stdout.read().split()
    assert writer.wait() == -signal.SIGKILL
    written = int(rest[-1]) if rest else written
    with Store(DIM, tmp_path / "db") as store:
        there = len(store)
        assert written <= there <= written + 20
        for i in range(there):  # whole ones, the first ones
            assert store.get(f"book#{i}").text == f"passage number {i}"
            hit = store.search(vectors(1, i)[0], 1)[0]
            assert hit.source == f"book#{i}" and hit.score > 0.9999
        store.add(passages(written + 20), vectors(written + 20))  # once more, all of it
        assert len(store) == written + 20  # complete, and no double


def test_many_passages_give_no_warning(recwarn):
    with Store(2) as store:
        store.add([(f"a#{i}", "") for i in range(20_001)], torch.ones(20_001, 2), batch=5_000)
        assert len(store) == 20_001
    assert not [w for w in recwarn if "Local mode" in str(w.message)]


# --- answers -------------------------------------------------------------------------------------


def found(question, k):
    return [Hit("a#0", "ada lives in rome .", 0.9), Hit("b#0", "ugo lives in oslo .", 0.5)][:k]


def test_an_answer_cites_a_passage_that_was_found():
    got = rag.ask("where?", found, lambda q, texts: ("rome", 0))
    assert got == Answer("rome", "a#0", "ada lives in rome .")
    for cited in (None, 2, -1):
        got = rag.ask("where?", found, lambda q, texts, cited=cited: ("rome", cited))
        assert got == Answer("rome", None, None)


def test_the_reader_gets_k_texts_or_none():
    seen = []
    reader = lambda q, texts: seen.append(texts) or ("", None)  # noqa: E731
    rag.ask("where?", found, reader, k=1)
    rag.ask("where?", lambda q, k: [], reader)
    assert seen == [["ada lives in rome ."], []]
    with pytest.raises(ValueError, match="k"):
        rag.ask("where?", found, reader, k=0)


def test_a_quotation_is_a_sentence_of_its_passage():
    told = ["Cats sleep. They like fish, said Ada!", "Dogs bark at night. A dog\nlikes meat"]
    for question, wanted in (
        ("what do dogs do at night", ("Dogs bark at night.", 1)),
        ("fish", ("They like fish, said Ada!", 0)),
        ("likes meat", ("A dog\nlikes meat", 1)),
        ("zebra", ("", None)),
        ("", ("", None)),
    ):
        said, number = quote(question, told)
        assert (said, number) == wanted
        assert number is None or said in told[number]
    assert quote("cats", []) == ("", None)


# --- parts from a hub, here a folder of tiny ones ------------------------------------------------


@pytest.fixture
def hub(tmp_path):
    """Folders of a tiny BERT and a tiny GPT-2, with one tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        BertConfig,
        BertModel,
        GPT2Config,
        GPT2LMHeadModel,
        PreTrainedTokenizerFast,
    )

    names = ["[PAD]", "[UNK]", "cats", "dogs", "sleep", "[", "]", "1", "2", "Question", ":"]
    tokenizer = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]",
        chat_template="{{ messages[0]['content'] }}",
    )  # fmt: skip
    torch.manual_seed(0)
    bert = BertConfig(
        vocab_size=len(names), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    BertModel(bert).eval().save_pretrained(tmp_path / "bert")
    gpt = GPT2Config(vocab_size=len(names), n_positions=512, n_embd=8, n_layer=1, n_head=2)
    GPT2LMHeadModel(gpt).save_pretrained(tmp_path / "gpt")
    for folder in ("bert", "gpt"):
        fast.save_pretrained(tmp_path / folder)
    return tmp_path


def test_an_encoder_of_a_hub_averages_over_real_tokens(hub):
    encode = rag.hub_encoder(str(hub / "bert"))
    together, alone = encode(["cats", "dogs sleep cats dogs"]), encode(["cats"])
    assert together.shape == (2, 8)
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=0)  # padding is no token
    assert not torch.allclose(together[0], together[1])


def test_a_reader_of_a_hub_reads_and_its_citation_is_cut_out(hub, monkeypatch):
    read = rag.hub_reader(str(hub / "gpt"), most=3)
    said, cited = read("sleep", ["cats sleep", "dogs sleep"])
    assert isinstance(said, str) and cited in (None, 0, 1)
    for text, wanted in (("the cats [2].", ("the cats .", 1)), ("unknown", ("unknown", None))):
        from transformers import PreTrainedTokenizerFast

        monkeypatch.setattr(PreTrainedTokenizerFast, "decode", lambda *a, text=text, **k: text)
        assert read("sleep", ["cats sleep", "dogs sleep"]) == wanted
