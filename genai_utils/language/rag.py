"""Answers from a store of passages: cut texts, keep them in a vector database, cite what was used.

The database is Qdrant in its local mode, inside this process: in memory, or in a folder. The same
calls serve a server; `Store(dim, url="http://…")` is all that changes. What a reader answers counts
as an answer only together with the passage that it cites.

Source: Lewis et al. 2020; lecture item A65.
"""

import re
import uuid
import warnings
from typing import NamedTuple

import torch

from genai_utils import inputs
from genai_utils.inputs import array, refusal, texts, whole

from .retrieval import BM25, terms

PIECE = re.compile(r"\S+")
END_OF_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n")


class Passage(NamedTuple):
    """A piece of a text and where it is from, such as "numpy.linalg.svd#2": its third piece."""

    source: str
    text: str


class Hit(NamedTuple):
    """A passage that was found, and its score, the cosine with the question."""

    source: str
    text: str
    score: float


class Answer(NamedTuple):
    """An answer, and the source and text of the passage that it cites; None where it cites none."""

    text: str
    source: str | None
    passage: str | None


def chunks(source, text, size=100, overlap=20):
    """A text cut into passages of at most `size` words, each of which repeats the last `overlap`.

    A passage is a piece of the text as it stands, line breaks included. Its source is the text's
    with "#0", "#1", … The last passage ends with the text; a text without a word has none.
    Raises ValueError for an overlap as large as the size: the cutting would not get on.
    """
    size = whole(size, "size")
    overlap = whole(overlap, "overlap", 0)
    if overlap >= size:
        raise refusal("overlap", f"less than the size, {size}", f"{overlap}")
    places = [match.span() for match in PIECE.finditer(text)]
    found = []
    for start in range(0, len(places), size - overlap):
        end = min(start + size, len(places))
        piece = text[places[start][0] : places[end - 1][1]]
        found.append(Passage(f"{source}#{len(found)}", piece))
        if end == len(places):
            break
    return found


class Store:
    """Passages and their vectors in a collection of Qdrant, searched by the cosine.

    dim: numbers of a vector. folder: where it is kept, so that it is there again next time; None:
    in memory. url: of a Qdrant server, in place of a folder. name: of the collection.

    A passage is known by its source: to add one again replaces it. In a folder each passage is
    written by a transaction of its own. Where a process ends in the middle of `add`, what `add` had
    returned for is there, of the passages under way some are, each whole or not at all, and to add
    them again completes them without a double. One process at a time may have a folder open.
    Close it, or use it in a `with`. Open no folder from somebody else: the client unpickles what it
    finds there.

    Raises ValueError for vectors of another length, or a folder that is open elsewhere, and
    ModuleNotFoundError where qdrant-client is not installed.
    """

    def __init__(self, dim, folder=None, url=None, name="passages"):
        try:
            from qdrant_client import QdrantClient, models
        except ModuleNotFoundError as error:
            cure = "install it with: pip install qdrant-client"
            raise ModuleNotFoundError(f"a Store needs qdrant-client ({error}); {cure}") from None
        self.dim, self.name, self.models = whole(dim, "dim"), name, models
        if folder is not None and url is not None:
            raise refusal("folder", "a folder or a url", "both")
        if url is not None:
            self.client = QdrantClient(url=url)
        elif folder is None:
            self.client = QdrantClient(":memory:")
        else:
            folder = inputs.path(folder, "folder")
            try:
                self.client = QdrantClient(path=str(folder))
            except RuntimeError as error:
                if "already accessed" not in str(error):
                    raise
                cure = "close the other store first, or use a server: Store(dim, url=…)"
                raise refusal("folder", "one that nobody has open", f"{folder}", cure) from None
        if self.client.collection_exists(name):
            there = self.client.get_collection(name).config.params.vectors.size
            if there != dim:
                self.close()
                raise refusal("dim", f"{there}, as the collection has", f"{dim}")
        else:
            vectors = models.VectorParams(size=dim, distance=models.Distance.COSINE)
            self.client.create_collection(name, vectors_config=vectors)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.client.close()

    def __len__(self):
        return self.client.count(self.name, exact=True).count

    def add(self, passages, vectors, batch=256):
        """Adds passages (source, text) with their vectors (n, dim), or replaces those of a source.

        Raises ValueError for vectors that are not as many, not of that length, or not finite.
        """
        passages, vectors = [Passage(*p) for p in passages], self._vectors(vectors)
        if len(passages) != len(vectors):
            raise refusal("vectors", f"one for each of {len(passages)} passages", len(vectors))
        for start in range(0, len(passages), batch):
            part = passages[start : start + batch]
            points = self.models.Batch(
                ids=[_id(passage.source) for passage in part],
                vectors=vectors[start : start + batch].tolist(),
                payloads=[passage._asdict() for passage in part],
            )
            with warnings.catch_warnings():  # of more than 20,000 passages in the local mode
                warnings.filterwarnings("ignore", "Local mode is not recommended")
                self.client.upsert(self.name, points=points)

    def delete(self, sources):
        """Takes the passages of these sources out; a source that is not there is passed over."""
        ids = [_id(source) for source in texts(sources, "sources")]
        if ids:
            self.client.delete(self.name, points_selector=self.models.PointIdsList(points=ids))

    def get(self, source):
        """The Passage of a source, or None."""
        found = self.client.retrieve(self.name, [_id(source)])
        return Passage(**found[0].payload) if found else None

    def search(self, vector, k=4):
        """The k passages nearest to a vector (dim,), the nearest first: a list of Hit.

        Fewer where the store holds fewer; none for a vector of zeros, which has no direction.
        """
        vector, k = self._vectors(array(vector, "vector")[None])[0], whole(k, "k")
        if not vector.any():
            return []
        found = self.client.query_points(self.name, query=vector.tolist(), limit=k).points
        return [Hit(**point.payload, score=point.score) for point in found]

    def _vectors(self, vectors):
        vectors = array(vectors, "vectors", torch.float32, empty=True)
        return inputs.matrix(vectors, "vectors", columns=self.dim) if len(vectors) else vectors


