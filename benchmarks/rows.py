"""Every row of the table, in the order of the book."""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

import torch  # noqa: F401  (before the peers)

from benchmarks import (
    bert,
    diffusion,
    doc2vec,
    flow,
    gpt,
    kmeans,
    lora,
    lsa,
    nmf,
    node2vec,
    pca,
    retrieval,
    rlhf,
    training_loop,
    word_embeddings,
)

PROVIDERS = (
    kmeans, pca, nmf, lsa, word_embeddings, doc2vec, node2vec, bert, gpt, rlhf, lora, retrieval,
    flow, diffusion, training_loop,
)  # fmt: skip
ROWS = {row.name: row for provider in PROVIDERS for row in provider.ROWS}
