"""A world of facts in sentences: who lives where, works as what, plays, owns and likes what.

A person has a town, a trade, an instrument, a pet and a dish. A sentence tells one of them in one
of three wordings, a question asks for it in one of three others, so that the two may share no word
but the name. Symbols: P people, R relations, m values of each.

Source: after Lewis et al. 2020 and Petroni et al. 2021; lecture item A65.
"""

import torch

from genai_utils.inputs import one_of, refusal, whole
from genai_utils.training.batches import derive_seed

from .retrieval import terms

NAMES = (
    "ada anna boris carla chen clara daan dora elif emil esra fatou felix greta hana hugo "
    "ida ines ivan jana joao jonas kaya kofi lars lea lena liam luca maja marta mateo "
    "mina mira nadia nils noor olga omar oscar paul petra ravi rosa sara selma tariq theo "
    "ugo uma vera viktor wanda yara yusuf zoe abel bela cleo dario edda farid gina"
)
PEOPLE = tuple(NAMES.split())
VALUES = {
    "home": "oslo rome paris lima cairo tokyo delhi accra dakar quito havana sofia riga bern "
    "vienna prague lisbon madrid athens ankara tunis nairobi seoul hanoi manila "
    "dublin leeds turin porto ghent lyon graz",
    "work": "baker smith nurse pilot farmer tailor lawyer painter mason plumber weaver potter "
    "judge tutor cook clerk miner fisher driver gardener dentist surgeon printer "
    "carpenter teacher scribe barber butcher chemist jeweller librarian welder",
    "music": "flute piano violin cello harp bongo drum guitar trumpet tuba lute zither banjo "
    "celesta clarinet bassoon horn viola sitar fiddle whistle bagpipe concertina "
    "trombone saxophone mandolin recorder kazoo xylophone cymbal gong bugle",
    "pet": "cat dog goat horse parrot rabbit hamster turtle snake lizard canary duck goose "
    "pony mule ferret gecko mouse rat pigeon swan hen pig sheep llama newt frog toad "
    "crab bat finch donkey",
    "food": "soup rice pasta pizza curry stew salad bread cheese cake pie fish beans lentils "
    "dumplings noodles schnitzel pancakes porridge sushi tacos waffles risotto goulash "
    "paella hummus falafel couscous ramen kebab lasagne chowder",
}  # fmt: skip
VALUES = {relation: words.split() for relation, words in VALUES.items()}
RELATIONS = tuple(VALUES)
TOLD = {  # P: the person, V: the value
    "home": ("P lives in V .", "the flat of P is in V .", "P sleeps well in V ."),
    "work": ("P works as a V .", "P earns money as a V .", "the street knows P as its V ."),
    "music": ("P plays the V .", "P has a V to practise on .", "P got a V as a child ."),
    "pet": ("P owns a V .", "the pet of P is a V .", "every day P feeds a V ."),
    "food": ("P likes V best .", "the favourite dish of P is V .", "P always orders V ."),
}
ASKED = {
    "home": ("where does P live ?", "which town is home to P ?", "what is the address of P ?"),
    "work": ("what is the job of P ?", "what does P do all day ?", "which trade has P learned ?"),
    "music": ("what does P play ?", "which instrument has P ?", "on what does P make music ?"),
    "pet": ("which animal has P ?", "what pet does P keep ?", "what does P look after ?"),
    "food": ("what does P like to eat ?", "which dish does P prefer ?", "what is cooked for P ?"),
}
WORDINGS = 3
MOST = 4  # passages in front of a question
TAGS = [f"[{i}]" for i in range(1, MOST + 1)]
UNKNOWN = "unknown"
_SAID = {w for table in (TOLD, ASKED) for lines in table.values() for t in lines for w in t.split()}
WORDS = (
    "<end>", *TAGS, "=", UNKNOWN, *RELATIONS,
    *sorted(_SAID - {"P", "V", *RELATIONS}), *PEOPLE,
    *(value for relation in RELATIONS for value in VALUES[relation]),
)  # fmt: skip
INDEX = {word: i for i, word in enumerate(WORDS)}
END = 0  # the end of a text, and what shorter ones are filled up with
VOCABULARY = len(WORDS)
M = len(VALUES["home"])  # values of each relation
assert all(len(VALUES[r]) == M for r in RELATIONS) and len(INDEX) == VOCABULARY
PERSON, VALUE = -1, -2  # the places P and V of a wording
LONGEST = max(len(t.split()) for table in (TOLD, ASKED) for lines in table.values() for t in lines)
CONTEXT = MOST * (LONGEST + 1 + LONGEST + 5)  # with a question about each passage
FIRST_PERSON, FIRST_VALUE = INDEX[PEOPLE[0]], INDEX[VALUES["home"][0]]
FIRST_RELATION = INDEX[RELATIONS[0]]


