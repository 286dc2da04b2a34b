"""Questions about what a student's function returned: type, values, gradients, mistakes.

Each takes an answer whose trials have been run, and returns a verdict, or None: ask on.
"""

from __future__ import annotations

import time

import torch

from genai_utils.checks import relations
from genai_utils.checks.clues import (
    brief_text,
    in_words,
    shape_clue,
    text_of,
    unused_parameters,
)
from genai_utils.checks.compare import agree, factor
from genai_utils.checks.results import WrongType, brief, read
from genai_utils.checks.trials import Trial
from genai_utils.checks.verdict import ERROR, NOT_YET, Answer, Verdict

KINDS = {"b": "truth values (bool)", "i": "whole numbers", "f": "floating-point numbers"}
CURES = {
    "b": "A comparison gives them: x > 0, not (x > 0).float().",
    "i": "The functions that find places give them (argmax, arange); .long() makes them.",
    "f": "x.float() makes them, and so does a division.",
}


def kind_of_result(answer: Answer) -> Verdict | None:
    """Can the results be read as numbers, like those of the library?"""
    for trial in answer.trials:
        value = trial.outcome.value
        if value is None:
            sentence = "Your function returned None. Is its return missing?"
            if trial.outcome.printed.strip():
                sentence += " What it prints is seen and gone: return gives a result back."
            always = all(each.outcome.value is None for each in answer.trials)
            return answer.say(NOT_YET, sentence, None if always else trial)
        try:
            trial.yours = read(value, trial.expected)
        except WrongType as problem:
            return answer.say(NOT_YET, str(problem), trial)
    return None


def order_of_parts(answer: Answer) -> Verdict | None:
    """Are the parts of the result right, and in another order?"""
    if not answer.wrong() or answer.exercise.canonical is not None:
        return None
    found = relations.order(
        [trial.yours.tensors for trial in answer.trials],
        [trial.expected.tensors for trial in answer.trials],
        answer.rtol,
    )
    if found is None:
        return None
    sentence = "The two parts of your result are right, but exchanged."
    if len(found) > 2:
        places = ", ".join(map(str, found))
        sentence = f"The parts of your result are right, but their order should be {places}."
    return answer.say(NOT_YET, sentence, answer.smallest_wrong())


def kind_of_numbers(answer: Answer) -> Verdict | None:
    """Truth values, whole numbers or floats, as the library's: what comes after may need them."""
    for trial in answer.trials:
        pairs = zip(trial.yours.kinds, trial.expected.kinds, strict=False)
        for number, (yours, expected) in enumerate(pairs, start=1):
            if yours != expected and yours and expected:
                which = f"Tensor {number} of your result" if trial.yours.several else "Your result"
                sentence = f"{which} holds {KINDS[yours]}; {KINDS[expected]} are expected."
                return answer.say(NOT_YET, f"{sentence} {CURES[expected]}", trial)
    return None


def named_mistake(answer: Answer) -> Verdict | None:
    """Is it a mistake that the exercise knows, in every case?"""
    if not answer.wrong():
        return None
    for name, (_, sentence) in answer.exercise.mistakes.items():
        if all(
            name in t.mistakes and answer.equal(t.yours, t.mistakes[name]) for t in answer.trials
        ):
            return answer.say(NOT_YET, sentence, answer.smallest_wrong(), mistake=name)
    return None


def shape_and_finite(answer: Answer) -> Verdict | None:
    """Has it the right shape, and no NaN or infinity where a number is expected?"""
    for trial in answer.wrong():
        pairs = list(zip(trial.yours.tensors, trial.expected.tensors, strict=True))
        for number, (yours, expected) in enumerate(pairs, start=1):
            which = f"Tensor {number} of your result" if len(pairs) > 1 else "Your result"
            if yours.shape != expected.shape:
                sentence = (
                    f"{which} has shape {tuple(yours.shape)}; {tuple(expected.shape)} is expected."
                )
                more = shape_clue(yours, expected, answer.exercise.rtol)
                return answer.say(NOT_YET, sentence + more, trial)
            if torch.isinf(expected).any():
                more = int((torch.isinf(yours) & ~torch.isinf(expected)).sum())
                less = int((torch.isinf(expected) & ~torch.isinf(yours)).sum())
                if more or less:
                    sentence = (
                        f"{which} holds infinity in other places than is expected: in {more} where "
                        f"a number belongs, and {less} numbers stand where infinity belongs."
                    )
                    return answer.say(NOT_YET, sentence, trial)
            for bad, word in ((torch.isnan, "NaN (not a number)"), (torch.isinf, "infinity")):
                count = int((bad(yours) & ~bad(expected)).sum())
                if count:
                    return answer.say(
                        NOT_YET,
                        f"{which} holds {word} in {count} of {yours.numel()} places. Look for "
                        "a logarithm of zero, a division by zero, a root, power or logarithm of "
                        "a negative number, or an exponential that is too large or too small.",
                        trial,
                    )
    return None


