"""Exercises of 13_scaling: mistakes named, wrong answers refused, right ones accepted."""

import math

import torch
import torch.nn.functional as F

from genai_utils.checks import register

SHELF = register.load("13_scaling")


def test_there_are_five_and_the_last_is_planted():
    assert list(SHELF) == [
        "gpt_parameters", "law_error", "compute_optimal", "answer_scores", "rms_norm",
    ]  # fmt: skip
    assert [name for name, one in SHELF.items() if one.planted] == ["rms_norm"]


# --- counting


def piece_by_piece(layers, dim, vocabulary, context, tied=True):
    block = dim * 3 * dim + 3 * dim + dim * dim + dim  # attention
    block += dim * 4 * dim + 4 * dim + 4 * dim * dim + dim  # MLP
    block += 2 * (dim + dim)  # norms
    return block * layers + 2 * dim + (context + vocabulary * (2 - tied)) * dim


def built(layers, dim, vocabulary, context, tied=True):
    if torch.is_tensor(layers):
        rows = zip(*(v.tolist() for v in (layers, dim, vocabulary, context)), strict=True)
        return torch.tensor([built(*row, tied) for row in rows])
    block = torch.nn.TransformerEncoderLayer(dim, 1, 4 * dim)
    parts = [*[block] * layers, torch.nn.LayerNorm(dim), torch.nn.Embedding(context, dim)]
    parts += [torch.nn.Embedding(vocabulary, dim)] * (1 if tied else 2)
    return sum(p.numel() for part in parts for p in part.parameters())


def in_one_line(layers, dim, vocabulary, context, tied=True):
    tables = vocabulary * (1 if tied else 2) + context
    return dim * (layers * (12 * dim + 13) + tables + 2)


def off(change):
    return lambda *a, **k: piece_by_piece(*a, **k) + change(*a)


# --- the law


def loop_error(parameters, N, D, loss, delta=1e-3):
    a, b, e, alpha, beta = parameters
    total = 0.0
    for n, d, y in zip(N, D, loss, strict=True):
        x = torch.logaddexp(torch.logaddexp(a - alpha * n.log(), b - beta * d.log()), e)
        r = (x - y.log()).abs()
        total = total + (0.5 * r**2 if r <= delta else delta * (r - 0.5 * delta))
    return total


def torchs_error(parameters, N, D, loss, delta=1e-3):
    a, b, e, alpha, beta = parameters
    rows = torch.stack([a - alpha * N.log(), b - beta * D.log(), e + 0 * N], 1)
    return F.huber_loss(rows.logsumexp(1), loss.log(), delta=delta, reduction="sum")


def clamped_error(parameters, N, D, loss, delta=1e-3):
    """Huber as ½ c² + δ (r - c), c the size cut at δ."""
    a, b, e, alpha, beta = parameters
    terms = torch.stack([a - alpha * N.log(), b - beta * D.log(), e.expand_as(N)])
    r = (torch.logsumexp(terms, 0) - torch.log(loss)).abs()
    c = r.clamp(max=delta)
    return (c * c / 2 + delta * (r - c)).sum()


def smooth(parameters, N, D, loss, delta=1e-3):
    r = torchs_residual(parameters, N, D, loss)
    return (delta**2 * ((1 + (r / delta) ** 2).sqrt() - 1)).sum()


def torchs_residual(parameters, N, D, loss):
    a, b, e, alpha, beta = parameters
    rows = torch.stack([a - alpha * N.log(), b - beta * D.log(), e + 0 * N], 1)
    return rows.logsumexp(1) - loss.log()


# --- the optimum


def logs(C, A, B, alpha, beta):
    work = torch.as_tensor(C, dtype=torch.float64) / 6
    log_n = (math.log(alpha * A / (beta * B)) + beta * work.log()) / (alpha + beta)
    N = log_n.exp()
    return (N, work / N) if torch.is_tensor(C) else (N.item(), (work / N).item())


