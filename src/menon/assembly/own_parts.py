"""Parts of the user's as a run calls them: what such a part leaves out has a default, what it raises is named
as its own fault, and what it returns is checked at the first call.

Menon's own parts are used as they stand.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import FrozenInstanceError, fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from menon.batch import Batch, columns_per
from menon.errors import UserError
from menon.loss.aggregation import mean_of
from menon.parts import (
    AGGREGATION,
    ARRANGE,
    CORRECTION,
    CREDIT,
    LOSS,
    REFERENCE,
    ROLLOUT,
    SELECTION,
    Contract,
    Observes,
    Stateful,
)
from menon.rollout.protocols import Collected
from menon.state_codec import encode
from menon.step import Credit
from menon.types import Graded, Metric, Unit
from menon.update.arranged import Arrange
from menon.update.host import ModelHost
from menon.update.protocols import NEEDS, Current, Need, Prepares
from menon.update.terms import AnyTerm
from menon.user_code import blame, is_own, misuse, own_frame

COLUMNS = (*columns_per("token"), *columns_per("sequence"))


class OwnPart:
    """What all parts of the user's have in common. `place` is the part's place in the configuration."""

    contract: Contract

    def __init__(self, part: Any, place: str) -> None:
        self.part, self.place = part, place
        self.reads: tuple[str, ...] = tuple(getattr(part, "reads", self._reads()))
        self._checked: set[str] = set()
        self._asked = "__call__"

    def _reads(self) -> tuple[str, ...]:
        return ()

    def ask(self, method: str, check: Callable[[Any], None], *arguments: Any) -> Any:
        """The result of one of the part's methods; it is checked the first time."""
        first = method not in self._checked
        before = [(name, tensor, tensor._version) for name, tensor in tensors_of(arguments)] if first else []
        with blame(self.place, self.part, self.contract, method, partial(hint, self.part, arguments)):
            result = getattr(self.part, method)(*arguments)
        if first:
            self._asked = method
            changed = [name for name, tensor, version in before if tensor._version != version]
            if changed:
                raise self.fail(f"changed {changed[0]} in place, which others read; make a new tensor")
            check(result)
            self._checked.add(method)
        return result

    def fail(self, what: str) -> UserError:
        """The error for what the method that was asked last has returned."""
        return misuse(self.place, self.part, what, self._asked)

    def prepare(self, batch: Batch, current: Current) -> dict[str, Tensor]:
        """The columns that the part prepares, if it prepares any."""
        if not isinstance(self.part, Prepares):
            return {}

        def check(columns: Any) -> None:
            if not isinstance(columns, dict):
                raise self.fail(f"returned {shape_of(columns)} from prepare, not a dict of columns")
            for name, column in columns.items():
                self.per_token(f"prepared '{name}' as", column, batch)

        columns: dict[str, Tensor] = self.ask("prepare", check, batch, current)
        return columns

    def per_token(self, did: str, column: Any, batch: Batch, dtypes: str = "") -> None:
        """UserError unless there is one entry per token: [N] numbers, or floats or bools where it says so."""
        wanted = f"[{batch.num_tokens}]"
        if not isinstance(column, Tensor) or column.shape != batch.token.shape:
            raise self.fail(f"{did} {shape_of(column)}, not {wanted}, one per token{advice(column, batch)}")
        if dtypes == "bool" and column.dtype != torch.bool:
            raise self.fail(f"{did} {shape_of(column)} of {column.dtype}, not of bools; compare, as in x > 0")
        if dtypes == "float" and not column.is_floating_point():
            raise self.fail(f"{did} {shape_of(column)} of {column.dtype}, not of floats; add .float()")

    def detached(self, did: str, column: Tensor) -> None:
        """UserError for a column that remembers how it was computed."""
        if column.requires_grad:
            raise self.fail(f"{did} {shape_of(column)} with gradient; add .detach()")

    def finite(self, did: str, column: Tensor, batch: Batch) -> None:
        """UserError unless the column is finite on the trained tokens."""
        odd = batch.trained & ~column.isfinite()
        if odd.any():
            value = float(column[odd][0].detach())
            raise self.fail(
                f"{did} {value} on {int(odd.sum())} of {int(batch.trained.sum())} trained tokens; make all "
                "finite"
            )


