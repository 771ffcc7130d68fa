"""Named methods: a policy, a forecaster and a span under one name. A method is one entry."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from padecast import forecasters, policies
from padecast._errors import InvalidOption, check, nearest, quote, unknown
from padecast._options import check_option
from padecast._registry import NAME, Registry, configure, parse
from padecast.forecasters import (
    L2P,
    Chebyshev,
    FoCa,
    Forecaster,
    Hermite,
    Lagrange,
    MeanVelocity,
    Pade,
    Reuse,
    Taylor,
    TCPade,
    ToCa,
)
from padecast.forecasters.extras import Moments
from padecast.policies import (
    Accumulated,
    Always,
    Delta,
    FirstBlock,
    Growing,
    GuidedRisk,
    Interval,
    Learned,
    Magnitude,
    Policy,
    Rate,
    Sea,
    Searched,
    Spaced,
    Stability,
    Tolerance,
)
from padecast.policies.published import WORD, find


@dataclass(frozen=True)
class Method:
    """When to compute, with which weights to forecast, and which part of the model.

    Args:
        name: As written by users.
        policy: When to compute.
        forecaster: With which weights to forecast.
        summary: One line on what it is and when to take it.
        cites: Keys of :mod:`padecast.methods.citations`.
        span: Which block lists of the model, ``"full"`` by default.
        retrace: Whether stretches of forecast steps are gone through again once the computed step after them is known;
            see :class:`padecast.hooks.retrace.Retrace`. Default false.

    Example:
        >>> method("fora:every=3").policy
        Interval(every=3, warmup=0, last=True)
    """

    name: str
    policy: Policy
    forecaster: Forecaster
    summary: str
    cites: tuple[str, ...] = ()
    span: str = "full"
    retrace: bool = False

    def __post_init__(self) -> None:
        """Check that it is made of parts.

        Raises:
            InvalidOption: If a part is of the wrong kind, or the name, the summary or the span is no text.
        """
        for role, kind in (("policy", Policy), ("forecaster", Forecaster)):
            check_part(role, getattr(self, role), kind)
        for word in ("name", "summary", "span"):
            check_option(word, getattr(self, word), str)

    @property
    def needs(self) -> tuple[str, ...]:
        """What it reads besides step indices, and how many residuals it keeps."""
        parts, extra = (self.policy, self.forecaster), self.forecaster.extra
        entries = (
            (any(part.needs_gram for part in parts), "inner products"),
            (any(part.needs_stride for part in parts), "noise levels"),
            (bool(self.policy.probe), f"{self.policy.probe} at every step"),
            (self.retrace, "the scheduler's step"),
            (isinstance(extra, Moments), f"{getattr(extra, 'moments', 0)} moments"),
            (True, f"{max(self.forecaster.window, self.policy.looks_back)} residuals"),
        )
        return tuple(name for needed, name in entries if needed)

    def configured(self, options: dict[str, Any]) -> Method:
        """Return the method with options of its policy, its forecaster or its span replaced.

        Raises:
            UnknownName: If neither part has an option of that name.
            InvalidOption: If a value cannot be read or is out of range.
        """
        parts: dict[str, Policy | Forecaster] = {"policy": self.policy, "forecaster": self.forecaster}
        changes: dict[str, dict[str, Any]] = {"policy": {}, "forecaster": {}}
        span, retrace = self.span, self.retrace
        names = {role: {f.name for f in dataclasses.fields(part) if f.init} for role, part in parts.items()}
        for key, value in options.items():
            role = next((role for role in parts if key in names[role]), None)
            if key == "span" and (role is None or _is_name(value)):
                span = value
            elif key == "retrace" and role is None:
                retrace = _flag(key, value)
            elif role is not None:
                changes[role][key] = value
            else:
                raise unknown(f"option of method {self.name}", key, {"span", "retrace"}.union(*names.values()))
        policy = _replace_options(self.policy, changes["policy"], self.name)
        forecaster = _replace_options(self.forecaster, changes["forecaster"], self.name)
        return dataclasses.replace(self, policy=policy, forecaster=forecaster, span=span, retrace=retrace)


def check_part(role: str, part: object, kind: type) -> None:
    """Raise unless a part is an instance of its kind.

    Raises:
        InvalidOption: Naming the part, with one that would do.
    """
    if not isinstance(part, kind):
        raise InvalidOption(
            f"{role}={quote(part)} is not a {role}.\n"
            f"Give an instance, such as padecast.{EXAMPLES[role]}, or its name as a string."
        )


EXAMPLES = {"policy": "policies.Interval(every=3)", "forecaster": "forecasters.Pade(order=(1, 1))"}


def _is_name(value: object) -> bool:
    """Whether a span is the name of one, and no number of steps, as Spectrum's regression takes it.

    Example:
        >>> [_is_name(value) for value in ("output", "50", "none", 50, None)]
        [True, False, False, False, False]
    """
    return isinstance(value, str) and value.strip().isidentifier() and value.strip().lower() not in _VALUES


_VALUES = ("none", "true", "false")


def _flag(key: str, value: object) -> bool:
    """Read yes or no.

    Raises:
        InvalidOption: If it is neither.
    """
    read = {"true": True, "false": False}.get(value.strip().lower(), value) if isinstance(value, str) else value
    check(isinstance(read, bool), key, value, "true or false")
    return bool(read)


def _replace_options(part: Any, changes: dict[str, Any], owner: str) -> Any:
    if not changes:
        return part
    options = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
    registry: Registry[Any] = policies.REGISTRY if isinstance(part, Policy) else forecasters.REGISTRY
    return configure(type(part), {**options, **changes}, f"method {owner}", registry)


DAMPED = TCPade(damping=16.0)
"""The forecaster of our own methods: where stretches are gone through again, a forecast is only a start."""
METHODS = (
    Method(
        "adaptive",
        Tolerance(),
        DAMPED,
        "computes when forecasts may have led the image astray (default)",
        ("tc-pade", "padecast"),
        span="output",
        retrace=True,
    ),
    Method(
        "tc-pade",
        Spaced(),
        DAMPED,
        "damped vector Padé, a fixed number of computed steps",
        ("tc-pade",),
        span="output",
        retrace=True,
    ),
    Method(
        "learned",
        Learned(),
        DAMPED,
        "the first run teaches, the next follow plans that come of it",
        ("tc-pade", "padecast"),
        span="output",
        retrace=True,
    ),
    Method(
        "tc-pade-fast",
        Stability(0.7),
        TCPade(),
        "TC-Padé's stability rule, threshold 0.7, intervals of 4",
        ("tc-pade",),
    ),
    Method(
        "tc-pade-slow",
        Stability(1.0, every=3),
        TCPade(),
        "TC-Padé's stability rule, threshold 1.0, intervals of 3",
        ("tc-pade",),
    ),
    Method(
        "tc-pade-careful",
        Stability(1.3, every=2),
        TCPade(),
        "TC-Padé's stability rule, threshold 1.3, intervals of 2",
        ("tc-pade",),
    ),
    Method(
        "tc-pade-published",
        Stability(1.0),
        TCPade(form="published"),
        "TC-Padé's printed predictor, read newest first, for comparison",
        ("tc-pade",),
    ),
    Method("pade", Interval(every=4), Pade(), "undamped vector Padé on even plans", ("tc-pade",)),
    Method("spectrum", Growing(), Chebyshev(blend=0.5), "Chebyshev ridge regression, 14 of 50 steps", ("spectrum",)),
    Method("spectrum-fast", Growing(growth=3.0), Chebyshev(blend=0.5), "the same, 10 of 50 steps", ("spectrum",)),
    Method("taylorseer", Interval(every=4, warmup=3), Taylor(1), "finite differences, as published", ("taylorseer",)),
    Method("fora", Interval(every=4), Reuse(), "repeats the newest residual", ("fora",)),
    Method("hicache", Interval(every=4, warmup=3), Hermite(), "Hermite series of finite differences", ("hicache",)),
    Method("foca", Interval(every=4, warmup=3), FoCa(), "backward differentiation and Heun's rule", ("foca",)),
    Method(
        "teacache", Accumulated(), Reuse(), "repeats until the first block's input has changed enough", ("teacache",)
    ),
    Method("seacache", Sea(), Reuse(), "repeats until what noise does not hide has changed enough", ("seacache",)),
    Method(
        "first-block",
        FirstBlock(),
        Reuse(),
        "repeats while what the first block adds stays alike",
        ("first-block",),
        span="rest",
    ),
    Method("magcache", Magnitude(), Reuse(), "repeats while magnitudes allow it, as calibrated", ("magcache",)),
    Method(
        "easycache",
        Rate(),
        Reuse(),
        "repeats the whole model while its output is expected to stay alike",
        ("easycache",),
        span="difference",
    ),
    Method("delta-dit", Delta(), Reuse(), "repeats either half of the blocks, by phase", ("delta-dit",), span="halves"),
    Method(
        "toca",
        Interval(every=4),
        ToCa(),
        "repeats every module's output but for chosen tokens",
        ("toca",),
        span="modules",
    ),
    Method(
        "l2p",
        Interval(every=4),
        L2P(),
        "weights fitted on uncached runs for every step; repeats until it was fitted",
        ("l2p",),
        span="output",
    ),
    Method(
        "ra-cfgcache",
        GuidedRisk(),
        Reuse(),
        "repeats while guidance lets the branches' errors cancel, as calibrated",
        ("ra-cfgcache",),
    ),
    Method(
        "budcache",
        Searched(),
        Reuse(),
        "repeats by a plan found by annealing on runs of the model",
        ("budcache",),
        span="output",
    ),
    Method(
        "meancache",
        Searched("average-velocity"),
        MeanVelocity(),
        "average velocities, by a plan that is a shortest path through uncached runs",
        ("meancache",),
        span="output",
    ),
    Method("linear", Interval(every=4), Lagrange(1), "linear extrapolation on even plans", ("padecast",)),
    Method("seacache-linear", Sea(), Lagrange(1), "as seacache, with linear extrapolation", ("seacache",)),
    Method("none", Always(), Reuse(), "computes every step: the untouched model, measured", ("padecast",)),
)
REGISTRY: dict[str, Method] = {m.name: m for m in METHODS}
DEFAULT = "adaptive"
for _method in METHODS:  # a method, its forecaster and its policy may have three names: each registry knows the others'
    forecasters.REGISTRY.note(_method.name, forecasters.REGISTRY.name_of(_method.forecaster))
    policies.REGISTRY.note(_method.name, policies.REGISTRY.name_of(_method.policy))


def method(written: str) -> Method:
    """Build the method that ``name:option=value,...`` describes.

    Args:
        written: Such as ``"tc-pade"`` or ``"tc-pade-fast:threshold=0.8,every=5"``; ``"published:flux-50-9"`` follows a
            published plan (:func:`padecast.policies.published.list_published`), with options behind a comma.

    Raises:
        UnknownName: If the name or an option is unknown; the message names the nearest one.
        InvalidOption: If a value cannot be read or is out of range.

    Example:
        >>> method("spectrum:ridge=0.5").forecaster.ridge
        0.5
        >>> method("published:flux-50-9,damping=3").policy.nfe
        9
        >>> method("tcpade")
        Traceback (most recent call last):
            ...
        padecast._errors.UnknownName: unknown method 'tcpade'; the nearest is 'tc-pade'.
        Known: adaptive, ... toca
    """
    name, options = split(written)
    return look_up(name).configured(dict(options))


def split(written: str) -> tuple[str, dict[str, str]]:
    """Split what was written into the name of a method and its options, as text.

    Args:
        written: As for :func:`method`.

    Raises:
        InvalidOption: If an option has no value, or two.

    Example:
        >>> split("fora:every=3"), split("published:flux-50-9,damping=3")
        (('fora', {'every': '3'}), ('published:flux-50-9', {'damping': '3'}))
    """
    if not isinstance(written, str) or not written.strip().startswith(f"{WORD}:"):
        return parse(written)
    name, _, rest = written.strip().partition(",")
    _, options = parse(f"{WORD}:{rest}")
    return name.strip(), options


def look_up(name: str) -> Method:
    """Return the method of a name, without options; ``published:NAME`` is one that follows a published plan.

    Raises:
        UnknownName: If there is none; the message says which have a part of that name, or names the nearest.

    Example:
        >>> look_up("chebyshev")
        Traceback (most recent call last):
            ...
        padecast._errors.UnknownName: unknown method 'chebyshev'; that is the forecaster of spectrum, spectrum-fast.
        Known: adaptive, ... toca
    """
    if name == WORD or name.startswith(f"{WORD}:"):
        return _following(name.removeprefix(WORD).removeprefix(":").strip())
    if name not in REGISTRY:
        raise unknown("method", name, REGISTRY, _with_part(name))
    return REGISTRY[name]


def _following(name: str) -> Method:
    """Return the method that follows a published plan."""
    plan = find(name)
    summary = f"plan for {plan.model}, found by {plan.search}"
    return Method(plan.written, plan.plan, DAMPED, summary, ("tc-pade",), span="output", retrace=True)


def _with_part(name: str) -> str:
    """Say which methods have a part of that name, where no method is nearly called so."""
    for registry, role in ((forecasters.REGISTRY, "forecaster"), (policies.REGISTRY, "policy")):
        part = next((key for key in registry if name in (key, registry[key].__name__)), None)
        names = [m.name for m in METHODS if registry.name_of(getattr(m, role)) == part]
        if names and nearest(name, REGISTRY) is None:
            return f"that is the {role} of {', '.join(names)}"
    return ""


def register(method: Method) -> Method:
    """Enrol a method of one's own under its name: ``accelerate(pipe, name)``, command line and experiments know it.

    Args:
        method: Policy, forecaster and span under a name. One that was registered before takes a new place; those that
            ship stay what they are.

    Returns:
        The same method.

    Raises:
        InvalidOption: If it is no method, or its name is no name or that of a method that ships.

    Example:
        >>> from padecast.policies import Interval
        >>> made = register(Method("every-fifth", Interval(every=5), Reuse(), "repeats four times"))
        >>> look_up("every-fifth") is made
        True
        >>> del REGISTRY["every-fifth"]
    """
    if not isinstance(method, Method):
        raise InvalidOption(
            f"{quote(method)} is no method.\nMake one: padecast.Method(name, policy, forecaster, summary)"
        )
    if not NAME.fullmatch(method.name):
        raise InvalidOption(
            f"{quote(method.name)} is no name of a method: small letters, digits and dashes, a letter first.\n"
            "Names are written in text: name:option=value"
        )
    if method.name in {shipped.name for shipped in METHODS} or method.name == WORD:
        raise InvalidOption(f"the name {method.name!r} is that of a method that ships.\nTake another name.")
    REGISTRY[method.name] = method
    return method


def methods() -> dict[str, Method]:
    """Return every registered method by name: what it is, where it comes from, what it needs.

    What the module of this name holds is here too: ``from padecast import methods`` gives this function, and
    ``methods.REGISTRY``, ``methods.DEFAULT`` and so on are those of the module.

    Example:
        >>> "tc-pade" in methods()
        True
        >>> from padecast import methods
        >>> methods.DEFAULT
        'adaptive'
    """
    return dict(REGISTRY)


# The package's face has a function of this module's name, which hides the module. Whoever imports either finds both.
methods.__dict__.update(
    REGISTRY=REGISTRY,
    DEFAULT=DEFAULT,
    METHODS=METHODS,
    Method=Method,
    method=method,
    methods=methods,
    register=register,
)