def _wordings(table):
    """Wordings as ids (R, 3, LONGEST): PERSON and VALUE for their places, END where it is over."""
    ids = torch.full((len(RELATIONS), WORDINGS, LONGEST), END)
    places = {"P": PERSON, "V": VALUE}
    for r, relation in enumerate(RELATIONS):
        for w, line in enumerate(table[relation]):
            row = [places.get(word, INDEX.get(word)) for word in line.split()]
            ids[r, w, : len(row)] = torch.tensor(row)
    return ids


TOLD_IDS, ASKED_IDS = _wordings(TOLD), _wordings(ASKED)


def encode(text):
    """The ids of a text of known words with blanks between them, (T,) int64.

    Raises ValueError for a word of no wording, person or value.
    """
    unknown = [word for word in text.split() if word not in INDEX]
    if unknown:
        raise refusal("text", "words of this world", repr(unknown[0]), "see fact_world.WORDS")
    return torch.tensor([INDEX[word] for word in text.split()], dtype=torch.int64)


def decode(ids):
    """The text of ids (T,), up to the first <end>."""
    words = [WORDS[i] for i in torch.as_tensor(ids).tolist()]
    return " ".join(words[: words.index("<end>")] if "<end>" in words else words)


def search_ids(text):
    """The ids of a text's words for an encoder: no signs, and no word of another world."""
    return [INDEX[term] for term in terms(text) if term in INDEX]


class World:
    """People with their facts: a table (P, R) of values 0 … m - 1, and one wording for each fact.

    people: how many of `PEOPLE`; None: all. Everything is drawn from the seed.
    """

    def __init__(self, people=None, seed=0):
        people = len(PEOPLE) if people is None else whole(people, "people", most=len(PEOPLE))
        self.people = PEOPLE[:people]
        g = torch.Generator().manual_seed(derive_seed(whole(seed, "seed", least=None), "world"))
        shape = (len(self.people), len(RELATIONS))
        self.table = torch.randint(M, shape, generator=g)
        self.wording = torch.randint(WORDINGS, shape, generator=g)

    def facts(self):
        """All (person, relation), two words each."""
        return [(person, relation) for person in self.people for relation in RELATIONS]

    def value(self, person, relation):
        return VALUES[relation][self.table[self._place(person, relation)]]

    def change(self, person, relation, value):
        """Another value from now on; its wording stays."""
        at = self._place(person, relation)
        self.table[at] = VALUES[relation].index(one_of(value, "value", VALUES[relation]))

    def passage(self, person, relation):
        """The sentence that tells a fact."""
        line = TOLD[relation][self.wording[self._place(person, relation)]]
        return _filled(line, person, self.value(person, relation))

    def _place(self, person, relation):
        one_of(person, "person", self.people), one_of(relation, "relation", RELATIONS)
        return self.people.index(person), RELATIONS.index(relation)


def question(person, relation, wording=0):
    """The text that asks for a fact, in one of three wordings."""
    one_of(wording, "wording", range(WORDINGS))
    return _filled(ASKED[one_of(relation, "relation", RELATIONS)][wording], person, "")


def _filled(line, person, value):
    return " ".join({"P": person, "V": value}.get(word, word) for word in line.split())
