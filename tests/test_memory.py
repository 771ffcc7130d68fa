from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import padecast.memory.memory
from padecast import InvalidOption, Position
from padecast.memory.arithmetic import Streams, inner_products, sum_weighted
from padecast.memory.memory import Memory
from padecast.memory.ring import Storage

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SHAPES = [((2, 3, 4),), ((2, 5),), ((2, 3, 4), (2, 7, 4)), ((2, 2, 3, 4), (2, 5), (2, 1, 6))]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
every_shape = pytest.mark.parametrize("shapes", SHAPES, ids=str)


def streams(seed: int, shapes: tuple[tuple[int, ...], ...], dtype: torch.dtype = torch.float64) -> Streams:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes)


def filled(
    count: int, shapes: tuple[tuple[int, ...], ...], window: int = 3, dtype: torch.dtype = torch.float64
) -> tuple[Memory, list[Streams]]:
    """A memory after ``count`` computed steps, and the residuals that went in, oldest first."""
    memory, residuals = Memory(window), []
    for step in range(count):
        entry, output = streams(2 * step, shapes, dtype), streams(2 * step + 1, shapes, dtype)
        memory.remember(Position.at(3 * step, 60), entry, output)
        residuals.append(tuple(y - x for x, y in zip(entry, output, strict=True)))
    return memory, residuals


def places(memory: Memory) -> set[int]:
    return {x.untyped_storage().data_ptr() for streams in memory.residuals() for x in streams}


@every_shape
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 12])
def test_the_newest_residuals_are_kept(shapes: tuple[tuple[int, ...], ...], count: int) -> None:
    memory, residuals = filled(count, shapes)
    newest_first = residuals[::-1][:3]
    assert len(memory) == count and memory.kept == len(newest_first) and memory.latest == 3 * (count - 1)
    for kept, put in zip(memory.residuals(), newest_first, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(kept, put, strict=True))
    geometry = memory.geometry()
    assert geometry.index == tuple(3 * i for i in range(count))[::-1][:3]
    assert geometry.time == tuple(float(i) for i in geometry.index)


@every_shape
@pytest.mark.parametrize("window", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 11])
def test_the_gram_matrix_is_that_of_the_residuals_also_after_the_ring_went_round(
    shapes: tuple[tuple[int, ...], ...], window: int, count: int
) -> None:
    memory, residuals = filled(count, shapes, window)
    flat = [torch.cat([x.flatten(1) for x in streams], dim=1) for streams in residuals[::-1][:window]]
    expected = torch.stack([torch.stack([(a * b).mean(1) for b in flat], dim=1) for a in flat], dim=1)
    gram = memory.geometry().gram
    assert gram is not None and gram.dtype == torch.float64
    torch.testing.assert_close(gram, expected)


@pytest.mark.parametrize("storage", [Storage(), Storage(torch.bfloat16), Storage(offload=True)], ids=str)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_newest_residual_gives_way_to_another_and_nothing_else_changes(storage: Storage, count: int) -> None:
    memory, shapes = Memory(3, storage=storage), SHAPES[2]
    for step in range(count):
        memory.remember(Position.at(3 * step, 60), streams(2 * step, shapes), streams(2 * step + 1, shapes))
    others, before = [[x.clone() for x in kept] for kept in memory.residuals()[1:]], memory.geometry()
    entry, output = streams(70, shapes), streams(71, shapes)
    memory.renew(entry, output)
    newest, *older = memory.residuals()
    for kept, x, y in zip(newest, entry, output, strict=True):
        assert torch.equal(kept, (y - x).to(storage.dtype or x.dtype).to(kept.dtype))
    assert all(torch.equal(a, b) for one, two in zip(older, others, strict=True) for a, b in zip(one, two, strict=True))
    assert memory.geometry() == before and len(memory) == count
    assert before.gram is not None and torch.equal(memory.geometry().gram, before.gram)


@every_dtype
def test_inner_products_of_narrow_features_are_those_of_the_stored_values(dtype: torch.dtype) -> None:
    slots = [streams(seed, ((2, 300, 64),), dtype)[0] for seed in range(3)]
    products = inner_products(slots, slots[1])
    exact = torch.stack([(slot.double() * slots[1].double()).flatten(1).sum(1) for slot in slots], dim=1)
    # products of 19200 elements are summed: relative to their size, not to what is left of it, float32's default
    size = exact.abs().max().item()
    torch.testing.assert_close(products, exact, rtol=0, atol=1.3e-6 * size if dtype != torch.float64 else 1e-12 * size)
    assert products.dtype == torch.float64


