"""What `cost.py` measures: a table with a row for each work of a chapter and one of its sizes.

A row has a function that prepares: `make(size)` builds data and model, and returns the function
that is timed. `time` and `memory` are the exponents of theory for large sizes: a number, or two
where two terms compete, (1, 2) for a T + b T². Chapters without a row stand in `EXEMPT`.
"""

import genai_utils  # noqa: F401  # isort: skip  (before torch: how OpenMP waits)

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from genai_utils.evaluation.distances import frechet_distance, precision_recall
from genai_utils.language import bert, experts, lora, policy, prompting, retrieval, rollouts
from genai_utils.language import finetuning as tuning
from genai_utils.language import transformer as tr
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.scaling import gpt_parameters
from genai_utils.structure import clustering, doc2vec, word_counts, word_embeddings
from genai_utils.structure.agglomerative import distance_matrix, linkage
from genai_utils.structure.lsa import LSA
from genai_utils.structure.nmf import NMF
from genai_utils.structure.node_embeddings import netmf
from genai_utils.structure.pca import PCA
from genai_utils.structure.walks import from_edges, random_walks
from genai_utils.vision import clip, scenes, vq
from genai_utils.vision import latent_diffusion as latent
from genai_utils.vision.autoencoder import Autoencoder
from genai_utils.vision.contrastive import contrastive_loss
from genai_utils.vision.cross_attention import TextEncoder, WordAttention, text_unet
from genai_utils.vision.diffusion import DDPM
from genai_utils.vision.flow import InvertibleLinear
from genai_utils.vision.gan import GAN
from genai_utils.vision.glow import Glow
from genai_utils.vision.image_coder import ImageCoder
from genai_utils.vision.manifold import ManifoldAutoencoder, neighbour_distances
from genai_utils.vision.maskgit import MaskGIT
from genai_utils.vision.pixel_models import PixelCNN
from genai_utils.vision.vae import VAE

Theory = float | tuple[float, float]


class Row(NamedTuple):
    """One curve. x(size) is what stands on the axis, where it is not the size itself.

    numpy: the memory is NumPy's, because PyTorch takes almost none.
    """

    name: str
    chapter: str
    what: str
    axis: str
    sizes: tuple[int, ...]
    make: Callable[[int], Callable]
    time: Theory
    why: str
    memory: Theory | None = None
    holds: str = ""
    x: Callable[[int], float] = float
    numpy: bool = False


ROWS: list[Row] = []
EXEMPT = {
    "17_agents": "its agent is a small GPT that reads pages: see the rows of chapters 10 and 14",
    "30_scoreboard": "it compares the image models at equal cost, which is theirs",
}


def row(name, chapter, what, axis, sizes, time, why, memory=None, holds="", **options):
    """Enter the function below into the table."""

    def enter(make):
        ROWS.append(
            Row(name, chapter, what, axis, tuple(sizes), make, time, why, memory, holds, **options)
        )
        return make

    return enter


def doubling(first, count):
    """`count` sizes, each twice the one before."""
    return [first * 2**i for i in range(count)]


def step(model, *batch):
    """A training step of a model, but for the optimiser: the loss of a batch and its gradient."""
    model.train()
    batch = batch[0] if len(batch) == 1 else batch

    def run():
        model.zero_grad(set_to_none=True)
        loss = model.loss(batch)
        (loss["loss"] if isinstance(loss, dict) else loss).backward()

    return run


def without_gradient(function, *inputs, **options):
    """A call that keeps nothing for a gradient."""

    def run():
        with torch.no_grad():
            function(*inputs, **options)

    return run


def ids(*shape, vocabulary=256, least=0):
    return torch.randint(least, vocabulary, shape)


def gpt(dim=64, context=64, layers=2, vocabulary=256, heads=4):
    return GPT(GPTConfig(vocabulary, context, layers, heads, dim))


# --- structure without labels ---------------------------------------------------------------------


