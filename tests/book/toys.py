"""Notebooks of a few cells that need no torch."""

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

# A session without torch, so that a notebook that is about something else is quick.
QUICK = """\
import json, os, sys, types
session = types.ModuleType("genai_utils.run")
card = {"profile": os.environ["GENAI_PROFILE"], "device": "CPU", "seconds": 1.0}
card |= {"peak_memory_gb": 1.0, "training": {"models": 0}}
session.report = lambda: json.dumps(card)
sys.modules["genai_utils.run"] = session"""


def notebook(*sources):
    cells = [new_markdown_cell("# A notebook"), *map(new_code_cell, sources)]
    return new_notebook(cells=cells, metadata={"widgets": {"state": {}}})
