"""A world of facts in sentences, and a small GPT that answers from passages and cites them.

    [1] ravi owns a goat . [2] ravi works as a baker . what is the job of ravi ? = baker [2]

A person has a town, a trade, an instrument, a pet and a dish. A sentence tells one of them in one
of three wordings, a question asks for it in one of three others. What the reader trains on are
worlds drawn anew for every text, so that no fact can be learned by heart: where its passages say
nothing, it can only guess. Symbols: B texts, T tokens, K passages at most, R relations, m values
of each.

Source: after Lewis et al. 2020 and Petroni et al. 2021; lecture item A65.
"""

import torch

from genai_utils.inputs import number, one_of, refusal, texts, whole
from genai_utils.training.batches import derive_seed

from .sampling import generate
from .tokens import IGNORE

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
    "judge actor cook clerk miner fisher driver gardener dentist surgeon printer "
    "carpenter teacher author barber butcher chemist jeweller librarian optician",
    "music": "flute piano violin cello harp oboe drum guitar trumpet tuba lute zither banjo "
    "organ clarinet bassoon horn viola sitar fiddle whistle bagpipe accordion "
    "trombone saxophone mandolin recorder ukulele xylophone cymbal gong bugle",
    "pet": "cat dog goat horse parrot rabbit hamster turtle snake lizard canary duck goose "
    "pony mule ferret gecko mouse rat pigeon swan hen pig sheep llama newt frog toad "
    "crab owl finch donkey",
    "food": "soup rice pasta pizza curry stew salad bread cheese cake pie fish beans lentils "
    "dumplings noodles omelette pancakes porridge sushi tacos waffles risotto goulash "
    "paella hummus falafel couscous ramen kebab lasagne chowder",
}  # fmt: skip
VALUES = {relation: words.split() for relation, words in VALUES.items()}
RELATIONS = tuple(VALUES)
TOLD = {  # P: the person, V: the value
    "home": ("P lives in V .", "the flat of P is in V .", "V is where P sleeps ."),
    "work": ("P works as a V .", "P earns money as a V .", "the V of the street is P ."),
    "music": ("P plays the V .", "P has a V to practise on .", "a V is played by P ."),
    "pet": ("P owns a V .", "the pet of P is a V .", "a V obeys P ."),
    "food": ("P likes V best .", "the favourite dish of P is V .", "P always orders V ."),
}
ASKED = {
    "home": ("where does P live ?", "which town is home to P ?", "what is the address of P ?"),
    "work": ("what is the job of P ?", "what does P do all day ?", "which trade has P learned ?"),
    "music": ("what does P play ?", "which instrument has P ?", "on what does P make music ?"),
    "pet": ("which animal has P ?", "what pet does P keep ?", "what does P feed ?"),
    "food": ("what does P like to eat ?", "which dish does P prefer ?", "what is cooked for P ?"),
}
WORDINGS = 3
MOST = 4  # passages in front of a question
TAGS = [f"[{i}]" for i in range(1, MOST + 1)]
UNKNOWN = "unknown"
_SAID = {w for table in (TOLD, ASKED) for lines in table.values() for t in lines for w in t.split()}
WORDS = (
    "<end>", *TAGS, "=", UNKNOWN, *sorted(_SAID - {"P", "V"}), *PEOPLE,
    *(value for relation in RELATIONS for value in VALUES[relation]),
)  # fmt: skip
INDEX = {word: i for i, word in enumerate(WORDS)}
END = 0  # the end of a text, and what shorter ones are filled up with
VOCABULARY = len(WORDS)
M = len(VALUES["home"])  # values of each relation
assert all(len(VALUES[r]) == M for r in RELATIONS) and len(INDEX) == VOCABULARY
PERSON, VALUE = -1, -2  # the places P and V of a wording
LONGEST = max(len(t.split()) for table in (TOLD, ASKED) for lines in table.values() for t in lines)
CONTEXT = MOST * (LONGEST + 1) + LONGEST + 4
FIRST_PERSON, FIRST_VALUE = INDEX[PEOPLE[0]], INDEX[VALUES["home"][0]]


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


