"""Whatever a student writes gets a sentence about it; none of it is called a fault of the book."""

import asyncio
import collections
import contextlib
import datetime
import decimal
import functools
import sys
import types
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from genai_utils.checks import Exercise, checking
from genai_utils.checks.diagnosis import diagnose

from .toys import LARGEST, NORMS, PAIR, SCALED, SHIFT, VALUES, matrices, only, vectors

pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor"),
    pytest.mark.filterwarnings("ignore:the matrix subclass"),
]
COLUMNS = Exercise(lambda x: x.sum(0), cases=matrices, grad=True)


class Frame:
    """What a table of another library looks like from here."""

    shape = (3,)
    __array__ = None


class Touchy:
    """Fails whatever one asks of it."""

    def __getattribute__(self, name):
        raise KeyError(name)


class OwnTensor(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, arguments=(), settings=None):
        raise LookupError("not for you")


class Liar:
    __class__ = torch.Tensor


class Uncountable(tuple):
    def __len__(self):
        raise ValueError


class Kindless(np.ndarray):
    @property
    def dtype(self):
        raise ValueError


class Proxy:
    """Has whatever one asks for."""

    def __getattr__(self, name):
        return "row_norms"

    def __call__(self, x):
        return x.norm(dim=1)


class Number(float):
    def __repr__(self):
        raise ValueError

    __float__ = __repr__


class Mute(Exception):
    def __str__(self):
        raise ValueError


def ones_by_flag(shape):
    """Ones in a view whose sign is only a flag."""
    return torch.complex(torch.zeros(shape).double(), -torch.ones(shape).double()).conj().imag


def holds_itself():
    parts = []
    parts += [parts, parts, parts, parts]
    return parts


def of_a_transformation():
    """A tensor that lives only inside of torch.func.vmap."""
    kept = []
    torch.func.vmap(lambda row: kept.append(row) or row)(torch.ones(3, 2))
    return kept[0]


def fake():
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode() as mode:
        return mode.from_tensor(torch.ones(3))


async def coroutine():
    return 1


@contextlib.contextmanager
def manager():
    yield


def unsaid():
    made = coroutine()
    made.close()  # or Python warns that nobody waits for it
    return made


