"""CLIP: one network for images and one for sentences, into one space, trained on pairs alone.

    model = small_clip(vocabulary=len(scenes.WORDS), context=scenes.CONTEXT)
    model.loss((x, ids))                     # pictures (B, 3, 32, 32), ids of captions (B, T)
    model.image(x) @ model.text(ids).T       # cosines (B, B): how well each sentence fits

What makes the vectors fit, and what they can be used for, stands in contrastive.py.

Source: Radford et al. 2021; lecture items B52 to B55.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from genai_utils import inputs
from genai_utils.language.gpt import GPTConfig
from genai_utils.language.prompting import wider_start
from genai_utils.language.transformer import Stack
from genai_utils.training import Muon, gathered, muon_groups
from genai_utils.weights import Row, exchange

from .contrastive import contrastive_loss, end_vectors, identity_loss, unit
from .unet import Norm
from .vit import VisionTransformer, with_quick_gelu

LARGEST = 100.0  # of the scale
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the pixels, with which CLIP was trained
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


class Convolution(nn.Module):
    """Convolution, norm and ReLU. It halves the side, or it adds what it finds to what came in."""

    def __init__(self, there, here, halve=False):
        super().__init__()
        self.conv = nn.Conv2d(there, here, 3, stride=2 if halve else 1, padding=1)
        self.norm, self.halve = Norm(here), halve

    def forward(self, x):
        found = self.norm(self.conv(x)).relu()
        return found if self.halve else x + found


class ConvEncoder(nn.Module):
    """Images (B, 3, size, size) → (B, width): what there is, and roughly where.

    Convolutions halve the side until it is 8 and look twice more. Of each channel a linear layer
    then reads the largest number of all places, which says *what* there is, wherever it is, and
    the largest of each two by two places, which says *where*.
    """

    def __init__(self, channels=16, size=32, width=96):
        super().__init__()
        self.size, self.width, self.channels = size, width, 3
        layers, here, side = [], 3, size
        while side > 8:
            there, here, side = here, channels if here == 3 else 3 * channels, side // 2
            layers.append(Convolution(there, here, halve=True))
        self.layers = nn.Sequential(*layers, Convolution(here, here), Convolution(here, here))
        self.last = nn.Linear(here * (1 + (side // 2) ** 2), width)

    def forward(self, x):
        h = self.layers(x)  # (B, C, 8, 8)
        what, where = h.amax((2, 3)), F.max_pool2d(h, 2).flatten(1)  # (B, C), (B, 16 C)
        return self.last(torch.cat([what, where], 1)).relu()


class CLIP(nn.Module):
    """Two encoders with a linear map each into one space of `dim` numbers.

    visual: a module (B, C, size, size) → (B, visual.width), with the attributes size, width and
    channels. textual: a causal `Stack`, read at the token `end`. objective: "contrastive",
    "identity" (the slide by its word), or a function of (images, sentences, scale). mean, std: of
    the pixels, for each channel; None leaves these as they are.

    scale: τ = exp(log_scale), learned, held at 100 or below; at first 1/0.07, as CLIP's.

    Raises TypeError or ValueError for images or ids that do not fit.
    """

    def __init__(self, visual, textual, dim, end, objective="contrastive", mean=None, std=None):
        super().__init__()
        self.visual, self.textual, self.end = visual, textual, end
        self.image_map = nn.Linear(visual.width, inputs.whole(dim, "dim"), bias=False)
        self.text_map = nn.Linear(textual.config.dim, dim, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.objective = objective
        if not callable(objective):
            inputs.one_of(objective, "objective", ("contrastive", "identity"))
        for name, value in (("mean", mean), ("std", std)):  # of each channel, (C, 1, 1)
            value = None if value is None else torch.tensor(value).view(-1, 1, 1)
            self.register_buffer(name, value, persistent=False)

    @property
    def scale(self):
        """τ, a scalar tensor."""
        return self.log_scale.exp().clamp(max=LARGEST)

    def image(self, x):
        """Unit vectors of images, (B, dim); x (B, C, size, size) in [0, 1]."""
        x = inputs.images(x, "x", self.visual.size, self.visual.channels, values=False)
        weight = self.image_map.weight
        x = x.to(weight.device, weight.dtype)
        if self.mean is not None:
            x = (x - self.mean) / self.std
        return unit(self.image_map(self.visual(x)))

    def text(self, ids):
        """Unit vectors of sentences, (B, dim); ids (B, T) int64, each with its `end`."""
        hidden = self.textual.hidden(self.textual.embed(ids))  # (B, T, d)
        return unit(self.text_map(end_vectors(hidden, ids, self.end)))

    def check_batch(self, batch):
        """Raises TypeError or ValueError for images, ids, or numbers of them that do not fit."""
        x, ids = batch
        inputs.images(x, "x", self.visual.size, self.visual.channels)
        inputs.tokens(ids, "ids", self.textual.config.vocabulary)
        if len(x) != len(ids):
            raise inputs.refusal("batch", f"a sentence for each of {len(x)} images", len(ids))

    def loss(self, batch):
        """Of a batch (x, ids) of pairs: {"loss", "scale"}; nats for the contrastive objective."""
        x, ids = batch
        # (B, dim) each, of all processes: each finds its own among those of the whole batch
        images, sentences = gathered(self.image(x).float()), gathered(self.text(ids).float())
        objective = contrastive_loss if self.objective == "contrastive" else self.objective
        if objective == "identity":
            loss = identity_loss(images @ sentences.T)
        else:
            loss = objective(images, sentences, self.scale)
        return {"loss": loss, "scale": self.scale.detach()}


def small_clip(vocabulary, context, end=0, dim=48, channels=16, width=96, layers=1, heads=4,
               text=48, scale=5.0, **options):  # fmt: skip
    """A CLIP for pictures of 32 by 32 pixels and short sentences.

    It begins otherwise than the large one, for a small network would else stay for long where all
    vectors are alike. The scale is 5 instead of 14. The first weights of the text's part are larger
    (see `wider_start`), and such that a sentence's vector is nearly the mean of its words': places
    count a tenth, all words get nearly the same attention, and the MLP adds little. With ordinary
    weights a 30th of the vectors' variance is due to the kind, with these a fifth; only what is in
    the vectors of sentences can tell the picture's network what to look for.
    """
    config = GPTConfig(vocabulary, context, layers, heads, text)
    textual = wider_start(Stack(config, causal=True))
    model = CLIP(ConvEncoder(channels, width=width), textual, dim, end, **options)
    with torch.no_grad():
        textual.positions.weight.mul_(0.1)
        for block in textual.blocks:
            q_and_k, v = block.attention.qkv.weight.split([2 * text, text])
            q_and_k.mul_(0.2), v.mul_(2), block.attention.out.weight.mul_(2)
            block.mlp[0].weight.mul_(0.2), block.mlp[2].weight.mul_(0.2)
        model.log_scale.fill_(math.log(inputs.number(scale, "scale", above=0)))
    return model


def muon(model, lr=0.005):
    """Muon for the matrices of the text's blocks, AdamW for the rest; an `optimizer` of `fit`."""
    return Muon(muon_groups(model, model.textual.blocks), lr=lr)


