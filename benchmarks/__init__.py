"""Our code against its peers. See README.md; run a script, or `python -m benchmarks.NAME`."""