Pair = collections.namedtuple("Pair", "one two")
A_TENSOR = "a tensor of shape (3,) is expected"
# What a function of one matrix may return where a vector of its rows' lengths is asked for.
RESULTS = {
    "sparse": (lambda x: x.norm(dim=1).to_sparse(), f"a sparse tensor; {A_TENSOR}: call its .to_"),
    "sparse rows": (lambda x: x.to_sparse_csr(), f"a sparse tensor; {A_TENSOR}"),
    "sparse and vast": (
        lambda x: torch.sparse_coo_tensor(torch.zeros(2, 1).long(), [1.0], (10**6, 10**6)),
        "a sparse tensor",
    ),
    "quantized": (
        lambda x: torch.quantize_per_tensor(x.norm(dim=1), 0.1, 0, torch.quint8),
        f"a quantized tensor; {A_TENSOR}: call its .dequantize()",
    ),
    "nested": (
        lambda x: torch.nested.nested_tensor([row[:1] for row in x], layout=torch.jagged),
        "a nested tensor",
    ),
    "meta": (lambda x: torch.empty(3, device="meta"), "a meta tensor"),
    "complex": (lambda x: x.norm(dim=1) + 0j, f"a complex tensor; {A_TENSOR}"),
    "subclass": (lambda x: x.norm(dim=1).as_subclass(OwnTensor), "an unusual tensor"),
    "fake": (lambda x: fake(), f"a tensor; {A_TENSOR}: its numbers cannot be read"),
    "of vmap": (lambda x: of_a_transformation(), f"a tensor; {A_TENSOR}: its numbers"),
    "many dimensions": (lambda x: torch.zeros([1] * 70), f"70 dimensions; {A_TENSOR}"),
    "twenty dimensions": (lambda x: torch.zeros([2] * 19), "shape (2, 2"),
    "vast": (lambda x: torch.ones(()).expand(50_000, 50_000), "2,500,000,000 numbers, of shape"),
    "vast array": (lambda x: np.broadcast_to(1.0, (50_000, 50_000)), "2,500,000,000 numbers"),
    "empty": (lambda x: x[:0, 0], "has shape (0,); (3,) is expected."),
    "objects": (lambda x: np.array([x, None], dtype=object), "a NumPy array of objects"),
    "strings": (lambda x: np.array(["1", "2", "3"]), f"a NumPy array of strings; {A_TENSOR}."),
    "bytes": (lambda x: np.array([b"1"]), "a NumPy array of strings"),
    "dates": (lambda x: np.array(["2030-01-01"], "M8[D]"), "a NumPy array of dates"),
    "spans": (lambda x: np.array([1, 2, 3], "m8[s]"), "a NumPy array of time spans"),
    "complex array": (lambda x: np.ones(3) + 0j, "a NumPy array of complex numbers"),
    "records": (lambda x: np.zeros(3, "f4,i4"), "a NumPy array of records"),
    "masked": (lambda x: np.ma.masked_array(np.ones(3)), "a masked array"),
    "number": (lambda x: 1.5, f"one number (1.5); {A_TENSOR}"),
    "large integer": (lambda x: 10**30, "one number (1e+30)"),
    "vast integer": (lambda x: 10**5_000, "an int whose number is too large for a tensor"),
    "complex number": (lambda x: 1j, "a complex; a tensor of"),
    "NumPy's number": (lambda x: np.complex64(1), "a complex64"),
    "one span": (lambda x: np.timedelta64(3, "s"), f"a timedelta64; {A_TENSOR}."),
    "decimal": (lambda x: decimal.Decimal(3), "a Decimal"),
    "date": (lambda x: datetime.date(2030, 1, 1), "a date"),
    "own number": (lambda x: Number(3), f"a Number; {A_TENSOR}: its numbers cannot be read"),
    "long text": (lambda x: "x" * 10**7, "a str"),
    "half a sign": (lambda x: "\udc80", "a str"),
    "dict": (lambda x: {"norm": x}, "a dict"),
    "set": (lambda x: {1, 2}, "a set"),
    "list": (lambda x: x.norm(dim=1).tolist(), f"a list; {A_TENSOR}: torch.tensor(…) makes one"),
    "comma": (lambda x: (x.norm(dim=1),), f"a tuple; {A_TENSOR}: is there a comma behind"),
    "pair": (lambda x: Pair(x, x), "a Pair"),
    "max": (lambda x: x.max(1), "the tuple torch.return_types.max (values, indices); a tensor"),
    "svd": (lambda x: torch.linalg.svd(x), "the tuple torch.return_types.linalg_svd; a tensor"),
    "size": (lambda x: x.shape, "a torch.Size"),
    "holds itself": (lambda x: holds_itself(), "a list"),
    "generator": (lambda x: (row.norm() for row in x), "a generator"),
    "map": (lambda x: map(torch.norm, x), "a map"),
    "endless": (lambda x: iter(int, 1), "a callable_iterator"),
    "coroutine": (lambda x: unsaid(), f"a coroutine; {A_TENSOR}: is an await missing?"),
    "method": (lambda x: x.norm, f"a method; {A_TENSOR}: is a pair of parentheses missing"),
    "function": (lambda x: lambda: x, "a function"),
    "own method": (lambda x: Pair(x, x)._asdict, "a method"),
    "class": (lambda x: torch.Tensor, "a"),
    "module": (lambda x: torch, "a module"),
    "layer": (lambda x: torch.nn.Linear(2, 2), "a Linear"),
    "frame": (lambda x: Frame(), "a Frame"),
    "touchy": (lambda x: Touchy(), "a Touchy"),
    "liar": (lambda x: Liar(), "a Liar"),
    "uncountable": (lambda x: Uncountable([x, x]), f"an Uncountable; {A_TENSOR}."),
    "kindless": (lambda x: np.ones(3).view(Kindless), f"an object; {A_TENSOR}"),
    "mock": (lambda x: MagicMock(), "a MagicMock"),
    "not implemented": (lambda x: NotImplemented, "a NotImplementedType"),
    "error": (lambda x: ValueError("no"), "a ValueError"),
}


