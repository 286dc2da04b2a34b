"""Exercises and their checks: the register, the verdicts, the progress. Knows no exercise itself.

register   what an exercise is; the files of `genai_utils.exercises` fill it
checking   what a notebook says: check, hint, solution, progress
diagnosis  the order of the questions that lead to a verdict: calling (how it is called, what it
           does) and answers (what it returned); with trials, results, compare and clues
verdict    what a check found, and how that is worded
sandbox    what a student's function is kept from doing
records    what was solved, and report, what is handed in
stubs      from the library's function to the cell that a student fills in, and back
"""

from genai_utils.checks.register import Clause, Exercise, UnknownExercise, exercise

__all__ = ["Clause", "Exercise", "UnknownExercise", "exercise"]
