"""Programs that speak OpenAI's API as environments: real programs, with the standard library and with the
package openai, and a scripted policy."""

import json
import math
import re
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette")

from helpers import tiny_tokenizer
from menon.assembly.tokenizer_voice import TokenizerVoice
from menon.assembly.trust import named_in
from menon.cli import main
from menon.errors import UserError
from menon.record.reader import RunView
from menon.rollout.environments.agent import Agent
from menon.rollout.turns import Turns
from menon.types import Completion, Prompt, Request, Sampling, Verdict
from scripted import RoundSampler, question

ASKING = """
import json, os, sys, urllib.request
from urllib.error import HTTPError

def post(path, key=None, **body):
    headers = {"Content-Type": "application/json"}
    headers["Authorization"] = "Bearer " + (key or os.environ["OPENAI_API_KEY"])
    asked = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(asked) as reply:
        return json.load(reply)

def complete(prompt, **body):
    return post("/completions", prompt=prompt, **body)["choices"][0]["text"]

def chat(messages, **body):
    return post("/chat/completions", messages=messages, **body)["choices"][0]["message"]["content"]

def user(text):
    return {"role": "user", "content": text}

def assistant(text):
    return {"role": "assistant", "content": text}

question = sys.stdin.read()
"""
"""What the programs of the tests begin with: a client of the standard library."""
TEMPLATE = (
    "{% for m in messages %}[{{ m['role'][0] }}]{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}<|endoftext|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[a]{% endif %}"
)
END = 256


def tokenizer():
    made = tiny_tokenizer().__class__(tokenizer_object=tiny_tokenizer().backend_tokenizer)
    made.add_special_tokens({"eos_token": "<|endoftext|>"})
    made.chat_template = TEMPLATE
    return made


def shown(tokens) -> str:
    """Tokens as text, special ones too."""
    return str(tokenizer().decode([int(token) for token in tokens]))


class Policy(RoundSampler):
    """Writes what `said` says, up to a stop string, an end token, or where there is no room."""

    def __init__(self, said) -> None:
        self.said = said

    def write(self, requests):
        for request in requests:
            text = self.said(request)
            places = [text.find(stop) + len(stop) for stop in request.sampling.stop if stop in text]
            tokens = [*map(ord, text[: min(places)])] if places else [*map(ord, text), END]
            size, most = len(tokens), request.sampling.max_new_tokens
            zeros = np.zeros(min(size, most), dtype=np.float32)
            yield Completion(
                request=request,
                tokens=np.array(tokens[:most], dtype=np.int32),
                logp=zeros - 1,
                log_kept=zeros,
                entropy=zeros,
                version=zeros.astype(np.int32),
                finish="stop" if size <= most else "length",
                text=text[:most],
            )


@pytest.fixture
def play(tmp_path):
    """A function that plays episodes of a program."""

    def played(program, said, count=1, size=200, notify=lambda sentence: None, prompts=None, **settings):
        """The answers to `count` questions; `said(request)` is what the policy writes."""
        file = tmp_path / "agent.py"
        file.write_text(ASKING + textwrap.dedent(program))
        words = tokenizer()
        voice = TokenizerVoice(("policy",), words, lambda tokens: words.decode(tokens, True), len(words))
        isolated = "" if "openai" in program else "-S"  # faster, without installed packages
        settings = {"time_s": 60.0, "command": f"{sys.executable} {isolated} {file}"} | settings
        turns = Turns(
            Agent(**settings).playing(voice, notify),
            lambda text, before: [ord(letter) for letter in text],
            lambda tokens: str(words.decode(tokens, True)),
        )
        prompts = prompts or [question(place) for place in range(count)]
        count = len(prompts)
        requests = [Request(prompt, Sampling(size)) for prompt in prompts]
        return turns(requests, range(count), Policy(said), lambda rollout: Verdict(1.0, 1.0))

    return played


def marks(rollout) -> str:
    return "".join(map(str, rollout.is_action.astype(int)))