def named(function, name):
    function.__name__ = name
    return function


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    only(monkeypatch, toys=[NORMS, SHIFT, SCALED, PAIR, LARGEST])


def said(function, capsys) -> str:
    checking.check(function)
    out = capsys.readouterr().out
    assert "fault of the book" not in out and len(out) < 10_000, out
    return out


@pytest.mark.parametrize(("answer", "words"), RESULTS.values(), ids=RESULTS)
def test_results(answer, words, capsys):
    """Also where no gradient is asked for: the numbers alone are compared."""
    first = "✗ row_norms: not yet. You"
    out = said(named(lambda x: answer(x), "row_norms"), capsys)
    assert out.startswith(first) and words in out, out
    verdict = diagnose(VALUES, answer)
    assert verdict.state == "not yet" and words in verdict.sentence, verdict


@pytest.mark.parametrize(("answer", "words"), RESULTS.values(), ids=RESULTS)
def test_results_within_a_tuple(answer, words):
    verdict = diagnose(PAIR, lambda x: (x - x.mean(0), answer(x)))
    assert verdict.state == "not yet" and "of your result" in verdict.sentence, verdict


ACCEPTED = {
    "bfloat16": lambda x: (x * 0 + 1).bfloat16(),
    "float8": lambda x: (x * 0 + 1).to(torch.float8_e5m2),
    "a sign that is a flag": lambda x: ones_by_flag(x.shape),
    "parameter": lambda x: torch.nn.Parameter(x * 0 + 1),
    "inference": lambda x: torch.inference_mode()(torch.ones_like)(x),
    "view": lambda x: torch.ones(()).expand(x.shape),
    "other byte order": lambda x: np.ones(x.shape, ">f8"),
    "long double": lambda x: np.ones(x.shape, np.longdouble),
    "matrix": lambda x: np.asmatrix(np.ones(x.shape)),
    "read-only": lambda x: np.broadcast_to(1.0, x.shape),
}


@pytest.mark.parametrize("answer", ACCEPTED.values(), ids=ACCEPTED)
def test_unusual_results_that_are_right(answer):
    ones = Exercise(lambda x: torch.ones_like(x), cases=matrices)
    assert diagnose(ones, answer).state == "correct"
    twos = Exercise(lambda x: 2 * torch.ones_like(x), cases=matrices)
    assert (
        diagnose(twos, answer).sentence
        == "Your result is 1/2 times the expected one, in every case."
    )


def test_large_whole_numbers():
    factorial = Exercise(lambda x: torch.tensor(10.0**30), cases=vectors)
    assert diagnose(factorial, lambda x: 10**30).state == "correct"
    assert "10 times" in diagnose(factorial, lambda x: 10**31).sentence
    counts = Exercise(lambda x: torch.tensor(2**40), cases=vectors)
    assert diagnose(counts, lambda x: 2**40).state == "correct"
    assert diagnose(counts, lambda x: torch.tensor(2**40, dtype=torch.uint64)).state == "correct"
    assert diagnose(counts, lambda x: 2**40 + 1).state == "not yet"


def test_a_type_that_the_library_returns_itself_needs_no_note():
    plain = Exercise(lambda x: float(x.sum()), cases=matrices)
    assert diagnose(plain, lambda x: x.sum().item()).sentence.endswith("in every case.")


# --- functions ------------------------------------------------------------------------------------


class Norms:
    def row_norms(self, x):
        return x.norm(dim=1)

    @classmethod
    def shift(cls, x, by):
        return x + by


class Lazy:
    def shift(self, x, by):
        return x


class row_norms:
    def __init__(self, x):
        self.x = x


async def waits(x):
    return x


async def waits_and_yields(x):
    yield x


def yields(x):
    yield x.norm()


def keyword_only(x, *, by):
    return x + by


def required_name(x, *, dim):
    return x.norm(dim=dim)


