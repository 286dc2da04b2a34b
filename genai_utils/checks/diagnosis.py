"""Finds out what is wrong with a student's function, in the order that helps most.

Signature; still to do; changed its input; None, type; a named mistake; the order of its parts, the
kind of numbers, shape, NaN, gradient; a constant factor or another simple relation; and only then
"differs", with where it does. When all ordinary cases are right, each
clause of the docstring is asked in turn, and a breach gets the sentence of its clause. The
library's results and those of the known mistakes are computed before the student's function runs,
so that it cannot change them. The questions stand in `calling` (how the function is called) and
`answers` (what it returned); how a finding is worded stands in `verdict`.
"""

from __future__ import annotations

from dataclasses import replace

from genai_utils.checks import answers, calling
from genai_utils.checks.clues import unwrapped
from genai_utils.checks.trials import prepare
from genai_utils.checks.verdict import CORRECT, NOT_YET, TO_DO, Answer, Verdict

SEEDS = (11, 12, 13)
QUESTIONS = (
    calling.signature,
    calling.still_to_do,
    calling.run,
    calling.changed_input,
    answers.kind_of_result,
    answers.named_mistake,
    answers.order_of_parts,
    answers.kind_of_numbers,
    answers.shape_and_finite,
    answers.gradient,
    answers.constant_factor,
    answers.related,
    answers.differs,
)

# A function that is right in all ordinary cases makes none of the mistakes that have a name.
AT_AN_EDGE = tuple(question for question in QUESTIONS if question is not answers.named_mistake)


def diagnose(exercise, function, seeds=SEEDS) -> Verdict:
    """The verdict on a student's function. Raises only if the exercise itself is broken."""
    answer = Answer(exercise, function)
    if unwrapped(function) is exercise.reference:
        sentence = "This is the library's own function. Run your own cell first, then check it."
        return answer.say(TO_DO, sentence)
    answer.trials = prepare(exercise, seeds)
    return judged(answer)


def judged(answer: Answer) -> Verdict:
    """The verdict on an answer with its trials: on the ordinary ones, then clause by clause."""
    found = _asked(_part(answer, None))
    for name, clause in answer.exercise.clauses.items():
        if found.state != CORRECT:
            break
        part = _part(answer, name)
        breach = calling.promised_error(part) if clause.raises else _asked(part, AT_AN_EDGE)
        if breach is not None and breach.state != CORRECT:
            seen = ("what was seen", breach.sentence)
            return Verdict(NOT_YET, answer.name, clause.says, [*breach.details, seen], name)
    return found


def _part(answer: Answer, clause: str | None) -> Answer:
    """The answer with the trials of one clause, or with the ordinary ones."""
    return replace(answer, trials=[trial for trial in answer.trials if trial.clause == clause])


def _asked(answer: Answer, questions=QUESTIONS) -> Verdict:
    """The verdict of the first question that has one."""
    for question in questions:
        found = question(answer)
        if found is not None:
            return found
    notes = {trial.yours.note for trial in answer.trials if trial.yours.note}
    return answer.say(CORRECT, " ".join(["It agrees with the library in every case.", *notes]))