def test_each_request_is_a_turn_and_what_is_printed_is_graded(play):
    program = """
        text = question
        for _ in range(2):
            text += complete(text, stop="=", max_tokens=9) + "=7."
        print("so", text)
    """
    graded = play(program, lambda request: f"{request.prompt.index}+=x", count=2)
    for place, one in enumerate(graded):
        rollout = one.rollout
        assert shown(rollout.tokens) == f"q{place}={place}+=7.{place}+="
        assert shown(rollout.prompt.tokens) == f"q{place}="
        assert marks(rollout) == "000" + "111" + "00" + "111"
        assert rollout.logp.tolist() == [-int(mark) for mark in marks(rollout)]
        assert rollout.graded_text == f"so q{place}={place}+=7.{place}+=7.\n"
        assert (rollout.finish, one.verdict.parts["turns"], one.verdict.score) == ("stop", 2, 1)


def test_an_agent_with_the_package_openai_keeps_the_policys_tokens(play):
    """Its history becomes text and comes back; the first answer is a byte that is no character."""
    pytest.importorskip("openai")
    program = """
        import openai
        client = openai.OpenAI()
        messages = [{"role": "system", "content": "Be short."}, user(question)]
        for turn in range(3):
            reply = client.chat.completions.create(
                model=os.environ["OPENAI_MODEL"], messages=messages, stream=turn == 1
            )
            if turn == 1:
                text = "".join(chunk.choices[0].delta.content or "" for chunk in reply)
            else:
                text = reply.choices[0].message.content
            messages += [assistant(text), user(f"more {turn}")]
        print(text)
    """
    said = iter(["\xc8", " two ", "3"])
    (graded,) = play(program, lambda request: next(said))
    rollout, end = graded.rollout, "<|endoftext|>"
    assert graded.verdict.error == ""
    assert shown(rollout.tokens) == (
        f"[s]Be short.[u]q0=[a]\ufffd{end}[u]more 0[a] two {end}[u]more 1[a]3{end}"
    )
    assert rollout.tokens[rollout.is_action].tolist() == [200, END, *b" two ", END, ord("3"), END]
    assert rollout.graded_text == "3\n"


def test_a_turn_may_be_cut_by_max_tokens_and_the_conversation_goes_on(play):
    program = """
        said = chat([user("a")], max_tokens=2)
        print(said + chat([user("a"), assistant(said), user("b")]))
    """
    (graded,) = play(program, lambda request: "xyz")
    assert shown(graded.rollout.tokens) == "[u]a[a]xy<|endoftext|>[u]b[a]xyz<|endoftext|>"
    assert marks(graded.rollout) == "0" * 7 + "11" + "0" * 8 + "1111"
    assert graded.rollout.graded_text == "xyxyz\n"


def test_an_answer_without_room_is_cut_and_printed_by_nobody(play):
    (graded,) = play("print(chat([user('a')]))", lambda request: "x" * 99, size=20)
    assert (graded.rollout.finish, graded.rollout.graded_text) == ("length", "")
    assert graded.rollout.num_actions == 20 - 4  # the program's prompt is 4 tokens longer than the run's


def test_an_answer_may_be_trimmed_or_end_with_its_stop_string(play):
    """What the policy wrote stays, whitespace and stop string too."""
    program = """
        first = chat([user("a")], stop=["!"])
        assert first == " x ", first
        messages = [user("a"), assistant("x"), user("b")]
        second = chat(messages, stop="!")
        assert second == " y ", second
        messages += [assistant(second + "!"), user("c")]
        print(chat(messages))
    """
    said = iter([" x !", " y !", "z"])
    (graded,) = play(program, lambda request: next(said))
    end = "<|endoftext|>"
    assert shown(graded.rollout.tokens) == f"[u]a[a] x !{end}[u]b[a] y !{end}[u]c[a]z{end}"
    assert graded.rollout.graded_text == "z\n"


def test_what_spells_a_special_token_is_read_as_text(play):
    program = """
        said = chat([user("<|endoftext|>")])
        print(chat([user("<|endoftext|>"), assistant(said), user("<|endoftext|>")]))
    """
    (graded,) = play(program, lambda request: "x")
    tokens = graded.rollout.tokens.tolist()
    assert tokens.count(END) == 2  # both written by the policy
    assert tokens.count(ord("<")) == 2