def tensors_of(arguments: Sequence[Any]) -> Iterator[tuple[str, Tensor]]:
    """The tensors that a forward pass gave and those of a batch, by the names that a user gives them."""
    if arguments and isinstance(arguments[0], Mapping):
        yield from ((f"now['{name}']", column) for name, column in arguments[0].items())
    for batch in (argument for argument in arguments if isinstance(argument, Batch)):
        columns = ((name, getattr(batch, name)) for name in COLUMNS)
        yield from ((f"batch.{name}", column) for name, column in columns if isinstance(column, Tensor))


def hint(part: Any, arguments: Sequence[Any], error: BaseException) -> str:
    """What would help against an error that says too little; "" or in brackets."""
    if isinstance(error, FrozenInstanceError):
        return " (make a new one with `replace(batch, advantage=...)` of dataclasses)"
    if isinstance(error, AttributeError) and isinstance(error.obj, Batch):
        near = difflib.get_close_matches(error.name or "", [*COLUMNS, *dir(Batch)], 1)
        return f" (did you mean batch.{near[0]}?)" if near else ""
    if isinstance(error, KeyError) and arguments and isinstance(arguments[0], Mapping):
        if error.args[0] in COLUMNS:
            return f" (it is a column of the batch: batch.{error.args[0]})"
        return f" (a forward pass gave {', '.join(arguments[0])}; name what else it should give in `needs`)"
    if "NoneType" not in str(error):
        return ""
    batch = next((argument for argument in arguments if isinstance(argument, Batch)), None)
    frame = own_frame(error, type(part))
    names = () if frame is None else frame.f_code.co_names
    missing = [name for name in COLUMNS if name in names and getattr(batch, name, 0) is None]
    return f" (batch.{missing[0]} is None; add '{missing[0]}' to its `reads`)" if missing else ""


