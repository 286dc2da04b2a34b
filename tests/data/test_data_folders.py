"""A folder of pictures of any size and kind as one tensor; what is no picture is named."""

import numpy as np
import pytest
import torch
from PIL import Image

from genai_utils import data


def save(folder, name, pixels, **options):
    """Write a picture; folders on the way are made."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **options)


def plain(height, width, value=255, dtype=np.uint8):
    return np.full((height, width), value, dtype)


def test_sizes_and_kinds_of_files_become_one_tensor(tmp_path):
    red = np.zeros((30, 40, 3), np.uint8)
    red[..., 0] = 255
    save(tmp_path, "b/red.png", red)
    save(tmp_path, "b/grey.jpg", plain(9, 70, 128))
    save(tmp_path, "a/deep.png", plain(20, 20, 32768, np.uint16))
    save(tmp_path, "a/clear.png", np.zeros((8, 8, 4), np.uint8))
    save(tmp_path, "a/.hidden.png", plain(8, 8))
    save(tmp_path, ".ipynb_checkpoints/red-checkpoint.png", red)
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    x, y, kinds, files = data.pictures(tmp_path, 16, channels=3)
    assert x.shape == (4, 3, 16, 16) and x.dtype == torch.float32
    assert files == ["a/clear.png", "a/deep.png", "b/grey.jpg", "b/red.png"]
    assert kinds == ["a", "b"] and y.tolist() == [0, 0, 1, 1] and y.dtype == torch.int64
    assert torch.equal(x[0], torch.ones(3, 16, 16))  # what is clear is white
    assert (x[1] - 0.5).abs().max() < 0.01  # 16 bits keep their range
    assert (x[2] - 128 / 255).abs().max() < 0.02
    assert torch.equal(x[3, :, 8, 8], torch.tensor([1.0, 0.0, 0.0]))
    grey = data.pictures(tmp_path, 16)
    assert grey.x.shape == (4, 1, 16, 16) and grey.x[3].mean().sub(0.298).abs() < 0.01


def test_a_middle_is_cut_out_or_all_is_kept(tmp_path):
    wide = plain(10, 30, 0)
    wide[:, 10:20] = 255  # the middle is white
    save(tmp_path, "wide.png", wide)
    crop = data.pictures(tmp_path, 10)
    assert crop.kinds == [""] and crop.y.tolist() == [0] and crop.x.min() > 0.9
    pad = data.pictures(tmp_path, 30, fit="pad").x[0, 0]
    assert pad[:9].min() == 1 and pad[-9:].min() == 1 and pad[15, 2] == 0 and pad[15, 15] == 1


def test_a_photograph_stands_as_the_camera_was_held(tmp_path):
    lying = plain(20, 20, 0)
    lying[:, :10] = 255  # white at the left
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees: the left becomes the top
    save(tmp_path, "photo.jpg", lying, exif=turned)
    x = data.pictures(tmp_path, 20).x[0, 0]
    assert x[:8].min() > 0.9 and x[-8:].max() < 0.1


def test_what_is_no_folder_or_no_picture_is_named(tmp_path):
    with pytest.raises(data.DataError, match="there is no folder"):
        data.pictures(tmp_path / "missing", 8)
    with pytest.raises(data.DataError, match="holds none"):
        data.pictures(tmp_path, 8)
    (tmp_path / "torn.png").write_bytes(b"\x89PNG and then nothing")
    with pytest.raises(data.DataError, match="torn.png is no picture"):
        data.pictures(tmp_path, 8)
    for wrong in ({"size": 0}, {"size": 8, "channels": 2}, {"size": 8, "fit": "stretch"}):
        with pytest.raises(ValueError, match=r"size|channels|fit"):
            data.pictures(tmp_path, **wrong)