def test_prompts_of_token_ids_go_on_from_token_ids(play):
    program = """
        reply = post("/completions", prompt=[1, 2], max_tokens=9, return_token_ids=True)["choices"][0]
        again = post("/completions", prompt=[1, 2, *reply["token_ids"], 3], max_tokens=9, logprobs=0)
        print(again["choices"][0]["logprobs"]["token_logprobs"], again["usage"])
    """
    (graded,) = play(program, lambda request: "xy")
    assert graded.rollout.tokens.tolist() == [1, 2, *b"xy", END, 3, *b"xy", END]
    usage = {"prompt_tokens": 6, "completion_tokens": 3, "total_tokens": 9}
    assert graded.rollout.graded_text == f"[-1.0, -1.0, -1.0] {usage}\n"


def test_the_program_gets_the_question_and_never_the_gold_answer(play):
    program = """
        chat([user("a")])
        print(json.dumps([question, {**os.environ}]))
    """
    messages = [{"role": "user", "content": "why?"}]
    gold = {"answer": "GOLD", "solution": "GOLD"}
    prompts = [
        Prompt(0, np.array([1], np.int32), "asked: why?", "GOLD", {"question": "why?"} | gold),
        Prompt(1, np.array([1], np.int32), "[u]why?", "GOLD", {"question": messages} | gold),
    ]
    graded = play(program, lambda request: "x", prompts=prompts)
    given = [json.loads(one.rollout.graded_text) for one in graded]
    assert [question for question, _ in given] == ["why?", json.dumps(messages)]
    for one, (_, variables) in zip(graded, given, strict=True):
        assert "GOLD" not in one.rollout.graded_text
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/session/\w+/v1", variables["OPENAI_BASE_URL"])
        assert variables["OPENAI_MODEL"] == "policy"
        assert "127.0.0.1" in variables["NO_PROXY"]
    assert given[0][1]["OPENAI_API_KEY"] != given[1][1]["OPENAI_API_KEY"]


FAILS = {
    "ends badly": (
        "chat([user('a')]); print('x'); sys.exit('no number')",
        "the program ended with exit code 1; its last line was: no number",
    ),
    "is killed": (
        "chat([user('a')]); os.kill(os.getpid(), 9)",
        "the program ended with (signal SIGKILL|exit code 137)",
    ),
    "prints nothing": (
        "chat([user('a')])",
        "the program printed nothing; what it prints is graded, so let it print its answer, or an empty line",
    ),
    "never asks": (
        "print('x')",
        "the program ended without asking the model; its client must ask at OPENAI_BASE_URL",
    ),
    "changes a message": (
        "said = chat([user('a')]); chat([user('b'), assistant(said), user('c')])",
        r"does not go on from its conversation \(message 1 is not what it was before\), and an episode",
    ),
    "changes an answer": (
        "chat([user('a')]); chat([user('a'), assistant('other'), user('c')])",
        "message 2 is not the policy's last answer as it was given",
    ),
    "asks again": ("chat([user('a')]); chat([user('a')])", "it asks once more what was answered"),
    "changes a prompt": (
        "complete('a'); complete('b')",
        "its prompt does not begin with the one before it and the policy's answer",
    ),
    "adds nothing": ("complete('a' + complete('a'))", "it adds nothing to what was written"),
    "changes token ids": ("complete([1]); complete([2])", "its token ids do not begin with those"),
    "goes on as a text": (
        "chat([user('a')]); complete('a')",
        "it is a text, and the requests before",
    ),
    "goes on as a chat": (
        "complete('a'); chat([user('a')])",
        "it is a chat, and the requests before",
    ),
    "has a wrong key": (
        "post('/completions', key='other', prompt='a')",
        r"exit code 1; its last line was: .*401.*; a request of it was refused: its key is wrong; it must",
    ),
    "needs tools": (
        "chat([user('a')], tools=[{'type': 'function'}])",
        r"its last line was: .*400.*refused: tools is not supported here; leave it out",
    ),
    "asks twice": (
        "import threading\nfor _ in range(2): threading.Thread(target=chat, args=[[user('a')]]).start()",
        "sent a request before its last one was answered, and an episode is one sequence",
    ),
}


