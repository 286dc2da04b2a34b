"""The references that the text cites, found by their authors and year.

    references = References("book/references.bib", near=page_text)
    references.find("as Kingma and Welling (2014) did")     # [(3, 28, Entry(…))]

A citation is surnames and a year: "Baldi & Hornik 1989", "Hu, Koren & Volinsky, 2008",
"van den Oord et al. (2016b)". Where several entries fit, the authors who are named and the letter
after the year decide, then what the page cites in full. What stays ambiguous is not found.
"""

import codecs
import re
from collections import defaultdict
from dataclasses import dataclass

import latexcodec  # noqa: F401  (makes the codec "ulatex" known)
from pybtex.database import parse_file

_YEAR = r"(?P<year{0}>(?:1[89]|20)\d\d)(?P<letter{0}>[a-c])?(?!\w)"


def plain(text):
    """BibTeX text as it is read: "Z{\\"o}llner" -> "Zöllner"."""
    text = codecs.decode(text.replace("``", "“").replace("''", "”"), "ulatex")
    return text.replace("{", "").replace("}", "").replace("--", "–")


@dataclass(frozen=True)
class Entry:
    """One reference. surnames: of its authors, "others" for those who are not listed."""

    key: str
    surnames: tuple
    authors: str
    year: str
    title: str
    venue: str
    address: str
    address_name: str

    @property
    def card(self):
        """Authors, title, where, and where to read it."""
        parts = (f"{self.authors} ({self.year})", self.title, self.venue, self.address_name)
        return " · ".join(filter(None, parts))


def _surname(person):
    return plain(" ".join([*person.prelast_names, *person.last_names]))


def _people(persons):
    names = [
        plain(" ".join([*p.first_names, *p.middle_names, *p.prelast_names, *p.last_names]))
        for p in persons
    ]
    if len(names) > 5:
        names = [*names[:3], "others"]
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


def _address(fields):
    """(URL, its name); the name is empty for a plain URL."""
    if "doi" in fields:
        doi = fields["doi"]
        return "https://doi.org/" + doi.replace("<", "%3C").replace(">", "%3E"), f"doi:{doi}"
    if "eprint" in fields:
        return f"https://arxiv.org/abs/{fields['eprint']}", f"arXiv:{fields['eprint']}"
    return fields.get("url", ""), ""


def _entry(key, entry):
    fields, persons = entry.fields, entry.persons["author"]
    wheres = ("journal", "booktitle", "howpublished", "publisher", "institution", "note")
    venue = next((fields[where] for where in wheres if where in fields), "")
    address, name = _address(fields)
    return Entry(
        key, tuple(map(_surname, persons)), _people(persons), fields["year"],
        plain(fields["title"]), plain(venue), address, name,
    )  # fmt: skip


def read(path):
    """Key -> Entry, in the order of the file."""
    entries = parse_file(str(path), bib_format="bibtex").entries
    return {key: _entry(key, entry) for key, entry in entries.items()}


class References:
    """Finds citations of `entries` (as `read` gives them) in texts.

    near: the text of the page, whose full citations decide what "van den Oord et al. 2016" means.
    """

    def __init__(self, entries, near=""):
        self.by_first = defaultdict(list)
        for entry in entries.values():
            self.by_first[entry.surnames[0]].append(entry)
        surnames = {name for e in entries.values() for name in e.surnames} - {"others"}
        first, name = self._any(self.by_first), self._any(surnames)
        self.pattern = re.compile(
            rf"(?<![\w-])(?P<first>{first})"
            rf"(?P<more>(?:,\s+(?:{name}))*(?:,?\s+(?:&|and)\s+(?:{name}))?|\s+et\s+al\.?)"
            rf"(?:\s+\({_YEAR.format(1)}\)|,?\s+{_YEAR.format(2)})"
        )
        self.name, self.near = re.compile(name), set()
        for found in self.pattern.finditer(near):
            if not self._shortened(found):
                self.near.update(self._fit(found))

    @staticmethod
    def _any(names):
        """A pattern for any of the names; spaces may be line ends."""
        longest_first = sorted(names, key=len, reverse=True)
        spaced = [re.escape(name).replace(r"\ ", r"\s+") for name in longest_first]
        return "|".join(spaced) or "(?!)"

    def find(self, text):
        """(start, end, Entry) for each citation in the text."""
        result = []
        for found in self.pattern.finditer(text):
            fits = self._fit(found)
            if len(fits) > 1:
                fits = [e for e in fits if e in self.near] or [
                    e for e in fits if not e.key[-1].isalpha()
                ]
            if len(fits) == 1:
                result.append((found.start(), found.end(), fits[0]))
        return result

    def _named(self, found):
        """The surnames that a citation names."""
        return [
            " ".join(name.split()) for name in [found["first"], *self.name.findall(found["more"])]
        ]

    @staticmethod
    def _shortened(found):
        """Whether a citation says "et al." """
        return bool(re.search(r"\set\s+al", found["more"]))

    def _fit(self, found):
        names = self._named(found)
        shortened = self._shortened(found)
        letter, result = found["letter1"] or found["letter2"], []
        for entry in self.by_first[names[0]]:
            if entry.year != (found["year1"] or found["year2"]):
                continue
            if letter and not entry.key.endswith(letter):
                continue
            if shortened and len(entry.surnames) < 3:
                continue
            if not shortened and list(entry.surnames) != names:
                continue
            result.append(entry)
        return result