def gradient(answer: Answer) -> Verdict | None:
    """Gradients must flow where the library's do; if the values are right, be equal too."""
    asked = answer.exercise.grad
    if not asked:
        return None
    right = not answer.wrong()
    end = time.monotonic() + answer.exercise.limit
    for trial in answer.trials:
        made = answer.gradients(trial.number, end - time.monotonic())
        if made.failure == "time":
            return answer.say(
                ERROR,
                f"It returns values, but was stopped after {answer.exercise.limit:g} seconds when "
                "gradients were asked for.",
                trial,
            )
        if made.failure:
            text = brief_text(text_of(made.error), 2)
            why = f"{type(made.error).__name__}: {text}"
            if "numpy() on" in text:  # torch advises .detach() here, which is the next mistake
                why = "NumPy keeps no gradients. Use the functions of torch."
            return answer.say(
                NOT_YET, f"It returns values, but fails when gradients are asked for: {why}", trial
            )
        rows = zip(answer.parameters, trial.gradients, made.value, strict=False)
        for place, (name, expected, yours) in enumerate(rows):
            if expected is None or not (asked is True or name in asked):
                continue
            if not expected.any() and (yours is None or torch.isfinite(yours).all()):
                continue  # where nothing flows, it need not flow
            slip = _slip(answer, trial, place, yours, expected) if right else None
            found = slip or _one_gradient(answer, trial, name, yours, expected, right)
            if found is not None:
                return found
    return None


def _slip(answer, trial, place, yours, expected) -> Verdict | None:
    """Is a wrong gradient that of a mistake that the exercise knows?"""
    rtol = max(answer.exercise.rtol, 1e-3)
    if yours is not None and agree(yours, expected, rtol):
        return None
    for name, gradients in trial.slips.items():
        other = gradients[place]
        alike = other is None if yours is None else other is not None and agree(yours, other, rtol)
        if alike and answer.equal(trial.mistakes[name], trial.expected):
            return answer.say(NOT_YET, answer.exercise.mistakes[name][1], trial, mistake=name)
    return None


def _one_gradient(answer, trial, name, yours, expected, right) -> Verdict | None:
    """The verdict on the gradient with respect to one argument; right: are all values right?"""
    if yours is None and name in unused_parameters(answer.own):
        return answer.say(NOT_YET, f"Your function never uses its argument {name}.", trial)
    if yours is None:
        values = "The values are right, but no" if right else "No"
        return answer.say(
            NOT_YET,
            f"{values} gradient flows back to {name}: something like .detach(), "
            ".item(), .numpy(), math.exp, torch.tensor(...) or torch.no_grad() cuts it off.",
            trial,
        )
    if not right or agree(yours, expected, max(answer.exercise.rtol, 1e-3)):
        return None
    sentence = (
        f"The values are right, but the gradient with respect to {name} is not: "
        "is a part of it detached, or rounded?"
    )
    count = int((~torch.isfinite(yours) & torch.isfinite(expected)).sum())
    if count:
        sentence = (
            f"The values are right, but the gradient with respect to {name} holds NaN or infinity "
            f"in {count} of {yours.numel()} places. Look for a square root, a logarithm or a "
            "division at zero, also on the side that torch.where does not take."
        )
    details = [("your gradient", brief(yours)), ("expected", brief(expected))]
    return answer.say(NOT_YET, sentence, Trial(trial.arguments, None, {}, None), details=details)