@pytest.mark.parametrize("case", FAILS)
def test_an_episode_that_fails_says_why(play, case):
    program, why = FAILS[case]
    (graded,) = play(program, lambda request: time.sleep(2 * (case == "asks twice")) or "x")
    assert graded.rollout.finish == "abort"
    assert math.isnan(graded.verdict.score)
    assert re.search(why, graded.verdict.error), graded.verdict.error
    assert graded.rollout.graded_text == ""


def test_a_command_that_is_not_there_says_so(play):
    (graded,) = play("", lambda request: "x", command="no_such_program_here")
    assert re.search("exit code 127; its last line was: .*no_such_program_here.*found", graded.verdict.error)


def gone(pid: int) -> bool:
    """Whether a process is no longer there, or becomes so within some seconds."""
    for _ in range(200):
        with suppress(FileNotFoundError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.05)
                continue
        return True
    return False


def test_a_program_that_hangs_is_killed_with_what_it_started(play, tmp_path):
    program = f"""
        import subprocess, time
        child = subprocess.Popen(["sleep", "1000"])
        open({str(tmp_path / "pids")!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
        time.sleep(1000)
    """
    (graded,) = play(program, lambda request: "x", time_s=2.0)
    assert graded.verdict.error == (
        "the program neither asked nor ended within 2 s; raise environment.time_s, or look at what it waits "
        "for"
    )
    assert all(gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_what_a_program_leaves_running_ends_with_it(play, tmp_path):
    program = f"""
        import subprocess
        child = subprocess.Popen(["sleep", "1000"])
        open({str(tmp_path / "pids")!r}, "w").write(str(child.pid))
        print(chat([user("a")]))
    """
    (graded,) = play(program, lambda request: "x")
    assert graded.rollout.graded_text == "x\n"
    assert gone(int((tmp_path / "pids").read_text()))


STARTING = """
import sys, time
from menon.rollout.environments.agent_server import server
command = "sleep 1000 & echo $! >> pids; setsid sleep 1000 & echo $! >> pids; echo $$ >> pids; wait"
server().start(command, "", "policy")
print("started", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_however_the_run_ends(tmp_path, how):
    """Of what a program has started in sessions of its own neither."""
    run = subprocess.Popen(
        [sys.executable, "-c", STARTING], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert run.stdout is not None
    assert run.stdout.readline() == b"started\n"
    pids = tmp_path / "pids"
    for _ in range(400):
        if pids.exists() and len(pids.read_text().split()) == 3:
            break
        time.sleep(0.05)
    found = [int(pid) for pid in pids.read_text().split()]
    assert len(found) == 3
    run.send_signal(how)
    run.wait()
    run.stdout.close()
    assert all(gone(pid) for pid in found)


def test_a_refused_request_is_an_error_of_openais_form_and_another_may_follow(play):
    program = """
        def error(path="/completions", **body):
            try:
                return post(path, **body)
            except HTTPError as found:
                return [found.code, json.load(found)["error"]]

        one = {"prompt": "a"}
        errors = [
            error(**one, n=2),
            error(prompt=["a", "b"]),
            error(**one, max_tokens=0),
            error(**one, logprobs=2),
            error(**one, stop=[""]),
            error(**one, stop_token_ids=[1]),
            error("/chat/completions", messages=[]),
            error("/chat/completions", messages=[user("a")], chat_template_kwargs={"thought": 1}),
        ]
        models = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/models")
        models.add_header("Authorization", "Bearer " + os.environ["OPENAI_API_KEY"])
        names = [model["id"] for model in json.load(urllib.request.urlopen(models))["data"]]
        print(json.dumps([errors, names, complete("a", model="gpt-4o")]))
    """
    (graded,) = play(program, lambda request: "x")
    errors, names, text = json.loads(graded.rollout.graded_text)
    assert {code for code, _ in errors} == {400}
    assert all(one["type"] == "invalid_request_error" for _, one in errors)
    assert [one["message"] for _, one in errors] == [
        "n is 2; an episode is one sequence, so it must be 1",
        "prompt holds several prompts; an episode is one sequence",
        "max_tokens is 0; an answer needs room for at least 1 token",
        "logprobs is 2; it can be 0 here",
        "stop holds an empty text; it would end every answer at once",
        "stop_token_ids is not supported here; leave it out",
        "messages must be a list of at least one message",
        "template_arguments sets thought, and the model's chat template uses no such variable; leave it out",
    ]
    assert (names, text) == (["policy"], "x")


def test_the_runs_own_sampling_holds_and_is_told_once(play):
    told = []
    program = "print(complete('a', temperature=0, seed=3))"
    graded = play(program, lambda request: "x", count=3, notify=told.append)
    assert [one.rollout.graded_text for one in graded] == ["x\n"] * 3
    assert told == [
        "the program sets temperature and seed, which it does not get: answers are drawn as the run says"
    ]


def test_no_more_programs_run_than_are_allowed(play, tmp_path):
    program = f"""
        import pathlib, time
        folder = pathlib.Path({str(tmp_path)!r})
        own = folder / f"{{os.getpid()}}.runs"
        own.touch()
        chat([user("a")])
        print(len([*folder.glob("*.runs")]))
        own.unlink()
    """
    graded = play(program, lambda request: "x", count=5, at_once=2)
    assert all(int(one.rollout.graded_text) <= 2 for one in graded)


def test_settings_that_cannot_work_are_refused(monkeypatch):
    with pytest.raises(UserError, match=r"set environment\.command to the command line of your program"):
        Agent()
    with pytest.raises(UserError, match=r"environment\.time_s is 0; it must be above 0"):
        Agent("true", time_s=0)
    with pytest.raises(UserError, match=r"environment\.at_once"):
        Agent("true", at_once=0)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "platform", "darwin")
        with pytest.raises(UserError, match="the environment agent needs Linux"):
            Agent("true")
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(UserError, match=r"needs a package that is missing \(starlette\); install it by pip"):
        Agent("true")


EXAMPLE = Path(__file__).parents[3] / "examples" / "own_agent.py"
SMALL = ["threads=1", "prompts_per_step=2", "samples_per_prompt=2", "heldout=4", "report_questions=0"]


def test_a_run_with_an_agent_resumes_bit_for_bit_and_is_evaluated_with_it(tmp_path, monkeypatch, capsys):
    """With the example, on the built-in model."""
    monkeypatch.chdir(tmp_path)
    agent = ["environment=agent", f"environment.command={sys.executable} -S {EXAMPLE}"]
    assert main(["train", "grpo", *SMALL, *agent, "steps=2", "out=whole"]) == 0
    assert main(["train", "grpo", *SMALL, *agent, "steps=1", "out=halves"]) == 0
    assert main(["train", "--resume", "halves", "steps=2"]) == 0
    whole, halves = (RunView.open(tmp_path / name).transcripts.rows(2) for name in ("whole", "halves"))
    assert len(whole) == 4
    for one, other in zip(whole, halves, strict=True):
        assert one["tokens"] == other["tokens"]
        assert one["behaviour_logp"] == other["behaviour_logp"]
        assert one["graded_text"] == other["graded_text"]
        assert one["error"] == ""
    assert any("=" in one["graded_text"] for one in whole)
    capsys.readouterr()
    assert main(["eval", "whole", "n=3", "threads=1"]) == 0
    said = capsys.readouterr().out
    assert "environment agent" in said
    assert "the reward reads what the program prints" in said
    assert main(["eval", "base", "task=chain_sum", *agent, "n=3", "threads=1"]) == 0


def test_a_command_is_code_that_a_run_folder_must_not_bring_unasked():
    (found,) = named_in({"source": {"environment": {"kind": "agent", "command": "rm -r /"}}})
    assert found.does == "runs the command 'rm -r /'"
