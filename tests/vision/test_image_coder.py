"""The image encoder and decoder: shapes, the two terms, the scale of the latents, bad input."""

import pytest
import torch

from genai_utils.training import fit
from genai_utils.vision.image_coder import ImageCoder, Pixels, latent_statistics
from genai_utils.vision.vae import gaussian_kl


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def small(**options):
    return ImageCoder(**{"size": 8, "width": 8, **options})


def blobs(n, size=8):
    """Squares of one colour at random places, a world of a few numbers."""
    x = torch.zeros(n, 3, size, size)
    for i in range(n):
        row, column = torch.randint(0, size // 2, (2,))
        colour = torch.rand(3)
        x[i, :, row : row + size // 2, column : column + size // 2] = colour[:, None, None]
    return x


def test_a_latent_keeps_places_at_a_quarter_of_the_side():
    coder, x = ImageCoder(), torch.rand(2, 3, 32, 32)
    mu, logvar = coder.posterior(x)
    assert mu.shape == logvar.shape == (2, 4, 8, 8)
    assert coder.encode(x).shape == (2, 4, 8, 8)
    assert coder.decode(coder.encode(x)).shape == x.shape
    moved = torch.zeros(1, 3, 32, 32)
    moved[:, :, :4, :4] = 1
    change = (coder.encode(moved) - coder.encode(0 * moved)).abs().sum(1)[0]
    assert change[:2, :2].min() > 0 and change[5:, 5:].max() == 0  # local


@torch.no_grad()
def test_it_begins_as_a_projection_of_squares_and_its_way_back():
    coder, x = small(), torch.rand(5, 3, 8, 8)
    encoder, decoder = coder.encoder, coder.decoder
    decoder.linear[0].bias.zero_(), encoder.linear.bias.zero_()
    mu = encoder.linear(x).chunk(2, 1)[0]
    again = decoder.linear(mu)
    assert again.shape == x.shape
    torch.testing.assert_close(encoder.linear(again).chunk(2, 1)[0], mu)
    inside, outside = again.square().sum(), (x - again).square().sum()
    torch.testing.assert_close(inside + outside, x.square().sum())  # at a right angle
    assert encoder.net(x).std() < 0.5 * mu.std()
    torch.testing.assert_close(encoder(x), encoder.linear(x) + encoder.net(x))
    logvar = small().posterior(x)[1]
    assert (logvar + 4).abs().mean() < 0.5


def test_the_statistics_are_those_of_each_channel():
    z = torch.randn(50, 3, 4, 4) * torch.tensor([1.0, 5, 0.1])[:, None, None] + 2
    mean, std = latent_statistics(z)
    for c in range(3):
        torch.testing.assert_close(mean[c], z[:, c].mean())
        torch.testing.assert_close(std[c], z[:, c].std(correction=0))
    assert latent_statistics(torch.ones(3, 2, 4, 4))[1].tolist() == [1, 1]


def test_measured_latents_have_mean_0_and_deviation_1_and_decode_the_same():
    coder, x = small(), blobs(200)
    with torch.no_grad():
        expected = coder.decoder(coder.posterior(x)[0]).clamp(0, 1)
    coder.measure(x)
    z = coder.encode(x)
    assert z.mean((0, 2, 3)).abs().max() < 1e-4
    torch.testing.assert_close(z.std((0, 2, 3), correction=0), torch.ones(4))
    torch.testing.assert_close(coder.decode(z), expected)
    kept = ImageCoder(8, width=8)
    kept.load_state_dict(coder.state_dict())
    assert torch.equal(kept.encode(x), z)  # the scale travels with the weights


def test_encoding_in_parts_is_encoding():
    coder, x = small(), torch.rand(7, 3, 8, 8)
    torch.testing.assert_close(coder.encode(x, chunk=3), coder.encode(x))


def test_the_loss_is_squared_error_and_a_little_kl():
    coder, x = small(weight=0.5), torch.rand(6, 3, 8, 8)
    torch.manual_seed(1)
    found = coder.loss(x)
    mu, logvar = coder.posterior(x)
    torch.manual_seed(1)
    z = mu + (logvar / 2).exp() * torch.randn_like(mu)
    mse = ((coder.decoder(z) - x) ** 2).mean()
    kl = gaussian_kl(mu.flatten(1), logvar.flatten(1)).mean()
    torch.testing.assert_close(found["mse"], mse)
    torch.testing.assert_close(found["kl"], kl)
    torch.testing.assert_close(found["loss"], mse + 0.5 * kl / (4 * 2 * 2))


def test_it_learns_to_give_back_what_it_saw_and_the_weight_holds_the_latent_small():
    x, sizes = blobs(64), []
    for weight in (0.0, 0.1):
        torch.manual_seed(2)
        coder = small(weight=weight)
        first = (coder.decode(coder.encode(x)) - x).square().mean().item()
        coder = fit(coder, lambda step: x, 100, lr=5e-3, progress=False).model
        last = (coder.decode(coder.encode(x)) - x).square().mean().item()
        assert last < (0.4 if weight == 0 else 0.9) * first
        sizes.append(coder.loss(x)["kl"].item())
    assert sizes[1] < 0.5 * sizes[0]


def test_what_does_not_fit_is_refused():
    coder = small()
    for z in (torch.randn(1, 4, 8, 8), torch.randn(1, 3, 2, 2), torch.randn(4, 2, 2)):
        with pytest.raises(ValueError, match=r"latents of shape \(B, 4, 2, 2\)"):
            coder.decode(z)
    with pytest.raises(ValueError, match="x of this ImageCoder"):
        coder.encode(torch.rand(1, 1, 8, 8))
    with pytest.raises(ValueError, match="between 0 and 1"):
        coder.encode(255 * torch.rand(1, 3, 8, 8))
    with pytest.raises(ValueError, match="multiple of 4"):
        ImageCoder(30)
    with pytest.raises(ValueError, match="weight"):
        ImageCoder(weight=-1)


def test_pixels_are_a_code_of_their_own():
    coder, x = Pixels(8), torch.rand(2, 3, 8, 8)
    z = coder.encode(x)
    assert (coder.latent, coder.side) == (3, 8)
    torch.testing.assert_close(z, 2 * x - 1)
    torch.testing.assert_close(coder.decode(z), x)
    assert coder.decode(10 * torch.ones(1, 3, 8, 8)).max() == 1
    with pytest.raises(ValueError, match="between 0 and 1"):
        coder.encode(2 * x)
