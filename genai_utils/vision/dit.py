"""The diffusion transformer (DiT): the denoiser without convolutions.

The image is cut into squares, each square is a token, and chapter 8's blocks do the rest. Time and
sentence are told in two ways: as one vector that scales, shifts and opens each block (adaLN-Zero),
and word by word through cross-attention.

    net = DiT(text, size=8, channels=4, width=64, layers=4, patch=2)
    net(x, t, ids)       # as a U-Net: x (B, C, H, W), t (B,), ids (B, T) or None → (B, C, H, W)

Sources: Peebles & Xie 2023 (DiT, adaLN-Zero); Chen et al. 2024 (PixArt-α: cross-attention in it).
"""

import torch
from torch import nn

from genai_utils import inputs
from genai_utils.language.attention import MultiHeadAttention

from .cross_attention import TextCondition, WordAttention
from .unet import zeroed


def patches(x, patch):
    """Images as rows of squares: x (B, C, H, W) → (B, H W / p², C p²).

    Squares from left to right, then from top to bottom; in each, the numbers of a channel stand
    together, its rows one after the other. Raises ValueError where p does not divide H and W.
    Source: Dosovitskiy et al. 2021, section 3.1.
    """
    B, C, H, W = x.shape
    if H % patch or W % patch:
        raise ValueError(f"patch: expected a divisor of {H} and {W}, got {patch}.")
    x = x.reshape(B, C, H // patch, patch, W // patch, patch)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * patch**2)


def unpatched(tokens, patch, size):
    """The way back: rows of squares to square images.

    tokens (B, N, C p²) → (B, C, size, size), the images of which `patches` makes these tokens.
    Raises ValueError where N is not (size / p)². Source: Peebles & Xie 2023, section 3.2.
    """
    B, side = len(tokens), size // patch
    if tokens.shape[1] != side**2:
        raise ValueError(f"tokens: expected {side**2} squares, got {tokens.shape[1]}.")
    x = tokens.reshape(B, side, side, -1, patch, patch)
    x = x.permute(0, 3, 1, 4, 2, 5)
    return x.reshape(B, -1, size, size)


def modulate(x, scale, shift):
    """Scale and shift all tokens of an example alike: (1 + a) x + b.

    x (B, N, d); scale a and shift b (B, d) → (B, N, d). With a = b = 0 nothing changes.
    Source: Peebles & Xie 2023, section 3.2.
    """
    return (1 + scale[:, None]) * x + shift[:, None]


class DiTBlock(nn.Module):
    """Attention, a look at the words, an MLP; the condition opens and shapes each (adaLN-Zero).

        x = x + g₁ attention((1 + a₁) norm(x) + b₁)
        x = x + words(norm(x))
        x = x + g₂ mlp((1 + a₂) norm(x) + b₂),   (a, b, g) = linear(condition), zero at first

    Shapes: x (B, N, d), vector (B, d), words (B, S, d_text) → (B, N, d).
    """

    def __init__(self, dim, heads, d_text):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (
            nn.LayerNorm(dim, elementwise_affine=False) for _ in range(3)
        )
        self.attention = MultiHeadAttention(dim, heads)
        self.words = WordAttention(dim, d_text, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU("tanh"), nn.Linear(4 * dim, dim))
        self.tell = zeroed(nn.Linear(dim, 6 * dim))

    def forward(self, x, vector, words):
        a1, b1, g1, a2, b2, g2 = self.tell(vector).chunk(6, -1)  # (B, d) each
        x = x + g1[:, None] * self.attention(modulate(self.norm1(x), a1, b1))
        x = x + self.words(self.norm2(x), words)
        return x + g2[:, None] * self.mlp(modulate(self.norm3(x), a2, b2))


class DiT(nn.Module):
    """A transformer as denoiser: it takes and gives what a U-Net does.

    Args:
        text: a `TextEncoder`.
        size, channels: of the images or latents.
        width: numbers of a token; a multiple of 8 and of the heads. layers: blocks.
        patch: side of the squares.
    """

    def __init__(self, text, size=8, channels=4, width=64, layers=4, heads=4, patch=2):
        super().__init__()
        self.size, self.patch = inputs.whole(size, "size"), inputs.whole(patch, "patch")
        if size % patch:
            raise inputs.refusal("patch", f"a divisor of size = {size}", patch)
        if inputs.whole(width, "width") % 8:
            raise inputs.refusal("width", "a multiple of 8", width)
        inputs.whole(layers, "layers")
        self.condition = TextCondition(width // 4, text)  # its vector has `width` numbers
        self.first = nn.Linear(channels * patch**2, width)
        self.places = nn.Parameter(0.02 * torch.randn((size // patch) ** 2, width))
        self.blocks = nn.ModuleList(DiTBlock(width, heads, text.width) for _ in range(layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.tell = zeroed(nn.Linear(width, 2 * width))
        self.last = zeroed(nn.Linear(width, channels * patch**2))

    def forward(self, x, t, y=None):
        vector, words = self.condition.told(t, y)
        with torch.autocast(x.device.type, enabled=False):  # bf16 would round little noise away
            h = self.first(patches(x, self.patch).to(self.first.weight.dtype)) + self.places
        h = h.to(vector.dtype)  # (B, N, d)
        for block in self.blocks:
            h = block(h, vector, words)
        scale, shift = self.tell(vector).chunk(2, -1)
        h = self.last(modulate(self.norm(h), scale, shift))  # (B, N, C p²)
        return unpatched(h, self.patch, self.size)