def _id(source):
    """Qdrant's name of a passage: the same source gives the same one in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, source))


def ask(question, find, read, k=4):
    """Retrieve, read, cite: an `Answer`.

    find(question, k) gives at most k passages with a source and a text, such as `Hit`; read
    (question, texts) gives an answer and the number of the text that it is from, or None. Where
    nothing is found, read gets no text. A number that is none of those texts counts as None.
    """
    found = list(find(question, whole(k, "k")))[:k]
    said, cited = read(question, [passage.text for passage in found])
    if cited is None or not 0 <= cited < len(found):
        return Answer(said, None, None)
    return Answer(said, found[cited].source, found[cited].text)


def quote(question, passages):
    """A reader that makes nothing up: the sentence that fits the question best, word for word.

    passages: texts. The sentences of all of them are ranked by BM25. Returns (sentence, number of
    its passage), or ("", None) where no sentence shares a word with the question.
    """
    pieces = [
        (piece.strip(), number)
        for number, text in enumerate(texts(passages, "passages"))
        for piece in END_OF_SENTENCE.split(text)
        if terms(piece)
    ]
    best = BM25([terms(piece) for piece, _ in pieces]).rank([terms(question)], 1)[0, 0].item()
    return pieces[best] if best >= 0 else ("", None)


# --- larger parts from a hub

ASK = (
    "Answer the question from the numbered passages in as few words as you can, and put the number "
    "of the passage that you used behind it, such as [1]. If none of them answers, say unknown."
)
CITED = re.compile(r"\[(\d+)\]")


def hub_encoder(name, revision=None, device="cpu", most=256):
    """A pre-trained encoder: a function from n texts to their vectors (n, d), on the processor.

    name: of a model on the Hugging Face hub, or a folder; revision: a commit of it. Its last hidden
    states are averaged over a text's tokens, of which the first `most` are read.
    """
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    model = AutoModel.from_pretrained(name, revision=revision).to(device).eval()

    @torch.no_grad()
    def encode(several):
        parts = []
        for start in range(0, len(several), 32):
            batch = tokenizer(
                list(several[start : start + 32]), padding=True, truncation=True, max_length=most,
                return_tensors="pt",
            ).to(device)  # fmt: skip
            real = batch["attention_mask"][..., None].float()  # (B, T, 1)
            states = model(**batch).last_hidden_state.float()  # (B, T, d)
            parts.append(((states * real).sum(1) / real.sum(1)).cpu())
        return torch.cat(parts)

    return encode


def hub_reader(name, revision=None, device="cpu", most=40):
    """A pre-trained chat model as a reader for `ask`, which writes at most so many tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    model = AutoModelForCausalLM.from_pretrained(name, revision=revision).to(device).eval()

    @torch.no_grad()
    def read(question, passages):
        told = "\n".join(f"[{i}] {text}" for i, text in enumerate(passages, 1))
        chat = [{"role": "user", "content": f"{ASK}\n\n{told}\n\nQuestion: {question}"}]
        prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).to(device)
        out = model.generate(**ids, max_new_tokens=most, do_sample=False)
        said = tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        number = CITED.search(said)
        return CITED.sub("", said).strip(), int(number[1]) - 1 if number else None

    return read
