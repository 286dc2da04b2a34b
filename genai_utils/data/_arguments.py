"""Checks of what a reader hands to a loader: one sentence each, before anything is read."""

import operator


def positive_int(name, value, most=None):
    """`value` as an int >= 1 (and <= most); TypeError or ValueError that says what came."""
    limit = "" if most is None else f" and at most {most:,}"
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number of at least 1{limit}, not {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} must be a whole number of at least 1{limit}, not {value!r}"
        ) from None
    if number < 1 or (most is not None and number > most):
        raise ValueError(f"{name} must be at least 1{limit}, not {value!r}")
    return number


def seed_int(value):
    """`value` as a seed >= 0."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"seed must be a whole number of at least 0, not {value!r}")
    if operator.index(value) < 0:
        raise ValueError(f"seed must be at least 0, not {value!r}")
    return operator.index(value)


def one_of(name, value, choices):
    """`value` if it is among `choices`; ValueError that lists them otherwise."""
    choices = list(choices)
    # type and all, so that True is not taken for 1 nor 28.0 for 28
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ValueError(f"{name} must be one of {choices}, not {value!r}")
    return value
