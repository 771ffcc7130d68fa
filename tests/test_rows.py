from __future__ import annotations

import pytest
import torch
from torch import Tensor

from padecast.hooks.layout import Layout, Like
from padecast.hooks.rows import joint, matching, read_mask, read_rows
from padecast.memory.arithmetic import inner_products

SHORT = torch.tensor([[True, True, True], [True, False, False]])


def stream(rows: int) -> Tensor:
    return torch.zeros(2, rows, 4)


@pytest.mark.parametrize(
    "mask",
    [
        SHORT,
        SHORT.long(),
        SHORT[:, None, None],
        torch.zeros(2, 3).masked_fill(~SHORT, -torch.inf),
        torch.zeros(2, 1, 3).masked_fill(~SHORT[:, None], -10000.0),
        torch.ones(2, 1, 3, 3, dtype=torch.bool).tril() & SHORT[:, None, None],
    ],
    ids=["bool", "int", "of attention", "added", "added to attention", "causal"],
)
def test_every_kind_of_mask_says_the_same(mask: Tensor) -> None:
    assert torch.equal(read_mask(mask, 2), SHORT)


def test_numbers_that_are_added_to_attention_and_mask_nothing_count_all() -> None:
    assert bool(read_mask(torch.tensor([[1.0, 0.0]]), 1).all())  # Chroma's pipeline adds 0 and 1


def test_a_mask_covers_streams_one_after_the_other() -> None:
    given = {"text": stream(3), "image": stream(2), "mask": torch.cat([SHORT, torch.ones(2, 2) > 0], 1), "kwargs": {}}
    known = read_rows({"mask": ("text", "image")}, 0, ("image", "text"), given)
    assert torch.equal(known["text"][1], SHORT) and bool(known["image"][1].all()) and known["image"][0] == 2
    assert torch.equal(joint(known, ("text", "image")), given["mask"])
    nested = {**given, "kwargs": {"mask": SHORT}}
    assert torch.equal(read_rows({"kwargs.mask": ("text",)}, 0, (), nested)["text"][1], SHORT)


@pytest.mark.parametrize("given", [{"mask": None}, {}, {"mask": SHORT[:, :2]}, {"mask": 3}, {"mask": SHORT[[0, 1, 1]]}])
def test_what_says_nothing_is_left_alone(given: dict[str, object]) -> None:
    assert read_rows({"mask": ("text",)}, 0, ("text",), {"text": stream(3), **given}) == {}


def test_samples_in_the_second_dimension() -> None:
    turned = {"x": stream(3).transpose(0, 1), "mask": SHORT[:, None, None]}
    assert torch.equal(read_rows({"mask": ("x",)}, 1, ("x",), turned)["x"][1], SHORT)


def test_outputs_of_modules_are_told_by_their_length_and_their_place() -> None:
    known = {"encoder_hidden_states": (3, SHORT), "hidden_states": (3, None)}
    image, text = matching(known, (stream(3), stream(3)))
    assert image is None and torch.equal(text, SHORT)
    (alone,), (both,) = matching(known, (stream(3),), text=True), matching(known, (stream(6),))
    assert matching(known, (stream(3),)) is None and torch.equal(alone, SHORT)
    assert torch.equal(both, torch.cat([SHORT, torch.ones(2, 3) > 0], 1))
    assert matching(known, (stream(5),)) is None and matching(known, (torch.zeros(2, 3),)) is None


def test_inner_products_over_some_rows_are_those_of_these_rows_alone() -> None:
    draw = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 2, 3, 4, generator=draw)
    one[1, 1:] = torch.nan  # what only fills up may be anything
    products = inner_products([one], two, SHORT)
    assert products[0] == inner_products([one[:1]], two[:1])[0]
    torch.testing.assert_close(products[1], inner_products([one[1:, :1]], two[1:, :1])[0])
    assert torch.equal(inner_products([two], two, SHORT | True), inner_products([two], two))


def test_a_list_of_samples_is_one_stream_whatever_their_shapes() -> None:
    alike, unlike = [torch.rand(2, 3), torch.rand(2, 3)], [torch.rand(2, 3), torch.rand(4, 1), torch.rand(2, 3)]
    for samples in (alike, unlike):
        layout = Layout(tuple(map(Like.of, samples)), listed=True)
        streams = layout.inward(samples)
        assert len(streams) == 1 and len(streams[0]) == len(samples)
        assert all(torch.equal(a, b) for a, b in zip(layout.outward(streams), samples, strict=True))
        rows = layout.rows(streams)
        assert (rows is None) == (samples is alike)
        assert rows is None or rows[0].sum(1).tolist() == [6, 4, 6]
    mixed = Layout((Like.of(alike[0]), Like.of(alike[1].double())), listed=True, single=True)
    assert [x.shape[0] for x in mixed.inward(alike)] == [1, 1]