def lloyd_step(n, d, K):
    X = torch.randn(n, d)
    centres = X[:K].clone()
    return lambda: clustering.update(X, clustering.assign(X, centres)[0], centres)


@row("kmeans_n", "01_clustering", "k-means, one step", "points n", doubling(2048, 7),
     1, "n points meet K centres of d numbers: O(n K d)", 1,
     "who belongs where, n × K")  # fmt: skip
def _(n):
    return lloyd_step(n, 32, 32)


@row("kmeans_K", "01_clustering", "k-means, one step", "clusters K", doubling(16, 7),
     1, "O(n K d)", 1, "who belongs where, n × K")  # fmt: skip
def _(K):
    return lloyd_step(8192, 32, K)


@row("em_d", "01_clustering", "EM of a mixture, one step", "dimensions d", doubling(8, 6),
     (2, 3), "a covariance has d² numbers, n points enter each; its Cholesky factor takes d³",
     (1, 2), "n K d differences, and K d² covariances")  # fmt: skip
def _(d):
    X = torch.randn(1000, d)
    return lambda: clustering.em(X, X[:4], steps=1)


@row("linkage_n", "01_clustering", "agglomerative clustering", "points n", doubling(64, 5),
     2, "n − 1 merges, each looks at a row of n distances", 2, "all distances")  # fmt: skip
def _(n):
    D = distance_matrix(torch.randn(n, 8))
    return lambda: linkage(D)


@row("pca_n", "02_pca", "PCA by SVD, all components", "points n", doubling(1024, 6),
     1, "O(n d² + d³), and d is fixed", 1, "the centred data")  # fmt: skip
def _(n):
    X = torch.randn(n, 64)
    return lambda: PCA(16).fit(X)


@row("pca_d", "02_pca", "PCA by SVD, all components", "dimensions d", doubling(16, 6),
     (2, 3), "O(n d² + d³)", 1, "the centred data")  # fmt: skip
def _(d):
    X = torch.randn(2048, d)
    return lambda: PCA(16).fit(X)


@row("gram_d", "02_pca", "PCA by the matrix Xᵀ X", "dimensions d", doubling(16, 6),
     (2, 3), "Xᵀ X is n d², its eigenvectors d³", (1, 2), "the centred data, and Xᵀ X")  # fmt: skip
def _(d):
    X = torch.randn(2048, d)
    return lambda: PCA(16, solver="gram").fit(X)


@row("nmf_n", "03_nmf", "NMF, an update of W and H", "rows n", doubling(256, 6),
     1, "products of n × d by k numbers: O(n d k)", 1, "matrices of the shape of X")  # fmt: skip
def _(n):
    X = torch.rand(n, 256)
    return lambda: NMF(16).fit(X, updates=1)


@row("nmf_k", "03_nmf", "NMF, an update of W and H", "parts k", doubling(8, 6),
     (1, 2), "O(n d k), and k² (n + d) for Wᵀ W H", (0, 1), "X, and n × k of W")  # fmt: skip
def _(k):
    X = torch.rand(1024, 512)
    return lambda: NMF(k).fit(X, updates=1)


@row("lsa_n", "04_lsa", "LSA, 20 topics", "documents n", doubling(500, 6),
     1, "Lanczos multiplies by the counts that are not 0, which grow with n",
     1, "vectors of n numbers", numpy=True)  # fmt: skip
def _(n):
    g = np.random.default_rng(0)
    words = g.zipf(1.3, 40 * n) % 3000
    X = sp.csr_array((np.ones(len(words)), (np.repeat(np.arange(n), 40), words)), shape=(n, 3000))
    return lambda: LSA(20).fit(X)


@row("pairs_n", "05_word_embeddings", "counting pairs of words", "words of text", doubling(8192, 7),
     1, "each word meets those in its window", (0, 1), "who meets whom, and the table")  # fmt: skip