def positional_only(x, by, /):
    return x + by


def all_by_name(**settings):
    return settings["x"]


def vast_default(x, by, more, table=list(range(10**4))):  # noqa: B006
    return x


def bare(x, by):
    return x * by


def traced(function):
    @functools.wraps(function)
    def inner(*arguments):
        return function(*arguments)

    return inner


def nameless(function):
    def inner(*arguments):
        return function(*arguments)

    return inner


def stub(x):
    """To be written."""
    ...


def around_itself(x):
    return x.norm(dim=1)


around_itself.__wrapped__ = around_itself


def odd_signature(x):
    return x.norm(dim=1)


odd_signature.__signature__ = "(x)"


def mute(x):
    raise Mute


def stops(x):
    raise StopIteration(3)


def group(x):
    raise BaseExceptionGroup("several", [ValueError("one"), KeyboardInterrupt()])  # noqa: F821


CORRECT, NOT_YET, TO_DO, ERROR = "✓ ", "✗ ", "○ ", "! "
FUNCTIONS = {
    "class": (row_norms, NOT_YET, "row_norms is a class; a function is expected: def row_norms(x)"),
    "static": (named(staticmethod(Norms().row_norms), "row_norms"), CORRECT, "agrees"),
    "method": (Norms().row_norms, CORRECT, "agrees"),
    "method unused": (Lazy().shift, NOT_YET, "It never uses its argument by."),
    "class method": (Norms.shift, CORRECT, "agrees"),
    "unbound": (Norms.row_norms, NOT_YET, "yours takes self first, as a method of a class does"),
    "async": (named(waits, "row_norms"), NOT_YET, "Begin it def row_norms(x)."),
    "async generator": (named(waits_and_yields, "row_norms"), NOT_YET, "contains yield"),
    "generator": (named(yields, "row_norms"), NOT_YET, "contains yield"),
    "keyword only": (
        named(keyword_only, "shift"),
        NOT_YET,
        "called as shift(x, by), without names; yours takes by only by name. Leave out the *",
    ),
    "required name": (
        named(required_name, "row_norms"),
        NOT_YET,
        "called as row_norms(x); yours takes (x, *, dim) instead",
    ),
    "positional only": (named(positional_only, "shift"), CORRECT, "agrees"),
    "all by name": (named(all_by_name, "shift"), NOT_YET, "yours takes (**settings) instead"),
    "vast default": (named(vast_default, "shift"), NOT_YET, "yours takes (x, by, more, table=[0"),
    "no default": (
        named(bare, "scaled"),
        NOT_YET,
        "It is also called as scaled(x), so by needs a default value: by=2.0.",
    ),
    "decorated": (traced(NORMS.mistakes["squared"][0]), ERROR, "called '<lambda>'"),
    "decorated stub": (named(traced(stub), "row_norms"), TO_DO, "Replace the ..."),
    "decorated library": (traced(NORMS.reference), TO_DO, "the library's own function"),
    "nameless decorator": (nameless(bare), ERROR, "called 'inner'"),
    "torch.no_grad": (
        named(torch.no_grad()(lambda x: x.norm(dim=1)), "row_norms"),
        NOT_YET,
        "no gradient flows back to x",
    ),
    "vmap": (named(torch.func.vmap(torch.linalg.vector_norm), "row_norms"), CORRECT, "agrees"),
    "cached": (
        functools.wraps(NORMS.mistakes["squared"][0])(functools.lru_cache(lambda x: x)),
        ERROR,
        "called '<lambda>'",
    ),
    "lambda": (lambda x: x, ERROR, "A lambda has no name: write your function with def."),
    "around itself": (named(around_itself, "row_norms"), CORRECT, "agrees"),
    "odd signature": (named(odd_signature, "row_norms"), CORRECT, "agrees"),
    "partial": (functools.partial(keyword_only, by=1), ERROR, "written with def"),
    "layer": (torch.nn.Linear(2, 2), ERROR, "got a Linear"),
    "built in": (len, ERROR, "is called 'len'"),
    "touchy": (Touchy(), ERROR, "got a Touchy"),
    "mock": (MagicMock(), ERROR, "got a MagicMock"),
    "mock with a name": (MagicMock(__name__="row_norms"), NOT_YET, "You returned a MagicMock"),
    "proxy": (Proxy(), CORRECT, "agrees"),
    "mute": (named(mute, "row_norms"), ERROR, "raised Mute."),
    "stop": (named(stops, "row_norms"), ERROR, "raised StopIteration: 3"),
    "bytes": (b"row_norms", ERROR, "got a bytes"),
    "simple": (types.SimpleNamespace(__name__=3), ERROR, "got a SimpleNamespace"),
    "running loop": (named(lambda x: asyncio.run(waits(x)).norm(dim=1), "row_norms"), CORRECT, ""),
}
if sys.version_info >= (3, 11):
    FUNCTIONS["group"] = (named(group, "row_norms"), ERROR, "raised BaseExceptionGroup: several")