def test_inner_products_do_not_mix_samples() -> None:
    one, two = streams(0, ((3, 4, 5), (3, 4, 5)))
    together = inner_products([one], two)
    for b in range(3):
        torch.testing.assert_close(inner_products([one[b : b + 1]], two[b : b + 1]), together[b : b + 1])


def test_a_geometry_stays_as_it_was_when_more_is_remembered() -> None:
    memory, _ = filled(3, ((2, 4),))
    before = memory.geometry()
    assert before.gram is not None
    kept = before.gram.clone()
    for step in range(3, 6):
        memory.remember(Position.at(3 * step, 60), *(streams(seed, ((2, 4),)) for seed in (90 + step, 99 + step)))
    assert torch.equal(before.gram, kept) and before.index == (6, 3, 0)


# Mixing --------------------------------------------------------------------------------------------------------------


@every_dtype
@given(st.integers(0, 99), st.integers(1, 5))
def test_a_weighted_sum_is_right_within_the_rounding_of_its_dtype(dtype: torch.dtype, seed: int, count: int) -> None:
    start, *slots = streams(seed, ((2, 3, 4),) * (count + 1), dtype)
    weights = torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    out = sum_weighted(start, slots, weights)
    exact = start.double() + sum(w * slot.double() for w, slot in zip(weights, slots, strict=True))
    assert out.dtype == dtype
    torch.testing.assert_close(out, exact.to(dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("batched", [False, True])
def test_narrow_features_are_summed_in_float32(dtype: torch.dtype, batched: bool) -> None:
    large = 1 / torch.finfo(dtype).eps * 2  # neighbours lie 2 apart, so that adding a half does nothing
    start, half = torch.full((1, 4), large, dtype=dtype), torch.full((1, 4), 0.5, dtype=dtype)
    weights = torch.ones(4, dtype=torch.float64)
    out = sum_weighted(start, [half] * 4, weights.expand(1, -1) if batched else weights)
    assert (start + half == start).all() and (out == large + 2).all()


@every_dtype
@every_shape
def test_weights_per_sample_agree_with_weights_for_all(shapes: tuple[tuple[int, ...], ...], dtype: torch.dtype) -> None:
    memory, _ = filled(4, shapes, dtype=dtype)
    entry, weights = streams(77, shapes, dtype), torch.tensor([1.7, -0.9, 0.2], dtype=torch.float64)
    for one, two in zip(memory.add(entry, weights), memory.add(entry, weights.expand(2, -1)), strict=True):
        torch.testing.assert_close(one, two)


@every_shape
def test_every_sample_has_its_own_weights(shapes: tuple[tuple[int, ...], ...]) -> None:
    memory, residuals = filled(5, shapes)
    entry, weights = streams(77, shapes), torch.tensor([[2.0, -1.0, 0.5], [0.3, 0.0, -4.0]], dtype=torch.float64)
    out = memory.add(entry, weights)
    for s, x in enumerate(entry):
        for b in range(2):
            expected = x[b] + sum(weights[b, k] * residuals[4 - k][s][b] for k in range(3))
            torch.testing.assert_close(out[s][b], expected)


def test_forecasting_leaves_the_input_and_the_memory_alone() -> None:
    memory, _ = filled(3, ((2, 4),))
    (entry,), before = streams(9, ((2, 4),)), [x[0].clone() for x in memory.residuals()]
    kept = entry.clone()
    for weights in (torch.ones(3, dtype=torch.float64), torch.ones(2, 3, dtype=torch.float64)):
        (out,) = memory.add((entry,), weights)
        assert out.untyped_storage().data_ptr() not in {entry.untyped_storage().data_ptr(), *places(memory)}
    assert torch.equal(entry, kept) and all(
        torch.equal(a, x[0]) for a, x in zip(before, memory.residuals(), strict=True)
    )


# What it costs -------------------------------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize(("window", "moments"), [(1, 0), (3, 0), (2, 5)])
def test_the_bytes_declared_are_the_bytes_taken(dtype: torch.dtype, window: int, moments: int) -> None:
    memory, shapes = Memory(window, moments), ((2, 3, 4), (2, 7))
    assert memory.nbytes == 0
    memory.remember(Position.at(0, 9), streams(0, shapes, dtype), streams(1, shapes, dtype), torch.ones(moments))
    slot, wide = 2 * 3 * 4 + 2 * 7, max(4, dtype.itemsize)
    assert memory.nbytes == slot * (window * dtype.itemsize + moments * wide)
    if not moments:
        taken = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for s in memory.residuals() for x in s}
        assert sum(taken.values()) == memory.nbytes


@pytest.mark.parametrize("moments", [0, 4])
def test_everything_is_allocated_at_the_first_step(moments: int) -> None:
    memory, shapes = Memory(3, moments), ((2, 3, 4), (2, 7))
    seen, sizes = set(), set()
    for step in range(10):
        entry, output = streams(step, shapes), streams(step + 50, shapes)
        memory.remember(Position.at(step, 10), entry, output, torch.ones(moments))
        seen |= places(memory)
        sizes.add(memory.nbytes)
    assert len(seen) == len(shapes) and len(sizes) == 1 and memory.kept == 3


def test_a_residual_is_not_changed_by_what_happens_to_the_tensors_it_came_from() -> None:
    memory, (entry,), (output,) = Memory(2), streams(0, ((2, 4),)), streams(1, ((2, 4),))
    expected = output - entry
    memory.remember(Position.at(0, 9), (entry,), (output,))
    entry.zero_(), output.zero_()
    assert torch.equal(memory.residuals()[0][0], expected)


# Moments, other dtypes, what fits ------------------------------------------------------------------------------------


@given(st.integers(0, 99))
def test_moments_are_sums_over_the_whole_run(seed: int) -> None:
    memory, generator = Memory(2, moments=3), torch.Generator().manual_seed(seed)
    bases = torch.randn(7, 3, dtype=torch.float64, generator=generator)
    residuals = torch.randn(7, 2, 4, dtype=torch.float64, generator=generator)
    entry = torch.zeros(2, 4, dtype=torch.float64)
    for step, (basis, residual) in enumerate(zip(bases, residuals, strict=True)):
        memory.remember(Position.at(step, 9), (entry,), (residual,), basis)
    mixture, newest = torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64), torch.tensor([3.0, -1.0])
    (out,) = memory.add_moments((entry,), newest, mixture)
    expected = torch.einsum("m,jm,jbd->bd", mixture, bases, residuals) + 3 * residuals[6] - residuals[5]
    torch.testing.assert_close(out, expected)
    geometry = memory.geometry()
    assert len(geometry) == 7 and geometry.gram is not None and geometry.gram.shape == (2, 2, 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("moments", [0, 2])
def test_residuals_may_be_stored_in_another_dtype(dtype: torch.dtype, stored: torch.dtype, moments: int) -> None:
    memory, (x, y) = Memory(2, moments, storage=Storage(stored)), streams(0, ((2, 64), (2, 64)), dtype)
    memory.remember(Position.at(0, 9), (x,), (y,), torch.ones(moments))
    assert memory.residuals()[0][0].dtype == stored
    assert torch.equal(memory.residuals()[0][0], (y - x).to(stored))
    (out,) = memory.add((x,), torch.ones(1, dtype=torch.float64))
    assert out.dtype == dtype
    coarse = max((dtype, stored), key=lambda d: torch.finfo(d).eps)
    assert ((out - y).abs() <= 2 * torch.finfo(coarse).eps * (x.abs() + (y - x).abs())).all()


def test_an_output_in_another_dtype_than_the_input_is_remembered() -> None:
    memory, x, y = Memory(2), torch.ones(1, 4), torch.full((1, 4), 3.0, dtype=torch.bfloat16)
    memory.remember(Position.at(0, 9), (x,), (y,))
    assert torch.equal(memory.residuals()[0][0], torch.full((1, 4), 2.0))


def test_without_measuring_there_is_no_gram_matrix() -> None:
    memory = Memory(2, measure=False)
    memory.remember(Position.at(0, 9), streams(0, ((2, 4),)), streams(1, ((2, 4),)))
    assert memory.geometry().gram is None and memory.geometry().index == (0,)


def test_features_of_another_kind_do_not_fit() -> None:
    memory, x = Memory(2), torch.zeros(2, 3)
    memory.remember(Position.at(0, 9), (x, x), (x, x))
    assert memory.fits((x + 1, x))
    for other in ((x,), (x, x, x), (x, x[:1]), (x, x.double()), (x, x[:, :2]), (x.to("meta"), x)):
        assert not memory.fits(other)


def a_view(x: Tensor) -> Tensor:
    return torch.stack([x, x], dim=-1)[..., 0]


def test_features_need_not_be_contiguous() -> None:
    memory, (x, y) = Memory(2), streams(0, ((2, 3, 4), (2, 3, 4)))
    memory.remember(Position.at(0, 9), (a_view(x),), (a_view(y),))
    (out,) = memory.add((a_view(x),), torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(out, y)


# Where and how residuals lie -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e5])
def test_float8_residuals_are_stored_relative_to_the_largest_of_their_sample(name: str, size: float) -> None:
    stored = getattr(torch, name)
    memory, (x, y) = Memory(2, storage=Storage(stored)), streams(0, ((2, 8, 16), (2, 8, 16)), torch.float32)
    x, y = size * x, size * torch.stack([y[0], 1000 * y[1]])
    memory.remember(Position.at(0, 9), (x,), (y,))
    (kept,) = memory.residuals()[0]
    most = (y - x).abs().flatten(1).amax(1)[:, None, None]
    # a value is rounded to the dtype's relative precision, or to its smallest number relative to the sample's largest
    bound = torch.finfo(stored).eps * (y - x).abs() + torch.finfo(stored).tiny / torch.finfo(stored).max * most
    assert ((kept - (y - x)).abs() <= bound).all()
    assert memory.nbytes == 2 * 2 * 8 * 16 + 2 * 2 * 4  # values, and a scale for every sample
    gram = memory.geometry().gram
    assert gram is not None
    torch.testing.assert_close(gram[:, 0, 0], kept.double().square().flatten(1).mean(1))


def test_a_float8_residual_that_is_zero_stays_zero() -> None:
    memory, x = Memory(1, storage=Storage(torch.float8_e4m3fn)), torch.ones(2, 3)
    memory.remember(Position.at(0, 9), (x,), (x,))
    assert torch.equal(memory.residuals()[0][0], torch.zeros(2, 3))


@pytest.mark.parametrize("stored", [None, torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_on_a_cpu_offloading_changes_nothing(stored: torch.dtype | None) -> None:
    here, there = (Memory(2, storage=Storage(stored, away)) for away in (False, True))
    for step in range(3):
        x, y = streams(step, ((2, 3, 4), (2, 3, 4)), torch.float32)
        here.remember(Position.at(step, 9), (x,), (y,)), there.remember(Position.at(step, 9), (x,), (y,))
    weights = torch.tensor([2.0, -1.0], dtype=torch.float64)
    assert torch.equal(here.add((x,), weights)[0], there.add((x,), weights)[0])
    assert torch.equal(here.geometry().gram, there.geometry().gram)


@pytest.mark.parametrize("bad", [torch.int8, torch.bool, "float16", 8])
def test_a_storage_dtype_that_is_none_is_refused(bad: object) -> None:
    with pytest.raises(InvalidOption, match="dtype="):
        Storage(bad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_long_narrow_features_are_summed_in_pieces_as_if_at_once(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, *slots = streams(3, ((2, 7, 11),) * 4, dtype)
    weights = torch.tensor([2.0, -1.5, 0.25], dtype=torch.float64)
    at_once = sum_weighted(start, slots, weights)
    monkeypatch.setattr(padecast.memory.arithmetic, "PIECE", 10)
    assert torch.equal(sum_weighted(start, slots, weights), at_once)
    assert torch.equal(sum_weighted(start.mT, [x.mT for x in slots], weights), at_once.mT)


@every_shape
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_one_product_is_the_sum_of_its_parts(shapes: tuple[tuple[int, ...], ...], count: int) -> None:
    memory, residuals = filled(count, shapes)
    entry, weights = streams(77, shapes), torch.randn(2, memory.kept, dtype=torch.float64)
    newest_first = residuals[::-1]
    for chosen in (weights[0], weights):
        for s, out in enumerate(memory.add(entry, chosen)):
            parts = [newest_first[k][s] for k in range(memory.kept)]
            torch.testing.assert_close(out, sum_weighted(entry[s], parts, chosen))


@every_dtype
def test_a_memory_that_is_cleared_is_as_good_as_a_new_one(dtype: torch.dtype) -> None:
    used, shapes = Memory(3, moments=2), ((2, 3, 4),)
    fresh = Memory(3, moments=2)
    for step in range(5):
        used.remember(Position.at(step, 9), streams(step, shapes, dtype), streams(50 + step, shapes, dtype), BASIS)
    where = places(used)
    used.clear()
    assert len(used) == used.kept == 0
    for step in range(2):
        for memory in (used, fresh):
            pair = streams(90 + step, shapes, dtype), streams(95 + step, shapes, dtype)
            memory.remember(Position.at(step, 9), *pair, BASIS)
    assert places(used) == where
    weights, mixture = torch.tensor([2.0, -1.0], dtype=torch.float64), torch.tensor([0.5, 3.0], dtype=torch.float64)
    entry = streams(99, shapes, dtype)
    assert torch.equal(used.add(entry, weights)[0], fresh.add(entry, weights)[0])
    assert torch.equal(used.add_moments(entry, weights, mixture)[0], fresh.add_moments(entry, weights, mixture)[0])
    assert torch.equal(used.geometry().gram, fresh.geometry().gram)


BASIS = torch.tensor([1.0, 0.5], dtype=torch.float64)


def test_a_slot_without_weight_is_not_read_whatever_it_holds() -> None:
    memory, x = Memory(3), torch.zeros(1, 4)
    for step, value in enumerate((float("inf"), 2.0, 3.0)):
        memory.remember(Position.at(step, 9), (x,), (x + value,))
    (out,) = memory.add((x,), torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64))
    assert torch.equal(out, torch.full((1, 4), 4.0))


def test_large_values_are_stored_in_float16() -> None:
    memory, x = Memory(1, storage=Storage(torch.float16)), torch.zeros(2, 3)
    memory.remember(Position.at(0, 9), (x,), (torch.tensor([[1e6, 1.0, 0.0], [1.0, 2.0, 3.0]]),))
    torch.testing.assert_close(
        memory.residuals()[0][0], torch.tensor([[1e6, 1.0, 0.0], [1.0, 2.0, 3.0]]), rtol=2e-3, atol=0
    )


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_products_stay_exact_where_matrix_products_are_not(precision: str) -> None:
    """TF32 or bfloat16 products, which many scripts allow, would spoil differences of residuals."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        memory, entry = Memory(3), streams(1, ((2, 64, 256),), torch.float32)
        residuals = [torch.randn(2, 64, 256, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
        for step, residual in enumerate(residuals):
            memory.remember(Position.at(step, 9), entry, tuple(x + residual for x in entry))
        weights = torch.tensor([[0.3, -0.7, 1.1], [2.0, 0.5, -0.25]], dtype=torch.float64)
        got, gram = memory.add(entry, weights)[0], memory.geometry().gram
    finally:
        torch.set_float32_matmul_precision(before)
    newest = torch.stack([kept[0] for kept in memory.residuals()]).double()
    exact = entry[0].double() + torch.einsum("bk,kbnd->bnd", weights, newest)
    torch.testing.assert_close(got.double(), exact, rtol=1e-6, atol=2e-6)
    torch.testing.assert_close(gram, torch.einsum("jbnd,kbnd->bjk", newest, newest) / (64 * 256), rtol=1e-6, atol=1e-6)


def test_what_is_ready_for_a_graph_is_the_same_sum_and_reads_no_slot_without_weight() -> None:
    memory, residuals = filled(4, ((2, 5, 3),), dtype=torch.float32)
    entry = streams(9, ((2, 5, 3),), torch.float32)
    for weights in (torch.tensor([0.5, 2.0, -1.5]), torch.tensor([[0.5, 2.0, -1.5], [1.0, 0.0, 0.25]])):
        ready = memory.ready(weights)
        assert ready is not None and ready.fits(entry)
        torch.testing.assert_close(ready.add(entry), memory.add(entry, weights))
    memory.residuals()[2][0].fill_(torch.inf)
    ready = memory.ready(torch.tensor([0.5, 2.0, 0.0]))
    assert ready is not None and bool(ready.add(entry)[0].isfinite().all())
    assert not ready.fits((entry[0][:1],)) and not ready.fits((entry[0].double(),))
    assert len(residuals) == 4


def test_slots_made_in_inference_mode_serve_runs_outside_of_it() -> None:
    memory, (x, y) = Memory(1), streams(3, ((2, 4), (2, 4)), torch.float32)
    with torch.inference_mode():
        memory.remember(Position.at(0, 9), (x.clone(),), (y.clone(),))
    memory.clear()
    memory.remember(Position.at(0, 9), memory.hold((x,)), (y,))
    torch.testing.assert_close(memory.residuals()[0][0], y - x)
