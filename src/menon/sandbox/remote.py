"""Both ends of the conversation about model code: `Solution` answers in its process, `Caller` asks from the
process of the tests.

The tests' process holds the expected values and never runs model code; model code's process gets the
arguments of calls and nothing else. Its answers are only claimed results: model code has no way to forge a
message, to print a verdict, or to send a pickle.
"""

import builtins
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from menon.sandbox.handover import Folder
from menon.sandbox.wire import Closed, Line, Malformed, Refer, Resolve, Unsendable, decode, encode

MUTABLE = (list, dict, set, bytearray)
TEXTS = (str, list, tuple, dict, set, frozenset)
"""What may hold names of files."""
PAUSE = 0.002
"""Seconds after which a thread of model code looks again whether the tests wait."""
SKIPS = {"Skipped", "SkipTest"}
"""Exceptions by which a test leaves itself out; model code must not be able to raise them."""


class SolutionError(BaseException):
    """Model code raised something that is no Exception, such as SystemExit; so it is none here either."""


# In the process of model code


class Solution:
    """Answers the tests' requests for a module's names until the tests have ended. `home`: its directory."""

    def __init__(self, line: Line, names: dict[str, Any], home: str) -> None:
        self.line = line
        self.names = names
        self.failed = ""
        """Why the module could not be loaded; then nothing else is answered."""
        self.folder = Folder(home)
        self.things: dict[int, Any] = {}
        self.numbers: dict[int, int] = {}
        self.errors: dict[int, tuple[BaseException, int]] = {}
        """id of an exception that a function of the tests raised -> it, and its number there."""
        self.talking = threading.RLock()
        """Held by the thread that waits for a reply; so the functions of the tests are called one by one."""
        self.is_asked = False
        """Whether the tests wait: only then do they listen."""

    def serve(self) -> None:
        while True:
            asked = self.receive()
            self.is_asked = True
            reply = self.reply(asked)
            with self.talking:
                self.is_asked = False
                self.send(reply)

    def send(self, message: dict[str, Any]) -> None:
        """Sends a message, after those about files that have changed."""
        if not self.failed and not self.folder.has_nothing():
            for changed in self.folder.changes():
                self.line.send(changed)
        self.line.send(message)

    def receive(self) -> dict[str, Any]:
        while "file" in (message := self.line.receive()):
            self.folder.take(message)
        return message

    def reply(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self.failed:
            return {"failed": self.failed}
        try:
            arguments, keywords = decoded(asked, self.resolve)
            result = OPERATIONS[asked["do"]](self, *arguments, **keywords)
            return answer(result, changes(arguments, asked["arguments"], self.refer), self.refer)
        except BaseException as error:  # SystemExit too: it ends a call, not the conversation
            _, number = self.errors.get(id(error), (None, None))
            return {**described(error), "number": number}

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
            return lambda *arguments, **keywords: self.call_back(content, arguments, keywords)
        raise Malformed(kind)

    def call_back(self, function: int, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Calls a function of the tests that came as an argument, and answers what it asks for until its
        result comes. Another thread's call waits until this one is over and the tests listen."""
        message = {"function": function, **encoded(arguments, keywords, self.refer)}
        self.talking.acquire()
        while not self.is_asked:
            self.talking.release()
            time.sleep(PAUSE)
            self.talking.acquire()
        try:
            self.send(message)
            while "do" in (reply := self.receive()):
                self.send(self.reply(reply))
        finally:
            self.talking.release()
        if "raised" in reply:
            error = built_in(reply) or RuntimeError(f"{reply['raised'][0]}: {reply['text']}")
            self.errors[id(error)] = error, reply["number"]
            raise error
        for place, value in reply.get("changed", ()):
            change(arguments[place], decode(value, self.resolve))
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


# In both


def encoded(arguments: Sequence[Any], keywords: Mapping[str, Any], refer: Refer) -> dict[str, Any]:
    """The arguments of a call as a message has them."""
    message: dict[str, Any] = {"arguments": [encode(argument, refer) for argument in arguments]}
    if keywords:
        message["keywords"] = {name: encode(value, refer) for name, value in keywords.items()}
    return message


def decoded(message: Mapping[str, Any], resolve: Resolve) -> tuple[list[Any], dict[str, Any]]:
    keywords = message.get("keywords", {})
    return (
        [decode(argument, resolve) for argument in message["arguments"]],
        {name: decode(value, resolve) for name, value in keywords.items()},
    )


def changes(arguments: Sequence[Any], before: Sequence[Any], refer: Refer) -> list[Any]:
    """[place, value now] of the arguments that a call has changed; `before`: as the message had them."""
    return [
        [place, value]
        for place, given in enumerate(arguments)
        if type(given) in MUTABLE and (value := encode(given, refer)) != before[place]
    ]


def answer(result: Any, changed: list[Any], refer: Refer) -> dict[str, Any]:
    """What a message says of a call that has returned."""
    message = {"result": encode(result, refer)}
    if changed:
        message["changed"] = changed
    return message


def change(given: Any, now: Any) -> None:
    """Applies a call's changes to an argument, so that the caller sees them as in one process."""
    if isinstance(given, list | bytearray) and isinstance(now, list | bytearray):
        given[:] = now
    elif isinstance(given, dict | set) and type(given) is type(now):
        given.clear()
        given.update(now)


def described(error: BaseException) -> dict[str, Any]:
    """What a message says of an exception: the names of its class and that one's bases, and its text."""
    try:
        text = str(error)[:300]
    except BaseException:  # model code writes such methods
        text = ""
    return {"raised": [kind.__name__ for kind in type(error).__mro__], "text": text}


def built_in(message: Mapping[str, Any]) -> Exception | None:
    """An exception like that of a message, of the first of its classes that is a built-in one."""
    for name in message["raised"]:
        kind = getattr(builtins, str(name), None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            with suppress(TypeError):  # some take more than a text
                return kind(str(message.get("text")))
    return None


# In the process of the tests


class Caller:
    """Asks the process of model code for a test. `home`: the test's directory."""

    def __init__(self, line: Line, home: str) -> None:
        self.line = line
        self.folder = Folder(home)
        self.broken = ""
        """Why no later answer can be trusted; a test that swallows the exception still does not pass."""
        self.raised: list[str] = []
        """Types of the last exception that model code raised."""
        self.used = False
        """Whether the tests have got anything from model code but objects that stand for it."""
        self.functions: dict[int, Callable[..., Any]] = {}
        self.own_errors: dict[int, Exception] = {}
        """The exceptions of the tests' functions, by the number that model code may hand back."""
        self.errors: dict[str, type[BaseException]] = {}
        """The exceptions of model code that the tests know, by name."""

    def ask(self, do: str, *arguments: Any, **keywords: Any) -> Any:
        if self.broken:
            raise Closed(self.broken)
        message = encoded(arguments, keywords, self.refer)
        message["do"] = do
        reply = self.trusting(lambda: self.exchange(message, (*arguments, keywords)))
        self.used |= do != "find" or "raised" in reply
        if "raised" in reply:
            error = self.trusting(lambda: self.error(reply))
            ends_loops = StopAsyncIteration if do == "next" else (StopIteration, StopAsyncIteration)
            if isinstance(error, ends_loops):  # a loop of the test would end without a word
                raise RuntimeError(f"the program raised {self.raised[0]}")
            raise error
        result = self.trusting(lambda: self.read(reply, arguments))
        self.used |= not isinstance(result, Thing)
        return result

    def exchange(self, message: dict[str, Any], named: Iterable[Any]) -> dict[str, Any]:
        """Sends a message, after the files that it names, and serves model code until the reply comes."""
        self.send(message, named)
        while True:
            reply = self.line.receive()
            if "file" in reply:
                self.folder.take(reply)
            elif "function" in reply:
                self.send(*self.called_back(reply))
            elif "failed" in reply:
                raise Closed(str(reply["failed"])[:300])
            else:
                return reply

    def send(self, message: dict[str, Any], named: Iterable[Any]) -> None:
        if self.folder.has_nothing():
            self.folder.name(named)
        else:
            for changed in self.folder.changes(named):
                self.line.send(changed)
        self.line.send(message)

    def read(self, reply: dict[str, Any], arguments: tuple[Any, ...]) -> Any:
        for place, value in reply.get("changed", ()):
            change(arguments[place], decode(value, self.resolve))
        result = decode(reply["result"], self.resolve)
        if isinstance(result, TEXTS):
            self.folder.withhold([result])
        return result

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
        """The exception of model code: the test's own if it has only passed through; else as the first class
        that it derives from and that the tests know, of model code or a built-in one."""
        self.raised = [str(name) for name in reply["raised"]]
        if reply.get("number") is not None:
            return self.own_errors[reply["number"]]
        for place, name in enumerate(self.raised):
            known = self.errors.get(name)
            if known is not None and issubclass(known, Exception):
                return known.__new__(known, str(reply.get("text")))
            if (found := built_in({**reply, "raised": self.raised[place : place + 1]})) is not None:
                return found
        return SolutionError(f"{', '.join(self.raised[:1])}: {reply.get('text')}")

    def called_back(self, asked: dict[str, Any]) -> tuple[dict[str, Any], Iterable[Any]]:
        """What a function of the tests gives when model code calls it. Whatever goes wrong in it is the
        program's affair, which chose to call it with these arguments."""
        function = self.functions[asked["function"]]
        arguments, keywords = decoded(asked, self.resolve)
        self.folder.withhold([arguments, keywords])
        try:
            result = function(*arguments, **keywords)
            changed = changes(arguments, asked["arguments"], self.refer)
            return answer(result, changed, self.refer), [result]
        except (Closed, Malformed):
            raise
        except BaseException as error:  # Unsendable, SystemExit and Unusable too
            number = None
            if isinstance(error, Exception) and not SKIPS & {kind.__name__ for kind in type(error).__mro__}:
                number = len(self.own_errors)
                self.own_errors[number] = error
            return {**described(error), "number": number}, ()

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