@pytest.mark.parametrize(("answer", "symbol", "words"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions(answer, symbol, words, capsys):
    out = said(answer, capsys)
    assert out.startswith(symbol) and words in out, out


def test_a_decorator_that_keeps_no_name_is_told_so(capsys):
    assert "unless it uses functools.wraps" in said(nameless(bare), capsys)
    assert "functools.wraps" not in said(named(traced(bare), "scaled"), capsys)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: checking.check(), "called as check(function): missing a required argument"),
        (lambda: checking.check(1, 2), "called as check(function): too many positional"),
        (lambda: checking.hint(), "called as hint(function, n=None): missing"),
        (lambda: checking.hint("shift", number=1), "unexpected keyword argument 'number'"),
        (lambda: checking.hint("row_norms", 10**5_000), "numbered 1 to 2; got an int."),
        (lambda: checking.hint(Touchy()), "got a Touchy"),
        (lambda: checking.solution(), "called as solution(function): missing"),
        (lambda: checking.progress(1, "Ada", 2), "progress(export=None, name=''): too many"),
        (lambda: checking.progress("a\0b.json"), "could not be written"),
        (lambda: checking.progress("~nobody-of-that-name/r.json"), "could not be written"),
    ],
)
def test_calls(call, words, capsys):
    call()
    out = capsys.readouterr().out
    assert words in out and "fault of the book" not in out


# --- what it does on the way ----------------------------------------------------------------------

