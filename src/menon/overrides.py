"""The arguments of `menon.train`, `menon.evaluate` and `menon.posterior`, for type checkers and editors.
Written by scripts/typed_overrides.py."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, TypedDict


class PartObject(Protocol):
    """A part as an object: a frozen dataclass whose fields are its settings."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Table = Mapping[str, Any] | PartObject
"""A table of settings."""
Part = str | Table
"""A part by the name of its kind, by a table with its kind and settings, or as an object."""
Reward = Part | Callable[..., Any]
"""A rule by name, a function, file.py:name, or a part."""

RecipeName = Literal[
    "grpo",
    "reinforce",
    "ppo",
    "dapo",
    "gspo",
    "cispo",
    "scalerl",
    "sapo",
    "clip_cov",
    "kl_cov",
    "top_entropy",
    "ppo_penalty",
    "trpo",
    "rloo",
    "drgrpo",
    "opo",
    "gpg",
    "maxrl",
    "remax",
    "grpo_passk",
    "reinforce_pp",
    "reinforce_pp_baseline",
    "vapo",
    "grpo_paper",
    "r1_zero",
    "realhf_ppo",
    "spo_chain",
    "spo_tree",
    "vineppo",
    "grpo_masked",
    "raft",
    "rest_em",
    "iterative_dpo",
    "calculator",
    "opd",
    "self_distill",
    "sdpo",
    "sft",
    "distill_logits",
    "distill_features",
    "gkd",
    "dpo",
    "reward_model",
    "energy_nce",
    "contrastive_divergence",
    "distill_data",
    "judge",
    "star",
    "r1",
]
"""The name of a recipe (docs/recipes.md)."""


