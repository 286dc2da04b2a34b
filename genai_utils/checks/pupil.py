"""The process in which a submission's code runs. `graded` starts it; nobody imports it.

    python -I pupil.py SETTINGS        SETTINGS is JSON; jobs and replies are lines of JSON

It sees neither the answers nor the expected results: a job holds the student's statements, the
name of the function, and arguments. Before the first job
- it is seen that torch is the installed one, by its place and version;
- the package of the book is put away, so that `import genai_utils` fails;
- memory, processor time and the size of files are limited, where the platform can.

This is not a security boundary: code that wants to do harm can.
"""

import json
import os
import sys


def main() -> None:
    if len(sys.argv) != 2 or not sys.argv[1].startswith("{"):
        raise SystemExit("python -m genai_utils.checks.grade starts this process.")
    settings = json.loads(sys.argv[1])
    jobs = os.fdopen(os.dup(0), encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for stream, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY)):  # what the student's code would use
        os.dup2(os.open(os.devnull, mode), stream)
    sys.path[:] = settings["path"]

    import numpy  # noqa: F401
    import torch

    from genai_utils.checks import trying

    if torch.__version__ != settings["torch"][1] or not os.path.samefile(
        torch.__file__, settings["torch"][0]
    ):
        raise SystemExit(f"torch {torch.__version__} of {torch.__file__} is not the grader's")
    _put_away("genai_utils")
    hello = {"torch": torch.__version__, "limits": _limit(settings)}
    sys.argv[:] = ["notebook"]
    _reply(replies, hello)
    for line in jobs:
        _reply(replies, trying.tried(json.loads(line)))


def _reply(stream, content) -> None:
    stream.write(json.dumps(content) + "\n")
    stream.flush()


def _put_away(package: str) -> None:
    """From now on the package cannot be imported under its own name."""

    class Closed:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {name!r} in grading", name=name)

    sys.meta_path.insert(0, Closed())
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


def _limit(settings) -> list[str]:
    """Set the limits. Returns the names of those that hold."""
    try:
        import resource
    except ImportError:  # Windows
        return []
    wanted = {"file": (resource.RLIMIT_FSIZE, settings["file"])}
    wanted["processor"] = (resource.RLIMIT_CPU, settings["processor"])
    wanted["core"] = (resource.RLIMIT_CORE, 0)
    try:
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        wanted["memory"] = (resource.RLIMIT_AS, now + settings["memory"])
    except OSError:  # without it the size of today is unknown, which torch's own code makes large
        pass
    held = []
    for name, (kind, limit) in wanted.items():
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        try:
            resource.setrlimit(kind, (limit, limit))
        except (OSError, ValueError):
            continue
        held.append(name)
    return held


if __name__ == "__main__":
    main()