def constant_factor(answer: Answer) -> Verdict | None:
    """Is it the expected result times a number?"""
    if not answer.wrong() or answer.exercise.canonical is not None:
        return None
    which, parts, rest = _wrong_parts(answer)
    yours = [[t.yours.tensors[i] for i in parts] for t in answer.trials]
    expected = [[t.expected.tensors[i] for i in parts] for t in answer.trials]
    rtol = answer.exercise.rtol
    c = factor(sum(yours, []), sum(expected, []), rtol)
    if c is not None:
        if abs(c + 1) < 1e-3:
            sentence = f"Every number {'has' if not rest else f'of {which} has'} the wrong sign"
        else:
            sentence = f"{_capital(which)} is {in_words(c)} times the expected one, in every case"
        return answer.say(NOT_YET, f"{sentence}{rest}.", answer.smallest_wrong())
    each = [relations.ratio(*pair, rtol) for pair in zip(yours, expected, strict=True)]
    if any(c is None for c in each):
        return None
    size = relations.size(each, [t.arguments for t in answer.trials], answer.parameters)
    single = any(sum(e.numel() for e in pair) == 1 for pair in expected)
    if single and not size:
        return None  # one number is always the expected one times some number
    some = ", ".join(dict.fromkeys(in_words(c) for c in each[:4]))
    return answer.say(
        NOT_YET,
        f"{_capital(which)} is the expected one times a number that changes with the case "
        f"({some}{size}): do you divide by a size, or forget to?",
        answer.smallest_wrong(),
    )


def related(answer: Answer) -> Verdict | None:
    """Is every number a simple function of the expected one, or in another place?"""
    if not answer.wrong() or answer.exercise.canonical is not None:
        return None
    which, parts, rest = _wrong_parts(answer)
    if len(parts) > 1:
        return None
    pairs = [(t.yours.tensors[parts[0]], t.expected.tensors[parts[0]]) for t in answer.trials]
    rtol = answer.rtol
    sentence = ""
    if words := relations.form(pairs, rtol):
        sentence = f"Each number of {which} is {words}"
    elif c := relations.offset(pairs, rtol):
        size = f"{abs(c):.4g} too {'large' if c > 0 else 'small'}"
        sentence = f"Each number of {which} is {size}, in every case"
    elif words := relations.moved(pairs, rtol):
        sentence = f"The numbers of {which} are right, but stand {words}"
    return answer.say(NOT_YET, f"{sentence}{rest}.", answer.smallest_wrong()) if sentence else None


def differs(answer: Answer) -> Verdict | None:
    """The last word, where nothing else is known."""
    wrong = answer.wrong()
    if not wrong:
        return None
    which, parts, rest = _wrong_parts(answer)
    shown = answer.smallest_wrong()
    clues = []
    if len(parts) == 1 and answer.exercise.canonical is None:
        pair = shown.yours.tensors[parts[0]], shown.expected.tensors[parts[0]]
        if place := relations.first_wrong(*pair, answer.rtol):
            clues.append(f"In the case below {place}.")
    unused = unused_parameters(answer.own)
    if unused:
        clues.append(f"It never uses its argument {', '.join(unused)}.")
    if any(t.outcome.drew for t in answer.trials):
        clues.append(
            "It draws random numbers of its own, or sets a seed: what is random should come "
            "in through its arguments."
        )
    if len(wrong) < len(answer.trials):
        right = len(answer.trials) - len(wrong)
        clues.append(f"It is right in {right} of {len(answer.trials)} cases.")
    sentence = " ".join([f"{_capital(which)} differs from the expected one{rest}.", *clues])
    return answer.say(NOT_YET, sentence, shown)


def _wrong_parts(answer: Answer) -> tuple[str, list[int], str]:
    """Which tensors of a result are wrong: in words, by number, and what is said of the others."""
    count, rtol = len(answer.trials[0].expected.tensors), answer.rtol
    wrong = list(range(count))
    if count > 1 and answer.exercise.canonical is None:
        wrong = [
            i
            for i in wrong
            if not all(
                agree(t.yours.tensors[i], t.expected.tensors[i], rtol) for t in answer.trials
            )
        ]
    if len(wrong) == count:
        return "your result", wrong, ""
    right = [i for i in range(count) if i not in wrong]
    rest = f"; {_tensors(right)} {'are' if len(right) > 1 else 'is'} right"
    return f"{_tensors(wrong)} of your result", wrong, rest


def _tensors(places: list[int]) -> str:
    """ "tensor 1", "tensors 1 and 3": from 1, as everywhere in what is said."""
    return f"tensor{'s' if len(places) > 1 else ''} {' and '.join(str(i + 1) for i in places)}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
