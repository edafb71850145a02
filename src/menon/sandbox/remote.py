"""Both ends of the conversation about model code: `Solution` answers in its process, `Caller` asks from the
process of the tests.

The tests' process holds the expected values and never runs model code; model code's process gets the
arguments of calls and nothing else. Its answers are only claimed results: model code has no way to forge a
message, to print a verdict, or to send a pickle.
"""

import builtins
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast

from menon.sandbox.wire import Closed, Line, Malformed, Unsendable, decode, encode

MUTABLE = (list, dict, set, bytearray)


class SolutionError(BaseException):
    """Model code raised something that is no Exception, such as SystemExit; so it is none here either."""


# In the process of model code


class Solution:
    """Answers the tests' requests for a module's names until the tests have ended. `failed`: why the module
    could not be loaded; then nothing else is answered."""

    def __init__(self, line: Line, names: dict[str, Any], failed: str = "") -> None:
        self.line = line
        self.names = names
        self.failed = failed
        self.things: dict[int, Any] = {}
        self.numbers: dict[int, int] = {}

    def serve(self) -> None:
        while True:
            self.answer(self.line.receive())

    def answer(self, asked: dict[str, Any]) -> None:
        if self.failed:
            self.line.send({"failed": self.failed})
            return
        try:
            arguments = [decode(argument, self.resolve) for argument in asked["arguments"]]
            keywords = {
                name: decode(value, self.resolve) for name, value in asked.get("keywords", {}).items()
            }
            result = OPERATIONS[asked["do"]](self, *arguments, **keywords)
            changed: list[Any] = [
                [place, value]
                for place, given in enumerate(arguments)
                if type(given) in MUTABLE
                and (value := encode(given, self.refer)) != asked["arguments"][place]
            ]
            reply = {"result": encode(result, self.refer), "changed": changed}
        except BaseException as error:  # SystemExit too: it ends a call, not the conversation
            reply = {"raised": [kind.__name__ for kind in type(error).__mro__], "text": str(error)[:300]}
        self.line.send(reply)

    def refer(self, thing: Any) -> dict[str, Any]:
        number = self.numbers.setdefault(
            id(thing), len(self.things)
        )  # it is kept alive, so its id stays its own
        self.things[number] = thing
        if isinstance(thing, type) and issubclass(thing, BaseException):
            return {"exception": [number, [kind.__name__ for kind in thing.__mro__]]}
        return {"thing": number}

    def resolve(self, kind: str, content: Any) -> Any:
        if kind == "thing":
            return self.things[content]
        if kind == "builtin":
            return getattr(builtins, content)
        if kind == "function":
            return lambda *arguments: self.call_back(content, arguments)
        raise Malformed(kind)

    def call_back(self, function: int, arguments: tuple[Any, ...]) -> Any:
        """Calls a function of the tests that came as an argument."""
        self.line.send(
            {"function": function, "arguments": [encode(argument, self.refer) for argument in arguments]}
        )
        while "do" in (reply := self.line.receive()):  # the function asks for something of an argument
            self.answer(reply)
        if "raised" in reply:
            raise RuntimeError(reply["raised"])
        return decode(reply["result"], self.resolve)

    def find(self, name: str) -> Any:
        """A name of the module, or a method of its class `Solution`."""
        if name in self.names:
            return self.names[name]
        if hasattr(self.names.get("Solution"), name):
            return getattr(self.names["Solution"](), name)
        raise NameError(f"name {name!r} is not defined")


OPERATIONS: dict[str, Callable[..., Any]] = {
    "find": lambda self, name: self.find(name),
    "call": lambda self, thing, *arguments, **keywords: thing(*arguments, **keywords),
    "attribute": lambda self, thing, name: getattr(thing, name),
    "set_attribute": lambda self, thing, name, value: setattr(thing, name, value),
    "item": lambda self, thing, key: thing[key],
    "set_item": lambda self, thing, key, value: thing.__setitem__(key, value),
    "length": lambda self, thing: len(thing),
    "iterate": lambda self, thing: iter(thing),
    "next": lambda self, thing: next(thing),
    "text": lambda self, thing: str(thing),
    "representation": lambda self, thing: repr(thing),
    "truth": lambda self, thing: bool(thing),
    "is_instance": lambda self, thing, kind: isinstance(thing, kind),
}


# In the process of the tests