def tokens_first(C, A, B, alpha, beta):
    C = C.double() if torch.is_tensor(C) else C
    D = (beta * B / (alpha * A)) ** (1 / (alpha + beta)) * (C / 6) ** (alpha / (alpha + beta))
    return C / 6 / D, D


def searched(C, A, B, alpha, beta):
    """Newton's method on the logarithm of the size."""
    c = (C.double() if torch.is_tensor(C) else torch.tensor(C, dtype=torch.float64)) / 6
    x = c.log() / 2
    for _ in range(200):
        one, two = alpha * A * (-alpha * x).exp(), beta * B * (beta * (x - c.log())).exp()
        x = x + (one.log() - two.log()) / (alpha + beta)
    N, D = x.exp(), c / x.exp()
    return (N, D) if torch.is_tensor(C) else (N.item(), D.item())


# --- scores


def loop_scores(predicted, answers):
    right, asked, whole = 0, 0, 0
    for said, truth in zip(predicted.tolist(), answers.tolist(), strict=True):
        pairs = [(s, t) for s, t in zip(said, truth, strict=True) if t != -100]
        right += sum(s == t for s, t in pairs)
        asked += len(pairs)
        whole += all(s == t for s, t in pairs)
    return torch.tensor(right / asked), torch.tensor(whole / len(answers))


def counted_scores(predicted, answers):
    wrong = (predicted != answers) & (answers >= 0)
    return 1 - wrong.sum() / (answers >= 0).sum(), (wrong.sum(1) == 0).float().mean()


def picked_scores(predicted, answers):
    asked = answers.ne(-100)
    tokens = (predicted[asked] == answers[asked]).float().mean()
    said = predicted.where(asked, answers)
    return tokens, (said == answers).float().prod(1).mean()


def row_mean(predicted, answers):
    """The mean of each answer's own share."""
    asked = answers != -100
    right = (predicted == answers) & asked
    return (right.sum(1) / asked.sum(1)).mean(), (right | ~asked).all(1).float().mean()


# --- norm


def slow_norm(x, gain, eps=1e-6):
    return gain * x / torch.sqrt((x**2).sum(-1, keepdim=True) / x.shape[-1] + eps)


RIGHT = [
    ("gpt_parameters", piece_by_piece),
    ("gpt_parameters", built),
    ("gpt_parameters", in_one_line),
    ("law_error", loop_error),
    ("law_error", torchs_error),
    ("law_error", clamped_error),
    ("compute_optimal", logs),
    ("compute_optimal", tokens_first),
    ("compute_optimal", searched),
    ("answer_scores", loop_scores),
    ("answer_scores", counted_scores),
    ("answer_scores", picked_scores),
    ("rms_norm", slow_norm),
    ("rms_norm", lambda x, gain, eps=1e-6: F.rms_norm(x, x.shape[-1:], gain, eps)),
    ("rms_norm", lambda x, gain, eps=1e-6: gain * (
        x / ((x * x).mean(x.ndim - 1, keepdim=True) + eps).sqrt())),
]  # fmt: skip

