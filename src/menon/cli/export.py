"""`menon export MODEL out=FOLDER`: a model as one ordinary folder, an adapter merged."""

from collections.abc import Sequence
from pathlib import Path

from menon.cli.words import understand
from menon.errors import UserError


def export(words: Sequence[str]) -> int:
    """Writes the model of a run's newest checkpoint, of a named checkpoint, or of any folder or adapter into
    one ordinary Hugging Face folder that everything reads: out=FOLDER, which must not be there or be empty.
    An adapter is merged into its model. The files have the dtypes of the folder's own; those of a merged
    adapter are in float32, because bfloat16 rounds small changes away. dtype=float32 or dtype=bfloat16 asks
    for another."""
    given = understand(words)
    settings = dict(given.settings)
    out, dtype = settings.pop("out", None), settings.pop("dtype", "auto")
    if len(given.plain) != 1 or out is None or settings:
        raise UserError("menon export takes a model and a folder, like menon export runs/mine out=my-model")
    if dtype not in ("auto", "float32", "bfloat16"):
        raise UserError(f"dtype is {dtype}; the files can be in float32 or bfloat16, or leave it out")
    folder = Path(str(out)).expanduser()
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder} is there already; set out= to a new folder")
    from menon.assembly.evaluation import folder_of
    from menon.engines.adapter_files import is_adapter
    from menon.engines.hf_models import export as write
    from menon.engines.hf_models import load_policy
    from menon.engines.model_files import FLOATS, FileDtypes, dtypes_in
    from menon.record import disk

    disk.check_place(folder, "the folder", "folder")
    name = folder_of(given.plain[0])
    model, tokenizer = load_policy(name)
    adapter = is_adapter(Path(name).expanduser())
    if dtype != "auto" or adapter:
        dtypes = FileDtypes(FLOATS["BF16" if dtype == "bfloat16" else "F32"])
    else:
        dtypes = dtypes_in(Path(str(model.name_or_path)))
    try:
        write(model, tokenizer, folder, dtypes)
    except Exception as error:
        disk.remove(folder)  # half a model
        if (cause := disk.cause(error)) is None:
            raise
        raise UserError(
            f"the folder {folder} cannot be written ({cause}); set out= to another folder"
        ) from None
    merged = ", merged," if adapter else ""
    print(f"{given.plain[0]}{merged} is in {folder}, in {str(dtypes.usual).removeprefix('torch.')}")
    return 0
