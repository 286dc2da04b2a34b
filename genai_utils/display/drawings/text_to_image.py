"""Chapter 29: three networks between a sentence and a picture."""

import numpy as np

from genai_utils.display.drawings.canvas import LEAST, Canvas

STAR = (
    "....#...", "....#...", "..####..", "########", ".######.", "..####..", ".##..##.", "##....##",
)  # fmt: skip


def latent_diffusion():
    """From a sentence to a picture by three networks, each trained by itself.

    On top a sentence, a star, goes through the text encoder, whose words come down to the
    denoiser. The denoiser turns a latent of noise into a clean latent, in many steps, and looks at
    the words in each. The decoder makes a picture of the clean latent. At the bottom, dashed, what
    happens in training only: the encoder makes latents of pictures, to which noise is added. The
    denoiser never sees a picture.
    """
    c = Canvas(500, 372)
    rng = np.random.default_rng(4)
    noise = np.clip(0.5 + rng.normal(size=(8, 8)) / 4, 0, 1)
    star = np.array([[0.9 if letter == "#" else 0.1 for letter in row] for row in STAR])
    coarse = star.reshape(4, 2, 4, 2).mean((1, 3))
    said = c.box(6, 14, 150, 42, "a star", role="data")
    text = c.box(190, 14, 160, 42, "text encoder", role="parameter")
    c.arrow((said.right[0] + 3, 35), (text.left[0] - 3, 35))
    net = c.box(190, 116, 160, 66, "denoiser", role="parameter")
    c.arrow((text.bottom[0], 59), (text.bottom[0], 113))
    c.text(text.bottom[0] + 14, 92, "words", LEAST, "start", "muted")
    start = c.grid(46, 117, noise.reshape(4, 2, 4, 2).mean((1, 3)).tolist(), 16, role="plain")
    c.arrow((start.right[0] + 6, 149), (net.left[0] - 3, 149))
    c.text(start.bottom[0], 206, "noise", LEAST, kind="muted")
    end = c.grid(412, 117, coarse.tolist(), 16, role="plain")
    c.arrow((net.right[0] + 3, 149), (end.left[0] - 6, 149))
    c.text(net.bottom[0], 206, "in many steps", LEAST, kind="muted")
    c.text(end.bottom[0], 102, "latent", LEAST, kind="muted")
    c.box(384, 214, 110, 42, "decoder", role="parameter")
    c.arrow((end.bottom[0], 184), (end.bottom[0], 211))
    made = c.grid(412, 284, star.tolist(), 8, role="output")
    c.arrow((made.top[0], 259), (made.top[0], 281))
    shown = c.grid(46, 284, star.tolist(), 8, role="data")
    encoder = c.box(160, 295, 110, 42, "encoder", role="parameter", dashed=True)
    c.arrow((shown.right[0] + 6, 316), (encoder.left[0] - 3, 316), kind="muted", dashed=True)
    c.arrow((encoder.right[0] + 2, 316), (310, 316), (310, 214), kind="muted", dashed=True)
    c.text(190, 364, "in training only", LEAST, kind="muted")
    return c


DRAWINGS = {"latent-diffusion": latent_diffusion}
