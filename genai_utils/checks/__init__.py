"""Exercises and their checks: the register, the verdicts, the progress. Knows no exercise itself.

register   what an exercise is; the files of `genai_utils.exercises` fill it
checking   what a notebook says: check, hint, solution, progress
diagnosis  the order of the questions that lead to a verdict: calling (how it is called, what it
           does) and answers (what it returned); with trials, results, compare and clues
verdict    what a check found, and how that is worded
sandbox    what a student's function is kept from doing
predicting predict and reveal, of what the chapters declare (predictions)
experimenting  experiment and hand_in, of what the chapters declare (experiments)
records    what was solved, predicted and handed in, and report, what is handed in
stubs      from the library's function to the cell that a student fills in, and back

For a course, with commands of their own:
assign     the notebooks of an assignment (tasks: what chapters set; exports: nbgrader, otter)
grade      the submissions of a class (handed_in: what of a notebook is run; gradebook: the pages)
graded     one submission judged; it runs in a process of its own (process, pupil, trying, wire)
"""

from genai_utils.checks.register import Clause, Exercise, UnknownExercise, exercise

__all__ = ["Clause", "Exercise", "UnknownExercise", "exercise"]