TOWER = {"textual": "text_model.encoder.layers", "visual": "vision_model.encoder.layers"}
TABLE = (  # our name of each part, and that of CLIP in transformers
    Row("log_scale", "logit_scale"),
    Row("image_map", "visual_projection"),
    Row("text_map", "text_projection"),
    Row("textual.tokens", "text_model.embeddings.token_embedding"),
    Row("textual.positions", "text_model.embeddings.position_embedding"),
    Row("textual.norm", "text_model.final_layer_norm"),
    Row("visual.patches", "vision_model.embeddings.patch_embedding"),
    Row("visual.first", "vision_model.embeddings.class_embedding"),
    Row("visual.positions", "vision_model.embeddings.position_embedding"),
    Row("visual.norm_in", "vision_model.pre_layrnorm"),
    Row("visual.norm", "vision_model.post_layernorm"),
    *(
        row
        for ours, theirs in TOWER.items()
        for row in (
            Row(
                f"{ours}.blocks.{{i}}.attention.qkv",
                tuple(f"{theirs}.{{i}}.self_attn.{part}_proj" for part in "qkv"),
            ),
            Row(f"{ours}.blocks.{{i}}.attention.out", f"{theirs}.{{i}}.self_attn.out_proj"),
            Row(f"{ours}.blocks.{{i}}.norm1", f"{theirs}.{{i}}.layer_norm1"),
            Row(f"{ours}.blocks.{{i}}.norm2", f"{theirs}.{{i}}.layer_norm2"),
            Row(f"{ours}.blocks.{{i}}.mlp.0", f"{theirs}.{{i}}.mlp.fc1"),
            Row(f"{ours}.blocks.{{i}}.mlp.2", f"{theirs}.{{i}}.mlp.fc2"),
        )
    ),
)


def from_transformers(peer, end=49407):
    """A CLIP with the weights of transformers' CLIPModel (OpenAI's), in eval mode.

    end: the token that closes a sentence, `tokenizer.eos_token_id`. Images come as (B, 3, H, W) in
    [0, 1]; OpenAI's mean and deviation of pixels are taken off inside.
    A new model is made, whose first weights come from torch's global generator.
    Raises ValueError where its configuration is not that of CLIP (activation, widths, eps).
    """
    v, t = peer.config.vision_config, peer.config.text_config
    for name, part in (("vision", v), ("text", t)):
        inputs.one_of(part.hidden_act, f"{name}: hidden_act", ("quick_gelu",))
        inputs.one_of(part.intermediate_size, f"{name}: intermediate_size", (4 * part.hidden_size,))
        inputs.one_of(part.layer_norm_eps, f"{name}: layer_norm_eps", (1e-5,))
    visual = VisionTransformer(
        v.image_size, v.patch_size, v.hidden_size, v.num_hidden_layers, v.num_attention_heads,
        v.num_channels,
    )  # fmt: skip
    textual = Stack(
        GPTConfig(
            t.vocab_size, t.max_position_embeddings, t.num_hidden_layers, t.num_attention_heads,
            t.hidden_size,
        ),
        causal=True,
    )  # fmt: skip
    for tower in (visual, textual):
        with_quick_gelu(tower.blocks)
    pixels = {"mean": OPENAI_MEAN, "std": OPENAI_STD}
    model = CLIP(visual, textual, peer.config.projection_dim, end, **pixels)
    exchange(model, peer, TABLE, to="ours")
    return model.to(peer.device).eval()
