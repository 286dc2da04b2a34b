"""The whole suite runs in the ci profile: bundled data, no network, no accelerator.

This stands at the root so that it also holds for `pytest notebooks/24_vae.ipynb`, whose cells run
in kernels that inherit this environment.
"""

import os
import tempfile

import genai_utils  # noqa: F401  (before torch: it says how OpenMP waits, to the kernels as well)

# Tests compare numbers: they run on the CPU even where a card is at hand. Those for a card ask for
# it: `GENAI_TEST_CARD=0 pytest -k cuda`.
os.environ["GENAI_PROFILE"] = "ci"
os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("GENAI_TEST_CARD", "")
os.environ["MPLBACKEND"] = "Agg"
# Progress in the exercises is kept in the home of whoever solves them; a test run is nobody's.
os.environ["GENAI_PROGRESS"] = tempfile.mkdtemp(prefix="genai-progress-")
os.environ.pop("GENAI_PUBLISH", None)
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores already; threads of their own would only fight over them. To see
    # whether a number depends on how many there are: `GENAI_TEST_THREADS=2 pytest`.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = os.environ.get("GENAI_TEST_THREADS", "1")
