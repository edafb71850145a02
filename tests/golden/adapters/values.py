"""Value losses of eight libraries."""

from golden.adapters.tools import compare_loss, share_of
from golden.records import Record
from menon.loss import ValueLoss
from menon.loss.aggregation import AggregationPart, SequenceMeanTokenMean, TokenMean
from menon.update.terms import Term

CLIPS = ("cliprange_value", "value_clip", "clip_eps", "cliprange", "value_eps_clip")


def value(record: Record) -> None:
    settings = record.settings
    clip = next(settings[name] for name in CLIPS if name in settings)
    huber = settings["huber_delta"] if settings.get("loss") == "huber" else None
    by_rows = record.function.startswith(("skyrl", "orz")) or settings.get("token_level_loss") is False
    scaled: tuple[AggregationPart, float] = (TokenMean(), 1.0)
    if by_rows:
        scaled = (
            SequenceMeanTokenMean(),
            record.share_of_filled_rows if record.function.startswith("skyrl") else 1.0,
        )
    elif "loss_agg_mode" in settings:
        scaled = share_of(record, settings["loss_agg_mode"])
    share, scale = scaled
    batch = record.batch(value="old_values", ret="returns")
    compare_loss(record, (scale, Term(ValueLoss(clip, huber=huber), share)), batch=batch, leaves=("value",))


PEERS = ("areal", "nemo_rl", "openrlhf", "orz", "realhf", "skyrl", "spo", "verl")
ADAPTERS = {f"{peer}.loss.value": value for peer in PEERS}
