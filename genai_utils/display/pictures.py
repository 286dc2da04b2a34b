"""Pixels: from figures and arrays to small files that still look sharp."""

import base64
import io
import warnings

import numpy as np
from matplotlib.transforms import Bbox
from PIL import Image, ImageChops, ImageStat

DPI = 144  # pixels per inch of a drawn figure
CSS_DPI = 96  # CSS pixels per inch: figures are shown at 2/3 of their pixels, sharp on phones
FRAME_DPI = 120  # an explorer holds dozens of frames: a little less, for a third of the bytes
PHOTOGRAPHIC = 0.25  # bytes per pixel as palette PNG; plots need a tenth of it, photographs more
MANY_COLOURS = 30_000  # no plot has so many
UNSEEN = 24  # largest difference of a colour, of 255, that nobody sees in an antialiased edge
MARGIN = 1.0  # inches around a frame in which labels outside the canvas are still caught


def as_array(images):
    """A NumPy array of a torch tensor (any device) or of anything NumPy understands."""
    if hasattr(images, "detach"):
        images = images.detach().cpu()
        images = images.float() if images.is_floating_point() else images
        images = images.numpy()
    return np.asarray(images)


def unit_range(values, what):
    """Floats clipped to [0, 1]; uint8 is divided by 255.

    Values a little outside (a PCA reconstruction, a linear decoder) are clipped. Values far outside
    mean another scale, and raise.
    """
    values = as_array(values)
    if values.dtype == np.uint8:
        return values.astype(np.float32) / 255
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{what} must hold numbers, got dtype {values.dtype}.")
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{what} must be finite, got NaN or infinity.")
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if low < -1 or high > 2:
        raise ValueError(
            f"{what} must lie in [0, 1], got values from {low:.4g} to {high:.4g}. "
            "Divide by 255, or bring them into range first."
        )
    return values.clip(0, 1)


def from_array(array, what="the picture"):
    """A PIL image of (H, W), (1, H, W), (H, W, 3) or (3, H, W), floats in [0, 1] or uint8."""
    array = unit_range(array, what)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[-1] != 3:
        array = array.transpose(1, 2, 0)  # (H, W, C)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]  # (H, W)
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] == 3)):
        raise ValueError(
            f"{what} must have the shape (H, W), (H, W, 3) or (3, H, W), got {array.shape}."
        )
    return Image.fromarray((array * 255).round().astype(np.uint8))


def from_figure(figure, tight=True, dpi=DPI):
    """A PIL image of a matplotlib figure on white.

    With ``tight`` the image ends where the ink ends. Without, it keeps ``MARGIN`` inches around the
    canvas, so that several frames lie exactly on one another (see :func:`align`).
    """
    width, height = figure.get_size_inches()
    box = "tight" if tight else Bbox([[-MARGIN, -MARGIN], [width + MARGIN, height + MARGIN]])
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # a sign that no font has becomes a box, without a word
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        figure.savefig(
            buffer, format="png", dpi=dpi, bbox_inches=box, pad_inches=0.06, facecolor="white",
            pil_kwargs={"compress_level": 1},
        )  # fmt: skip
    buffer.seek(0)
    return Image.open(buffer).convert("RGB")


def align(images, crop=False):
    """Bring images to one size on white; with ``crop`` cut off the margin that is white in all."""
    width, height = (max(image.size[axis] for image in images) for axis in (0, 1))
    aligned = []
    for image in images:
        if image.size != (width, height):
            canvas = Image.new("RGB", (width, height), "white")
            canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
            image = canvas
        aligned.append(image)
    if not crop:
        return aligned
    white = Image.new("RGB", (width, height), "white")
    boxes = [ImageChops.difference(image, white).getbbox() for image in aligned]
    boxes = [box for box in boxes if box] or [(0, 0, width, height)]
    pad = round(0.06 * FRAME_DPI)
    left, top = (max(0, min(box[side] for box in boxes) - pad) for side in (0, 1))
    right = min(width, max(box[2] for box in boxes) + pad)
    bottom = min(height, max(box[3] for box in boxes) + pad)
    return [image.crop((left, top, right, bottom)) for image in aligned]


def palette_png(image):
    """PNG bytes with 64 colours where no pixel shows the difference, else with 256."""
    if image.mode != "L":
        image = image.convert("RGB")
        options = {"method": Image.Quantize.MEDIANCUT, "dither": Image.Dither.NONE}
        reduced = image.quantize(64, **options)
        off = ImageChops.difference(reduced.convert("RGB"), image)
        worst = max(high for _, high in off.getextrema())
        mean = max(ImageStat.Stat(off).mean)  # large where a colour scale would show bands
        unseen = worst <= UNSEEN and mean <= UNSEEN / 100
        image = reduced if unseen else image.quantize(256, **options)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def webp(image, lossless):
    """WebP bytes."""
    buffer = io.BytesIO()
    options = {"lossless": True, "quality": 50} if lossless else {"quality": 86}
    image.save(buffer, format="WEBP", method=4, **options)
    return buffer.getvalue()


def photographic(png, image):
    """Whether so many bytes as PNG say that the image is a photograph and not a plot."""
    return len(png) > max(4_000, PHOTOGRAPHIC * image.width * image.height)


def encode(image, smallest=False):
    """The image as a small data URL.

    Plots become palette PNG, photographic images (very many colours, or many bytes per pixel) WebP
    where that is smaller. ``smallest`` also tries lossless WebP on plots, worth it where there are
    many frames.
    """
    if image.getcolors(MANY_COLOURS) is None:
        choices = {"image/webp": webp(image, lossless=False)}
    else:
        png = palette_png(image)
        choices = {"image/png": png}
        if photographic(png, image):
            choices["image/webp"] = webp(image, lossless=False)
        elif smallest:
            reduced = Image.open(io.BytesIO(png)).convert("RGB")
            choices["image/webp"] = webp(reduced, lossless=True)
    kind = min(choices, key=lambda kind: len(choices[kind]))
    return f"data:{kind};base64,{base64.b64encode(choices[kind]).decode()}"


def png_text(image):
    """Base64 of the image as palette PNG, what an ``image/png`` output holds."""
    return base64.b64encode(palette_png(image)).decode()


def still(image):
    """The picture of an output for where no HTML is shown: its type -> base64.

    A palette PNG; of a photograph a JPEG, which needs a third of the bytes and has all colours.
    """
    png = palette_png(image)
    if not photographic(png, image):
        return {"image/png": base64.b64encode(png).decode()}
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="JPEG", quality=86, optimize=True)
    return {"image/jpeg": base64.b64encode(buffer.getvalue()).decode()}
