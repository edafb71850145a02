"""A GPU that is none: tensors that say they are on cuda:0, hold their numbers on the CPU and are strict about
placement.

What a real one refuses is refused here: an operation on tensors of both devices, `.numpy()` of a device's
tensor. What a real one does at a price is written down: whatever makes the host wait for the device
(`Log.waits`), and copies to it (`Log.uploads`). Python sees a CUDA device; below it torch is told "meta", for
a CPU build refuses streams and guards of a device it does not know.

Not shown: kernels, dtypes that a kernel refuses, memory, streams, CUDA graphs, random numbers drawn on the
device.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import menon

CUDA, META, CPU = torch.device("cuda:0"), torch.device("meta"), torch.device("cpu")
GIB = 2**30
SOURCE = str(Path(menon.__file__).parent)
aten = torch.ops.aten

COPIES = {aten.copy_.default, aten._to_copy.default}
TAKES_SCALARS = {aten.index_put_.default, aten.index_put.default, aten.masked_fill_.Tensor, aten.fill_.Tensor}
"""Operations beside the pointwise ones that take a number (0-dim) from the CPU."""
BY_MASK = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}
WAITS = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}
HALF = {
    F.linear,
    F.scaled_dot_product_attention,
    torch.matmul,
    Tensor.matmul,
    Tensor.__matmul__,
    torch.bmm,
    torch.baddbmm,
}
"""What autocast computes in half precision."""


class WrongPlace(RuntimeError):
    """A real device would have raised here."""


class Pretended(Tensor):
    """Says that it is on cuda:0; `held` are its numbers. Views of it hold views."""

    held: Tensor
    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda, is_cpu, is_meta = True, False, False

    @staticmethod
    def __new__(cls, held: Tensor) -> "Pretended":
        with torch.inference_mode(
            held.is_inference()
        ):  # in inference mode too a view of a parameter is none of its tensors
            made = Tensor._make_wrapper_subclass(
                cls,
                held.shape,
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                device=META,
            )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise WrongPlace(f"{func} of a pretended tensor outside of `pretend_device()`")

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Pretended({self.held})"


@dataclass
class Log:
    waits: list[str] = field(default_factory=list)
    """Where the host waited for the device: operation and line of ours."""
    uploads: list[str] = field(default_factory=list)
    """Where it waited until a tensor (0-dim ones left out) was copied to it, for want of pinned memory."""

    def clear(self) -> None:
        self.waits.clear()
        self.uploads.clear()


def place_of(func: Any) -> str:
    frame: Any = sys._getframe()
    while frame is not None and not frame.f_code.co_filename.startswith(SOURCE):
        frame = frame.f_back
    return (
        f"{func} at {frame.f_code.co_filename[len(SOURCE) + 1 :]}:{frame.f_lineno}"
        if frame
        else f"{func} elsewhere"
    )


class Functions(TorchFunctionMode):
    """What Python asks for by name, before torch looks at devices: cuda is spelt meta from here on."""

    autocast: torch.dtype | None = None
    rests = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.device or self.rests:
            return func(*args, **kwargs or {})
        args = [spelt(value) for value in args]
        kwargs = {key: spelt(value) for key, value in (kwargs or {}).items()}
        own = args[0] if args and isinstance(args[0], Pretended) else None
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == META:
            return func(*args, **kwargs | {"device": CPU}).to(META)
        if own is not None and func in (Tensor.numpy, Tensor.__array__):
            raise WrongPlace("can't convert cuda:0 device type tensor to numpy")
        if own is not None and func in (Tensor.data_ptr, Tensor.untyped_storage):
            return func(own.held)
        if own is not None and func is Tensor.tolist:
            return own.cpu().tolist()
        if func is Tensor.pin_memory:
            made = args[0].clone()
            made.pinned = True
            return made
        if own is not None and func == Tensor.data.__set__:  # type: ignore[attr-defined]
            own.held = args[1].held
        if own is not None and func is Tensor.__deepcopy__:
            return copied(own, args[1])
        if self.autocast is not None and func in HALF:
            args, kwargs = each(lambda x: x.to(self.autocast) if widens(x) else x, (args, kwargs))
        return func(*args, **kwargs)


def widens(value: Any) -> bool:
    return isinstance(value, Pretended) and value.dtype == torch.float32


def spelt(value: Any) -> Any:
    if isinstance(value, torch.device):
        return META if value.type == "cuda" else value
    return META if isinstance(value, str) and value.split(":")[0] == "cuda" else value


def copied(own: Pretended, memo: dict[int, Any]) -> Any:
    if id(own) not in memo:
        made = Pretended(own.held.clone())
        memo[id(own)] = (
            torch.nn.Parameter(made, own.requires_grad) if isinstance(own, torch.nn.Parameter) else made
        )
    return memo[id(own)]


@cache
def is_composite(func: Any) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")


def each(change: Callable[[Any], Any], value: Any) -> Any:
    """The value with everything in its lists, tuples and dictionaries changed."""
    if isinstance(value, list | tuple):
        return type(value)([each(change, item) for item in value])  # type: ignore[call-arg]
    return (
        {key: each(change, item) for key, item in value.items()} if isinstance(value, dict) else change(value)
    )


class Operations(TorchDispatchMode):
    """The operations themselves, on what the tensors hold."""

    rests = False

    def __init__(self, log: Log) -> None:
        super().__init__()
        self.log = log

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.rests:
            return func(*args, **kwargs or {})
        if is_composite(func):
            with self:  # in inference mode they come as a whole
                return func.decompose(*args, **kwargs or {})
        wrapped: dict[int, Pretended] = {}
        plain: list[Tensor] = []

        def held(value: Any) -> Any:
            if isinstance(value, Pretended):
                wrapped[id(value.held)] = value
                return value.held
            if isinstance(value, Tensor):
                plain.append(value)
            return value

        lowered, named = each(held, (args, kwargs or {}))
        target = named.get("device")
        if target == META:
            named["device"] = CPU
        elif not wrapped:
            return func(*args, **kwargs or {})
        self._check(func, bool(wrapped), plain, lowered, named, target)
        if func is aten._fused_sdp_choice.default:
            return 0  # the one kernel that is written out in operations
        out = func(*lowered, **named)
        if (func is aten._to_copy.default and target == CPU) or (
            func is aten.copy_.default and not isinstance(args[0], Pretended)
        ):
            return out
        return each(
            lambda x: (wrapped[id(x)] if id(x) in wrapped else Pretended(x)) if isinstance(x, Tensor) else x,
            out,
        )

    def _check(
        self, func: Any, on_device: bool, plain: list[Tensor], args: Any, named: Any, target: Any
    ) -> None:
        if func in COPIES:
            if plain and plain[0] is args[0] and func is aten.copy_.default:
                self.log.waits.append(place_of(func))
            elif plain and plain[0].dim() and not (named.get("non_blocking") and hasattr(plain[0], "pinned")):
                self.log.uploads.append(place_of(func))
            elif target == CPU:
                self.log.waits.append(place_of(func))
            return
        numbers = torch.Tag.pointwise in func.tags or func in TAKES_SCALARS
        if on_device and any(tensor.dim() or not numbers for tensor in plain):
            raise WrongPlace(
                f"{place_of(func)}: tensors of cuda:0 and cpu, {[tuple(tensor.shape) for tensor in plain]}"
            )
        masked = func in BY_MASK and any(index is not None and index.dtype == torch.bool for index in args[1])
        known = func in BY_MASK or named.get("output_size") is not None
        if masked or (WAITS & set(func.tags) and not known):
            self.log.waits.append(place_of(func))


@contextmanager
def pretend_device(monkeypatch: Any, capability: tuple[int, int] = (9, 0)) -> Iterator[Log]:
    """Within it `.to("cuda")`, `device="cuda"` and what `torch.cuda` tells of a device work; modules keep
    their parameters."""
    functions, log = Functions(), Log()
    operations = Operations(log)

    @contextmanager
    def autocast(
        kind: str, dtype: torch.dtype | None = None, enabled: bool = True, **more: Any
    ) -> Iterator[None]:
        with nullcontext() if kind == "cuda" else real(kind, dtype=dtype, enabled=enabled, **more):
            before, functions.autocast = functions.autocast, dtype if enabled and kind == "cuda" else None
            try:
                yield
            finally:
                functions.autocast = before

    def backward(*args: Any, **kwargs: Any) -> Any:
        with functions:  # within it a checkpoint computes again what it did not keep
            return run_backward(*args, **kwargs)

    real: Callable[..., Any] = torch.autocast
    run_backward: Callable[..., Any] = torch.autograd._engine_run_backward  # type: ignore[attr-defined]
    monkeypatch.setattr(torch, "autocast", autocast)
    monkeypatch.setattr(torch.autograd, "_engine_run_backward", backward)
    answers: dict[str, Any] = {
        "is_available": True,
        "device_count": 1,
        "get_device_name": "pretended",
        "set_device": None,
        "get_device_capability": capability,
        "is_bf16_supported": True,
        "memory_reserved": GIB,
        "memory_allocated": 0,
        "mem_get_info": (8 * GIB, 16 * GIB),
    }
    for name, value in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda *args, value=value, **kwargs: value)

    def plainly(load: Callable[..., Any]) -> Callable[..., Any]:
        def loaded(
            *args: Any, **kwargs: Any
        ) -> Any:  # builds a model on the true "meta" and fills it afterwards
            functions.rests = operations.rests = True
            try:
                return load(*args, **kwargs)
            finally:
                functions.rests = operations.rests = False

        return loaded

    for kind in (transformers.AutoModelForCausalLM, transformers.AutoModelForSequenceClassification):
        monkeypatch.setattr(kind, "from_pretrained", plainly(kind.from_pretrained))
    # There is nothing to record with; a replay runs the step again.
    monkeypatch.setattr("menon.engines.decoding.decoder_slots.capture_on", lambda device: lambda run: run)
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with functions, operations:
            yield log
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swaps)
