"""What a live comparison of models is told, and what it tells: plan, decisions, figures."""

from __future__ import annotations

from typing import Any, NamedTuple

from thalweg.udfs.logic.alert_rules import Alert
from thalweg.udfs.logic.guardrails import Guardrail
from thalweg.udfs.logic.options import Every

__all__ = ["Arm", "ArmMetric", "Decision", "Outcome", "Plan", "Served"]


class Arm(NamedTuple):
    """A model that takes part.

    Attributes
    ----------
    name : str
        Name of the model.
    share : float
        Percent of the units that it serves, or of a mirror: that it is to score. That of the default is ignored: it
        serves who is left.
    mirror : bool
        A shadow: scored and measured, never served, never promoted but by people.
    """

    name: str
    share: float = 0.0
    mirror: bool = False


class Plan(NamedTuple):
    """Everything that is configured.

    Attributes
    ----------
    name : str
        Of the experiment.
    arms : tuple of Arm
        All models, the default among them; rows name an arm by its place here.
    default : str
        Which one serves who is in no candidate's share, at the start.
    salt : str
        Of the hash of the unit; empty, the experiment's name.
    task, output : str
        Task of the models, and kind of the truth: ``boolean``, ``string``, ``number``.
    metric : str
        The loss by which models are compared in pairs; a name of ``arm_outcomes.LOSSES``.
    reward : bool
        Compare by the reward of who was served instead; more is better.
    reward_cap : float or None
        A reward above counts as this much.
    alpha : float
        Chance of a false promotion, whenever one looks.
    min_samples : int
        Events with an outcome before the first decision.
    min_duration_ms : int
        Stream time before the first decision, and between two.
    promote : str
        ``auto``: a winner becomes the default; ``manual``: it is recommended.
    guardrails : tuple of Guardrail
        As ``parse_guardrails`` gives them.
    allocation : str
        ``fixed``, ``thompson``, ``epsilon`` or ``ucb``.
    exploration : float
        Part of the traffic, 0 to 1, that a bandit spreads evenly over all arms, so that each has a propensity.
    apprentice_threshold : float or None
        Agreement with the default, 0 to 1, that a candidate must reach before it serves anybody; None, none.
    serve_after : int
        Events on which a candidate must have been compared, and not be known to be worse, before it serves anybody.
    label_timeout_ms : int
        An outcome that comes later is counted, not measured.
    every : Every
        How often to look, decide and emit: in events with an outcome, or in stream time.
    slices : tuple of str
        Columns whose values come as the JSON array ``slices`` of each row.
    order_max_age_ms : int or None
        Orders must be vouched for, and be no older than this; None, everybody's are carried out.
    """

    name: str
    arms: tuple[Arm, ...]
    default: str
    salt: str = ""
    task: str = "classification"
    output: str = "boolean"
    metric: str = "LogLoss"
    reward: bool = False
    reward_cap: float | None = None
    alpha: float = 0.05
    min_samples: int = 1000
    min_duration_ms: int = 0
    promote: str = "auto"
    guardrails: tuple[Guardrail, ...] = ()
    allocation: str = "fixed"
    exploration: float = 0.1
    apprentice_threshold: float | None = None
    serve_after: int = 0
    label_timeout_ms: int = 86_400_000
    every: Every = Every(None, 60_000)
    slices: tuple[str, ...] = ()
    order_max_age_ms: int | None = None


class Served(NamedTuple):
    """Which rows of the block are the answers to give, as parallel lists, in the order of the rows.

    Attributes
    ----------
    row : list of int
        Index of the row in the block: that of the assigned arm; of the default where the assigned one did not answer
        ``ok``.
    arm : list of int
        Whose answer that row is.
    assigned : list of int
        The arm of the unit.
    propensity : list of float
        Chance with which a unit had this arm then, above 0.
    """

    row: list[int]
    arm: list[int]
    assigned: list[int]
    propensity: list[float]


class Decision(NamedTuple):
    """A change, or a command that changed nothing, with its evidence; for the decisions topic.

    Attributes
    ----------
    action : str
        ``start``, ``promote``, ``recommend``, ``rollback``, ``stop`` (a candidate that breaks a guardrail, or is
        worse), ``admit`` (an apprentice or a beginner that may serve from now on), ``reallocate`` (by a bandit),
        ``weights``, ``freeze``, ``resume`` or ``refuse`` (a command that cannot be).
    arm, previous : str
        Whom it is about; for a promotion and a rollback the new and the old default. Empty where there is nobody.
    reason : str
        One sentence for people.
    evidence : dict
        Plain numbers and texts; ``shares`` has the percent of each arm from then on.
    event_time_ms : int
        Events after this time are served by the new rule.
    issued_by : str
        Who, for a command; else empty.
    """

    experiment: str
    action: str
    arm: str
    previous: str
    reason: str
    evidence: dict[str, Any]
    event_time_ms: int
    issued_by: str = ""


class ArmMetric(NamedTuple):
    """A figure of one arm, with its interval, valid at any time; both ends are the value where it has none.

    Attributes
    ----------
    metric : str
        Since the start: a loss, ``Reward``, ``served`` (events it was assigned), ``failures`` (a share, 0 to 1); of a
        shadow ``skipped`` (events of which it has no row); of an
        arm that serves nobody ``reward_by_action``, what it would bring, told by events in which others did as it
        would have done, and ``reward_by_action_covered``, the share of events for which there were such others.

        Since the default or the period began: ``difference`` (to the default; above 0 is better), ``events`` (behind
        it), ``evidence`` (that it is better: the e-value of the test on a scale from 0 to 1, 1 - 1/e), ``agreement``
        (with the default; a share), ``latency_p50`` and ``latency_p99`` (ms; what an event waits for the arm in the
        worker), ``cost_p50`` and ``cost_p99`` (ms; that time by the events that waited together).

        Now: ``share`` (percent), ``default`` (1 or 0). With an empty arm: ``outcomes``, ``outcomes_late``,
        ``rows_repeated``, and where orders must be vouched for ``orders_refused``.
    count : int
        Events behind it.
    slice : str
        Such as ``carrier=UA``; empty for all.
    """

    arm: str
    metric: str
    value: float
    lower: float
    upper: float
    count: int  # type: ignore[assignment]  # the name that metrics have elsewhere
    event_time_ms: int
    slice: str = ""


class Outcome(NamedTuple):
    """What came of a block of rows or of time."""

    served: Served
    decisions: list[Decision]
    metrics: list[ArmMetric]
    alerts: list[Alert]
