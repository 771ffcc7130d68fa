"""What is read off the queries and keys of fused attention, against the attention map itself."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as attend

import padecast.hooks.blocks.toca
from padecast.hooks.blocks.toca import Attention


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def weights(query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
    """The attention map, averaged over heads: attention to an identity returns it."""
    eye = torch.eye(key.shape[2]).expand(*key.shape[:3], key.shape[2])
    return attend(query, key, eye, mask).mean(1)


QUERY, KEY, TEXT = drawn(2, 3, 7, 4), 2 * drawn(2, 3, 7, 4), 2 * drawn(2, 3, 5, 4)


def test_column_sums_of_the_attention_among_tokens() -> None:
    with Attention() as seen:
        attend(QUERY, KEY, KEY)
    torch.testing.assert_close(seen.influence[7], weights(QUERY, KEY).sum(1))
    torch.testing.assert_close(seen.influence[7].mean(1), torch.ones(2))
    assert not seen.control and not seen.texts


def test_the_token_that_all_look_at_has_the_greatest_influence() -> None:
    key = torch.zeros(1, 1, 4, 2)
    key[0, 0, 2] = 3.0
    with Attention() as seen:
        attend(torch.ones(1, 1, 4, 2), key, key)
    assert int(seen.influence[4].argmax()) == 2


def test_entropy_of_the_attention_to_a_text() -> None:
    with Attention() as seen:
        attend(QUERY, TEXT, TEXT)
    own = weights(QUERY, TEXT)
    torch.testing.assert_close(seen.control[7], -(own * own.log()).sum(-1) / torch.tensor(5.0).log())
    assert seen.texts == {5} and not seen.influence


def test_a_token_that_looks_at_one_word_has_no_entropy_and_at_all_the_highest() -> None:
    query = torch.tensor([[[[100.0, 0.0], [0.0, 0.0]]]])
    text = torch.tensor([[[[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]]])
    with Attention() as seen:
        attend(query, text, text)
    torch.testing.assert_close(seen.control[2], torch.tensor([[0.0, 1.0]]))


@pytest.mark.parametrize("text_first", [True, False])
def test_streams_of_a_joint_attention_are_told_apart(text_first: bool) -> None:
    parts = [TEXT, KEY] if text_first else [KEY, TEXT]
    with Attention() as seen:
        joint = torch.cat(parts, dim=2)
        turned = torch.cat([-joint[..., 2:], joint[..., :2]], dim=-1)  # as rotary positions do
        attend(joint, joint, turned)
    sums = weights(joint, joint).sum(1)
    image = sums[:, 5:] if text_first else sums[:, :7]
    torch.testing.assert_close(seen.influence[7], image / image.mean(1, keepdim=True))
    torch.testing.assert_close(seen.influence[12], sums)
    assert set(seen.influence) == {5, 7, 12}


def test_streams_of_equal_length_cannot_be_told_apart() -> None:
    with Attention() as seen:
        joint = torch.cat([QUERY, KEY], dim=2)
        attend(joint, joint, joint)
    assert set(seen.influence) == {14}


@pytest.mark.parametrize("kind", ["words", "added", "rows"])
def test_masks(kind: str) -> None:
    words = torch.tensor([True, True, False, True, False])
    mask = {
        "words": words[None, None, None].expand(2, 1, 1, 5),
        "added": torch.zeros(2, 1, 1, 5).masked_fill(~words, -1e9),
        "rows": torch.ones(7, 5, dtype=torch.bool).tril(2),
    }[kind]
    with Attention() as seen:
        attend(QUERY, TEXT, TEXT, attn_mask=mask)
    own = weights(QUERY, TEXT, mask)
    torch.testing.assert_close(seen.control[7], torch.special.entr(own).sum(-1) / torch.tensor(5.0).log())


def test_many_queries_are_sampled_and_weights_held_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    query, text = drawn(1, 2, 900, 4), drawn(1, 2, 6, 4)
    with Attention() as whole:
        attend(query, query, query)
        attend(query, text, text)
    monkeypatch.setattr(padecast.hooks.blocks.toca, "PIECE", 5000)
    with Attention() as pieces:
        attend(query, query, query)
        attend(query, text, text)
    sampled = weights(query[:, :, ::4], query).sum(1)
    torch.testing.assert_close(whole.influence[900], sampled / sampled.mean(1, keepdim=True))
    torch.testing.assert_close(pieces.influence[900], whole.influence[900])
    torch.testing.assert_close(pieces.control[900], whole.control[900])


def test_shared_keys_and_other_shapes() -> None:
    with Attention() as seen:
        attend(QUERY, KEY[:, :1], KEY[:, :1], enable_gqa=True)
        attend(QUERY[0], KEY[0], KEY[0])
        attend(QUERY[:, :, :6], KEY[:, :, :6], KEY[:, :, :6], is_causal=True)
    torch.testing.assert_close(seen.influence[7], weights(QUERY, KEY[:, :1].expand(-1, 3, -1, -1)).sum(1))
    assert set(seen.influence) == {7}


def test_other_threads_are_not_seen() -> None:
    with Attention() as seen:
        thread = threading.Thread(target=attend, args=(QUERY, KEY, KEY))
        thread.start()
        thread.join()
    assert not seen.influence
