"""Several teachers by prompt: each sequence is scored by its own. Torch alone."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from menon.batch import Batch, take, tokens_of
from menon.engines.protocols import LogitRows, Models, Scorer
from menon.update.protocols import Need


class ByRow:
    """A `Scorer` that sends each sequence to the model whose number is in `Batch.teacher`; the number is a
    place in `scorers`. `vocabulary` is the size that all models' logits have; padding beyond it is cut
    off."""

    def __init__(self, scorers: Mapping[str, Scorer], vocabulary: int) -> None:
        self.scorers, self.vocabulary = dict(scorers), vocabulary

    def score(self, batch: Batch, needs: Iterable[Need], models: Models | None = None) -> dict[str, Tensor]:
        needs = tuple(needs)
        columns: dict[str, Tensor] = {}
        for scorer, rows in self._dealt(batch):
            tokens = tokens_of(batch.offset, rows)
            for name, part in scorer.score(take(batch, rows), needs, models).items():
                empty = part.new_zeros(batch.num_tokens, *part.shape[1:])
                columns[name] = columns.get(name, empty).index_copy(0, tokens, part)
        return columns

    def logits(self, batch: Batch) -> LogitRows:
        """One forward pass of each model that has a sequence in the batch."""
        owner = torch.full((batch.num_tokens,), -1, device=batch.token.device)
        place = torch.zeros_like(owner)
        parts: list[LogitRows] = []
        for scorer, rows in self._dealt(batch):
            tokens = tokens_of(batch.offset, rows)
            owner[tokens] = len(parts)
            place[tokens] = torch.arange(len(tokens), device=place.device)
            parts.append(scorer.logits(take(batch, rows)))

        def of_places(places: Tensor) -> Tensor:
            whose, where = owner.to(places.device)[places], place.to(places.device)[places]
            found: Tensor | None = None
            for number, rows in enumerate(parts):
                chosen = (whose == number).nonzero()[:, 0]
                if len(chosen):
                    logits = rows(where[chosen])[:, : self.vocabulary]
                    found = logits.new_empty(len(places), self.vocabulary) if found is None else found
                    found[chosen] = logits
            return parts[0](places)[:, : self.vocabulary] if found is None else found  # no place, [0, V]

        return of_places

    def weights(self) -> Mapping[str, Tensor]:
        """Of all models, each name after that of its teacher."""
        return {
            f"{name}.{weight}": tensor
            for name, scorer in self.scorers.items()
            for weight, tensor in scorer.weights().items()
        }

    def _dealt(self, batch: Batch) -> list[tuple[Any, Tensor]]:
        """Each model that has sequences in the batch, with those."""
        whose = torch.zeros_like(batch.group) if batch.teacher is None else batch.teacher
        dealt = [((whose == number).nonzero()[:, 0], s) for number, s in enumerate(self.scorers.values())]
        return [(scorer, rows) for rows, scorer in dealt if len(rows)]