def shape_of(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    return "None" if value is None else f"a value of type {type(value).__name__}"


def advice(column: Any, batch: Batch) -> str:
    """How to make one entry per token of a wrong shape; begins with a space or is empty."""
    if not isinstance(column, Tensor):
        return ""
    if column.ndim == 0:
        return " (leave out the mean or sum: share= says how much each token weighs)"
    if column.shape == (batch.num_sequences,):
        return " (this is one per answer; spread it by .repeat_interleave(batch.lengths))"
    return ""


class Unread:
    """Stands for the old log-probs in the batch of a loss that does not say that it reads them, so that their
    use fails. Without it a ratio would silently be 1 in every update but the first of a step."""

    @classmethod
    def __torch_function__(cls, *call: Any, **more: Any) -> Any:
        raise RuntimeError("it uses batch.old_logp; add 'old_logp' to its `reads`")

    def __getattr__(self, name: str) -> Any:
        return self.__torch_function__()


class OwnLoss(OwnPart):
    """A loss with `unit`, `needs`, `reads` and `metrics` filled in.

    `unit` is "token", `needs` is ("logp",), `reads` is ("old_logp",), and there are no metrics. `old_logp` is
    always there if it is read: in the first update of a step it is the detached log-prob, as docs/numerics.md
    defines it. `all_count`: every trained token counts, so each must be finite.
    """

    contract = LOSS

    def __init__(self, part: Any, place: str, all_count: bool) -> None:
        super().__init__(part, place)
        self.unit: Unit = getattr(part, "unit", "token")
        self.needs: tuple[Need, ...] = tuple(getattr(part, "needs", NEEDS))
        self.all_count = all_count

    def _reads(self) -> tuple[str, ...]:
        return ("old_logp",)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        def check(loss: Any) -> None:
            self.per_token("returned", loss, batch, "float")
            if torch.is_grad_enabled() and not loss.requires_grad:
                raise self.fail(
                    "returned numbers without gradient; compute them from now['logp'], not detached"
                )
            if self.all_count:
                self.finite("returned", loss, batch)

        loss: Tensor = self.ask("__call__", check, now, self._with_old(now, batch))
        return loss

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        if not hasattr(self.part, "metrics"):
            return {}

        def check(metrics: Any) -> None:
            if not isinstance(metrics, dict):
                raise self.fail(f"returned {shape_of(metrics)} from metrics, not a dict")
            for name, metric in metrics.items():
                if not isinstance(metric, Metric):
                    raise self.fail(
                        f"returned the metric '{name}' as {shape_of(metric)}; say how it adds up, by "
                        "Mean(total, count), Sum(total), Max(value) or Deviation(total, squares, count) of "
                        "menon.types"
                    )

        metrics: dict[str, Metric] = self.ask("metrics", check, now, self._with_old(now, batch))
        return metrics

    def _with_old(self, now: Mapping[str, Tensor], batch: Batch) -> Batch:
        if "old_logp" not in self.reads:
            return replace(batch, old_logp=Unread())  # type: ignore[arg-type]  # to fail where it is used
        if batch.old_logp is None and "logp" in now:
            return replace(batch, old_logp=now["logp"].detach())
        return batch


class OwnSelection(OwnPart):
    """A selection: [N] bools."""

    contract = SELECTION

    def __call__(self, batch: Batch) -> Tensor:
        def check(selected: Any) -> None:
            self.per_token("returned", selected, batch, "bool")

        selected: Tensor = self.ask("__call__", check, batch)
        return selected


class OwnWeights(OwnPart):
    """A correction or an aggregation."""

    def __init__(self, part: Any, place: str, contract: Contract) -> None:
        super().__init__(part, place)
        self.contract = contract

    def __call__(self, first: Any, second: Any) -> Tensor:
        batch = first if isinstance(first, Batch) else second

        def check(weight: Any) -> None:
            self.per_token("returned", weight, batch, "float")
            self.finite("returned", weight, batch)
            if self.contract is CORRECTION and bool((weight[batch.trained] < 0).any()):
                raise self.fail("returned weights below 0")
            if self.contract is AGGREGATION and bool((weight[~second] != 0).any()):
                raise self.fail("returned weights other than 0 outside of `selected`; multiply by it")

        weight: Tensor = self.ask("__call__", check, first, second)
        return weight


class OwnCredit(OwnPart):
    """A part of the advantage stage. `must`: it is the one that sets advantages."""

    contract = CREDIT

    def __init__(self, part: Any, place: str, must: bool) -> None:
        super().__init__(part, place)
        self.must = must

    def __call__(self, batch: Batch) -> Any:
        return self.ask("__call__", lambda result: self.check(result, batch), batch)

    def check(self, result: Any, batch: Batch) -> None:
        """UserError unless the result is the batch with one entry per token in each of its columns."""
        if not isinstance(result, Batch):
            raise self.fail(
                f"returned {shape_of(result)}, not a batch; end with `return replace(batch, advantage=...)`"
            )
        if result.num_tokens != batch.num_tokens or result.num_sequences != batch.num_sequences:
            raise self.fail(
                f"returned {result.num_sequences} answers of {result.num_tokens} tokens in place of "
                f"{batch.num_sequences} of {batch.num_tokens}; to leave answers out, set `learn`"
            )
        if self.must and result.advantage is None:
            raise self.fail("set no advantage; end with `return replace(batch, advantage=...)`")
        for name in columns_per("token"):
            column = getattr(result, name)
            if column is not None and column is not getattr(batch, name):
                floats = "float" if name in ("advantage", "reward", "ret") else ""
                self.per_token(f"set `{name}` to", column, batch, floats)
                self.detached(f"set `{name}` to", column)
                if floats:
                    self.finite(f"set `{name}` to", column, batch)
        for name in columns_per("sequence"):
            column = getattr(result, name)
            if column is not None and (not isinstance(column, Tensor) or len(column) != batch.num_sequences):
                raise self.fail(
                    f"set `{name}` to {shape_of(column)}, not [{batch.num_sequences}], one per answer"
                )
        if result.learn is not None and result.learn.dtype != torch.bool:
            raise self.fail(f"set `learn` to {result.learn.dtype}, not to bools; compare, as in x > 0")
        for name, column in result.columns.items():
            self.per_token(f"set the column '{name}' to", column, batch)


class OwnArrange(OwnCredit):
    """A part that arranges: the same sequences, with `learn` or `pair` set."""

    contract = ARRANGE


class OwnStatefulCredit(OwnCredit):
    """A part of the advantage stage with a state."""

    def init(self) -> Any:
        return self.ask("init", self._storable)

    def __call__(self, batch: Batch, *state: Any) -> Any:
        def check(result: Any) -> None:
            if not isinstance(result, tuple) or len(result) != 2:
                raise self.fail(
                    f"has `init`, and returned {shape_of(result)}, not (batch, state); return both, or leave "
                    "`init` out"
                )
            self.check(result[0], batch)
            self._storable(result[1])

        return self.ask("__call__", check, batch, *state)

    def after(self, state: Any, metrics: Mapping[str, Metric]) -> Any:
        if not isinstance(self.part, Observes):
            return state
        return self.ask("after", self._storable, state, metrics)

    def _storable(self, state: Any) -> None:
        try:
            encode(state, {}, "its state")
        except TypeError as error:
            raise self.fail(str(error).replace(" is a ", " holds a ", 1)) from None


class OwnRollout(OwnPart):
    """A rollout: `Collected`."""

    contract = ROLLOUT

    def __call__(self, *arguments: Any) -> Collected:
        def check(collected: Any) -> None:
            if not isinstance(collected, Collected):
                raise self.fail(f"returned {shape_of(collected)}, not menon.rollout.protocols.Collected")
            if not all(isinstance(one, Graded) for one in collected.graded):
                raise self.fail("collected something else than graded answers (menon.types.Graded)")

        collected: Collected = self.ask("__call__", check, *arguments)
        return collected


class OwnStatefulRollout(OwnRollout):
    """A rollout with a state, which is `Collected.state`."""

    def init(self) -> Any:
        return self.ask("init", lambda state: None)


class OwnReference(OwnPart):
    """What updates the reference."""

    contract = REFERENCE

    def __call__(self, step: int, host: ModelHost) -> None:
        self.ask("__call__", lambda result: None, step, host)


def own_rollout(part: Any) -> Any:
    kind = OwnStatefulRollout if isinstance(part, Stateful) else OwnRollout
    return kind(part, "rollout") if is_own(part) else part


def own_reference(part: Any) -> Any:
    return OwnReference(part, "reference_update") if part is not None and is_own(part) else part


def own_arrange(arrange: Mapping[str, Any]) -> tuple[Arrange, ...]:
    """The parts that arrange, in their order."""
    parts = ((f"arrange.{name}", part) for name, part in arrange.items())
    return tuple(OwnArrange(part, place, must=False) if is_own(part) else part for place, part in parts)


def own_credit(advantage: Mapping[str, Any], estimator: str) -> dict[str, Credit]:
    """The parts of the advantage stage; `estimator` is the one that must set advantages."""
    credit: dict[str, Credit] = {}
    for name, part in advantage.items():
        kind = OwnStatefulCredit if isinstance(part, Stateful) else OwnCredit
        credit[name] = kind(part, f"advantage.{name}", name == estimator) if is_own(part) else part
    return credit


def own_term(term: AnyTerm, place: str) -> AnyTerm:
    """The term with the user's parts in it, and with a share if it names none; `place` is the term's place in
    the configuration."""
    parts: dict[str, Any] = {f.name: getattr(term, f.name) for f in fields(term)}
    all_count = term.select is None and not term.correction
    if is_own(term.loss):
        parts["loss"] = OwnLoss(term.loss, f"{place}.loss", all_count)
    if term.share is None:
        parts["share"] = mean_of(term.loss)
    elif is_own(term.share):
        parts["share"] = OwnWeights(term.share, f"{place}.share", AGGREGATION)
    if term.select is not None and is_own(term.select):
        parts["select"] = OwnSelection(term.select, f"{place}.select")
    parts["correction"] = tuple(
        OwnWeights(each, f"{place}.correction", CORRECTION) if is_own(each) else each
        for each in term.correction
    )
    return replace(term, **parts)
