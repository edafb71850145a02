"""A stage that is an ordinary run: a recipe with its settings, and a run folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from menon.pipeline.stage import Here, Stage, is_made, replaced
from menon.record.layout import Layout
from menon.settings import Tree, merged, plain_data, setting


@dataclass(frozen=True)
class Train(Stage):
    """A run of a recipe. It makes a model, its newest checkpoint."""

    recipe: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What `menon train RECIPE` would be given; once planned, the whole configuration. Without `model` the
    stage trains the model of the pipeline."""
    makes: ClassVar[str] = "checkpoints/latest"
    shares: ClassVar[tuple[str, ...]] = ("control", "source", "models", "engine")

    def planned(self, shared: Sequence[Tree], own: Sequence[Tree], base: str, seed: int) -> "Train":
        """With its whole configuration. The sizes and rates are those of the recipe for the model that is
        named; for the model of an earlier stage they are those for the pipeline's."""
        from menon.assembly.run import together
        from menon.config import changed
        from menon.recipes import recipe

        first: Tree = {"model": base, "seed": seed}
        given = together([first, dict(self.settings), *own])
        model, scale = str(setting(given, "model")), str(setting(given, "scale") or "laptop")
        config = recipe(self.recipe, base if is_made(model) else model, scale)
        common = [self.part_of(tree) for tree in shared]
        if config.models.policy.head != "none":  # a model that scores texts is asked no questions
            common = [{name: tree[name] for name in tree if name != "source"} for tree in common]
        config = changed(config, first, self.settings, *common, *own, {"recipe": self.recipe, "scale": scale})
        return replace(self, settings=plain_data(config))

    def resolved(self, place_of: Callable[[str], str]) -> "Train":
        return replace(self, settings=replaced(self.settings, place_of))

    def run(self, here: Here) -> None:
        """Starts the run, or goes on with it; the loop writes its report."""
        from menon.assembly.run import resume, start

        if Layout(here.folder).about.exists():
            resume(here.folder, {}, here.show)
            return
        place = {"control": {"out": str(here.folder)}, "engine": {"threads": here.threads}}
        start(None, (), here.show, again=merged(dict(self.settings), place))

    def words(self) -> str:
        model, steps = setting(self.settings, "model"), setting(self.settings, "steps")
        rows = (self.settings.get("rows") or {}).get("data")
        return f"a run of {self.recipe}: {steps} steps of {model}" + (f" on {rows}" if rows else "")