class Overrides(TypedDict, total=False):
    """Settings of a run, as in `menon train --help`."""

    seed: int
    """Seed of every random draw of the run: the same seed gives the same run."""
    out: str
    """The run folder."""
    steps: int
    """Number of training steps, each from prompts to an improved model."""
    minutes: float | None
    """Most minutes of a command, its last evaluation included; null: no limit. The run ends before the
    step that would exceed them, and --resume goes on with as many again."""
    save_every: int
    """Steps between checkpoints; 0: only the last one."""
    save_dtype: Literal["auto", "float32", "bfloat16"]
    """Dtype of the model's files in checkpoints; auto: as at the start. That of a built-in model is
    float32. Resumed runs and all commands read the weights that trained: where the files round
    them, `state` has them too."""
    evaluate_every: int
    """Steps between evaluations besides the first and the last; 0: none."""
    stop_without_signal: bool
    """Stop after ten steps in a row that taught nothing; false: only warn. These are steps of equal
    rewards, without a gradient, or with skipped updates."""
    tracker: Literal["tensorboard", "wandb", "both", "mlflow", "trackio"] | None
    """Where the numbers are mirrored; null: nowhere."""
    wandb_project: str
    """The project of wandb or trackio, or the experiment of MLflow."""
    record: Literal["lean", "full"]
    """How much of each token is stored. full: also, for every update and term, each token's weight,
    the policy's log-probs before and after it and entropies before it, and the most probable tokens
    beside each token that was drawn."""
    data: str | None
    """Questions and answers: a file or folder, or hub:NAME. Files are JSONL, JSON, CSV or Parquet,
    folders those of the library datasets."""
    heldout_data: str | None
    """Questions of the evaluation; without it a tenth of `data`."""
    task: Part | None
    """Generated questions, or your own dataclass file.py:Class. Without data it is chain_sum."""
    template: str
    """A template by name, or text with {q} for the question."""
    template_arguments: Mapping[str, Any]
    """More arguments of the model's chat template, like enable_thinking."""
    reward: Reward | None
    """A rule, code, a judge, a preference model, or file.py:function. null: the task's, for data
    exact."""
    on_bad: Literal["stop", "skip"]
    """Rows that cannot be used: do not start, or leave them out."""
    heldout: int
    """Most questions of the evaluation."""
    heldout_seed: int
    """Seed of the held-out questions and answers, in place of `seed`."""
    report_questions: int
    """Questions of the report's best temperature and vote of eight. So many held-out questions are
    answered at temperatures 0, .3 and .6 as well, and eight times at 1, before and after the run,
    for best_accuracy and maj_at_8; 0: none."""
    order: Literal["shuffled", "by_difficulty", "unsolved"]
    """How questions are drawn. shuffled: each once per epoch; by_difficulty: those answered wrong come
    more often; unsolved: one that was answered right at least nine times in ten is not asked again."""
    prompts_per_step: int
    """Questions that are asked in a step."""
    samples_per_prompt: int
    """Answers to each of them."""
    max_new_tokens: int | None
    """Longest answer, in tokens. The default is for the built-in models. For any other model it is
    null: what the context leaves beside the longest prompt, at most 1,024."""
    temperature: float
    """Temperature of the answers that are learned from."""
    top_p: float
    """Draw from the likeliest tokens with this much of the probability. See `top_k`."""
    top_k: int
    """Draw from this many of the likeliest tokens; 0: from all. See `truncation` too."""
    truncation: Literal["ignored", "exact"]
    """What top_k and top_p mean for learning. ignored: log-probs are over all tokens, a bias of the
    size of `sampling/kept`; exact: over the tokens that could be drawn, which are stored. It needs
    top_k."""
    stop: Sequence[str]
    """Strings that end an answer besides the end-of-text token. Without any, those of the template
    (orz has some)."""
    keep_special_tokens: bool
    """Leave special tokens in the text that rewards and environments read. All but the end-of-text
    token that ends an answer stay."""
    rollout: Part
    """How answers are written: groups of whole answers, or otherwise."""
    environment: Part | None
    """What answers the policy turn by turn, or your own file.py:Class. `max_new_tokens` then counts
    observations too. Without data and task it asks its own questions, if any, with its own rewards
    alone."""
    max_turns: int
    """Most turns of an episode with an environment."""
    graded_text: Literal["policy", "all"]
    """What the reward reads of an answer in turns. policy: what the policy wrote, with a line break in
    place of each observation; all: also the observations. With `all` an environment must print
    nothing that the reward would take for an answer."""
    staleness: int
    """Most versions by which text is older than what learns from it. A separate thread and a sampler
    with a copy of the weights write later steps while earlier ones are learned from, and unfinished
    answers go on with new weights. 0: each step is written by the newest weights."""
    model: str
    """A folder, a name on the Hugging Face hub, or base or search_base. The last two are built in."""
    add_tokens: Sequence[str]
    """Special tokens that its vocabulary lacks, like <think>. Their embeddings begin at the mean of
    the others."""
    head: Literal["none", "reward"]
    """reward: a scalar head, which gives every text a score. Checkpoints are then sequence
    classifiers, for `reward.model` of other runs."""
    updates_per_step: int
    """Optimiser steps on the answers of a step; each takes its share of them."""
    old: Literal["trainer", "behaviour"]
    """Whose log-probs the ratios divide by. trainer: those of the trainer before the step; behaviour:
    those of the sampler, which saves a forward pass."""
    learning_rate: float
    """The full rate, after the warm-up. Recipes set their own."""
    betas: Sequence[float]
    """Decay of the averages of the gradient and of its square."""
    eps: float
    """Added to the root of the squares' average."""
    weight_decay: float
    """Decoupled from the gradient, as in AdamW."""
    warmup_updates: int
    """Updates in which the rate rises linearly. The first rate is not zero, the last is the full rate."""
    schedule: Literal["constant", "linear", "cosine"]
    """How the rate changes after the warm-up."""
    total_updates: int
    """The update at which a falling schedule ends. The rate is constant after it."""
    final_fraction: float
    """Last rate of a falling schedule, as a share of the full one."""
    clip_norm: float
    """Largest norm of the whole gradient; 0 is off."""
    tokens_per_forward: int
    """Padded tokens of the forward passes that run at a time. It affects memory only."""
    sampler: Part
    """Who writes the answers: builtin, vllm or openai. vllm needs sampler.python=PATH, the interpreter
    of an environment that has it; openai is a server."""
    slots: int
    """Answers that are written at the same time. Affects memory and speed only."""
    fixed_slots: bool
    """Always compute all slots; slower, and the same bits in any company. The bits of an answer then
    do not depend on the answers written beside it."""
    threads: int | None
    """Threads; null: as many as are free."""
    dtype: Literal["float32", "bfloat16", "float64"]
    """Dtype of the weights that compute. With bfloat16 the optimiser keeps float32 weights. dtype=auto
    takes bfloat16 where the device multiplies in it, else float32."""
    device: str
    """auto (cuda if there is one), cpu, cuda, cuda:1, ..."""
    ranks: int
    """Processes that share each model. Each holds a part of all weights, gradients and moments, and
    computes its part of each update. On GPUs each has its own. 1: the models are in the run's own
    process."""
    checkpointing: bool
    """Compute each layer again in the backward pass, for less memory. It keeps nothing of the inside
    of a layer, and takes about a third more time."""
    offload: bool
    """Keep weights, gradients and moments in the memory of the host. For ranks on GPUs."""
    samplers: int | None
    """Processes that write text, each with its own copy of the weights. They divide the threads. null:
    the run's own process writes, or one where Ray places them."""
    colocated: bool
    """Samplers and learner take turns in the memory of one machine. The learner's weights and moments
    wait in a file while text is written, and the samplers' caches are freed while it learns."""
    placement: Part
    """Where the processes of the run are: `local` or `ray`."""
    advantage: Mapping[str, Any]
    """Credit: parts by name, in the order in which they run."""
    objective: Mapping[str, Any]
    """Terms by name, of which an update lowers the sum. Each has loss, share, select, coef and
    correction."""
    arrange: Mapping[str, Any]
    """Which answers of a step are learned from, and which are pairs. Parts by name, in the order in
    which they run."""
    scale: Literal["laptop", "paper"]
    """Numbers for the built-in base, or the published ones."""
    reference: Literal["none", "frozen"]
    """frozen: the policy as it was at the start."""
    reference_update: Part | None
    """How a reference follows the policy; null: not at all."""
    teacher: str | None
    """A model of the policy's vocabulary, for distillation. It is a folder, a name on the hub, start
    (the policy as it was at the start) or policy (the policy as it is now, which needs
    `teacher_question`). A recipe of distillation has "", which stands for one that is still to be
    named; null: none."""
    teachers: Mapping[str, Any]
    """Several teachers in place of one: name -> a model as for `teacher`. Each row is scored by the
    teacher that it names. All stay in memory."""
    teacher_by: str
    """With `teachers`: the column of the rows that names the teacher. Rows of a task without this
    column belong to the teacher that has the task's name."""
    teacher_rate: float
    """Share of the policy that goes into the teacher after each step. With teacher=start only: the
    teacher is then a moving average of the policy. 0: it stays as it was; 1: it is the policy
    before the step."""
    teacher_question: str | Sequence[str] | None
    """What the teacher reads in place of the question. It is a text with {q}, {answer} and other
    columns of the row, as {hint}; null: the question. {right_answer} is another answer to the
    question that is right, {feedback} what the reward said of this one. Of several texts an answer
    takes the first for which all fields are there; if there is none, the teacher reads the
    question."""
    columns: Table | None
    """Columns of `data`: question and answer."""
    natural: Table | None
    """TRPO's step for the policy: max_kl, damping, ...; null: the optimiser's."""
    adapter: Table | None
    """LoRA: rank, alpha, targets; null: all weights learn."""
    critic: Table | None
    """The value model: objective, optimiser, updates_per_step, ...; null: none."""
    optimiser: Table | None
    """The policy's optimiser: learning_rate, betas, ..."""
    rows: Table | None
    """The settings of given text, in one table."""
    source: Table | None
    """The settings of questions and answers, in one table."""
    models: Table | None
    """The settings of the models, in one table."""
    engine: Table | None
    """The settings of memory and speed, in one table."""
    control: Table | None
    """The settings of length, record and seed, in one table."""


