"""Value losses of eight libraries."""

from golden.adapters.losses import share_by_mode
from golden.adapters.tools import compare_loss
from golden.records import Record
from menon.loss import ValueLoss
from menon.loss.aggregation import AggregationPart, SequenceMeanTokenMean, TokenMean
from menon.update.terms import Term

CLIPS = ("cliprange_value", "value_clip", "clip_eps", "cliprange", "value_eps_clip")


def value(record: Record) -> None:
    """SkyRL counts empty rows."""
    settings = record.settings
    clip = next((settings[name] for name in CLIPS if name in settings), None)
    huber = settings.get("huber_delta", 10.0) if settings.get("loss") == "huber" else None
    scaled: tuple[AggregationPart, float] = (TokenMean(), 1.0)
    if record.function.startswith("skyrl"):
        scaled = SequenceMeanTokenMean(), record.share_of_filled_rows
    elif record.function.startswith("orz"):
        packed = settings.get("reduction", "").startswith("token")
        scaled = (TokenMean() if packed else SequenceMeanTokenMean()), 1.0
    elif record.function.startswith(("openrlhf", "verl")):
        scaled = share_by_mode(record)
    share, scale = scaled
    batch = record.batch(value="old_values", ret="returns")
    compare_loss(record, (scale, Term(ValueLoss(clip, huber=huber), share)), batch=batch, leaves=("value",))


PEERS = ("areal", "nemo_rl", "openrlhf", "orz", "realhf", "skyrl", "spo", "verl")
ADAPTERS = {f"{peer}.loss.value": value for peer in PEERS}
