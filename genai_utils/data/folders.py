"""Pictures of your own: a folder of files as one tensor, whatever their sizes and kinds."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from genai_utils.inputs import one_of, path, refusal, whole

from .entries import DataError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


class Pictures(NamedTuple):
    """x (n, channels, size, size) float32 in [0, 1], 1 is white; y (n,) int64, places in `kinds`.

    kinds: the names of the subfolders; one, "", where all lie in the folder itself. files: the n
    names, relative to the folder, with / between.
    """

    x: torch.Tensor
    y: torch.Tensor
    kinds: list[str]
    files: list[str]


def pictures(folder, size, channels=1, fit="crop"):
    """All pictures of a folder and its subfolders, in the order of their names, as `Pictures`.

    A subfolder of the folder is a kind. size: the side in pixels that they are brought to;
    channels: 1 for grey, 3 for colour. fit: "crop" takes the largest square in the middle, "pad"
    keeps all and adds white at the sides. What is transparent becomes white, a photograph stands as
    its camera was held, and of a moving picture the first frame counts. Hidden files and folders,
    whose names begin with a dot, are left out. All lie in memory: 4 · n · channels · size² bytes.

    Raises DataError for a folder that is not there or holds no picture, and for a file with a
    picture's ending that is none, TypeError or ValueError for another size or fit.
    """
    folder, size = path(folder, "folder"), whole(size, "size")
    one_of(channels, "channels", (1, 3)), one_of(fit, "fit", ("crop", "pad"))
    if not folder.is_dir():
        raise DataError(
            f"pictures: there is no folder {folder}. Its path is seen from {Path.cwd()}."
        )
    found = sorted(f for f in folder.rglob("*") if f.suffix.lower() in ENDINGS and f.is_file())
    names = [f.relative_to(folder) for f in found]  # macOS: ._x.png, Jupyter: .ipynb_checkpoints/
    names = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    if not names:
        raise DataError(f"pictures: {folder} holds none. Files should end in {', '.join(ENDINGS)}.")
    of_each = [name.parts[0] if len(name.parts) > 1 else "" for name in names]
    kinds = sorted(set(of_each))
    x = torch.empty(len(names), channels, size, size)  # made once: no second copy of all
    for place, name in zip(x, names, strict=True):
        place.copy_(_read(folder / name, size, channels, fit))
    y = torch.tensor([kinds.index(kind) for kind in of_each])
    return Pictures(x, y, kinds, [name.as_posix() for name in names])


def _read(file, size, channels, fit):
    """One file, (channels, size, size) in [0, 1]."""
    try:
        with Image.open(file) as raw:
            image = _whole_range(ImageOps.exif_transpose(raw))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"pictures: {file} is no picture ({error}). Mend or remove it.") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"pictures: {file} is too large ({error}). Make it smaller.") from error
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image).convert("RGB" if channels == 3 else "L")
    side = (size, size)
    if fit == "crop":
        image = ImageOps.fit(image, side, Image.Resampling.LANCZOS)
    else:
        color = "white" if channels == 3 else 255
        image = ImageOps.pad(image, side, Image.Resampling.LANCZOS, color=color)
    pixels = torch.from_numpy(np.array(image, dtype=np.float32) / 255)
    return pixels[None] if channels == 1 else pixels.permute(2, 0, 1)


def _whole_range(image):
    """A picture of 16 or 32 bits in eight, which `convert` would cut off at 255."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all() or values.min() < 0:
        raise refusal("pixels", "numbers of at least 0", f"some down to {values.min():g}")
    most = 1.0 if image.mode == "F" and values.max() <= 1 else 65535.0
    return Image.fromarray((255 * values / most).clip(0, 255).round().astype(np.uint8))
