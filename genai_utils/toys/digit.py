"""A digit that one draws, and where a VAE with two latent numbers puts it (chapter 24).

The model was trained once, by `python -m genai_utils.toys.make digit`; its weights are in the
package. The page makes the drawing look like MNIST's digits, encodes it to N(mu, diag(sigma^2)),
and decodes the mean and some samples.
"""

import base64
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from genai_utils.data import shipped
from genai_utils.display import page_decoder, pictures
from genai_utils.display.figures import CLASSES
from genai_utils.toys.figure import part, toy_figure
from genai_utils.vision.vae import VAE

WEIGHTS = Path(__file__).with_name("weights")
SIDE = 28
DOTS = 500  # encoded test digits on the plane
NEAREST = 15  # of them, that say which digit it may be
OPENING = 3  # the class of the digit that is drawn at first
DARK = {7: "#FFFFFF", 9: "#C58B5A"}  # colours of classes that a dark page would swallow
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css")
SCRIPTS = (
    "page_random.js", "page_math.js", "page_decoder.js", "page_canvas.js", "page_ink.js", "digit.js"
)  # fmt: skip
ALT = (
    "A drawn digit, the plane of two latent numbers with the place where the encoder puts it among "
    "encoded test digits, and the image that is decoded from there."
)


def network(state=None):
    """The model: chapter 24's VAE with two code units, narrow, and one layer more in its decoder.

    Chosen on held-out digits, about 70,000 weights each, 12,000 steps: with three hidden layers in
    the decoder −ELBO is 143.3 nats, with two 145.6. A convolutional encoder was at 155.0 after as
    much time (8,000 steps).
    """
    with torch.random.fork_rng(devices=[], enabled=state is not None):
        net = VAE(SIDE, code=2, width=30)
        width = 48
        net.decoder = nn.Sequential(
            nn.Linear(2, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, SIDE * SIDE),
            nn.Unflatten(1, (1, SIDE, SIDE)),
        )
    if state is not None:
        net.load_state_dict({name: state[name].float() for name in net.state_dict()})
    return net


def votes(codes, dots, kinds):
    """How many of the nearest dots have each class: codes (N, 2), dots (n, 2) -> (N, 10)."""
    near = torch.cdist(codes, dots.to(codes)).topk(NEAREST, largest=False).indices  # (N, 15)
    return nn.functional.one_hot(kinds.long()[near], 10).sum(dim=1)


def load():
    """The model of the package, its dots (n, 2), their classes (n,), ten digits, and the record.

    Raises DataError where the files are damaged or missing.
    """

    def build(payload):
        kept = safetensors.torch.load(payload)
        digits = kept["digits"].float() / 255
        return network(kept).eval(), kept["dots"].float(), kept["kinds"], digits

    make = "python -m genai_utils.toys.make digit"
    made, record = shipped.read(WEIGHTS / "digit.safetensors", "digit toy", make, build)
    return *made, record


def _plane(dots, kinds, extent):
    """The dots before the script runs, as a small SVG image."""
    paths = []
    for kind, colour in enumerate(CLASSES):
        mine = dots[kinds == kind].tolist()
        d = "".join(f"M{50 + 50 * a / extent:.1f} {50 - 50 * b / extent:.1f}h0" for a, b in mine)
        paths.append(f'<path d="{d}" stroke="{colour}"/>')
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" width="300" height="300" '
        f'stroke-width="1.6" stroke-linecap="round">{"".join(paths)}</svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def bundle():
    """The output that `play("digit")` displays."""
    net, dots, kinds, digits, record = load()
    extent = 0.25 * round(4 * dots.abs().max().item() + 1)
    encoder = page_decoder.evaluation_copy(nn.Sequential(*list(net.encoder)[1:]))
    decoder = page_decoder.evaluation_copy(net.decoder)
    nats = {name: -value for name, value in record["test"]["elbo"].items()}
    data = {
        "encoder": page_decoder.export(encoder, SIDE * SIDE),
        "decoder": page_decoder.export(decoder, 2),
        "dots": [[round(v, 2) for v in dot] for dot in dots.tolist()],
        "kinds": kinds.tolist(),
        "digits": [base64.b64encode((255 * d).byte().numpy().tobytes()).decode() for d in digits],
        "opening": OPENING,
        "extent": extent,
        "nearest": NEAREST,
        "nats": round(nats["sharp"], 1),
        "colours": CLASSES,
        "dark": DARK,
    }
    with torch.no_grad():
        drawn = digits[OPENING]
        mean = net.image(net.encode(drawn.round()[None, None])[0])[0]
    small = [pictures.encode(pictures.from_array(image)) for image in (drawn, mean)]
    caption = (
        f"A VAE with two latent numbers, {record['parameters']:,} weights, trained on "
        f"{record['images']:,} MNIST digits. Dots: the means of {DOTS} test digits; ellipse, "
        "larger in the lens: one standard deviation of Q(c | x). On the "
        f"{record['test_images']:,} other test digits its −ELBO is {nats['coins']:.1f} nats with "
        f"coins for pixels, {nats['sharp']:.1f} nats with pixels made black and white as here, and "
        f"the {NEAREST} nearest dots name {100 * record['test']['nearest']:.0f} % of them right."
    )
    body = (
        f'<div class="genai-toyrow genai-digit">'
        f"{part('draw', 'your digit', f'A handwritten {OPENING}.', small[0])}"
        f"{part('plane', 'where it lands', 'Encoded digits.', _plane(dots, kinds, extent))}"
        f"{part('mean', 'decoded mean', f'A decoded {OPENING}.', small[1])}</div>"
    )
    return toy_figure(
        "digit", body, caption, data, "digit", SCRIPTS, STYLES, ALT, "Use fewer hidden units.",
        key=data["decoder"]["weights"],
    )  # fmt: skip
