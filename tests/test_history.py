from __future__ import annotations

import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from padecast import Geometry, Position, Trace
from padecast._geometry import precise, unit


def residuals(seed: int = 0, count: int = 4, batch: int = 3, size: int = 5) -> Tensor:
    return torch.randn(count, batch, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# Position and trace --------------------------------------------------------------------------------------------------


def test_the_time_of_a_step_is_its_index_unless_said() -> None:
    assert Position.at(3, 20).time == 3.0 and isinstance(Position.at(3, 20).time, float)
    assert Position.at(3, 20, time=0.25).time == 0.25
    assert Position.at(3, 20, time=0.0).time == 0.0


def test_the_last_step_is_the_last_of_the_grid() -> None:
    assert [Position.at(i, 3).is_last for i in range(3)] == [False, False, True]


def test_the_weight_of_a_step_is_its_stride_or_an_even_share() -> None:
    assert Position.at(3, 20).weight == 1 / 20
    assert Position.at(3, 20, stride=0.3).weight == Position.at(3, 20, stride=-0.3).weight == 0.3
    assert Position.at(3, 20, stride=0.0).weight == 0


def test_strides_of_the_whole_grid_say_the_stride_of_every_step() -> None:
    at = Position.at(1, 3, strides=(0.5, 0.3, -0.2))
    assert (at.stride, at.weight) == (0.3, 0.3)
    assert [at.weight_of(index) for index in range(3)] == [0.5, 0.3, 0.2]
    assert Position.at(1, 3, stride=0.7, strides=(0.5, 0.3, 0.2)).stride == 0.7
    assert Position.at(1, 4).weight_of(3) == 1 / 4 and Position.at(1, 4, stride=0.7).weight_of(3) == 0.7


@given(st.text("C.", max_size=20), st.integers(0, 5))
def test_a_trace_says_what_a_plan_says(plan: str, start: int) -> None:
    trace = Trace()
    for index, letter in enumerate(plan, start):
        trace = trace.then(Position.at(index, 30), letter == "C")
    assert len(trace) == len(plan)
    assert trace.computed == tuple(i for i, letter in enumerate(plan, start) if letter == "C")
    tail = plan[plan.rfind("C") + 1 :]
    assert [at.index for at in trace.since_computed] == list(range(start + len(plan) - len(tail), start + len(plan)))
    assert trace.forecasts_in_a_row == len(tail)


def test_a_trace_is_a_value() -> None:
    first = Trace().then(Position.at(0, 5), True)
    second = first.then(Position.at(1, 5), False)
    assert len(first) == 1 and first.forecasts_in_a_row == 0 and second.forecasts_in_a_row == 1
    corrected = second.corrected()
    assert corrected.computed == (0, 1) and second.computed == (0,)
    assert pickle.loads(pickle.dumps(second)) == second and hash(second) == hash(first.then(Position.at(1, 5), False))


# Geometry ------------------------------------------------------------------------------------------------------------


def test_the_gram_matrix_holds_mean_products_newest_first() -> None:
    sequence = residuals()
    geometry = Geometry.of(sequence, [0, 3, 4, 9], [0.0, 0.3, 0.4, 0.9])
    assert geometry.index == (9, 4, 3, 0) and geometry.time == (0.9, 0.4, 0.3, 0.0) and len(geometry) == 4
    newest_first = sequence.flip(0)
    expected = torch.tensor(
        [[[float(newest_first[j, b] @ newest_first[k, b]) / 5 for k in range(4)] for j in range(4)] for b in range(3)]
    )
    assert geometry.gram is not None and geometry.gram.dtype == torch.float64
    torch.testing.assert_close(geometry.gram.float(), expected.float())


def test_a_sequence_without_a_batch_is_one_sample() -> None:
    geometry = Geometry.of(torch.ones(3, 5), [0, 1, 2])
    assert geometry.gram is not None and geometry.gram.shape == (1, 3, 3)
    assert geometry.time == (2.0, 1.0, 0.0)


@given(st.integers(0, 99))
def test_distances_are_those_of_the_forecasts(seed: int) -> None:
    sequence = residuals(seed)
    geometry, newest_first = Geometry.of(sequence, [0, 1, 2, 3]), sequence.flip(0)
    one, two = residuals(seed + 1, 2, 3, 4)
    gap = torch.einsum("bk,kbd->bd", one - two, newest_first)
    torch.testing.assert_close(geometry.distance(one, two), gap.norm(dim=1) / newest_first[0].norm(dim=1))
    torch.testing.assert_close(geometry.quadratic(one, two), geometry.quadratic(two, one))
    shared = geometry.distance(one[0], two[0])  # (K,) weights serve every sample
    torch.testing.assert_close(shared, geometry.distance(one[:1].expand(3, -1), two[:1].expand(3, -1)))


@given(st.integers(0, 99))
def test_change_and_stability_are_those_of_the_vectors(seed: int) -> None:
    r4, r3, r2, r1 = residuals(seed)
    geometry = Geometry.of(torch.stack([r4, r3, r2, r1]), [0, 1, 2, 3])
    torch.testing.assert_close(geometry.change(), (r1 - r2).norm(dim=1) / (r1 + r2).norm(dim=1))
    torch.testing.assert_close(geometry.change(1), (r2 - r3).norm(dim=1) / (r2 + r3).norm(dim=1))
    cosine = torch.nn.functional.cosine_similarity(r1 - r2, r2 - r3, dim=1)
    torch.testing.assert_close(geometry.stability(), 1 + cosine)


def test_what_is_not_finite_is_not_stable_and_what_stands_still_is() -> None:
    broken = residuals(batch=2)
    broken[-1, 0] = math.nan
    broken[:, 1] = 1
    stability = Geometry.of(broken, [0, 1, 2, 3]).stability()
    assert stability[0].isnan() and stability[1] == 2


def test_the_newest_of_a_geometry_are_measured_alike() -> None:
    sequence = residuals()
    newest = Geometry.of(sequence, [0, 3, 4, 9]).newest(2)
    alone = Geometry.of(sequence[2:], [4, 9])
    assert newest == alone and newest.gram is not None and alone.gram is not None
    torch.testing.assert_close(newest.gram, alone.gram)
    assert Geometry((1, 0), (1.0, 0.0)).newest(1) == Geometry((1,), (1.0,))


def test_a_geometry_knows_what_it_was_before_its_newest_step() -> None:
    sequence = residuals()
    before, then = Geometry.of(sequence, [0, 3, 4, 9]).before_newest(), Geometry.of(sequence[:3], [0, 3, 4])
    assert before == then and before.gram is not None and then.gram is not None
    torch.testing.assert_close(before.gram, then.gram)
    assert Geometry((1, 0), (1.0, 0.0)).before_newest() == Geometry((0,), (0.0,))


def test_branches_that_remember_the_same_steps_are_joined_sample_by_sample() -> None:
    one, two = Geometry.of(residuals(0), [0, 1, 2, 3]), Geometry.of(residuals(1, batch=1), [0, 1, 2, 3])
    other, bare = Geometry.of(residuals(2), [0, 1, 2, 4]), Geometry(one.index, one.time)
    joined = one.joined([other, two, bare])
    assert one.gram is not None and two.gram is not None and joined.gram is not None
    assert joined.index == one.index and torch.equal(joined.gram, torch.cat([one.gram, two.gram]))
    assert one.joined([]) is one and one.joined([other]) is one and bare.joined([one]) is bare


def test_without_inner_products_it_says_so() -> None:
    bare = Geometry((1, 0), (1.0, 0.0))
    with pytest.raises(ValueError, match="told not to measure"):
        bare.change()


def test_geometries_compare_and_hash_by_their_steps() -> None:
    one, two = Geometry.of(residuals(0), [0, 1, 2, 3]), Geometry.of(residuals(1), [0, 1, 2, 3])
    assert one == two and hash(one) == hash(two) and one != one.newest(3)


def test_helpers() -> None:
    assert unit(3, 1).tolist() == [0, 1, 0] and unit(3, 1).dtype == torch.float64
    assert unit(2, 0, like=torch.ones(1, dtype=torch.float32)).dtype == torch.float32
    assert precise(torch.ones(1, dtype=torch.float16)).dtype == torch.float64
