"""How a denoiser is told a sentence: a frozen text encoder, and places that look at its words.

    text = TextEncoder(clip.textual, end=scenes.END)     # a tower of chapter 28, or a GPT's
    net = text_unet(text, size=8, channels=4, width=32, mults=(1, 2))
    net(x, t, ids)                                       # ids (B, T) where chapter 27 has classes

The sentence takes the place of the class: y is ids of words, (B, T) int64, and "none" is the empty
sentence, a row of ends. So the chain, guidance and walks of chapter 27 work as they are.

    places (B, P, c) look at words (B, S, d): queries of the places, keys and values of the words

Sources: Rombach et al. 2022, section 3.3 (cross-attention); Vaswani et al. 2017; Podell et al. 2023
(the whole sentence as one vector beside its words). Lecture item A113.
"""

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import inputs

from .contrastive import end_vectors
from .unet import Norm, UNet, time_features, zeroed


class TextEncoder(nn.Module):
    """Sentences as vectors, by a tower that is trained already and stays as it is (A112).

    stack: a causal `Stack`, the textual tower of a CLIP or a GPT. end: the token that ends a
    sentence, and fills up after it.

    forward(ids): (B, T) int64 → (B, T + 1, d): a vector for each token, and behind them once more
    that of the first end, which has read the whole sentence.
    """

    def __init__(self, stack, end=0):
        super().__init__()
        self.stack = stack.requires_grad_(False)
        self.width, self.context = stack.config.dim, stack.config.context
        self.end = inputs.whole(end, "end", 0, stack.config.vocabulary - 1)

    def forward(self, ids):
        if ids.ndim != 2 or ids.shape[1] != self.context:
            expected = f"ids of sentences, (B, {self.context})"
            raise inputs.refusal("ids", expected, f"the shape {tuple(ids.shape)}",
                                 "scenes.encode makes them")  # fmt: skip
        with torch.no_grad():
            hidden = self.stack.hidden(self.stack.embed(ids))  # (B, T, d)
            whole = end_vectors(hidden, ids, self.end)  # (B, d)
        return torch.cat([hidden, whole[:, None]], 1)  # (B, T + 1, d)

    def empty(self, n, device=None):
        """The empty sentence n times: (n, T) ids, all of them ends."""
        return torch.full((n, self.context), self.end, dtype=torch.long, device=device)

    def train(self, mode=True):
        """It stays in eval mode: whoever trains around it trains nothing in it."""
        return super().train(False)


def cross_attention(q, k, v, heads):
    """Each place takes a weighted mean of what the words say, in several heads side by side.

        weights = softmax(q kᵀ / √(c / h))   over the words, for each of h heads
        output = weights v

    Head i works on numbers i c / h to (i + 1) c / h - 1 of each vector. q (B, P, c) of the places;
    k, v (B, S, c) of the words; heads divides c. Returns the output (B, P, c) and the weights
    (B, h, P, S), whose rows sum to 1. Raises ValueError for heads that do not divide c.
    Source: Vaswani et al. 2017, section 3.2.2; Rombach et al. 2022, eq. 3.
    """
    B, P, c = q.shape
    if c % heads:
        raise ValueError(f"heads: expected a divisor of {c}, got {heads}.")
    q, k, v = (x.reshape(B, -1, heads, c // heads).transpose(1, 2) for x in (q, k, v))
    weights = (q @ k.mT / (c // heads) ** 0.5).softmax(-1)  # (B, h, P, S)
    return (weights @ v).transpose(1, 2).reshape(B, P, c), weights


class WordAttention(nn.Module):
    """The same as a layer: places x (B, P, c), words (B, S, d) → what is added to x, (B, P, c).

    Its last matrix is zero at first: a network begins as if it had not been told anything.
    """

    def __init__(self, channels, d, heads=4):
        super().__init__()
        if inputs.whole(channels, "channels") % inputs.whole(heads, "heads"):
            raise inputs.refusal("channels", f"a multiple of heads = {heads}", channels)
        self.heads = heads
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(d, 2 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x, words):
        k, v = self.kv(words).chunk(2, -1)
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q(x), k, v)
        )
        h = F.scaled_dot_product_attention(q, k, v)  # `cross_attention` in one kernel
        return self.out(h.transpose(1, 2).flatten(2))

    @torch.no_grad()
    def weights(self, x, words):
        """Who looks at which word: (B, h, P, S)."""
        k, v = self.kv(words).chunk(2, -1)
        return cross_attention(self.q(x), k, v, self.heads)[1]


class TextCondition(nn.Module):
    """Time and sentence: t (B,), y (B, T) → their vector (B, 4 width), the words (B, S, d).

    The vector adds what the time says and what the whole sentence says. y = None: the empty one.
    """

    def __init__(self, width, text):
        super().__init__()
        self.width, self.text, self.classes = width, text, text.end  # "none" is a row of ends
        self.time = nn.Sequential(
            nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width), nn.SiLU()
        )
        self.of_text = nn.Linear(text.width, 4 * width)

    def told(self, t, y=None):
        weight = self.of_text.weight
        words = self.text(self.text.empty(len(t), t.device) if y is None else y)
        words = words.to(weight.dtype)
        vector = self.time(time_features(t, self.width).to(weight.dtype))
        return vector + self.of_text(words[:, -1]), words

    def forward(self, t, y=None):
        """Both in one row, (B, 4 width + S d), for a U-Net that hands its condition on."""
        vector, words = self.told(t, y)
        return torch.cat([vector, words.flatten(1).to(vector.dtype)], 1)


class ReadingBlock(nn.Module):
    """A block of the U-Net, after which each place looks at the words.

    Shapes: x (B, c_in, H, W), condition (B, d_vector + S d) → (B, c_out, H, W).
    """

    def __init__(self, block, d, heads=4):
        super().__init__()
        channels = block.conv_out.out_channels
        self.block, self.d, self.vector = block, d, block.tell.in_features
        self.norm, self.words = Norm(channels), WordAttention(channels, d, heads)

    def forward(self, x, condition):
        h = self.block(x, condition[:, : self.vector])
        words = condition[:, self.vector :].unflatten(1, (-1, self.d))  # (B, S, d)
        places = self.norm(h).flatten(2).transpose(1, 2)  # (B, H W, c)
        return h + self.words(places, words).transpose(1, 2).reshape(h.shape)


def text_unet(text, size=8, channels=4, width=32, mults=(1, 2), patch=1):
    """Chapter 27's `UNet` whose blocks also read: x (B, C, H, W), t (B,), ids (B, T) or None.

    text: a `TextEncoder`; the others as of `UNet`. Parts of a plain U-Net are replaced: the
    condition, and each block by one with cross-attention behind it.
    """
    net = UNet(size, channels, width, mults, None, patch)
    net.condition = TextCondition(width, text)
    for blocks in (net.down, net.middle, net.up):
        for i, block in enumerate(blocks):
            blocks[i] = ReadingBlock(block, text.width)
    return net
