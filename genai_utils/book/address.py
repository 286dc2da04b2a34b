"""Change the repository's address everywhere, in one command.

    python -m genai_utils.book.address https://github.com/OWNER/NAME

The address stands in `_config.yml`; the set-up cells, the README's links and the metadata follow
it. Outputs stay valid: a run card's digest leaves addresses out.
"""

import argparse
import re
import sys
from pathlib import Path

from genai_utils.book import chapters
from genai_utils.printing import say

_TEXT = {".md", ".yml", ".yaml", ".toml", ".cff", ".ipynb", ".py", ".bib", ".json"}
_NAMES = {"LICENSE-text", "LICENSE"}
_SKIP = {"_build", "venv", "node_modules", "__pycache__"}


def normal(url):
    """The address without a trailing slash or .git. Raises ValueError for any other form."""
    found = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?", url)
    if not found:
        raise ValueError(
            "The address is expected as https://github.com/OWNER/NAME, "
            f"because Colab opens notebooks from there; it is {url!r}."
        )
    return f"https://github.com/{found[1]}/{found[2]}"


def files(root):
    """The text files of the project that may name the address."""
    for path in sorted(Path(root).rglob("*")):
        parts = path.relative_to(root).parts
        hidden = any(part.startswith(".") for part in parts[:-1]) and parts[0] != ".github"
        if hidden or _SKIP & set(parts) or not path.is_file():
            continue
        if path.suffix in _TEXT or path.name in _NAMES:
            yield path


def change(root, new):
    """Replace the address below `root`. Returns the changed paths.

    Raises ValueError where `new` is no such address or `_config.yml` names none.
    """
    root, new = Path(root), normal(new)
    old = normal(chapters.address(root))
    if old == new:
        return []
    # A name may be the beginning of another: "book" of "book-draft".
    end = r"(?![\w-])"
    pairs = [
        (re.escape(old) + end, new),
        (
            re.escape("/github/" + old.removeprefix("https://github.com/")) + end,
            "/github/" + new.removeprefix("https://github.com/"),
        ),
    ]
    changed = []
    for path in files(root):
        before = path.read_bytes()
        text = after = before.decode("utf-8")
        for pattern, replacement in pairs:
            after = re.sub(pattern, replacement, after)
        if after != text:
            path.write_bytes(after.encode("utf-8"))
            changed.append(path)
    return changed


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m genai_utils.book.address", description=__doc__.splitlines()[0]
    )
    parser.add_argument("url", help="https://github.com/OWNER/NAME")
    parser.add_argument("--root", default=".", help="the folder that holds _config.yml")
    options = parser.parse_args(arguments)
    try:
        changed = change(options.root, options.url)
    except (ValueError, FileNotFoundError) as error:
        say(error, sys.stderr)
        return 1
    for path in changed:
        say(path)
    say(f"{len(changed)} files changed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