class ReadingBatches:
    """What a reader trains on: `batches(step)` is (ids, targets), (B, T) each, of seed and step.

    Each text has a world of its own: 0 to K passages, one of which answers the question, and the
    question; asked for are the answer, the number of its passage and <end>. Half of the others tell
    something else of the person who is asked about, or the same of somebody else. Without a
    passage the answer is the person's value in that text's world, which nobody can know.
    unknown: the share of texts whose right passage is replaced by another one; there the answer is
    "unknown", and no number follows. If it is above 0, so it is where there is no passage.
    """

    def __init__(self, batch_size, unknown=0.0, passages=MOST, seed=0, device="cpu"):
        self.batch_size = whole(batch_size, "batch_size")
        self.unknown = number(unknown, "unknown", least=0, most=1)
        self.passages = whole(passages, "passages", most=MOST)
        self.seed, self.device = whole(seed, "seed", least=None), torch.device(device)
        self.generator = torch.Generator(self.device)
        self.told, self.asked = TOLD_IDS.to(self.device), ASKED_IDS.to(self.device)

    def __repr__(self):
        return (
            f"ReadingBatches({self.batch_size}, unknown={self.unknown}, "
            f"passages={self.passages}, seed={self.seed})"
        )

    def describe(self):
        return {"batches": repr(self)}

    def __call__(self, step):
        B, K, device = self.batch_size, self.passages, self.device
        on = {"generator": self.generator, "device": device}
        self.generator.manual_seed(derive_seed(self.seed, "reading", int(step)))
        draw = lambda most, *shape: torch.randint(most, shape, **on)  # noqa: E731
        who, what = draw(len(PEOPLE), B), draw(len(RELATIONS), B)
        # The passages: strangers, of whom some are the one who is asked about, or told the same.
        kind = draw(4, B, K)
        step_who, step_what = 1 + draw(len(PEOPLE) - 1, B, K), 1 + draw(len(RELATIONS) - 1, B, K)
        person = (who[:, None] + step_who.masked_fill(kind == 0, 0)) % len(PEOPLE)
        relation = (what[:, None] + step_what.masked_fill(kind == 1, 0)) % len(RELATIONS)
        value, wording = draw(M, B, K), draw(WORDINGS, B, K)
        there = torch.arange(K, device=device) < draw(K + 1, B)[:, None]  # (B, K): 0 to K of them
        count = there.sum(1)
        right = (torch.rand(B, **on) * count).long()  # which of them answers
        known = (count > 0) & (torch.rand(B, **on) >= self.unknown)
        here = (torch.arange(K, device=device) == right[:, None]) & known[:, None]
        person = torch.where(here, who[:, None], person)
        relation = torch.where(here, what[:, None], relation)
        passages = self._lines(self.told[relation, wording], person, relation, value)
        tags = 1 + torch.arange(K, device=device).expand(B, K)
        passages = torch.cat([tags[..., None], passages], -1).masked_fill(~there[..., None], END)
        asked = self._lines(self.asked[what, draw(WORDINGS, B)], who, what, what)
        own = FIRST_VALUE + what * M + value.gather(1, right[:, None])[:, 0]
        silent = ~known if self.unknown else torch.zeros_like(known)
        answer = torch.where(silent, INDEX[UNKNOWN], own)
        cite = torch.where(known, 1 + right, END)
        last = torch.stack([torch.full_like(answer, INDEX["="]), answer, cite], 1)
        ids = torch.cat([passages.flatten(1), asked, last], 1)  # (B, …) with gaps
        ids = ids.gather(
            1, (ids == END).to(torch.int8).argsort(dim=1, stable=True)
        )  # gaps to the end
        ids = torch.cat([ids, torch.full_like(ids[:, :1], END)], 1)
        seen = (ids == INDEX["="]).cumsum(1) > 0  # from "=" on
        length = (ids != END).sum(1, keepdim=True)
        wanted = seen[:, :-1] & (torch.arange(ids.shape[1] - 1, device=device) < length)
        return ids[:, :-1], ids[:, 1:].masked_fill(~wanted, IGNORE)

    def _lines(self, wording, person, relation, value):
        """Wordings (…, LONGEST) with the ids of the person and of the value in their places."""
        person, value = FIRST_PERSON + person, FIRST_VALUE + relation * M + value
        wording = torch.where(wording == PERSON, person[..., None], wording)
        return torch.where(wording == VALUE, value[..., None], wording)


def reader_prompt(asked, passages):
    """What the reader is given: "[1] first passage [2] second passage question =".

    Raises ValueError for more than K passages, and for words of another world.
    """
    passages = texts(passages, "passages")
    if len(passages) > MOST:
        raise refusal("passages", f"at most {MOST}", f"{len(passages)}", "hand over the best ones")
    parts = [f"{tag} {text}" for tag, text in zip(TAGS, passages, strict=False)]
    return " ".join([*parts, asked, "="])


def read(model, asked, passages):
    """What a reader answers to questions from their passages: [(answer, number of its passage)].

    asked: n texts; passages: n lists of at most K texts. The number counts from 0; None where the
    reader cites nothing, or a passage that is not there. It takes the likeliest token each time.
    """
    device = next(model.parameters()).device
    prompts = [encode(reader_prompt(a, p)).to(device) for a, p in zip(asked, passages, strict=True)]
    found = []
    for start in range(0, len(prompts), 512):
        part = prompts[start : start + 512]
        for ids, row in zip(part, generate(model, part, 2, temperature=0.0, stop=END), strict=True):
            words = decode(row[len(ids) :]).split()
            cited = TAGS.index(words[1]) if words[1:] and words[1] in TAGS else None
            here = len(passages[len(found)])
            found.append((words[0] if words else "", cited if (cited or 0) < here else None))
    return found
