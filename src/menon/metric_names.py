"""Every number of a line of metrics.jsonl: its name, unit and meaning. `menon help NAME` and docs/metrics.md
are made from this table.

A name in capitals stands for any name: of a term (`loss/NAME`), of a part of a reward, of a role.
"""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Described:
    """A metric."""

    unit: str
    meaning: str


GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "The line": {
        "step": ("number", "number of the step, from 1"),
        "fingerprint": ("text", "32 hexadecimal digits of the weights that the sampler now holds"),
    },
    "Rewards and correctness": {
        "reward/mean": ("reward", "mean score of the grader, before shaping and before any KL in the reward"),
        "reward/std": ("reward", "sample deviation of the scores"),
        "reward/failed": ("answers", "answers whose grader failed; they teach nothing"),
        "reward/not_applicable": (
            "answers",
            "answers that the reward does not apply to, in steps that have some",
        ),
        "reward/parts/NAME": (
            "of the part",
            "mean of the part NAME of a reward, over the answers that have it",
        ),
        "reward/parts/unparsable": ("share", "answers that state no result that the rule can read"),
        "reward/parts/too_costly": ("share", "answers whose comparison went over a limit of time or size"),
        "reward/parts/judge_unparsable": ("share", "replies of the judge that are neither yes nor no"),
        "reward/parts/speaks_to_judge": ("share", "answers that speak to the judge of a rubric"),
        "reward/parts/raw": ("score", "mean raw score of a preference model, before mean and deviation"),
        "reward/parts/tests_passed": ("share", "mean share of the tests that a program passes"),
        "reward/parts/cpu_seconds": ("seconds", "mean CPU time of a program's tests"),
        "reward/parts/no_code": ("1 or absent", "there are answers without a program"),
        "reward/parts/fail": (
            "1 or absent",
            "there are programs whose first failed test gave a wrong result",
        ),
        "reward/parts/timeout": ("1 or absent", "there are programs whose first failed test took too long"),
        "reward/parts/memory": (
            "1 or absent",
            "there are programs whose first failed test took too much memory",
        ),
        "reward/parts/sandbox": ("1 or absent", "there are programs that the sandbox stopped"),
        "acc/mean": (
            "share",
            "mean correctness before any shaping, over answers for which it is known; absent where none is",
        ),
        "reward/right_ahead": (
            "share",
            "of a right and a wrong answer to one question, how often the right one earns more, ties half; "
            "absent where the score is the correctness itself, or is known of no such two",
        ),
        "groups/varied": (
            "share",
            "groups whose answers earned different scores: a comparison within a group learns only from them",
        ),
        "groups/all_correct": ("share", "groups with a known verdict in which every answer is right"),
        "groups/all_wrong": ("share", "groups with a known verdict in which every answer is wrong"),
        "groups/mixed": ("share", "groups with a known verdict that have right and wrong answers"),
        "shows/NAME": ("share", "answers that show NAME (working, reflection), where the task looks for it"),
    },
    "Gold answers (`answer_probability`)": {
        "answer_prob/mean": (
            "probability",
            "mean probability of the gold answer's tokens in the place of the answer; 0 where there is none",
        ),
        "answer_prob/placed": ("share", "answers that have the marker, after which the gold answer goes"),
    },
    "Texts": {
        "len/mean": ("tokens", "mean length of an answer; only the policy's own tokens count"),
        "len/p50": ("tokens", "median length of an answer"),
        "len/p95": ("tokens", "95th percentile of the length of an answer"),
        "len/max": ("tokens", "longest answer"),
        "len/correct": ("tokens", "mean length of right answers"),
        "len/wrong": ("tokens", "mean length of wrong answers"),
        "trunc_rate": ("share", "answers that were cut at max_new_tokens"),
        "stop_rate": ("share", "answers that ended by themselves"),
        "tokens/generated": (
            "tokens",
            "tokens that the policy wrote in the step; those of dropped groups, value samples and greedy "
            "baselines too",
        ),
        "format_rate": ("share", "answers that are <think>...</think> <answer>...</answer> (numerics 13.3)"),
        "boxed_rate": ("share", "answers with a \\boxed{} whose braces close"),
        "repeat_score": (
            "0 to 1",
            "how much an answer repeats itself: mean of 2 Σ LCP / (n (n + 1)) over the last 2,048 tokens; "
            "LCP: common prefixes of neighbouring sorted suffixes (Open-Reasoner-Zero)",
        ),
        "refl/rate": (
            "share",
            "answers with one of the five words of reflection below (Open-Reasoner-Zero, case-sensitive)",
        ),
        "refl/per_pattern/wait": ("share", "answers with `wait,`"),
        "refl/per_pattern/recheck": ("share", "answers with `recheck` and a comma or space"),
        "refl/per_pattern/retry": ("share", "answers with `retry`"),
        "refl/per_pattern/alternatively": ("share", "answers with `alternatively,`"),
        "refl/per_pattern/however": ("share", "answers with `however,`"),
        "refl/capitalised_rate": ("share", "answers with one of the same five with a capital letter"),
        "refl/len_correct": ("tokens", "mean length of the answers that reflect and are right"),
        "refl/r1_rate": (
            "share",
            "answers with a word of the list of arXiv 2501.12948 (wait, mistake, however, but, retry, error, "
            "verify, wrong, evaluate, check), in any case",
        ),
    },
    "Distributions": {
        "entropy/mean": ("nats", "mean entropy of the next token, over trained tokens"),
        "entropy/p50": ("nats", "median entropy of the next token"),
        "entropy/p80": ("nats", "80th percentile of the entropy of the next token"),
        "entropy/p95": ("nats", "95th percentile of the entropy of the next token"),
        "entropy/lt001": ("share", "trained tokens with an entropy below .01"),
        "entropy/mc": ("nats", "mean of -log of the sampler's probability: an estimate of the mean entropy"),
        "sampling/kept": ("share", "probability that top_p and top_k kept, where they cut anything"),
        "cov/mean": (
            "nats",
            "covariance of log-prob and advantage over the trained tokens, by the policy before the step's "
            "updates (numerics 7.12); it drives the entropy down",
        ),
        "cov/top002": ("nats", "mean of the largest .02 % of that covariance's summands"),
        "cov/top02": ("nats", "mean of the largest .2 % of them"),
        "cov/top2": ("nats", "mean of the largest 2 % of them"),
        "cov/top20": ("nats", "mean of the largest 20 % of them"),
        "cov/top50": ("nats", "mean of the largest 50 % of them"),
        "adv/mean": ("advantage", "mean advantage over trained tokens"),
        "adv/std": ("advantage", "sample deviation of the advantage over trained tokens"),
        "adv/absmax": ("advantage", "largest absolute advantage over trained tokens"),
        "value/explained_var": (
            "at most 1",
            "1 - Var(ret - value) / Var(ret) over trained tokens: 1 is a perfect critic; 0 where returns "
            "do not vary",
        ),
    },
    "Updates": {
        "loss/NAME": (
            "loss",
            "the term's part of the loss (numerics 4.3), its coefficient included, summed over the updates",
        ),
        "coefficient/NAME": ("factor", "by which a controller multiplied the term's coefficient"),
        "ratio/mean": (
            "ratio",
            "mean of new to old probability of a token; of an answer with gspo, geo_mean, vespo",
        ),
        "ratio/max": ("ratio", "largest such ratio"),
        "clip/frac": (
            "share",
            "tokens whose loss is decided by a bound on the ratio, and that so have no gradient; of answers "
            "with gspo; with cispo tokens outside of the bounds; with dppo tokens outside of the region",
        ),
        "clip/low": ("share", "those of clip/frac that are held at the lower bound"),
        "clip/high": ("share", "those of clip/frac that are held at the upper bound"),
        "clip/dual": ("share", "tokens with a negative advantage and a ratio above the bound of dual_clip"),
        "gate/mean": ("slope", "mean slope of the gate of sapo, 1 where it is open; mean of phi of vespo"),
        "cov/dropped": ("share", "tokens that clip_cov leaves out"),
        "cov/penalised": ("share", "tokens that pay the penalty of kl_cov"),
        "nll": ("nats", "mean -log pi over all trained tokens, also those that the term does not select"),
        "distill/divergence": (
            "nats",
            "mean divergence of distill over trained tokens, at its temperature and without its T^2",
        ),
        "distill/features": (
            "squared numbers of a state",
            "mean distance of features over trained tokens, summed over pairs of layers; with cosine 1 - cos",
        ),
        "distill/attention": (
            "nats",
            "mean divergence of attention_maps over trained tokens, summed over pairs of layers",
        ),
        "value/loss": ("squared reward", "mean loss of the critic over trained tokens (numerics 8.6)"),
        "pairs/accuracy": (
            "share",
            "pairs whose preferred answer has the larger reward; with bradley_terry a tie counts one half",
        ),
        "pairs/expected_accuracy": (
            "share",
            "the accuracy that the scores of bradley_terry expect: mean of sigmoid of the margin's size. It "
            "is pairs/accuracy where scores are calibrated",
        ),
        "pairs/margin": ("reward", "mean of how far the reward of the preferred answer is ahead"),
        "pairs/chosen_reward": (
            "reward",
            "mean reward of preferred answers, with kto of desirable ones: beta log pi / ref, beta log pi "
            "without a reference, or the score of a reward model",
        ),
        "pairs/chosen_deviation": (
            "reward",
            "population deviation of the scores of preferred answers, with bradley_terry: `reward.std` where "
            "that model is the reward, as pairs/chosen_reward is `reward.mean`",
        ),
        "pairs/rejected_reward": ("reward", "the same of the other answers"),
        "pairs/chosen_logp": ("nats", "mean log-prob of a preferred answer, a sum over its tokens"),
        "pairs/rejected_logp": ("nats", "the same of the other answers"),
        "pairs/dropped": (
            "pairs",
            "pairs left out of the updates, because an answer is empty or failed or both are equal",
        ),
        "kto/kl": ("nats", "z of kto: log pi / ref of answers after other prompts, at least 0"),
        "kto/accuracy": (
            "share",
            "answers whose log pi / ref is on their side of z: above it if desirable; a tie counts one half",
        ),
        "kto/desirable": ("share", "answers with the label 1"),
        "posterior/log_z": (
            "nats",
            "trajectory_balance: mean of r / beta - log pi / ref, an estimate of log Z",
        ),
        "dvo/off": ("reward", "dvo: mean distance of beta log pi / ref from the advantage"),
        "posterior/kl": ("nats", "infonca: KL from softmax(r / beta) to softmax(log pi / ref) of a group"),
        "energy/data": ("nats", "energy_nce, contrastive_divergence: mean energy of answers of the data"),
        "energy/reference": ("nats", "energy_nce: mean energy of answers of the reference"),
        "energy/model": ("nats", "contrastive_divergence: mean energy of the states of its chains"),
        "energy/accuracy": ("share", "energy_nce: answers that the energy puts on the right side"),
        "grad_norm": ("norm", "norm of the gradient before it is clipped, mean over the updates made"),
        "learning_rate": ("rate", "mean over the updates made"),
        "update/empty": ("updates", "updates not made because every token had weight 0"),
        "update/skipped": ("updates", "updates not made because the gradient was not finite"),
        "trpo/kl": ("nats", "KL of the natural gradient's step"),
        "trpo/tries": ("tries", "step lengths that were tried"),
        "trpo/rejected": ("share", "updates that left the weights as they were"),
        "ROLE/METRIC": ("as METRIC", "the metric of another model's updates, like critic/grad_norm"),
    },
    "Distances": {
        "kl/ref_k1": ("nats", "mean over trained tokens of log pi - log ref, before the step's updates"),
        "kl/ref_k3": ("nats", "the same by the estimate k3, which is never negative (numerics 8.1)"),
        "kl/seq": ("nats", "KL to the reference of a whole answer: the sum of k1 over its tokens"),
        "kl/ref_full": ("nats", "KL to the reference over the whole vocabulary, mean over trained tokens"),
        "kl/teacher_k1": (
            "nats",
            "mean over trained tokens of log pi - log teacher, before the step's updates",
        ),
        "kl/teacher_k3": ("nats", "the same by the estimate k3"),
        "kl/teacher_seq": ("nats", "KL to the teacher of a whole answer: the sum of k1 over its tokens"),
        "teacher/hinted": ("share", "answers whose teacher reads a hint of the step"),
        "teacher/no_room": ("answers", "hints of the step that do not fit into the context and are left out"),
        "kl/old": ("nats", "KL from the policy before the step, mean over its later updates (numerics 8.3)"),
        "mismatch/abs": (
            "nats",
            "mean absolute difference of the trainer's and the sampler's log-probs of the same weights, on "
            "the first update",
        ),
        "mismatch/k3": ("nats", "the same difference as a KL, by the estimate k3"),
        "mismatch/max_w": ("ratio", "largest ratio of the trainer's to the sampler's probability"),
        "mismatch/masked": ("share", "trained tokens that the corrections of a term give weight 0"),
    },
    "Rollouts": {
        "dynamic/rounds": ("rounds", "times that new questions were asked in the step"),
        "dynamic/groups_generated": ("groups", "groups that were written"),
        "dynamic/groups_kept": ("groups", "groups that may train, surplus included (numerics 14.1)"),
        "dynamic/all_correct": ("groups", "groups with a mean accuracy of at least hi"),
        "dynamic/all_wrong": ("groups", "groups with a mean accuracy of at most lo"),
        "dynamic/ungraded": ("groups", "groups without a known correctness"),
        "dynamic/failed_answers": ("answers", "answers of all groups whose grader failed"),
        "staleness/mean": (
            "versions",
            "how much older than the weights that learn from it the weights were that wrote a token; absent, "
            "like the next three, in a step whose text is all of the newest weights",
        ),
        "staleness/max": ("versions", "the oldest token"),
        "staleness/several": ("share", "answers that were written by several versions of the weights"),
        "staleness/by/NUMBER": ("share", "tokens that are so many versions older"),
        "async/groups_begun": ("groups", "groups that began since the step before; only with `staleness`"),
        "async/groups_ready": ("groups", "groups of later steps that are whole and wait"),
        "async/groups_open": ("groups", "groups of later steps that are begun and not whole"),
        "async/computed_again": (
            "tokens",
            "tokens of this step's prompts and unfinished answers that were computed once more, because new "
            "weights came",
        ),
        "best_of/written_reward": (
            "reward",
            "mean reward of all answers that were written: the policy's own",
        ),
        "best_of/dropped_reward": ("reward", "mean reward of the answers left out"),
        "best_of/dropped": ("answers", "answers left out"),
        "best_of/failed": ("answers", "answers without a score"),
        "arrange/learned": ("answers", "answers that are learned from, in a run with `arrange`"),
        "arrange/left_out": ("groups", "groups of which `arrange` learns nothing"),
        "greedy/reward": ("reward", "mean score of the greedy answers"),
        "greedy/failed": ("answers", "greedy answers whose grader failed"),
        "segments/per_answer": ("states", "estimated states per answer"),
        "segments/states": ("states", "distinct states that were estimated"),
        "segments/unknown": ("states", "estimates without a graded continuation (numerics 14.2)"),
        "segments/value": ("reward", "mean of the estimated values"),
        "segments/standard_error": ("reward", "mean standard error of the estimated values"),
        "segments/generated_tokens": ("tokens", "tokens of the continuations"),
        "tree/nodes": ("nodes", "nodes of the step's trees"),
        "tree/leaves": ("nodes", "graded leaves"),
        "tree/early_leaves": ("nodes", "graded leaves above the last level"),
        "tree/edges": ("edges", "edges that teach (numerics 14.3)"),
        "tree/silent": ("share", "roots without spread"),
        "tree/standard_error": ("reward", "mean standard error of the roots"),
        "replay/fresh": ("edges", "edges of this step that were trained (numerics 14.4)"),
        "replay/old": ("edges", "edges of earlier steps that were trained"),
        "replay/waiting": ("edges", "edges left waiting"),
        "replay/dropped": ("edges", "edges dropped for their age"),
    },
    "Time and memory": {
        "time/rollout": ("seconds", "writing and grading answers"),
        "time/score": ("seconds", "log-probs and values before the updates"),
        "time/advantage": ("seconds", "the advantage stage"),
        "time/update": ("seconds", "the updates"),
        "time/sync": ("seconds", "bringing the weights to the sampler"),
        "time/report": ("seconds", "the record of the step"),
        "time/other": ("seconds", "what is left of the step"),
        "time/step": ("seconds", "the whole step"),
        "memory/gib": ("GiB", "memory of the run's processes"),
        "memory/device_gib": ("GiB", "most that tensors held on the GPU"),
    },
}
EVALUATION: dict[str, tuple[str, str]] = {
    "reward": ("score", "mean score that the grader gave"),
    "accuracy": ("share", "mean correctness; absent where nothing knows which answers are right"),
    "reward_low": ("score", "lower end of the 95 % interval of the reward, by the choice of questions"),
    "reward_high": ("score", "its upper end"),
    "accuracy_low": ("share", "lower end of the 95 % interval of the accuracy, by the choice of questions"),
    "accuracy_high": ("share", "its upper end"),
    "mean_length": ("tokens", "mean length of an answer"),
    "entropy": ("nats", "mean entropy of the next token, over the tokens of the answers"),
    "n": ("answers", "answers that could be graded"),
    "failed": ("answers", "answers that could not be graded; they are in no other number"),
    "learned/NAME": (
        "as NAME",
        "pairs/accuracy, pairs/margin or kto/accuracy of as many rows that the run learns from, the first "
        "ones; far above that of held-out rows, they are learned by heart",
    ),
    "NAME_share": ("share", "answers that show NAME (working, reflection), where the task looks for it"),
    "best_reward": ("score", "reward at best_reward_temperature, the best of 0, .3, .6 and 1"),
    "best_accuracy": (
        "share",
        "accuracy at best_temperature, the best of 0, .3, .6 and 1 (report.json alone)",
    ),
    "maj_at_8": ("share", "accuracy of a vote of eight answers at temperature 1 (report.json alone)"),
}
"""The numbers of an evaluation, in evaluations.jsonl and in `before` and `after` of report.json."""
METRICS = {name: Described(*about) for group in GROUPS.values() for name, about in group.items()}
"""Name -> what it is."""


def described(name: str) -> Described | None:
    """What a metric is, by its own name or by the pattern that it fits; None for any other name."""
    if name in METRICS:
        return METRICS[name]
    if (number := name.removeprefix("heldout/")) in EVALUATION and number != name:  # of trackers
        return Described(*EVALUATION[number])
    if number.startswith("learned/"):
        return Described(*EVALUATION["learned/NAME"])
    for pattern, about in METRICS.items():
        if pattern == "ROLE/METRIC":
            role, _, metric = name.partition("/")
            if role in ("critic", "reference", "teacher") and metric in METRICS:
                return Described(METRICS[metric].unit, f"of the {role}: {METRICS[metric].meaning}")
        elif re.fullmatch(re.sub(r"[A-Z]{2,}", ".+", pattern), name):
            return about
    return None


def metric_lines(metrics: Mapping[str, Described], width: int) -> list[str]:
    """A line for each metric: name, unit, meaning."""
    lines = []
    for name, one in metrics.items():
        left = f"{name:<33}{one.unit:<16}"
        first, *rest = textwrap.wrap(one.meaning, width - len(left), break_on_hyphens=False)
        lines += [f"{left}{first}", *(" " * len(left) + line for line in rest)]
    return lines
