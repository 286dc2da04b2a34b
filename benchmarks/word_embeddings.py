"""How fast are our skip-gram and CBOW beside gensim's, and are the vectors as good?

    python benchmarks/word_embeddings.py [--epochs 20] [--dim 100] [--repeats 3] [--threads 2]

The text is the bundled Wikipedia articles, words seen at least five times. Both sides get the same
dimension, window 5, 5 negatives, thinning 0.001 and number of epochs. A word of the text counts
once per epoch, before thinning; the time is that of training alone, and for ours it holds the
cutting into blocks. Ours and gensim take turns in one process; the median over the repeats counts.
On one thread processor time is measured, so that other work on the machine counts as little as it
can; on more, wall time. Spearman is that with WordSim-353 and SimLex-999.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import argparse
import statistics
import time
from functools import partial

import gensim
import torch
from threadpoolctl import threadpool_limits

from genai_utils import data
from genai_utils.evaluation import similarity_spearman
from genai_utils.structure import word_embeddings as we
from genai_utils.training import fit

WINDOW, NEGATIVES, SAMPLE = 5, 5, 1e-3
ADAGRAD = partial(torch.optim.Adagrad, initial_accumulator_value=1e-7, fused=True)
# name -> (our model, blocks in a batch, how it is trained), as in the notebook
OURS = {
    "skip-gram": (we.SkipGram, 128, {"lr": 0.007}),
    "CBOW": (we.CBOW, 64, {"lr": 0.2, "optimizer": ADAGRAD}),
}


def ours(name, texts, vocabulary, dim, epochs, seed, clock):
    """Seconds and vectors (V, dim) of our model of this name."""
    kind, size, recipe = OURS[name]
    torch.manual_seed(seed)
    start = clock()
    model = kind(vocabulary.counts, dim, WINDOW, NEGATIVES)
    batches = we.TextBatches(texts, vocabulary.counts, batch_size=size, sample=SAMPLE, seed=seed)
    steps = round(batches.steps_per_epoch * epochs)
    fit(model, batches, steps, seed=seed, precision="fp32", progress=False, **recipe)
    return clock() - start, model.vectors.cpu()


def by_gensim(name, texts, vocabulary, dim, epochs, seed, clock, workers):
    """The same by gensim.models.Word2Vec."""
    sentences = [
        vocabulary.decode(text[start : start + 10_000])
        for text in texts
        for start in range(0, len(text), 10_000)
    ]
    model = gensim.models.Word2Vec(
        vector_size=dim, window=WINDOW, negative=NEGATIVES, sample=SAMPLE, min_count=1,
        sg=int(name == "skip-gram"), workers=workers, seed=seed + 1,
    )  # fmt: skip
    model.build_vocab(sentences)
    start = clock()
    model.train(sentences, total_examples=model.corpus_count, epochs=epochs)
    return clock() - start, torch.from_numpy(model.wv[vocabulary.words])


def main():
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    epochs, dim, repeats, threads = vars(arguments).values()
    if min(epochs, dim, repeats, threads) < 1:
        parser.error(f"out of range: {vars(arguments)}; see --help")
    clock = time.process_time if threads == 1 else time.perf_counter
    torch.set_num_threads(threads)

    documents = [data.words(article.text) for article in data.wikipedia()]
    vocabulary = data.Vocabulary(documents, min_count=5)
    texts = [vocabulary.encode(document) for document in documents]
    tokens = sum(map(len, texts))
    lists = {name: data.word_similarity(name) for name in ("wordsim353", "simlex999")}
    print(
        f"{tokens:,} words x {epochs} epochs, V = {len(vocabulary):,}, dimension {dim}, "
        f"{threads} thread(s); torch {torch.__version__}, gensim {gensim.__version__}"
    )
    print(f"{'':18} {'words/s':>10} {'ours / peer':>12} {'wordsim353':>11} {'simlex999':>10}")
    with threadpool_limits(threads):
        for name in ("skip-gram", "CBOW"):
            speed, score = {"ours": [], "gensim": []}, {"ours": [], "gensim": []}
            for seed in range(repeats):
                given = (name, texts, vocabulary, dim, epochs, seed, clock)
                for who, result in (("ours", ours(*given)), ("gensim", by_gensim(*given, threads))):
                    speed[who].append(epochs * tokens / result[0])
                    score[who].append(
                        [
                            similarity_spearman(result[1], vocabulary, p).value
                            for p in lists.values()
                        ]
                    )
            ratio = statistics.median(a / b for a, b in zip(*speed.values(), strict=True))
            for who, shown in (("ours", ""), ("gensim", f"{ratio:.2f}")):
                first, second = (
                    statistics.median(column) for column in zip(*score[who], strict=True)
                )
                print(
                    f"{name:10} {who:7} {statistics.median(speed[who]):10,.0f} {shown:>12} "
                    f"{first:11.3f} {second:10.3f}"
                )


if __name__ == "__main__":
    main()
