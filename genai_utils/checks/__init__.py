"""Exercises and their checks: the register, the verdicts, the progress. Knows no exercise itself.

register   what an exercise is; the files of `genai_utils.exercises` fill it
checking   what a notebook says: check, hint, solution, progress
diagnosis  how a verdict is reached, with trials, clues and compare
sandbox    what a student's function is kept from doing
records    what was solved, and report, what is handed in
stubs      from the library's function to the cell that a student fills in, and back
"""

from genai_utils.checks.register import Exercise, UnknownExercise, exercise

__all__ = ["Exercise", "UnknownExercise", "exercise"]
