"""The agreement task: was or were? Sentences from a small grammar, as batches of word numbers.

"The cats that the dog near the house already saw ..." goes on with *were*: the verb agrees with a
noun that stands any number of words back, and the nouns in between, of either number, say nothing
about it. Such nouns are called attractors where they have the other number (Bock and Miller 1991;
Linzen, Dupoux and Goldberg, "Assessing the ability of LSTMs to learn syntax-sensitive
dependencies", 2016).

The grammar, with the number of words of each part::

    sentence = the SUBJECT between (was | were) full .
    between  = phrase                                       3
             | clause (and clause)*                         4 and more
    clause   = that ADVERB* PAST the ANIMATE phrase*        4 + adverbs + 3 * phrases
             | that the ANIMATE phrase* ADVERB* PAST        the same
    phrase   = PREPOSITION the PLACE                        3

SUBJECT and ANIMATE are one list of nouns. Verbs in between are in the past tense, which has one
form for both numbers, and every noun is singular or plural with the same chance, independently of
the others: who has not kept the subject is right half of the time.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnncore import _check

__all__ = ["SHORTEST", "VERBS", "VOCABULARY", "Batch", "batch", "part_of", "text"]

VERBS = ("was", "were")  # by the number of the subject

SHORTEST = 4  # words from the subject to the verb

_ANIMATE = ("cat", "dog", "bird", "horse", "farmer", "teacher", "doctor", "driver", "king", "pilot")
_PLACES = ("house", "tree", "car", "river", "school", "bridge")
_OTHERS = {
    "the": ("the",),
    "that": ("that",),
    "and": ("and",),
    "preposition": ("near", "behind", "beside", "under"),
    "past": ("saw", "fed", "chased", "followed", "liked", "watched"),
    "adverb": ("already", "often", "quietly", "always"),
    "verb": VERBS,
    "full": ("full",),
    "stop": (".",),
}


def _with_plurals(nouns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for noun in nouns for word in (noun, f"{noun}s"))


# A noun has two numbers side by side, the even one its singular: all nouns come first.
_WORDS = {"animate": _with_plurals(_ANIMATE), "place": _with_plurals(_PLACES), **_OTHERS}
_CLASSES = {name: k for k, name in enumerate(_WORDS)}
_COUNTS = np.array([len(words) for words in _WORDS.values()])
_STARTS = np.cumsum(_COUNTS) - _COUNTS
_NOUNS = 2 * (len(_ANIMATE) + len(_PLACES))

VOCABULARY: tuple[str, ...] = tuple(word for words in _WORDS.values() for word in words)

_SUBJECT = (_CLASSES["the"], _CLASSES["animate"])
_PHRASE = (_CLASSES["preposition"], _CLASSES["the"], _CLASSES["place"])
_SHORTEST_CLAUSE, _LONGEST_CLAUSE = 4, 12
# Tenths of all sentences; the rest is for training.
_PARTS = {0: "validation", 1: "test"}


class Batch(NamedTuple):
    """Sentences one after the other, up to the word before the last verb."""

    words: NDArray[np.int64]  # (T, B) positions in VOCABULARY
    before_verb: NDArray[np.int64]  # (K,) the steps after which a verb is to be told
    number: NDArray[np.int64]  # (K, B) of the subjects: 0 singular, was; 1 plural, were


def batch(
    distance: int | Sequence[int],
    size: int,
    rng: int | np.random.Generator | None = None,
    *,
    part: str = "train",
    attractor: bool = False,
) -> Batch:
    """Draw sentences whose verb comes `distance` words after its subject.

    Parameters
    ----------
    distance : int, or a sequence of K of them
        At least `SHORTEST`. Several make passages of several sentences, which a network reads on
        and on: it has to let go of one subject, and take up the next.
    size : int
        B, the number of rows.
    rng : None, int or numpy.random.Generator
    part : "train", "validation" or "test"
        No sentence of one part is in another, not even with its nouns in other numbers; see
        `part_of`.
    attractor : bool
        Whether the last noun before a verb always has the other number than its subject: who goes
        by the nearest noun is always wrong then. Not for training: that noun tells the answer.

    Returns
    -------
    Batch: `words` (T, B), `before_verb` (K,) and `number` (K, B), all int64. A sentence takes
    ``distance + 4`` steps with "full" and the full stop; the last one ends before its verb.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    >>> words, before_verb, number = batch(9, 2, rng=0)
    >>> for k in range(2):
    ...     print(text(words[:, k]), "...", VERBS[number[0, k]])
    the teacher that the doctor under the school quietly followed ... was
    the teachers that the pilot behind the schools quietly saw ... were
    >>> words, before_verb, number = batch((4, 5), 1, rng=0)
    >>> text(words[:, 0])
    'the kings beside the river were full . the doctor that the pilot followed'
    >>> before_verb, number[:, 0]
    (array([ 4, 13]), array([1, 0]))
    """
    distances = distance if isinstance(distance, Sequence) else (distance,)
    distances = [_check.size("distance", each, minimum=SHORTEST) for each in distances]
    if not distances:
        raise ValueError("distance is empty, expected at least one")
    size = _check.size("size", size)
    sizes = {"distance": max(distances), "size": size}
    _check.affordable(sizes, 100 * sum(distances) * size, "the sentences")
    part = _check.choice("part", part, ("train", *_PARTS.values()))
    attractor = _check.flag("attractor", attractor)
    rng = _check.generator("rng", rng)
    pieces, numbers = [], []
    for each in distances:
        words = _sentences(each, size, rng, part)
        if attractor:
            _turn_last_nouns(words)
        number = words[:, 1] % 2
        verb, *end = (_STARTS[_CLASSES[name]] for name in ("verb", "full", "stop"))
        pieces += [words.T, verb + number[np.newaxis], *(np.full((1, size), word) for word in end)]
        numbers.append(number)
    ends = np.cumsum([each + 4 for each in distances])
    return Batch(np.concatenate(pieces)[:-3], ends - 4, np.stack(numbers))


def text(words: NDArray[np.int64]) -> str:
    """The words of one sentence, (T,) -> "the cats that ..."."""
    return " ".join(VOCABULARY[word] for word in words)


def part_of(words: NDArray[np.int64]) -> str:
    """Whether a sentence up to its verb, (T,), is for "train", "validation" or "test".

    A checksum of its words with every noun in the singular decides, a tenth each for the last two:
    so nobody has to remember what was drawn, and all numberings of a sentence stay together.
    """
    return _parts_of(words[np.newaxis])[0]


def _parts_of(sentences: NDArray[np.int64]) -> list[str]:
    """`part_of` for each row."""
    singular = np.where(sentences < _NOUNS, sentences - sentences % 2, sentences)
    return [_PARTS.get(zlib.crc32(row) % 10, "train") for row in singular.astype(np.uint8)]


def _sentences(distance: int, size: int, rng: np.random.Generator, part: str) -> NDArray[np.int64]:
    """Sentences of one part without their ends, (size, distance + 1)."""
    share = 0.8 if part == "train" else 0.1
    accepted: list[NDArray[np.int64]] = []
    while len(accepted) < size:
        drawn = _draw(distance, int((size - len(accepted)) / share) + 1, rng)
        accepted += [
            row for row, found in zip(drawn, _parts_of(drawn), strict=True) if found == part
        ]
    return np.stack(accepted[:size])


def _draw(distance: int, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sentences of any part, (size, distance + 1)."""
    classes = np.array([(*_SUBJECT, *_between(distance - 1, rng)) for _ in range(size)])
    words: NDArray[np.int64] = _STARTS[classes] + rng.integers(_COUNTS[classes])
    return words


