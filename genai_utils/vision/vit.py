"""The vision transformer: an image as a sequence of patches, and a token that sums them up.

Source: Dosovitskiy et al. 2021; Radford et al. 2021, section 2.4 (the norm before the blocks).
"""

import torch
from torch import nn

from genai_utils.inputs import refusal, whole
from genai_utils.language.transformer import Block, small_weights


class QuickGELU(nn.Module):
    """x σ(1.702 x), what CLIP's first networks have for GELU. Source: Hendrycks & Gimpel 2016."""

    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


def with_quick_gelu(blocks):
    """The same blocks, their activation replaced."""
    for block in blocks:
        block.mlp[1] = QuickGELU()
    return blocks


class VisionTransformer(nn.Module):
    """Images (B, C, size, size) → (B, dim): patches as tokens, in front of them one that sums up.

    Each patch of `patch` by `patch` pixels becomes a vector by one matrix. A learned vector joins
    them, positions are added, blocks let them exchange, and what the first one then knows is the
    image's vector. width: the length of that vector.

    Raises ValueError where patches do not fill the side.
    """

    def __init__(self, size=32, patch=8, dim=64, layers=2, heads=4, channels=3):
        super().__init__()
        if whole(size, "size") % whole(patch, "patch"):
            raise refusal("size", f"a multiple of the patch, {patch}", f"{size}")
        self.size, self.width, self.channels = size, dim, channels
        self.patches = nn.Conv2d(channels, dim, patch, stride=patch, bias=False)
        self.first = nn.Parameter(torch.zeros(dim))
        self.positions = nn.Embedding(1 + (size // patch) ** 2, dim)
        self.norm_in = nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.apply(small_weights)
        nn.init.normal_(self.first, std=0.02)

    def forward(self, x):
        x = self.patches(x).flatten(2).mT  # (B, N, d)
        first = self.first.expand(len(x), 1, -1)
        x = torch.cat([first, x], 1) + self.positions.weight  # (B, 1 + N, d)
        x = self.norm_in(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, 0])
