"""Tokenizers of single words."""

from __future__ import annotations

import pytest

from demos.words import END, PAD, START, UNKNOWN, numbered, word_tokenizer

KNOWN = numbered([PAD, END, UNKNOWN, START, "a", "red", "star"])


@pytest.mark.parametrize(("start", "numbers"), [(False, [4, 5, 6, 1]), (True, [3, 4, 5, 6, 1])])
def test_a_word_is_a_token(start: bool, numbers: list[int]) -> None:
    tokenizer = word_tokenizer(KNOWN, 8, start=start)
    assert tokenizer("A red  star.").input_ids == numbers
    assert tokenizer.decode(numbers, skip_special_tokens=True) == "a red star"
    assert tokenizer("a crimson star").input_ids == [*numbers[:-3], 2, *numbers[-2:]]
    padded = tokenizer("a red star", padding="max_length", truncation=True)
    assert padded.input_ids == numbers + [0] * (8 - len(numbers)) and sum(padded.attention_mask) == len(numbers)


def test_captions_are_cut() -> None:
    assert len(word_tokenizer(KNOWN, 8)("red " * 20, truncation=True).input_ids) == 8
