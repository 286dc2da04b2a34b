"""How a wrong result is related to the right one: only what holds in every case is said."""

import pytest
import torch

from genai_utils.checks import relations

g = torch.Generator().manual_seed(0)
EXPECTED = [torch.rand(n, d, generator=g, dtype=torch.float64) + 0.5 for n, d in ((3, 4), (5, 2))]


def pairs(change, cases=EXPECTED):
    return [(change(e), e) for e in cases]


@pytest.mark.parametrize("words", relations.FORMS)
def test_each_form_is_told_from_the_others(words):
    made = pairs(relations.FORMS[words])
    assert relations.form(made, 1e-4) == words
    assert relations.form([made[0], (made[1][0] + 1e-2, made[1][1])], 1e-4) == ""


def test_one_number_shows_no_form_and_no_offset():
    alike = [torch.full((2,), 0.25), torch.full((3,), 0.25)]
    assert relations.form(pairs(torch.sqrt, alike), 1e-4) == ""
    assert relations.offset(pairs(lambda e: e + 1, alike), 1e-4) is None


def test_an_offset_is_one_number_for_all_cases():
    assert relations.offset(pairs(lambda e: e - 2), 1e-4) == pytest.approx(-2)
    assert relations.offset(pairs(lambda e: e + len(e)), 1e-4) is None
    assert relations.offset(pairs(lambda e: e / 0), 1e-4) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: e.flip(1), "in reversed order along dimension 1"),
        (lambda e: e.roll(1, 0), "one place too late along dimension 0"),
        (lambda e: torch.cat([e[1:], 0 * e[:1]]), "one place too early along dimension 0"),
        (lambda e: e.roll(2, 0), ""),
        (lambda e: e + 1, ""),
    ],
)
def test_right_numbers_in_other_places(change, words):
    assert relations.moved(pairs(change), 1e-4) == words


def test_zeros_and_ones_do_not_show_that_they_were_moved():
    row = torch.tensor([0.0, 0, 0, 1])
    assert relations.moved([(0 * row, row)], 1e-4) == ""


def test_the_order_of_the_parts():
    x, y = EXPECTED
    assert relations.order([[y, x]], [[x, y]], 1e-4) == (2, 1)
    assert relations.order([[y, x, x + 1]], [[x + 1, y, x]], 1e-4) == (3, 1, 2)
    assert relations.order([[y, x], [x, y]], [[x, y], [x, y]], 1e-4) is None
    assert relations.order([[x]], [[y]], 1e-4) is None


def test_a_size_is_named_where_it_is_the_ratio_in_every_case():
    cases = [(e, 2.0) for e in EXPECTED]  # (3, 4), (5, 2)
    assert relations.size([3, 5], cases, ["x", "by"]) == ", the size of dimension 0 of x"
    assert (
        relations.size([1 / 4, 1 / 2], cases, ["x", "by"])
        == ", 1 over the size of dimension 1 of x"
    )
    assert relations.size([3, 4], cases, ["x", "by"]) == ""
    alike = [(torch.zeros(3, 2), 2.0), (torch.zeros(3, 4), 2.0)]
    assert relations.size([3, 3], alike, ["x", "by"]) == ""  # it may be any 3


def test_the_ratio_of_one_number_and_of_several():
    two = torch.tensor([1.0, 2.0])
    assert relations.ratio([3 * two], [two], 1e-4) == 3
    assert relations.ratio([two.flip(0)], [two], 1e-4) is None
    assert relations.ratio([torch.tensor(3.0)], [torch.tensor(2.0)], 1e-4) == 1.5
    assert relations.ratio([torch.tensor(3.0)], [torch.tensor(0.0)], 1e-4) is None


def test_where_the_first_wrong_number_stands():
    x = EXPECTED[0]
    wrong = x.clone()
    wrong[1, 2:] = float("nan")
    assert relations.first_wrong(wrong, x, 1e-4) == (
        "2 of 12 numbers are wrong, the first of them at [1, 2]"
    )
    assert relations.first_wrong(x, x, 1e-4) == relations.first_wrong(x + 1, x, 1e-4) == ""
