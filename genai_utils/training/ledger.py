"""What was trained in this process: one entry for each finished `fit`.

    ledger.note("VAE", steps=11_672, flops=2.1e15, seconds=65.0, parameters=1_200_000)
    ledger.total()      # {"models": 1, "steps": 11672, "flops": 2.1e15, "seconds": 65.0}

`fit` notes; the run card and the estimate of `genai_utils.book.execute` read.
"""

_trainings: list[dict] = []


def note(title: str, steps: int, flops: float, seconds: float, parameters: int) -> None:
    """Add a finished training.

    steps, flops, seconds: of the whole run; flops are its floating-point operations, forward and
        backward. parameters: how many numbers were trained.
    """
    _trainings.append(
        {
            "title": str(title),
            "steps": int(steps),
            "flops": float(flops),
            "seconds": float(seconds),
            "parameters": int(parameters),
        }
    )


def trainings() -> list[dict]:
    """All that was noted, in order, as copies."""
    return [dict(training) for training in _trainings]


def total() -> dict:
    """The number of models trained, and the sums of their steps, FLOPs and seconds."""
    return {
        "models": len(_trainings),
        "steps": sum(training["steps"] for training in _trainings),
        "flops": sum(training["flops"] for training in _trainings),
        "seconds": round(sum(training["seconds"] for training in _trainings), 1),
    }


def forget() -> None:
    """Begin anew, as a notebook does when it starts."""
    _trainings.clear()