SPOILS = {
    "a row": lambda x: x[0].add_(1),
    "a view": lambda x: x.view(-1)[2:3].zero_(),
    "the transpose": lambda x: x.T.mul_(2),
    "as an array": lambda x: x.numpy().fill(3),
    "past autograd": lambda x: x.detach().add_(1),
    "its data": lambda x: setattr(x, "data", torch.zeros(1)),
    "its shape": lambda x: x.unsqueeze_(0),
    "one bit": lambda x: x.view(torch.int32)[0, 0].add_(1),
    "its storage": lambda x: x.untyped_storage().fill_(0),
    "to NaN": lambda x: x[-1].fill_(float("nan")),
    "to complex": lambda x: setattr(x, "data", x.data + 0j),
    "away": lambda x: x.resize_(0),
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_changes_of_the_input_through_views_are_seen(spoil):
    def answer(x):
        right = x.norm(dim=1)
        spoil(x)
        return right

    verdict = diagnose(VALUES, answer)
    assert "changed its argument x in place" in verdict.sentence, verdict


def test_a_list_that_is_made_to_hold_itself_was_changed():
    def answer(words):
        words[0] = words
        return torch.tensor(3)

    exercise = Exercise(lambda words: torch.tensor(3), cases=lambda seed: [(["a", "b"],)])
    assert "changed its argument words" in diagnose(exercise, answer).sentence


LEFT_BEHIND = {
    "device": lambda: torch.set_default_device("meta"),
    "warnings": lambda: __import__("warnings").simplefilter("error"),
    "NumPy's errors": lambda: np.seterr(all="raise"),
    "recursion": lambda: sys.setrecursionlimit(150),
    "dtype": lambda: torch.set_default_dtype(torch.float64),
}


@pytest.mark.parametrize("act", LEFT_BEHIND.values(), ids=LEFT_BEHIND)
def test_settings_of_the_student_do_not_reach_the_check(act, capsys):
    def row_norms(x):
        right = x.norm(dim=1)
        act()
        return right

    before = np.geterr(), sys.getrecursionlimit(), torch.get_default_device()
    assert said(row_norms, capsys).startswith(CORRECT)
    assert (np.geterr(), sys.getrecursionlimit(), torch.get_default_device()) == before
    assert torch.get_default_dtype() is torch.float32
    assert torch.ones(1).device.type == "cpu"


# --- NaN, nothing and gradients -------------------------------------------------------------------


def test_nan_is_right_where_the_library_has_it_and_wrong_elsewhere():
    some = Exercise(lambda x: x.sqrt(), cases=matrices)  # NaN at each negative number
    assert diagnose(some, lambda x: x**0.5).state == "correct"
    assert diagnose(some, lambda x: x.abs().sqrt()).state == "not yet"
    assert "NaN" in diagnose(some, lambda x: (x - 1).sqrt()).sentence
    assert diagnose(some, lambda x: -x.sqrt()).state == "not yet"
    ends = Exercise(lambda x: x.sign() / 0, cases=matrices)
    assert diagnose(ends, lambda x: x / 0).state == "correct"
    assert diagnose(ends, lambda x: -x / 0).state == "not yet"


def test_results_without_numbers():
    none = Exercise(lambda x: x[:, :0], cases=matrices)
    assert diagnose(none, lambda x: x[:, :0] * 2).state == "correct"
    sentence = diagnose(none, lambda x: x.T[:0]).sentence
    assert sentence == "Your result has shape (0, 3); (3, 0) is expected."  # no word on numbers
    assert "(3, 5); (3, 0) is" in diagnose(none, lambda x: x).sentence
    assert "(0,); (3, 0) is" in diagnose(none, lambda x: x[:0, 0]).sentence


def test_gradients_that_are_not_a_number():
    def safe(x):
        """Square roots of what is positive, else 0."""
        return torch.where(x > 0, x.clamp(min=1e-30).sqrt(), 0 * x)

    exercise = Exercise(safe, cases=matrices, grad=True)
    sentence = diagnose(exercise, lambda x: torch.where(x > 0, x.sqrt(), 0 * x)).sentence
    assert "with respect to x holds NaN or infinity in" in sentence


def test_a_leaf_of_the_students_own():
    def own_leaf(x):
        weight = torch.ones(3, requires_grad=True)
        return x.detach().norm(dim=1) * weight.sum() / 3

    def refuses(x):
        x.requires_grad_(False)
        return x.norm(dim=1) * torch.ones(1, requires_grad=True)

    for answer in (own_leaf, refuses):
        assert "no gradient flows back to x" in diagnose(NORMS, answer).sentence
    assert diagnose(VALUES, own_leaf).state == "correct"
    frozen = diagnose(VALUES, lambda x: x.norm(dim=1).requires_grad_())
    assert frozen.state == "correct"
    copied = diagnose(NORMS, lambda x: x.clone().detach().requires_grad_().norm(dim=1))
    assert "no gradient flows back to x" in copied.sentence


def test_a_gradient_that_never_comes():
    class Slow(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.norm(dim=1)

        @staticmethod
        def backward(context, gradient):
            while True:
                pass

    def asks(x):
        while x.requires_grad:
            pass
        return x.norm(dim=1)

    hurried = Exercise(**{**vars(NORMS), "limit": 0.3})
    for answer in (asks, lambda x: Slow.apply(x)):
        verdict = diagnose(hurried, answer)
        assert verdict.state == "error", verdict
        assert "stopped after 0.3 seconds when gradients were asked for" in verdict.sentence


def test_gradients_of_views_and_whole_results():
    assert diagnose(COLUMNS, lambda x: x.T.sum(1)).state == "correct"
    assert "no gradient" in diagnose(COLUMNS, lambda x: x.sum(0).round(decimals=9).data).sentence
