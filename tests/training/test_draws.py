"""What several processes draw for their rows is, put together, what one draws for the batch."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genai_utils.training.draws import Draws, alike, counted, gathered

B, P = 12, 3
x = torch.rand(B, 5, generator=torch.Generator().manual_seed(0))
noise = torch.tensor([0.5, 0.2, 0.3])


def rows(r, n):
    """The first argument of a draw, for n of the B rows."""
    return x[r * n : (r + 1) * n]


def filled(name, *arguments):
    """x.normal_() and its like, of new numbers."""
    return lambda x: getattr(torch.empty_like(x), name)(*arguments)


DRAWS = {
    "rand": lambda x: torch.rand(len(x), 1),
    "rand, a tuple": lambda x: torch.rand((len(x), 40)),
    "randn, size=": lambda x: torch.randn(size=(len(x), 40), dtype=torch.float64),
    "randn, samples first": lambda x: torch.randn(2, len(x), 7),
    "randint, high": lambda x: torch.randint(9, (len(x),)),
    "randint, low and high": lambda x: torch.randint(3, 9, x.shape),
    "randint, size=": lambda x: torch.randint(9, size=(len(x), 7)),
    "randint, by keywords": lambda x: torch.randint(low=3, high=9, size=x.shape),
    "rand_like": torch.rand_like,
    "randn_like": torch.randn_like,
    "randint_like": lambda x: torch.randint_like(x, 9),
    "randn_like, channels last": lambda x: torch.randn_like(
        x[:, :, None, None].expand(-1, -1, 4, 4).contiguous(memory_format=torch.channels_last)
    ),
    "bernoulli": torch.bernoulli,
    "Tensor.bernoulli": lambda x: x.bernoulli(),
    "normal": lambda x: torch.normal(x, x + 1),
    "normal, by a shape": lambda x: torch.normal(0.0, 2.0, (len(x), 40)),
    "multinomial, of each row": lambda x: torch.multinomial(x, 3),
    "Tensor.multinomial": lambda x: x.multinomial(3),
    "multinomial, of all": lambda x: torch.multinomial(noise, 4 * len(x), True).view(len(x), 4),
    "multinomial, by keywords": lambda x: torch.multinomial(input=x, num_samples=2),
    "gumbel": lambda x: F.gumbel_softmax(x, hard=True),
    "normal_": filled("normal_"),
    "uniform_": filled("uniform_", 1, 2),
    "random_": filled("random_", 7),
    "exponential_": filled("exponential_"),
    "cauchy_": filled("cauchy_"),
    "geometric_": filled("geometric_", 0.3),
    "log_normal_": filled("log_normal_"),
    "bernoulli_": filled("bernoulli_", 0.3),
    "bernoulli_, a chance for each column": filled("bernoulli_", x[0]),
    "torch.dropout": lambda x: torch.dropout(x, 0.4, True),
    "dropout": lambda x: F.dropout(x, 0.4),
    "dropout, by keywords": lambda x: torch.dropout(input=x, p=0.4, train=True),
    "nn.Dropout": nn.Dropout(0.4),
    "nn.Dropout in place": lambda x: nn.Dropout(0.4, inplace=True)(x + 0),
    "nn.Dropout1d": lambda x: nn.Dropout1d(0.4)(x[:, :, None].expand(-1, -1, 3)),
    "nn.Dropout, evaluating": nn.Dropout(0.4).eval(),
    "Normal.rsample": lambda x: torch.distributions.Normal(x, 1.0).rsample(),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_rows_of_all_processes_are_the_draw_of_one(name):
    draw, parts = DRAWS[name], []
    torch.manual_seed(1)
    whole, after = draw(x), torch.rand(())
    for process in range(P):
        torch.manual_seed(1)
        with Draws(B // P, process, P):
            parts.append(draw(rows(process, B // P)))
        assert torch.equal(torch.rand(()), after)  # and the stream goes on as with one
        assert parts[-1].untyped_storage().nbytes() == parts[-1].nbytes  # not the others' rows
    assert torch.equal(torch.cat(parts, dim=1 if name == "randn, samples first" else 0), whole)


def test_other_draws_are_alike_and_as_they_were():
    """Numbers that belong to no row, and those of a generator that is given."""
    draws = (
        lambda: torch.rand(()), lambda: torch.randn(5, 7), lambda: torch.randint(9, (2,)),
        lambda: torch.multinomial(noise, 5, True), lambda: torch.empty(3).normal_(),
        lambda: x[:2, :4].multinomial(3),  # the axis of B/P numbers is that of the choices
        lambda: x[:2].multinomial(4),  # or their number
        lambda: torch.rand(4, generator=torch.Generator().manual_seed(2)),
    )  # fmt: skip
    for draw in draws:
        torch.manual_seed(1)
        alone = draw()
        for process in range(P):
            torch.manual_seed(1)
            with Draws(B // P, process, P):
                assert torch.equal(draw(), alone)


def test_alike_is_for_what_belongs_to_no_row():
    torch.manual_seed(1)
    alone = torch.rand(4)
    for process in range(P):
        torch.manual_seed(1)
        with Draws(4, process, P):
            with alike():
                assert torch.equal(torch.rand(4), alone)
            with Draws(2, 0, P):
                pass
            torch.manual_seed(1)
            assert torch.equal(torch.rand(4), alone) == (process == 0)


def test_gradients_pass_through_dropout():
    torch.manual_seed(1)
    y = x.clone().requires_grad_()
    F.dropout(y, 0.4).square().sum().backward()
    torch.manual_seed(1)
    part = rows(1, 4).clone().requires_grad_()
    with Draws(4, 1, P):
        F.dropout(part, 0.4).square().sum().backward()
    assert torch.equal(part.grad, y.grad[4:8])


def test_what_is_counted_is_the_mean_of_the_processes_and_one_at_least(monkeypatch):
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda x: x.mul_(P))  # all count alike
    with Draws(4, 0, P):
        assert counted(torch.tensor(7)).item() == pytest.approx(7)
        assert counted(torch.tensor(0)).item() == pytest.approx(1 / P)


def test_one_process_is_left_alone():
    with Draws(4, 0, P):
        pass
    assert gathered(x) is x
    assert [counted(torch.tensor(n)).item() for n in (0, 1, 7)] == [1, 1, 7]
