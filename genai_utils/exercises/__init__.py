"""The exercises of the book, one file per notebook.

A file names the library functions that are the answers, arguments to try them on, the mistakes that
people make, and the hints; `genai_utils.checks.register` shows one.
"""
