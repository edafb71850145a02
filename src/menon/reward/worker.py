"""The handler of the worker process of a user's reward function.

The function runs in the main thread, where it may set signals. What it prints goes to stderr.
"""

from dataclasses import asdict

from menon.errors import UserError
from menon.processes.child import serve
from menon.processes.wire import Connection
from menon.reward.code.signatures import Asked, Unusable, judge, shape_of
from menon.user_code import describe, load_object


class RewardHandler:
    """First sends whether the named function can be called; then replies to each answer with its verdict."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, connection: Connection) -> None:
        try:
            function = load_object(self.name)
            shape = shape_of(function, self.name)
        except (UserError, Unusable) as error:
            return connection.send({"refused": str(error)})
        except BaseException as error:  # sys.exit() in the user's module
            return connection.send({"refused": f"{self.name} cannot be loaded: {describe(error)}"})
        connection.send({"shape": shape})
        serve(connection, lambda asked: asdict(judge(function, shape, Asked(**asked))))
