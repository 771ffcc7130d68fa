"""What every registered forecaster promises. A new line of the registry is tested here without further ado."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterable
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from padecast import Geometry, Position
from padecast.forecasters import REGISTRY, Forecaster, ToCa
from padecast.forecasters.base import pad
from padecast.forecasters.extras import Direct, Moments
from padecast.memory.memory import Memory
from padecast.session.branch import forecast

TOTAL = 20
VARIANTS = {
    "taylor": ("taylor:order=0", "taylor:order=2", "taylor:order=3"),
    "hermite": ("hermite:order=0", "hermite:order=1", "hermite:order=3,scale=0.7"),
    "foca": ("foca:corrected=false",),
    "lagrange": ("lagrange:degree=0", "lagrange:degree=2", "lagrange:degree=4"),
    "pade": ("pade:order=(0,1)", "pade:order=(2,1)", "pade:order=(2,0)", "pade:guard=1", "pade:guard=50"),
    "tcpade": (
        "tcpade:feedback=0",
        "tcpade:damping=0",
        "tcpade:order=(2,1),damping=10",
        "tcpade:early=0.1,late=0.3",
        "tcpade:form=published",
    ),
    "chebyshev": (
        "chebyshev:degree=0",
        "chebyshev:degree=2,ridge=0",
        "chebyshev:blend=0.5",
        "chebyshev:span=50",
        "chebyshev:abscissa=time",
    ),
    "feedback": (
        "feedback:inner=pade",
        "feedback:inner=(taylor:order=2),share=1",
        "feedback:share=0",
        "feedback:inner=(pade:order=(0,1))",
    ),
    "l2p": ("l2p:ridge=1",),
    "blend": ("blend:first=pade,second=(taylor:order=2),share=0.3", "blend:first=(pade:order=(0,1)),share=0"),
}
WRITTEN = [written for name in REGISTRY for written in (name, *VARIANTS.get(name, ()))]

# Where a claim is not made, and why.
ON_THE_UNIT_INTERVAL = {"chebyshev:abscissa=time"}  # maps [0, 1] to [-1, 1]: its time has an origin and a unit
COUNTS_STEPS = {w for w in WRITTEN if w.startswith("hermite")}  # its series is not one of powers: it has a unit of time
SHRINKS = {w for w in WRITTEN if w.startswith("chebyshev")}  # the ridge pulls to zero; without one see its own tests


def forecasters(
    *, without: Iterable[str] = (), which: Callable[[Forecaster], bool] | None = None
) -> pytest.MarkDecorator:
    """Parametrize over all forecasters and variants, or over those that make a claim."""
    chosen = {w: REGISTRY.make(w) for w in WRITTEN if w not in set(without)}
    named = {w: forecaster for w, forecaster in chosen.items() if which is None or which(forecaster)}
    return pytest.mark.parametrize("forecaster", list(named.values()), ids=list(named))


every_forecaster = forecasters()


def residuals(count: int, batch: int = 2, size: int = 6, seed: int = 0) -> Tensor:
    """A rough sequence ``(count, batch, size)``, oldest first."""
    draws = torch.randn(count + 1, batch, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return draws[0] + draws[1:].cumsum(0)


def measured(sequence: Tensor, index: list[int] | None = None) -> Geometry:
    """The geometry of a sequence whose time runs from 0 to 1 over the run, so that every forecaster can read it."""
    index = list(range(len(sequence))) if index is None else index
    return Geometry.of(sequence, index, [i / TOTAL for i in index])


def place(index: int) -> Position:
    return Position.at(index, TOTAL, index / TOTAL)


def after(geometry: Geometry, steps: int = 1) -> Position:
    return place(geometry.index[0] + steps)


@st.composite
def schedules(draw: st.DrawFn, least: int = 1) -> tuple[list[int], int]:
    """Computed steps of a run of TOTAL, oldest first, and a later step."""
    chosen = sorted(draw(st.sets(st.integers(0, TOTAL - 1), min_size=least + 1, max_size=6)))
    return chosen[:-1], chosen[-1]


def test_variants_are_of_registered_forecasters() -> None:
    assert set(VARIANTS) <= set(REGISTRY)


@every_forecaster
def test_weights_are_float64_one_for_every_remembered_residual(forecaster: Forecaster) -> None:
    for count, batch in product(range(1, 7), (1, 3)):
        geometry = measured(residuals(count, batch))
        weights = forecaster.weights(geometry, after(geometry))
        assert weights.shape in [(count,), (batch, count)]
        assert weights.dtype == torch.float64
        assert weights.isfinite().all()


@forecasters(which=lambda forecaster: forecaster.sums_to_one)
@given(schedules(), st.integers(0, 99))
def test_weights_sum_to_one_where_the_forecaster_says_so(
    forecaster: Forecaster, schedule: tuple[list[int], int], seed: int
) -> None:
    index, ahead = schedule
    weights = forecaster.weights(measured(residuals(len(index), seed=seed), index), place(ahead))
    bound = 1e-11 * weights.abs().sum(-1).max().item()  # rounding of large weights of both signs
    assert ((weights.sum(-1) - 1).abs() <= bound).all()


@forecasters(which=lambda forecaster: not forecaster.sums_to_one)
def test_a_forecaster_that_says_its_weights_do_not_sum_to_one_is_right(forecaster: Forecaster) -> None:
    sums = [forecaster.weights(measured(residuals(count)), place(8)).sum(-1) for count in (2, 3, 4)]
    assert max(float((total - 1).abs().max()) for total in sums) > 1e-6


@forecasters(which=lambda forecaster: forecaster.sums_to_one)
@given(schedules(), st.integers(0, 99))
def test_a_residual_that_stands_still_is_forecast_exactly(
    forecaster: Forecaster, schedule: tuple[list[int], int], seed: int
) -> None:
    index, ahead = schedule
    still = residuals(1, seed=seed).expand(len(index), -1, -1)
    weights = forecaster.weights(measured(still, index), place(ahead)).expand(2, -1)
    bound = 1e-11 * weights.abs().sum().item() * still.abs().max().item()
    assert torch.allclose(torch.einsum("bk,kbd->bd", weights, still.flip(0)), still[0], rtol=0, atol=bound)


def degenerate(count: int) -> dict[str, Tensor]:
    one, steps = residuals(1), torch.arange(count, dtype=torch.float64)[:, None, None]
    return {
        "zero": 0 * steps * one,
        "equal": one.expand(count, -1, -1),
        "zero newest": residuals(count) * (steps < count - 1),
        "collinear": one * steps,
        "alternating": one * (-1) ** steps,
        "tiny": residuals(count) * 1e-30,
        "huge": residuals(count) * 1e30,
    }


@every_forecaster
def test_weights_are_finite_on_degenerate_residuals(forecaster: Forecaster) -> None:
    for count in (1, 2, 3, 4, 6):
        for kind, sequence in degenerate(count).items():
            geometry = measured(sequence, [3 * k for k in range(count)])
            assert forecaster.weights(geometry, after(geometry)).isfinite().all(), (kind, count)


@forecasters(without=SHRINKS)
def test_a_line_is_forecast_ahead_of_the_newest_residual_not_behind(forecaster: Forecaster) -> None:
    start, slope = residuals(2, batch=1)
    slope = slope + start  # its length grows with it, so that a denominator alone sees where it goes
    for index in ([7, 8], [4, 8], [6, 7, 8], [0, 4, 8], [0, 1, 5, 7], [0, 4, 8, 12]):
        line = start + 0.02 * torch.tensor(index, dtype=torch.float64)[:, None, None] * slope
        geometry = measured(line, index)
        weights = forecaster.weights(geometry, after(geometry)).expand(1, -1)
        ahead = torch.einsum("bk,kbd->bd", weights, line.flip(0)) - line[-1]
        repeats = torch.equal(weights, pad(torch.ones(1, 1, dtype=torch.float64), len(index)))
        assert repeats or (ahead * slope).sum() > 0, index


@pytest.mark.parametrize("written", ["lagrange", "taylor", "pade", "tcpade", "blend"])
def test_the_default_extrapolates_rather_than_repeats(written: str) -> None:
    line = torch.arange(1.0, 4.0)[:, None, None]
    geometry = measured(line, [6, 7, 8])
    assert (REGISTRY.make(written).weights(geometry, after(geometry)) * line.flip(0).flatten()).sum() > 3


@forecasters(without=ON_THE_UNIT_INTERVAL | COUNTS_STEPS)
@given(
    schedules(),
    st.floats(-50, 50),
    st.floats(0.01, 100).flatmap(lambda size: st.sampled_from([size, -size])),
)
def test_weights_do_not_depend_on_origin_unit_and_direction_of_time(
    forecaster: Forecaster, schedule: tuple[list[int], int], shift: float, scale: float
) -> None:
    index, ahead = schedule
    sequence = residuals(len(index))

    def weights(clock: list[float], now: float) -> Tensor:
        return forecaster.weights(Geometry.of(sequence, index, clock), Position.at(ahead, TOTAL, now))

    plain = weights([float(i) for i in index], float(ahead))
    moved = weights([shift + scale * i for i in index], shift + scale * ahead)
    # 1e-6: an origin 5000 times as far as the steps lie apart costs four digits, and a denominator twice as many
    assert torch.allclose(moved, plain, rtol=1e-6, atol=1e-6 * plain.abs().max().item())


@every_forecaster
@given(schedules(), st.integers(0, 99), st.sampled_from([1e-4, 0.3, 7.0, 1e4]))
def test_weights_do_not_depend_on_scale_and_rotation_of_features(
    forecaster: Forecaster, schedule: tuple[list[int], int], seed: int, scale: float
) -> None:
    index, ahead = schedule
    at, sequence = place(ahead), residuals(len(index), seed=seed)
    rotation = torch.linalg.qr(residuals(6, 1, seed=seed)[:, 0])[0]
    plain = forecaster.weights(measured(sequence, index), at)
    turned = forecaster.weights(measured(scale * sequence @ rotation, index), at)
    # 1e-8: a denominator is a ratio of small differences of inner products
    assert torch.allclose(turned, plain, rtol=1e-8, atol=1e-8 * plain.abs().max().item())


@every_forecaster
def test_weights_are_a_pure_function(forecaster: Forecaster) -> None:
    geometry, other = measured(residuals(4)), measured(residuals(3, seed=1), [2, 5, 9])
    assert geometry.gram is not None
    before = geometry.gram.clone()
    first = forecaster.weights(geometry, after(geometry))
    kept = first.clone()
    forecaster.weights(other, after(other, 3))
    assert torch.equal(forecaster.weights(geometry, after(geometry)), kept)
    assert torch.equal(first, kept)
    assert torch.equal(geometry.gram, before)


@every_forecaster
def test_weights_of_a_sample_do_not_depend_on_its_batch_mates(forecaster: Forecaster) -> None:
    together = residuals(4, batch=5)
    together[:, 2] = 0  # a mate that is degenerate
    geometry = measured(together)
    batched = forecaster.weights(geometry, after(geometry)).expand(5, -1)
    for b in range(5):
        alone = forecaster.weights(measured(together[:, b : b + 1]), after(geometry)).expand(1, -1)
        torch.testing.assert_close(batched[b : b + 1], alone)


@forecasters(which=lambda forecaster: not isinstance(forecaster.extra, Moments))
def test_residuals_beyond_the_window_get_no_weight(forecaster: Forecaster) -> None:
    geometry = measured(residuals(6))
    weights = forecaster.weights(geometry, after(geometry))
    seen = forecaster.weights(geometry.newest(forecaster.window), after(geometry))
    assert torch.equal(weights, pad(seen, 6))


@forecasters(which=lambda forecaster: forecaster.extra is None or isinstance(forecaster.extra, (Moments, ToCa)))
def test_a_forecast_is_the_weighted_sum_that_the_weights_say(forecaster: Forecaster) -> None:
    entry = residuals(1, seed=7)[0]
    moments = forecaster.extra if isinstance(forecaster.extra, Moments) else None
    direct = forecaster.extra if isinstance(forecaster.extra, Direct) else None
    for count in (1, 2, 3, 4, 7):
        sequence = residuals(count)
        memory = Memory(forecaster.window, 0 if moments is None else moments.moments)
        for i, residual in enumerate(sequence):
            at = place(2 * i)
            memory.remember(at, (entry,), (entry + residual,), None if moments is None else moments.basis(at))
        geometry, at = memory.geometry(), place(2 * count)
        weights = forecaster.weights(geometry, at)
        (out,) = forecast(forecaster, direct, memory, memory.geometry(), (entry,), at)[1]
        newest_first = sequence.flip(0)[: len(geometry)]
        expected = entry + torch.einsum("bk,kbd->bd", weights.expand(2, -1), newest_first)
        # degree=2,ridge=0 mixes moments with weights up to some 1e3 and loses as many digits
        torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)


@every_forecaster
def test_a_forecaster_is_a_value(forecaster: Forecaster) -> None:
    again = pickle.loads(pickle.dumps(forecaster))
    assert again == forecaster and hash(again) == hash(forecaster)
    assert again.window == forecaster.window >= 1
    for field in dataclasses.fields(forecaster):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(forecaster, field.name, None)


@every_forecaster
def test_the_flags_are_plain_booleans(forecaster: Forecaster) -> None:
    assert {type(flag) for flag in (forecaster.needs_gram, forecaster.needs_stride, forecaster.sums_to_one)} == {bool}


@forecasters(which=lambda forecaster: not forecaster.needs_gram)
def test_a_forecaster_without_need_of_inner_products_works_without(forecaster: Forecaster) -> None:
    geometry = measured(residuals(4))
    bare = Geometry(geometry.index, geometry.time)
    assert torch.equal(forecaster.weights(bare, after(bare)), forecaster.weights(geometry, after(bare)))
