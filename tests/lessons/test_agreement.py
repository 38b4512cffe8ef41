"""The sentences of the agreement task: their grammar, their parts, and what gives nothing away."""

import re

import numpy as np
import pytest

from rnncore import agreement

DISTANCES = [4, 5, 6, 7, 11, 13, 14, 18, 31]

# The grammar of the module once more, as an expression of its own.
NOUN = "(?:cat|dog|bird|horse|farmer|teacher|doctor|driver|king|pilot)s?"
PHRASE = "(?: (?:near|behind|beside|under) the (?:house|tree|car|river|school|bridge)s?)"
ADVERB = "(?: (?:already|often|quietly|always))"
PAST = " (?:saw|fed|chased|followed|liked|watched)"
CLAUSE = f"(?: that(?:{ADVERB}*{PAST} the {NOUN}{PHRASE}*| the {NOUN}{PHRASE}*{ADVERB}*{PAST}))"
SENTENCE = re.compile(f"the ({NOUN})(?:{PHRASE}|{CLAUSE}(?: and{CLAUSE})*)")


ANY_NOUN = f"{NOUN}|(?:house|tree|car|river|school|bridge)s?"


def is_plural(noun):
    return noun.endswith("s")


def nouns(sentence):
    return re.findall(ANY_NOUN, sentence)


@pytest.mark.parametrize("distance", DISTANCES)
def test_sentences_follow_the_grammar_and_agree(distance, rng):
    words, before_verb, number = agreement.batch(distance, 200, rng)
    assert words.shape == (distance + 1, 200)
    assert number.shape == (1, 200)
    assert before_verb.tolist() == [distance]
    for column, verb in zip(words.T, number[0], strict=True):
        sentence = agreement.text(column)
        (subject,) = SENTENCE.fullmatch(sentence).groups()
        assert sentence.split()[1] == subject  # so the verb stands `distance` words after it
        assert agreement.VERBS[verb] == ("were" if is_plural(subject) else "was")
        assert not set(agreement.VERBS) & set(sentence.split())


def test_a_passage_is_its_sentences_with_verbs_that_agree(rng):
    distances = (5, 4, 12)
    words, before_verb, number = agreement.batch(distances, 100, rng, part="test")
    assert words.shape == (5 + 4 + 12 + 2 * 4 + 1, 100)
    assert number.shape == (3, 100)
    for k, column in enumerate(words.T):
        start = 0
        for place, verb, distance in zip(before_verb, number[:, k], distances, strict=True):
            sentence = column[start : place + 1]
            (subject,) = SENTENCE.fullmatch(agreement.text(sentence)).groups()
            assert len(sentence) == distance + 1
            assert verb == is_plural(subject)
            assert agreement.part_of(sentence) == "test"
            start = place + 4
            if start < len(column):
                end = agreement.text(column[place + 1 : start])
                assert end == f"{agreement.VERBS[verb]} full ."


def test_the_subjects_of_a_passage_tell_nothing_of_each_other(rng):
    first, second = agreement.batch((4, 4), 4000, rng).number
    assert abs(np.mean(first == second) - 0.5) < 0.04  # five standard deviations


def test_both_numbers_and_every_word_occur(rng):
    words, _, number = agreement.batch((30, 20), 500, rng)
    assert 0.4 < number.mean() < 0.6
    assert set(np.unique(words)) == set(range(len(agreement.VOCABULARY)))
    assert len(set(agreement.VOCABULARY)) == len(agreement.VOCABULARY)


def test_the_nouns_between_tell_nothing_in_training(rng):
    words, _, (number,) = agreement.batch(12, 8000, rng)
    nouns = [k for k, w in enumerate(agreement.VOCABULARY) if re.fullmatch(ANY_NOUN, w)]
    between = np.isin(words, nouns)
    between[1] = False  # the subject
    assert between.any(axis=0).all()
    plural = (words % 2 == 1) & between
    for verb in (0, 1):
        share = plural[:, number == verb].sum() / between[:, number == verb].sum()
        assert abs(share - 0.5) < 0.02  # more than four standard deviations


def test_attractors_have_the_other_number_right_before_the_verb(rng):
    words, _, (number,) = agreement.batch(14, 300, rng, part="test", attractor=True)
    for column, verb in zip(words.T, number, strict=True):
        found = nouns(agreement.text(column))
        assert is_plural(found[0]) == verb
        assert is_plural(found[-1]) != verb
    assert 0.4 < number.mean() < 0.6


@pytest.mark.parametrize("distance", [4, 9, 17])
def test_parts_share_no_sentence_whatever_its_numbers(distance, rng):
    def singular(sentence):
        return re.sub(ANY_NOUN, lambda noun: noun[0].removesuffix("s"), sentence)

    seen = {}
    for part in ("train", "validation", "test"):
        for attractor in (False, True):
            words = agreement.batch(distance, 400, rng, part=part, attractor=attractor).words
            assert {agreement.part_of(column) for column in words.T} == {part}
            found = {singular(agreement.text(column)) for column in words.T}
            seen[part] = seen.get(part, set()) | found
    assert len(seen["train"]) > 100
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        assert not seen[one] & seen[other]


def test_each_held_out_part_is_a_tenth(rng):
    words = rng.integers(len(agreement.VOCABULARY), size=(5000, 12))
    parts = [agreement.part_of(row) for row in words]
    for part in ("validation", "test"):
        assert 0.08 < parts.count(part) / len(parts) < 0.12


def test_a_seed_gives_the_same_sentences():
    first, second = (agreement.batch(9, 20, 3) for _ in range(2))
    np.testing.assert_array_equal(first.words, second.words)
    assert not np.array_equal(first.words, agreement.batch(9, 20, 4).words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distance": 3}, "distance is 3, expected an integer of at least 4"),
        ({"distance": 4.0}, "distance is 4.0, expected an integer"),
        ({"distance": (5, 2)}, "distance is 2, expected an integer of at least 4"),
        ({"distance": ()}, "distance is empty, expected at least one"),
        ({"size": 0}, "size is 0, expected"),
        ({"part": "dev"}, "part is 'dev', expected 'train' or 'validation' or 'test'"),
        ({"attractor": 1}, "attractor is 1, expected True or False"),
        ({"rng": "x"}, "rng is of type str"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        agreement.batch(**{"distance": 5, "size": 2, **arguments})