def _(n):
    blocks = ids(n // 64, 64, vocabulary=500)
    return lambda: word_counts.window_counts(blocks, 500, 5)


@row("pairs_V", "05_word_embeddings", "counting pairs of words", "vocabulary V", doubling(64, 7),
     (0, 2), "the text is the same, but a table of V × V has to be filled", 2,
     "the table of all pairs")  # fmt: skip
def _(V):
    blocks = ids(256, 64, vocabulary=V)
    return lambda: word_counts.window_counts(blocks, V, 5)


def skip_gram(V, dim):
    counts = torch.ones(V, dtype=torch.long)
    return step(word_embeddings.SkipGram(counts, dim), ids(32, 32, vocabulary=V))


@row("skipgram_d", "05_word_embeddings", "skip-gram, a training step", "dimensions d",
     doubling(16, 7), 1, "inner products of d numbers", 1,
     "vectors and their gradients")  # fmt: skip
def _(d):
    return skip_gram(2000, d)


@row("skipgram_V", "05_word_embeddings", "skip-gram, a training step", "vocabulary V",
     doubling(1000, 7), (0, 1), "negative sampling looks at as many words as before; but the "
     "gradient is a whole table", 1, "the gradient of both tables")  # fmt: skip
def _(V):
    return skip_gram(V, 32)


@row("pvdbow_n", "06_doc2vec", "PV-DBOW, a training step", "documents n", doubling(1000, 7),
     (0, 1), "the batch is the same; the gradient is a whole table", 1,
     "the gradient of all documents")  # fmt: skip
def _(n):
    model = doc2vec.PVDBOW(n, torch.ones(1000), 64)
    return step(model, ids(256, vocabulary=n), None, ids(256, vocabulary=1000))


@row("pvdm_window", "06_doc2vec", "PV-DM, side by side, a training step", "window", doubling(1, 6),
     1, "a vector has (1 + 2 window) d numbers", 1, "the longer vectors")  # fmt: skip
def _(window):
    model = doc2vec.PVDM(500, torch.ones(1000), 32, window=window, concatenate=True)
    context = ids(256, 2 * window, vocabulary=1000)
    return step(model, ids(256, vocabulary=500), context, ids(256, vocabulary=1000))


def ring(n):
    """A ring of n nodes, each also tied to those 2, 3 and 5 further on."""
    node, on = torch.arange(n).repeat(4), torch.tensor([1, 2, 3, 5]).repeat_interleave(n)
    return from_edges(torch.stack([node, (node + on) % n], 1))


@row("walks", "07_node_embeddings", "random walks from each node", "nodes n", doubling(500, 7),
     1, "a step of all walks, with a search among the arrows of log n", 1,
     "the walks")  # fmt: skip
def _(n):
    g = ring(n)
    return lambda: random_walks(g, 1, 20)


@row("netmf", "07_node_embeddings", "NetMF, window 3", "nodes n", doubling(64, 5),
     3, "products of n × n matrices", 2, "n × n matrices")  # fmt: skip
def _(n):
    g = ring(n)
    return lambda: netmf(g, 16, window=3)


# --- text models ----------------------------------------------------------------------------------


@row("attention_T", "08_transformer", "attention by its formula", "tokens T", doubling(32, 7),
     2, "each token looks at each: T² scores", 2, "the scores")  # fmt: skip
def _(T):
    q, k, v = torch.randn(3, 4, T, 32)
    mask = tr.causal_mask(T)
    return without_gradient(tr.attention, q, k, v, mask)


@row("fused_T", "08_transformer", "attention in one kernel", "tokens T", doubling(32, 7),
     (1, 2), "the same T² scores, and matrices for each token", 1,
     "queries, keys, values; the scores are never kept")  # fmt: skip
def _(T):
    layer = tr.MultiHeadAttention(128, 4, causal=True)
    return without_gradient(layer, torch.randn(1, T, 128))


@row("lstm_T", "08_transformer", "the LSTM, its rival", "tokens T", doubling(64, 6),
     1, "one token after the other", 1, "a state for each token")  # fmt: skip
def _(T):
    return without_gradient(tr.LSTMLM(256, 64), ids(1, T))


@row("bert_d", "09_bert", "BERT, a training step", "width d", doubling(32, 5),
     (1, 2), "matrices of d², 12 in a block", (1, 2), "activations d, weights d²")  # fmt: skip
def _(d):
    model = bert.PreTraining(bert.BERTConfig(256, 64, 2, 4, d))
    places = torch.arange(8).repeat(8, 1)
    segments, follows = torch.zeros(8, 64, dtype=torch.long), ids(8, vocabulary=2)
    return step(model, ids(8, 64), segments, (places, ids(8, 8)), follows)


@row("bert_T", "09_bert", "BERT, a training step", "tokens T", doubling(32, 6),
     (1, 2), "matrices for each token, and attention's T²", 1,
     "activations of each token")  # fmt: skip
def _(T):
    model = bert.PreTraining(bert.BERTConfig(256, T, 2, 4, 64))
    chosen = (torch.arange(T // 8)[None], ids(1, T // 8))
    segments, follows = torch.zeros(1, T, dtype=torch.long), ids(1, vocabulary=2)
    return step(model, ids(1, T), segments, chosen, follows)


@row("gpt_cache", "10_gpt", "GPT, one more token, with a cache", "tokens so far T",
     doubling(512, 8), (0, 1), "the matrices work on one token; it looks at T keys",
     (0, 1), "the scores of one token")  # fmt: skip
def _(T):
    model, last = gpt(context=T + 1).eval(), ids(1, 1)
    cache = model.new_cache()
    for each in cache:
        each.extend(*torch.randn(2, 1, 4, T, 16))

    def run():
        for each in cache:
            each.used = T
        with torch.no_grad():
            model.hidden(model.embed(last, T), cache)

    return run


@row("gpt_prompt", "10_gpt", "GPT, one more token, without a cache", "tokens so far T",
     doubling(128, 6), (1, 2), "the whole text again: matrices for T tokens, T² scores",
     1, "activations of T tokens")  # fmt: skip
def _(T):
    model, text = gpt(context=T).eval(), ids(1, T)
    return without_gradient(lambda: model.unembed(model.hidden(model.embed(text))[:, -1]))


@row("gpt_d", "10_gpt", "GPT, a training step", "width d", doubling(32, 5),
     (1, 2), "matrices of d², 12 in a block", (1, 2), "activations d, weights d²")  # fmt: skip
def _(d):
    return step(gpt(d), ids(8, 65))


@row("tuning_T", "11_finetuning", "fine-tuning, a training step", "tokens T", doubling(32, 6),
     (1, 2), "as GPT's step: matrices for each token, and T² scores", 1,
     "activations of each token")  # fmt: skip
def _(T):
    rows = ids(2, 1, T, least=5)
    rows[..., -1] = tuning.EXTRACT
    return step(tuning.FineTuned(gpt(context=T)), rows, ids(2, vocabulary=2))


@row("shots", "12_prompting", "reading a prompt", "examples shown", doubling(16, 7),
     (1, 2), "two tokens an example; as GPT's prompt", 1, "activations of each token")  # fmt: skip
def _(shots):
    model, task = gpt(context=2 * shots + 2).eval(), ids(1)
    prompt = prompting.few_shot_prompt(task, ids(1, shots), ids(1, shots), task)
    return without_gradient(model, prompt)


@row("weights_N", "13_scaling", "GPT, a training step", "weights N", doubling(32, 5),
     1, "6 operations a weight and token: C = 6 N D", 1, "a gradient for each weight",
     x=lambda d: gpt_parameters(4, d, 256, 64))  # fmt: skip
def _(d):
    return step(gpt(d, layers=4), ids(4, 65))


@row("tokens_D", "13_scaling", "GPT, a training step", "rows of 64 tokens", doubling(1, 6),
     1, "6 operations a weight and token: C = 6 N D", 1, "activations of each token")  # fmt: skip
def _(rows):
    return step(gpt(layers=4), ids(rows, 65))


@row("rollout", "14_rlhf", "writing 16 answers", "tokens of an answer", doubling(8, 6),
     (1, 2), "one token at a time, each looks at all before", 1,
     "keys and values of all tokens")  # fmt: skip
def _(answer):
    model, prompts = gpt(context=answer + 8).eval(), ids(16, 8, vocabulary=255)
    return without_gradient(rollouts.write, model, prompts, answer, 255)


@row("ppo", "14_rlhf", "PPO, a training step", "answers in the batch", doubling(2, 6),
     1, "each answer is read once", 1, "activations of each token")  # fmt: skip
def _(rows):
    model = policy.PPO(gpt(), 8, 255)
    text = ids(rows, 64, vocabulary=255)
    return step(model, *model.experience(text, torch.randn(rows), torch.zeros(rows, 64)))


@row("lora_r", "15_lora", "LoRA, a training step", "rank r", doubling(1, 7),
     (0, 1), "the frozen matrices cost most; r adds two thin ones", (0, 1),
     "activations, and gradients of r (d_in + d_out) weights")  # fmt: skip
def _(rank):
    model = lora.add_adapter(gpt(128), "task", rank, targets=("attention.qkv", "mlp.0"))
    return step(model, ids(8, 65))


@row("dense_n", "16_rag", "exact search by vectors", "passages n", doubling(8192, 6),
     1, "a question meets each passage", 1, "a score for each passage")  # fmt: skip
def _(n):
    store = retrieval.Dense(torch.randn(n, 64))
    return without_gradient(store.rank, torch.randn(16, 64))


@row("bm25_n", "16_rag", "search by words, BM25", "passages n", doubling(500, 6),
     1, "the passages that have a word of the question, here a fixed share", 1,
     "a score for each passage")  # fmt: skip
def _(n):
    g = np.random.default_rng(0)
    words = g.integers(500, size=(n + 16, 20)).tolist()
    store = retrieval.BM25(words[16:])
    return without_gradient(store.rank, [each[:4] for each in words[:16]])


@row("ivf_n", "16_rag", "search in one of √n cells", "passages n", doubling(32768, 5),
     0.5, "√n centres are compared, and n / √n passages of a cell", 0.5,
     "scores of the centres and of a cell")  # fmt: skip
def _(n):
    vectors = torch.randn(n, 64)
    store = retrieval.InvertedFile(vectors, vectors[: round(n**0.5)])
    return without_gradient(store.rank, torch.randn(16, 64))


@row("experts", "18_moe", "a layer of experts, each token asks one", "experts E", doubling(1, 7),
     0, "a token passes one expert, however many there are", (0, 1),
     "the tokens, and the scores of all experts for each")  # fmt: skip
def _(E):
    model = experts.moe_gpt(gpt().config, E, balance="none").eval()
    return without_gradient(model.blocks[0].mlp, torch.randn(1024, 64))


@row("wide", "18_moe", "a layer as wide as all experts", "experts E", doubling(1, 7),
     1, "all weights work for each token", 1, "4 d E hidden numbers a token")  # fmt: skip
def _(E):
    model = experts.wide_gpt(gpt().config, 256 * E)
    return without_gradient(model.blocks[0].mlp, torch.randn(1024, 64))


# --- image models ---------------------------------------------------------------------------------


@row("frechet_n", "19_divergence", "Fréchet distance, 64 features", "images n", doubling(1024, 6),
     1, "means and covariances: O(n d² + d³)", 1, "the centred features")  # fmt: skip
def _(n):
    a, b = torch.randn(2, n, 64)
    return lambda: frechet_distance(a, b)


@row("recall_n", "19_divergence", "precision and recall", "images n", doubling(64, 5),
     2, "each image is compared with each", 1, "the distances of some rows at a time")  # fmt: skip
def _(n):
    a, b = torch.randn(2, n, 64)
    return lambda: precision_recall(a, b)


def pixel_cnn(side, width=16, layers=2):
    return PixelCNN(side, width, layers)


@row("pixels_naive", "20_pixel_models", "PixelCNN draws, all anew for each pixel", "side s",
     (8, 10, 12, 16, 20), 4, "s² pixels, and for each a network on s² places", 2,
     "activations of all places")  # fmt: skip
def _(side):
    return without_gradient(pixel_cnn(side).sample, 2, cached=False)


@row("pixels_cached", "20_pixel_models", "PixelCNN draws from kept values", "side s",
     (8, 12, 16, 20, 24, 28), 2, "s² pixels, each for the same price", (1, 2),
     "activations of the rows above")  # fmt: skip
def _(side):
    return without_gradient(pixel_cnn(side).sample, 8)


@row("pixels_train", "20_pixel_models", "PixelCNN, a training step", "side s",
     (8, 11, 16, 23, 32, 45, 64), 2, "all s² pixels at once", 2,
     "activations of all places")  # fmt: skip
def _(side):
    return step(pixel_cnn(side), (torch.rand(4, 1, side, side) > 0.5).float())


@row("maskgit", "21_maskgit", "MaskGIT draws in 4 rounds", "side of the grid s",
     (4, 6, 8, 11, 16, 23, 32), (2, 4), "s² tokens, and attention between all: s⁴", 2,
     "activations of all tokens")  # fmt: skip
def _(side):
    return without_gradient(MaskGIT(64, side, 64, 2, 4).eval().sample, 4, steps=4)


@row("vq", "21_maskgit", "the nearest entry of a codebook", "entries K", doubling(32, 7),
     1, "each vector is compared with each entry", 1, "all distances")  # fmt: skip
def _(K):
    z, codebook = torch.randn(2048, 16), torch.randn(K, 16)
    return lambda: vq.nearest_entry(z, codebook)


SIDES = (8, 16, 24, 32, 48, 64, 96, 128)


@row("autoencoder", "22_autoencoder", "autoencoder, a training step", "side s", SIDES,
     2, "convolutions on s² places", 2, "activations of s² places")  # fmt: skip
def _(side):
    return step(Autoencoder(side, 16, 16, "conv"), torch.rand(8, 1, side, side))


@row("neighbours", "23_manifold", "nearest neighbours, for the dimension", "points n",
     doubling(128, 6), 2, "each point is compared with each", (1, 2),
     "the distances of 1,000 rows at a time")  # fmt: skip
def _(n):
    points = torch.randn(n, 32)
    return lambda: neighbour_distances(points)


@row("contractive", "23_manifold", "contractive autoencoder, a training step", "side s", SIDES,
     2, "a matrix of code × s² numbers", 2, "that matrix and its gradient")  # fmt: skip
def _(side):
    return step(ManifoldAutoencoder(side, 256, contraction=0.1), torch.rand(16, 1, side, side))


@row("vae", "24_vae", "VAE, a training step", "side s", SIDES,
     2, "convolutions on s² places", 2, "activations of s² places")  # fmt: skip
def _(side):
    return step(VAE(side, 16, 16, "conv"), torch.rand(8, 1, side, side).round())


@row("iwae", "24_vae", "VAE, log P(x) of 4 images", "samples k", doubling(16, 6),
     1, "k codes are decoded", 1, "k decoded images")  # fmt: skip
def _(k):
    model, x = VAE(28, 16, 128), torch.rand(4, 1, 28, 28).round()
    return without_gradient(model.log_prob, x, k)


@row("logdet", "25_flow", "flow, log |det W| of a layer", "channels C", doubling(64, 6),
     3, "the determinant of a C × C matrix", 2, "the matrix and its factors")  # fmt: skip
def _(C):
    return without_gradient(InvertibleLinear(C), torch.randn(1, C, 1, 1))


def glow(side, depth, width=16):
    x = torch.randint(17, (8, 1, side, side)) / 16
    model = Glow(side, depth=depth, width=width, blocks=1, noise="uniform", levels=17)
    with torch.no_grad():
        model.start(x)
    return step(model, x)


@row("flow_side", "25_flow", "flow, a training step", "side s", SIDES,
     2, "networks on s² places", 2, "activations of s² places")  # fmt: skip
def _(side):
    return glow(side, 2)


@row("flow_depth", "25_flow", "flow, a training step", "steps of the flow", doubling(1, 5),
     1, "one network after the other", 1, "activations of each step")  # fmt: skip
def _(depth):
    return glow(16, depth)


@row("gan", "26_gan", "GAN, a training step of both players", "side s", SIDES,
     2, "convolutions on s² places", 2, "activations of s² places")  # fmt: skip
def _(side):
    return step(GAN(side, 16, 16), torch.rand(8, 1, side, side))


def ddpm(side=8, T=1000):
    return DDPM(side, width=8, mults=(1, 2), T=T)


@row("walk", "27_diffusion", "diffusion draws 8 images by DDIM", "steps", doubling(2, 6),
     1, "the network once a step", 0, "only the present images")  # fmt: skip
def _(steps):
    return without_gradient(ddpm().eval().sample, 8, steps=steps)


@row("chain", "27_diffusion", "diffusion, a training step", "length T of the chain",
     doubling(125, 6), 0, "one t is drawn for each image, however many there are", 0,
     "the same activations")  # fmt: skip
def _(T):
    return step(ddpm(T=T), torch.rand(16, 1, 8, 8))


@row("unet", "27_diffusion", "diffusion, a training step", "side s", (8, 12, 16, 24, 32, 48, 64),
     (2, 4), "convolutions on s² places; attention between the coarse ones, (s/2)⁴", (2, 4),
     "activations of s² places, scores")  # fmt: skip
def _(side):
    return step(ddpm(side), torch.rand(4, 1, side, side))


@row("clip_loss", "28_clip", "CLIP's loss and its gradient", "pairs in the batch B",
     doubling(32, 7), 2, "each picture meets each sentence", 2, "B² scores")  # fmt: skip
def _(B):
    images, sentences = torch.randn(2, B, 32).requires_grad_().unbind()
    return lambda: contrastive_loss(images, sentences, 10.0).backward()


@row("clip_step", "28_clip", "CLIP, a training step", "pairs in the batch B", doubling(4, 6),
     (1, 2), "two encoders for each pair; B² scores are cheap beside them", 1,
     "activations of each pair")  # fmt: skip
def _(B):
    model = clip.small_clip(len(scenes.WORDS), scenes.CONTEXT, scenes.END)
    return step(model, *scenes.SceneBatches(B, 0)(0))


@row("coder", "29_latent_diffusion", "image coder, a training step", "side s", SIDES,
     2, "convolutions on s² places", 2, "activations of s² places")  # fmt: skip
def _(side):
    return step(ImageCoder(side, width=8), torch.rand(4, 3, side, side))


@row("text_to_image", "29_latent_diffusion", "a picture from a sentence, 4 steps",
     "side of the latent s", (4, 8, 16, 24, 32, 48, 64), (2, 4),
     "the denoiser's convolutions on s² places, its attention between coarse ones", 2,
     "activations of s² places")  # fmt: skip
def _(side):
    text = TextEncoder(gpt(32, scenes.CONTEXT, 1, len(scenes.WORDS)), scenes.END)
    coder = ImageCoder(4 * side, width=8)
    model = latent.LatentDiffusion(coder, text_unet(text, side, width=16)).eval()
    sentence = torch.zeros(1, scenes.CONTEXT, dtype=torch.long)
    sentence[0, :3] = torch.arange(1, 4)
    return without_gradient(model.draw, sentence, steps=4)


@row("words_read", "29_latent_diffusion", "cross-attention, 256 places", "words S",
     doubling(16, 7), (0, 1), "each place looks at S words; its own matrices stay", (0, 1),
     "keys and values of S words")  # fmt: skip
def _(S):
    layer = WordAttention(64, 64)
    return without_gradient(layer, torch.randn(1, 256, 64), torch.randn(1, S, 64))