WRONG = [
    ("gpt_parameters", off(lambda layers, dim, *_: layers * dim)),
    ("gpt_parameters", off(lambda layers, dim, *_: -layers * 2 * dim)),
    ("gpt_parameters", off(lambda layers, dim, vocabulary, *_: -vocabulary * dim)),
    ("gpt_parameters", off(lambda layers, dim, vocabulary, *_: vocabulary)),
    ("gpt_parameters", off(lambda layers, dim, *_: -(layers - 1) * 12 * dim**2)),
    ("gpt_parameters", off(lambda layers, dim, *_: -dim)),
    ("gpt_parameters", lambda layers, dim, vocabulary, context, tied=True: (
        piece_by_piece(layers, dim, context, vocabulary, tied) + 1)),
    ("gpt_parameters", lambda layers, dim, vocabulary, context, tied=True: piece_by_piece(
        dim, layers, vocabulary, context, tied)),
    ("gpt_parameters", lambda layers, dim, vocabulary, context, tied=True: piece_by_piece(
        layers, dim, vocabulary, context, not tied)),
    ("law_error", smooth),
    ("law_error", lambda p, N, D, loss, delta=1e-3: torchs_error(p, D, N, loss, delta)),
    ("law_error", lambda p, N, D, loss, delta=1e-3: torchs_error(p, N, D, loss, delta) / delta),
    ("law_error", lambda p, N, D, loss, delta=1e-3: torchs_error(p, N, D, loss, 2 * delta)),
    ("law_error", lambda p, N, D, loss, delta=1e-3: 2 * torchs_error(p, N, D, loss, delta)),
    ("law_error", lambda p, N, D, loss, delta=1e-3: torchs_error(p.detach(), N, D, loss, delta)),
    ("law_error", lambda p, N, D, loss, delta=1e-3: torchs_residual(p, N, D, loss).sum()),
    ("law_error", lambda p, N, D, loss, delta=1e-3: F.smooth_l1_loss(
        torchs_residual(p, N, D, loss), 0 * N, beta=delta, reduction="sum")),
    ("law_error", lambda p, N, D, loss, delta=1e-3: torchs_error(p, N[:1], D[:1], loss[:1], delta)),
    ("compute_optimal", lambda C, A, B, alpha, beta: logs(C, B, A, alpha, beta)),
    ("compute_optimal", lambda C, A, B, alpha, beta: logs(C, A, B, beta, alpha)),
    ("compute_optimal", lambda C, A, B, alpha, beta: logs(6 * C, A, B, alpha, beta)),
    ("compute_optimal", lambda C, A, B, alpha, beta: logs(2 * C, A, B, alpha, beta)),
    ("compute_optimal", lambda C, A, B, alpha, beta: (
        logs(C, A, B, alpha, beta)[0], logs(C, A, B, alpha, beta)[1] * 6)),
    ("compute_optimal", lambda C, A, B, alpha, beta: (
        logs(C, A, B, alpha, beta)[0], logs(C, A, B, alpha, beta)[0] * 20)),
    ("compute_optimal", lambda C, A, B, alpha, beta: logs(C, A, B, alpha, beta)[0]),
    ("compute_optimal", lambda C, A, B, alpha, beta: ((C / 120) ** 0.5, 20 * (C / 120) ** 0.5)),
    ("compute_optimal", lambda C, A, B, alpha, beta: logs(C, A, B, alpha + 1, beta + 1)),
    ("answer_scores", row_mean),
    ("answer_scores", lambda said, truth: (
        loop_scores(said, truth)[0], row_mean(said, truth)[0])),
    ("answer_scores", lambda said, truth: loop_scores(said[:, 1:], truth[:, 1:])),
    ("answer_scores", lambda said, truth: loop_scores(said[:-1], truth[:-1])),
    ("answer_scores", lambda said, truth: (loop_scores(said, truth)[1],) * 2),
    ("answer_scores", lambda said, truth: tuple(100 * s for s in loop_scores(said, truth))),
    ("answer_scores", lambda said, truth: (
        loop_scores(said, truth)[0], (said == truth).all(0).float().mean())),
    ("answer_scores", lambda said, truth: (
        loop_scores(said, truth)[0], torch.tensor(float((said == truth).all())))),
    ("answer_scores", lambda said, truth: loop_scores(said, truth)[0]),
    ("rms_norm", lambda x, gain, eps=1e-6: x * x.square().mean(-1, keepdim=True).add(eps).rsqrt()),
    ("rms_norm", lambda x, gain, eps=1e-6: gain * x * x.square().mean(
        0, keepdim=True).add(eps).rsqrt()),
    ("rms_norm", lambda x, gain, eps=1e-6: gain * x * x.square().mean(
        2, keepdim=True).add(eps).rsqrt()),
    ("rms_norm", lambda x, gain, eps=1e-6: gain * x * x.square().mean(-1, keepdim=True).add(eps)),
    ("rms_norm", lambda x, gain, eps=1e-6: slow_norm(x, gain, eps).detach()),
    ("rms_norm", lambda x, gain, eps=1e-6: gain + slow_norm(x, 1 + 0 * gain, eps)),
]  # fmt: skip