class EvalOverrides(TypedDict, total=False):
    """Settings of an evaluation, as in `menon eval --help`."""

    task: Part | None
    """A built-in task, or your own dataclass, file.py:Class; its held-out questions are asked."""
    data: str | None
    """Questions and answers: a JSONL, JSON, CSV or Parquet file, a folder of the library datasets, or
    hub:NAME."""
    columns: Table
    """Which columns of `data` hold question and answer, where their names do not say so."""
    set: str | None
    """A public set by name; `path` says where its file is."""
    path: str | None
    """The set's file, or a folder with it."""
    run: str | None
    """A run folder: settings that are not given here are those of this run, and its held-out questions
    are asked if no others are named. Default: the run that the model comes from."""
    reward: Reward | None
    """math, choice, numeric, code, instructions, exact, a function (file.py:name), or a table with the
    kind of a run's reward. Default: that of the run, task or set, and exact for data."""
    template: str | None
    """A template by name, or text with {q} for the question. Default: that of the run, or the set's
    own, else none."""
    few_shot: Table
    """What stands before the question: an instruction and worked examples. Default: that of the run."""
    environment: Part | None
    """The environment that answers the policy, turn by turn; null: none. Default: that of the run.
    Without other questions it asks its own if it has any."""
    max_turns: int
    """Most turns of an episode with an environment."""
    graded_text: Literal["policy", "all"]
    """What the reward reads of an answer in turns: what the policy wrote, or with `all` also the
    observations."""
    template_arguments: Mapping[str, Any]
    """What the model's chat template gets besides the messages and a row's `tools`, like
    enable_thinking or documents."""
    n: int | None
    """How many questions; default: 200 of a task, all of a file."""
    k: int
    """The k of pass@k and maj@k."""
    samples: int | None
    """Answers to each question; default: k. With more than k the estimates are better."""
    temperature: float
    """Temperature of the answers; 0: always the most probable token."""
    forking_temperature: float | None
    """The temperature, instead of `temperature`, of tokens whose entropy at temperature 1 is above
    `entropy_threshold`."""
    entropy_threshold: float
    """In nats; see `forking_temperature`."""
    top_p: float
    """Answers are drawn from the likeliest tokens that hold this much of the probability."""
    max_new_tokens: int | None
    """Most tokens of an answer. Default: that of the run, or the set's own, or 96 for a built-in
    model, else what the model's context leaves beside the longest prompt, at most 1,024."""
    stop: Sequence[str]
    """Strings that end an answer, besides the end-of-text token; without any, those of the template
    (orz has some)."""
    keep_special_tokens: bool
    """Special tokens stay in the text that rewards read, all but the end-of-text token that ends an
    answer."""
    seed: int
    """Seed of the answers and of the intervals."""
    on_bad: Literal["stop", "skip"]
    """Rows that cannot be used: do not start, or leave them out and count them."""
    slots: int
    """Answers that are written at the same time. Affects memory and speed only."""
    threads: int | None
    """Without a number as many as are free."""
    dtype: Literal["float32", "bfloat16", "float64"]
    """Dtype of the weights."""
    device: str
    """auto (cuda if there is one), cpu, cuda, cuda:1, ..."""
    out: str
    """The file of results."""


