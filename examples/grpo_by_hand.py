"""GRPO written out by hand: a base model that guesses at sums learns to work them out, in under a minute.

`menon train grpo` does the same from settings. Here each stage of a step is in plain sight, so that you can
change it: ask, grade, compare, update. The library writes the answers and takes the gradients. Things to try:
leave out the division in `with_advantages` (Dr.GRPO); set UPDATES to 1 (ratios stay 1, nothing is clipped).
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from menon.base import WEIGHTS
from menon.batch import Batch, pack
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.hf_models import load_policy
from menon.engines.in_process import InProcessHost
from menon.engines.torch_learner import TorchLearner
from menon.prompts.tasks import ChainSum
from menon.sync.by_reference import ByReference
from menon.types import Completion, Graded, Metric, Prompt, Request, Rollout, Sampling, Unit, Verdict
from menon.update.objective import cut, prepare
from menon.update.optimiser import Optimiser
from menon.update.protocols import Need
from menon.update.terms import MiniBatch, Term, Update

STEPS, PROMPTS, SAMPLES, UPDATES, CLIP = 8, 16, 8, 2, 0.2
TASK = ChainSum()  # "3+8+5+2=?": an answer is right if it ends with #18, however it gets there
SAMPLING = Sampling(max_new_tokens=96, temperature=1)  # text as the policy itself would write it
torch.set_num_threads(1)  # a model this small loses by more threads: they mostly wait for each other
torch.manual_seed(0)
model, tokenizer = load_policy(WEIGHTS)
sampler, learner = TorchSampler(model, tokenizer), TorchLearner(model, Optimiser(learning_rate=3e-4))
host, channel = InProcessHost({"policy": learner}), ByReference(learner, sampler)


def questions(split: str, count: int) -> list[Prompt]:
    rows = TASK.rows(split, count, seed=0)
    # The question is the whole prompt: no template, no worked example.
    ids = [tokenizer(row["question"], return_tensors="np")["input_ids"][0] for row in rows]
    return [Prompt(i, ids[i], row["question"], row["answer"]) for i, row in enumerate(rows)]


def write(requests: list[Request]) -> list[Completion]:
    with sampler.open() as stream:
        stream.ask(requests)
        return list(stream)


def grade(completion: Completion) -> Graded:
    # Only the end is checked. How to get there, the model must find out. A prompt's index names its group.
    prompt = completion.request.prompt
    reward = TASK.grade(prompt.text, completion.text, str(prompt.answer))
    return Graded(Rollout.of(completion, group=prompt.index), Verdict(score=reward, acc=reward))


def with_advantages(batch: Batch) -> Batch:
    # Is a reward of 1 good? The other answers to the same question tell, so GRPO needs no critic. Where all
    # are right, or all wrong, the difference is exactly 0: such a group teaches nothing.
    advantage_S = torch.zeros(batch.num_sequences)
    for group in batch.group.unique():
        reward_G = batch.outcome[batch.group == group]
        advantage_S[batch.group == group] = (reward_G - reward_G.mean()) / (reward_G.std() + 1e-6)
    # We cannot say which token was the good one. Each gets its answer's number, and chance averages out.
    return replace(batch, advantage=advantage_S.repeat_interleave(batch.lengths))


class ClippedLoss:
    unit: Unit = "token"  # what one number belongs to; the learner never cuts a unit in two
    needs: tuple[Need, ...] = ("logp",)  # of the forward pass, with gradient
    reads = ("advantage", "old_logp")  # of the batch

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        # Entry t of every column is about token t, all answers in one row: nothing to shift, nothing to pad.
        advantage_N = batch.need("advantage", self)
        ratio_N = torch.exp(now["logp"] - batch.need("old_logp", self))
        # The first update moves the policy away from the text that the second one still learns from. Once a
        # token has moved by a fifth the way its advantage points, the clamp stops its gradient.
        return -torch.minimum(ratio_N * advantage_N, ratio_N.clamp(1 - CLIP, 1 + CLIP) * advantage_N)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return {}


def token_mean(batch: Batch, selected: Tensor) -> Tensor:
    # How much each token counts in the update's sum. Why not take a mean in the loss? The loss sees one
    # forward pass at a time, so its mean would depend on how much fits into memory.
    return selected / selected.sum()


def learn(batch: Batch) -> None:
    # The sampler noted each token's log-prob as it wrote, with the learner's own weights: these are the old
    # policy's. From a sampler that rounds differently we would not take them, and score the batch instead.
    batch = replace(with_advantages(batch), old_logp=batch.behaviour_logp)
    update = Update({"policy": Term(ClippedLoss(), token_mean)}, old="behaviour")
    for number, rows in enumerate(torch.randperm(batch.num_sequences).chunk(UPDATES)):
        # `prepare` settles what depends on the whole update. After that, a cut cannot change the gradient.
        job = prepare(MiniBatch(update, rows, first=number == 0), batch, host)
        learner.accumulate(cut(job, learner.tokens_per_forward, learner.workers), host.models)
        learner.step()


def accuracy(prompts: list[Prompt]) -> float:
    answers = write([Request(prompt, SAMPLING, purpose="evaluate") for prompt in prompts])
    return sum(grade(answer).verdict.acc for answer in answers) / len(answers)


train, heldout = questions("train", STEPS * PROMPTS), questions("heldout", 200)
before = accuracy(heldout)
for step in range(1, STEPS + 1):
    requests = [Request(prompt, SAMPLING, i) for prompt in train[step - 1 :: STEPS] for i in range(SAMPLES)]
    batch = pack([grade(answer) for answer in write(requests)])
    learn(batch)
    channel.publish(step)  # nothing is copied: the sampler hears that its weights have changed
    reward, length = batch.outcome.mean(), batch.action_lengths.float().mean()
    entropy = batch.need("entropy", sampler)[batch.is_action].mean()
    print(f"step {step}  reward {reward:.2f}  length {length:.1f}  entropy {entropy:.3f}", flush=True)
print(f"before {before:.3f}\nafter  {accuracy(heldout):.3f}")