def _between(words: int, rng: np.random.Generator) -> tuple[int, ...]:
    """The classes of so many words between subject and verb, at least 3."""
    if words == len(_PHRASE):
        return _PHRASE
    classes: tuple[int, ...] = ()
    while words > _LONGEST_CLAUSE:
        # What is left after "and" must be enough for a clause
        longest = min(_LONGEST_CLAUSE, words - 1 - _SHORTEST_CLAUSE)
        first = _SHORTEST_CLAUSE + int(rng.random() * (longest - _SHORTEST_CLAUSE + 1))
        classes += (*_clause(first, rng), _CLASSES["and"])
        words -= first + 1
    return classes + _clause(words, rng)


def _clause(words: int, rng: np.random.Generator) -> tuple[int, ...]:
    phrases, adverbs = divmod(words - _SHORTEST_CLAUSE, len(_PHRASE))
    noun = (*_SUBJECT, *phrases * _PHRASE)
    verb = (*adverbs * (_CLASSES["adverb"],), _CLASSES["past"])
    first, second = (noun, verb) if rng.random() < 0.5 else (verb, noun)
    return (_CLASSES["that"], *first, *second)


def _turn_last_nouns(words: NDArray[np.int64]) -> None:
    """Give the last noun of each sentence, (B, T), the other number than its subject."""
    rows = np.arange(len(words))
    last = words.shape[1] - 1 - (words < _NOUNS)[:, ::-1].argmax(axis=1)
    noun = words[rows, last]
    words[rows, last] = noun - noun % 2 + 1 - words[:, 1] % 2
