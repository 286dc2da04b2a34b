"""In an estimate networks look at a few rows, and answer with as many as they were given."""

import pytest
import torch
from torch import nn

from genai_utils.book import rehearsal
from genai_utils.book.rehearsal import ROWS
from genai_utils.language.experts import choices, moe_gpt
from genai_utils.language.gpt import GPTConfig

MANY = 3 * ROWS + 5


@pytest.fixture(autouse=True)
def rehearsing():
    rehearsal.begin()
    yield
    rehearsal.end()


class Net(nn.Module):
    """Notes how many rows it and its layer see."""

    def __init__(self, answer=lambda y, t: y):
        super().__init__()
        self.layer, self.answer, self.seen = nn.Linear(4, 3), answer, []
        self.layer.register_forward_hook(lambda layer, x, y: self.seen.append(len(y)))

    def forward(self, x, t=None):
        self.seen.append(len(x))
        return self.answer(self.layer(x), t)


def test_without_gradients_a_few_rows_stand_for_all():
    net, x = Net(), torch.randn(MANY, 4)
    with torch.no_grad():
        y = net(x)
    assert net.seen == [ROWS, ROWS] and y.shape == (MANY, 3)
    whole = net.layer(x)  # with gradients: of all rows
    assert torch.equal(y[:ROWS], whole[:ROWS]) and torch.equal(y[ROWS], whole[0])
    assert net(x).shape == (MANY, 3) and net.seen[2:] == [MANY, MANY, MANY]


def test_within_a_network_that_was_given_few_rows_layers_see_all_of_theirs():
    class Placed(nn.Module):
        """A table with a row for each place of the sequence, as of a GPT."""

        def __init__(self):
            super().__init__()
            self.token, self.place = nn.Embedding(5, 3), nn.Embedding(MANY, 3)

        def forward(self, ids):  # (1, T) -> (1, T, 3)
            return self.token(ids) + self.place(torch.arange(ids.shape[1]))

    net, ids = Placed(), torch.arange(MANY)[None] % 5
    with torch.no_grad():
        expected = net.token.weight[ids] + net.place.weight[:MANY]
        assert torch.equal(net(ids), expected)
        assert len(net.place(torch.arange(MANY)).unique(dim=0)) == ROWS  # and after it as before


def test_each_argument_with_these_rows_is_cut_and_each_answer_is_filled_up():
    net = Net(lambda y, t: {"both": (y + t["time"][:, None], t["time"]), "rows": t["one"] + y})
    x, t = torch.randn(MANY, 4), {"time": torch.arange(MANY), "one": torch.ones(1, 3)}
    with torch.no_grad():
        answer = net(x, t=t)
    assert answer["both"][0].shape == answer["rows"].shape == (MANY, 3)
    assert answer["both"][1].tolist() == [i % ROWS for i in range(MANY)]


@pytest.mark.parametrize(
    "answer",
    [
        lambda y, t: y.sum(),  # no rows
        lambda y, t: (y, len(y)),  # not a tensor
        lambda y, t: y + t[:, None],  # t is not cut: the few do not fit
    ],
)
def test_a_network_that_needs_all_rows_gets_them_and_its_layers_few(answer):
    net, t = Net(), torch.randn(MANY)
    net.answer = lambda y, _: answer(y, t)
    with torch.no_grad():
        found = net(torch.randn(MANY, 4))
    assert net.seen == [ROWS, ROWS, MANY, ROWS]
    assert not isinstance(found, torch.Tensor) or found.shape in ((), (MANY, 3))


def test_a_layer_that_keeps_what_it_saw_gets_all_rows():
    """The answer alone does not tell: chapter 18 asks afterwards where each token went."""

    class Keeping(nn.Linear):
        seen = None

        def forward(self, x):
            self.seen = super().forward(x)
            return self.seen

    net, x = Net(), torch.randn(MANY, 4)
    net.layer = Keeping(4, 3)
    other = nn.Sequential(nn.Linear(4, 4), net)
    with torch.no_grad():
        for _ in range(2):  # also where something is kept already
            assert torch.equal(other(x), net.layer.seen) and len(net.layer.seen) == MANY
    ids = torch.zeros(MANY, 4, dtype=torch.long)
    mixture = moe_gpt(GPTConfig(5, 4, layers=1, heads=1, dim=4), experts=2)
    assert choices(mixture, ids).shape == (1, MANY, 4, 1)
    # A cache is filled by the few: to ask again would add the same tokens twice.
    with torch.no_grad():
        assert mixture.generate(ids[:, :2], 2).shape == (MANY, 4)


def test_inside_of_a_network_that_sees_few_rows_nothing_is_cut_again():
    class Twice(Net):
        def forward(self, x):
            return self.layer(x.repeat(2, 1)).view(2, -1, 3).sum(0)

    net, x = Twice(), torch.randn(MANY, 4)
    with torch.no_grad():
        y = net(x)
    assert net.seen == [2 * ROWS] and torch.allclose(y[:ROWS], 2 * net.layer(x[:ROWS]))


def test_errors_are_those_of_the_network():
    net = Net()
    with torch.no_grad(), pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        net(torch.randn(MANY, 7))
    with torch.no_grad():  # and afterwards it cuts as before
        assert net(torch.randn(MANY, 4)).shape == (MANY, 3) and net.seen[-1] == ROWS


def test_few_rows_are_left_and_it_ends():
    net = Net()
    with torch.no_grad():
        net(torch.randn(ROWS, 4))
        rehearsal.begin()  # once more makes no difference
        rehearsal.end()
        assert net(torch.randn(MANY, 4)).shape == (MANY, 3)
    assert net.seen == [ROWS, ROWS, MANY, MANY]
