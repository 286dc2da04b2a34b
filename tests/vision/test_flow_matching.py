"""Rectified flow: lines, solvers, the velocity of known data, the one-step student."""

import pytest
import torch

from genai_utils.training import fit
from genai_utils.vision.flow_matching import (
    OneStep,
    RectifiedFlow,
    euler,
    heun,
    pairs,
    straight,
    wander,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def small(**options):
    return RectifiedFlow(8, width=8, mults=(1, 2), **options)


def test_a_line_goes_from_data_to_noise_at_one_velocity():
    x, eps = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    u = torch.tensor([0.0, 0.25, 1.0])
    place, v = straight(x, u, eps)
    assert torch.equal(place[0], x[0]) and torch.equal(place[2], eps[2])
    assert torch.allclose(place[1], 0.75 * x[1] + 0.25 * eps[1])
    later, _ = straight(x, u + 0.01, eps)
    assert torch.allclose((later - place) / 0.01, v, atol=1e-3)


def exact(m, s):
    """The best velocity for data N(m, s² I): E[ε - x | x_u], both normal."""

    def velocity(x, u):
        u = u[:, None]
        v = (1 - u) ** 2 * s**2 + u**2
        gap = x - (1 - u) * m
        return u / v * gap - m - (1 - u) * s**2 / v * gap

    return velocity


@pytest.mark.parametrize("solver, order", [(euler, 1), (heun, 2)])
def test_solvers_find_where_the_flow_ends_with_their_order(solver, order):
    m, s = 0.5, 0.4
    x = torch.randn(500, 1).double()
    end = m + s * x  # the flow between two normals is the line between equal quantiles
    errors = [(solver(exact(m, s), x, n) - end).abs().max().item() for n in (32, 64, 128)]
    assert errors[0] < 0.1
    for a, b in zip(errors, errors[1:], strict=False):
        assert a / b == pytest.approx(2**order, rel=0.25)


def test_fresh_noise_leaves_the_distribution_where_the_velocity_is_exact():
    m, s, x = 0.5, 0.4, torch.randn(20_000, 1)
    assert torch.allclose(wander(exact(m, s), x, 9, churn=0), euler(exact(m, s), x, 9), atol=1e-6)
    for churn in (2.0, 20.0):
        g = torch.Generator().manual_seed(1)
        end = wander(exact(m, s), x, 1_000, churn, g)
        assert end.mean().item() == pytest.approx(m, abs=0.015)
        assert end.std().item() == pytest.approx(s, abs=0.015)
        kept = torch.corrcoef(torch.cat([x, end], 1).T)[0, 1].item()
        assert kept < 0.8  # by `euler` the noise at the start decides: 1
        again = wander(exact(m, s), x, 1_000, churn, g.manual_seed(1))
        assert torch.equal(end, again)
    with pytest.raises(ValueError, match="churn"):
        wander(exact(m, s), x, 3, churn=-1)


def test_solvers_refuse_no_steps():
    for solver in (euler, heun, wander):
        with pytest.raises(ValueError, match="steps"):
            solver(exact(0, 1), torch.randn(3, 1), 0)


def test_training_lowers_the_loss_and_samples_are_images():
    model = small(classes=4)
    y = torch.arange(64) % 4
    x = torch.rand(4, 1, 8, 8).round()[y]
    fitted = fit(model, lambda step: (x, y), 60, lr=3e-3, progress=False)
    assert fitted.history["loss"][-1] < 0.7 * fitted.history["loss"][0]
    g = torch.Generator
    images = model.sample(5, y=1, generator=g().manual_seed(1), steps=4)
    assert images.shape == (5, 1, 8, 8) and images.min() >= 0 and images.max() <= 1
    assert torch.equal(images, model.sample(5, y=1, generator=g().manual_seed(1), steps=4))
    pushed = model.sample(5, y=1, generator=g().manual_seed(1), steps=4, guidance=2.0)
    assert not torch.equal(pushed, images)
    with pytest.raises(ValueError, match="without classes"):
        small().sample(2, guidance=1.0)
    with pytest.raises(ValueError, match="guidance"):
        model.sample(2, guidance=-1.0)


def test_the_network_is_told_thousandths_and_asked_for_the_class_and_for_none():
    model, calls = small(classes=3), []
    model.net.forward = lambda x, t, y=None: (
        calls.append(t)
        or (torch.zeros_like(x) if y is None else y.to(x)[:, None, None, None].expand_as(x))
    )
    x, u, y = torch.randn(2, 1, 8, 8), torch.tensor([0.25, 1.0]), torch.tensor([0, 2])
    assert model.velocity(x, u, y)[:, 0, 0, 0].tolist() == [0, 2]
    assert model.velocity(x, u, y, guidance=2.0)[:, 0, 0, 0].tolist() == [-6, 0]
    assert calls[0].tolist() == [250, 1_000] and calls[1].tolist() == [250, 1_000] * 2
    model.loss((torch.rand(300, 1, 8, 8), torch.arange(300) % 3))
    assert calls[2].min() < 50 and 950 < calls[2].max() <= 1_000


def test_the_student_learns_where_the_teacher_ends():
    teacher = small()
    x = torch.rand(64, 1, 8, 8).round()
    fit(teacher, lambda step: x, 80, lr=3e-3, progress=False)
    noise, ends = pairs(teacher, 64, 8, torch.Generator().manual_seed(3))
    assert noise.shape == ends.shape == x.shape
    again, _ = pairs(teacher, 64, 8, torch.Generator().manual_seed(3), chunk=10)
    assert torch.equal(again, noise)
    student = OneStep(teacher)

    def error():
        walked = (student.walk(noise, 1) + 1) / 2
        return (walked - ends).square().mean().item()

    before = error()
    weights = [p.clone() for p in teacher.parameters()]
    fit(student, lambda step: (noise, ends), 150, lr=3e-3, progress=False)
    assert error() < 0.5 * before
    assert all(torch.equal(a, b) for a, b in zip(weights, teacher.parameters(), strict=True))
    assert student.sample(3).shape == (3, 1, 8, 8)
    with pytest.raises(ValueError, match="a pair"):
        student.loss(noise)
    with pytest.raises(ValueError, match="pixels"):
        student.check_batch((noise, noise))


def test_a_student_of_a_teacher_that_knows_classes():
    teacher = small(classes=2)
    x, y = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 1, 8, 8), torch.tensor([0, 1])
    x, y = x.repeat(16, 1, 1, 1), y.repeat(16)
    fit(teacher, lambda step: (x, y), 60, lr=3e-3, progress=False)
    noise, ends, kinds = pairs(teacher, 64, 6, torch.Generator().manual_seed(3))
    assert noise.shape == ends.shape == (64, 1, 8, 8) and 20 < kinds.sum() < 44
    apart = ends[kinds == 1].mean() - ends[kinds == 0].mean()
    assert apart > 0.5  # a walk goes where its class says
    student = OneStep(teacher)
    fit(student, lambda step: (noise, ends, kinds), 60, lr=3e-3, progress=False)
    g = torch.Generator().manual_seed(4)
    black, white = (student.sample(16, kind, generator=g).mean() for kind in (0, 1))
    assert white - black > 0.4
    with pytest.raises(ValueError, match="noise, image, class"):
        student.loss((noise, ends))
