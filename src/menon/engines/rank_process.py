"""What runs in a rank: it joins the others, builds its part of the models, and answers the controller.

Messages from the controller are a name and pickled arguments; a rank answers each with DONE and a pickled
result. Tensors travel before the DONE, each rank's own rows of them (`tensor_pieces`).
"""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from menon.engines.rank_group import Host, Meeting, RankGroup, join, own_address, use_interface
from menon.engines.rank_host import RankHost
from menon.engines.tensor_pieces import send_tensors
from menon.errors import UserError
from menon.processes.wire import Connection, RemoteError

DONE = "done"
MEET, JOIN, BUILD = "meet", "join", "build"
"""The first messages: MEET (to the first rank) is answered with a `Meeting`; JOIN has one; BUILD has what the
run's own code makes the models of."""


@dataclass(frozen=True)
class Seat:
    """A rank's place among all."""

    rank: int
    size: int
    device: str
    """cpu or cuda."""
    threads: int


Make = Callable[[RankGroup, Any], tuple[RankHost, Any]]
"""(the group, what BUILD brought) -> this rank's part of the models, and what there is to tell of them."""


class RankHandler:
    """The handler of a rank's process."""

    def __init__(self, make: Make) -> None:
        self.make = make

    def __call__(self, connection: Connection) -> None:
        try:
            self.serve(connection)
        except UserError as error:  # the controller ends all ranks and says it
            connection.write(RemoteError.of(error).encode())

    def serve(self, connection: Connection) -> None:
        own: Host | None = None
        group: RankGroup | None = None
        host: RankHost | None = None
        while True:
            message = connection.receive()
            (name,), given = message.data, pickle.loads(message.body)
            found: Any = None
            if name == MEET:
                own = Host(own_address(connection.socket))
                found = own.meeting
            elif name == JOIN:
                meeting, seat = given
                use_interface(own_address(connection.socket))
                group = self._join(meeting, seat, own)
            elif name == BUILD:
                assert group is not None
                host, found = self.make(group, given)
            else:
                assert group is not None
                assert host is not None
                found = getattr(host, name)(*given)
                if isinstance(found, Iterator):
                    send_tensors(connection, found, group.rank)
                    found = None
            connection.send([DONE], pickle.dumps(found))

    def _join(self, meeting: Meeting, seat: Seat, own: Host | None) -> RankGroup:
        torch.set_num_threads(seat.threads)
        return join(meeting, seat.rank, seat.size, seat.device, own)