class PosteriorOverrides(TypedDict, total=False):
    """Settings of draws, as in `menon posterior --help`."""

    method: Part
    """How draws are made; `menon help suffix_mh` and so on say what each does."""
    beta: float
    """Weight of the model against the reward: an answer is exp(r / beta) times likelier than the model
    has it."""
    draws: int
    """Draws for each question."""
    truncated: Literal["reject", "score"]
    """Answers cut at the limit have probability 0 (reject), or count with their reward (score)."""
    task: Part | None
    """A built-in task, or your own dataclass, file.py:Class; its held-out questions are asked."""
    data: str | None
    """Questions and answers: a JSONL, JSON, CSV or Parquet file, a folder of the library datasets, or
    hub:NAME."""
    columns: Table
    """Which columns of `data` hold question and answer, where their names do not say so."""
    run: str | None
    """A run folder whose template, reward and held-out questions are taken where no others are given.
    The default is the run that the model comes from."""
    reward: Reward | None
    """As for `menon eval`. Default: that of the run or task, and exact for data."""
    template: str | None
    """A template by name, or text with {q} for the question. Default: that of the run, else none."""
    template_arguments: Mapping[str, Any]
    """What the model's chat template gets besides the messages."""
    n: int | None
    """How many questions; default: 200 of a task, all of a file."""
    temperature: float
    """Temperature of the model, which belongs to the distribution that the draws come from."""
    top_p: float
    """Answers come from the likeliest tokens that hold this much of the probability, as part of that
    distribution."""
    max_new_tokens: int | None
    """Most tokens of an answer. Default: that of the run, else 96 for a built-in model, else what the
    model's context leaves, at most 1,024."""
    stop: Sequence[str]
    """Strings that end an answer, besides the end-of-text token; without any, those of the template."""
    keep_special_tokens: bool
    """Special tokens stay in the text that rewards read."""
    seed: int
    """Seed of the draws."""
    on_bad: Literal["stop", "skip"]
    """Rows that cannot be used: do not start, or leave them out and count them."""
    slots: int
    """Answers that are written at the same time. Affects memory and speed only."""
    threads: int | None
    """Without a number as many as are free."""
    dtype: Literal["float32", "float64"]
    """Dtype of the weights."""
    device: str
    """auto (cuda if there is one), cpu, cuda, cuda:1, ..."""
    out: str
    """The file of draws, JSON lines; default: posterior/MODEL-SOURCE-METHOD-TIME.jsonl."""