class Caller:
    def __init__(self, line: Line) -> None:
        self.line = line
        self.broken = ""
        """Why no later answer can be trusted; a test that swallows the exception still does not pass."""
        self.raised: list[str] = []
        """Types of the last exception that model code raised."""
        self.used = False
        """Whether the tests have got anything from model code but objects that stand for it."""
        self.functions: dict[int, Callable[..., Any]] = {}
        self.errors: dict[str, type[BaseException]] = {}
        """The exceptions of model code that the tests know, by name."""

    def ask(self, do: str, *arguments: Any, **keywords: Any) -> Any:
        if self.broken:
            raise Closed(self.broken)
        message: dict[str, Any] = {
            "do": do,
            "arguments": [encode(argument, self.refer) for argument in arguments],
        }
        if keywords:
            message["keywords"] = {name: encode(value, self.refer) for name, value in keywords.items()}
        reply = self.trusting(lambda: self.exchange(message))
        self.used |= do != "find" or "raised" in reply
        if "raised" in reply:
            error = self.error(reply)
            if isinstance(error, StopIteration) and do != "next":
                raise RuntimeError("the program raised StopIteration")  # which would end a loop of the test
            raise error
        result = self.trusting(lambda: self.read(reply, arguments))
        self.used |= not isinstance(result, Thing)
        return result

    def exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        self.line.send(message)
        while "function" in (reply := self.line.receive()):
            self.line.send(self.called_back(reply))
        if "failed" in reply:
            raise Closed(str(reply["failed"])[:300])
        return reply

    def read(self, reply: dict[str, Any], arguments: tuple[Any, ...]) -> Any:
        for place, value in reply["changed"]:
            change(arguments[place], decode(value, self.resolve))
        return decode(reply["result"], self.resolve)

    def trusting(self, step: Callable[[], Any]) -> Any:
        """Runs a step of the conversation; if it fails, nothing later counts."""
        try:
            return step()
        except (Closed, Malformed) as error:
            self.broken = str(error)
            raise
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            self.broken = "the answer is malformed"
            raise Malformed(self.broken) from error

    def error(self, reply: dict[str, Any]) -> BaseException:
        """The exception of model code, as the first class that it derives from and that the tests know: of
        model code, or a built-in one."""
        names = reply["raised"]
        self.raised = [str(name) for name in names] if isinstance(names, list) else []
        for name in self.raised:
            known = self.errors.get(name)
            if known is not None and issubclass(known, Exception):
                return known.__new__(known, str(reply.get("text")))
            kind = getattr(builtins, name, None)
            if isinstance(kind, type) and issubclass(kind, Exception):
                with suppress(TypeError):  # some take more than a text
                    return kind(str(reply.get("text")))
        return SolutionError(f"{', '.join(self.raised[:1])}: {reply.get('text')}")

    def called_back(self, asked: dict[str, Any]) -> dict[str, Any]:
        function = self.functions[asked["function"]]
        arguments = [decode(argument, self.resolve) for argument in asked["arguments"]]
        try:
            return {"result": encode(function(*arguments), self.refer)}
        except (Exception, Unsendable) as error:  # the arguments were the program's
            return {"raised": type(error).__name__}

    def refer(self, value: Any) -> dict[str, Any]:
        value = value.thing if isinstance(value, ErrorClass) else value
        if isinstance(value, Thing):
            return {"thing": object.__getattribute__(value, "_number")}
        name = getattr(value, "__name__", "")
        if callable(value) and getattr(builtins, name, None) is value:
            return {"builtin": name}
        if callable(value):
            self.functions[len(self.functions)] = value
            return {"function": len(self.functions) - 1}
        if hasattr(value, "__next__"):
            return encode(list(value), self.refer)
        raise Unsendable(f"it passes a {type(value).__name__}, which cannot be sent to the solution")

    def resolve(self, kind: str, content: Any) -> Any:
        if kind == "exception":
            number, names = content
            thing, found = Thing(self, int(number)), self.error_class([str(name) for name in names])
            if not isinstance(found, ErrorClass):
                return thing
            cast(ErrorClass, found).thing = thing
            return found
        if kind != "thing" or not isinstance(content, int):
            raise Malformed(str(kind)[:100])
        return Thing(self, content)

    def error_class(self, names: list[str]) -> type[BaseException]:
        """The class of exceptions that tests can catch, from the names of its bases, its own first."""
        built_in = getattr(builtins, names[0], None)
        if isinstance(built_in, type) and issubclass(built_in, BaseException):
            return built_in
        if names[0] not in self.errors:
            bases: tuple[type[BaseException]] = (self.error_class(names[1:]),)
            self.errors[names[0]] = cast(type[BaseException], ErrorClass(names[0], bases, {}))
        return self.errors[names[0]]


class ErrorClass(type):
    """The class of a class of exceptions that model code defines: tests can name it in `except`, and calling
    it makes an object of model code."""

    thing: Any

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        return cls.thing(*arguments, **keywords)


def change(given: Any, now: Any) -> None:
    """Applies a call's changes to an argument, so that the test sees them as in one process."""
    if isinstance(given, list | bytearray) and isinstance(now, list | bytearray):
        given[:] = now
    elif isinstance(given, dict | set) and type(given) is type(now):
        given.clear()
        given.update(now)


class Thing:
    """An object of model code that is no plain data: a function, a class, an instance, an iterator.

    It can be called, read, written and iterated. Comparisons and arithmetic are not passed on: it is equal
    only to itself, so that a class of model code cannot decide whether a test passes.
    """

    __slots__ = ("_caller", "_number")

    def __init__(self, caller: Caller, number: int) -> None:
        object.__setattr__(self, "_caller", caller)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._caller.ask("call", self, *arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        return self._caller.ask("attribute", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._caller.ask("set_attribute", self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._caller.ask("item", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._caller.ask("set_item", self, key, value)

    def __len__(self) -> int:
        return self._caller.ask("length", self)

    def __bool__(self) -> bool:
        return self._caller.ask("truth", self) is True

    def __instancecheck__(self, instance: Any) -> bool:
        return self._caller.ask("is_instance", instance, self) is True

    def __str__(self) -> str:
        return str(self._caller.ask("text", self))

    def __repr__(self) -> str:
        return str(self._caller.ask("representation", self))

    def __iter__(self) -> Iterator[Any]:
        iterator = self._caller.ask("iterate", self)
        return iterator if isinstance(iterator, Thing) else iter(iterator)

    def __next__(self) -> Any:
        return self._caller.ask("next", self)
