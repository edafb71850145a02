"""An agent that knows nothing of Menon: it asks a server of OpenAI's API, and works out the sums that the
model writes.

    menon train grpo environment=agent environment.command='python3 examples/own_agent.py' steps=20

trains the built-in model through it (docs/environments.md, benchmarks/results/agent.md). The question comes
on the standard input, and what the agent prints is its answer. It asks with the standard library; an agent
with the package openai is trained alike.
"""

import json
import os
import re
import sys
from urllib.request import Request, urlopen


def complete(prompt: str, stop: str) -> str:
    """What the model writes after the prompt, up to the stop string."""
    body = {"model": os.environ["OPENAI_MODEL"], "prompt": prompt, "max_tokens": 64, "stop": stop}
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}",
    }
    address = f"{os.environ['OPENAI_BASE_URL']}/completions"
    with urlopen(Request(address, json.dumps(body).encode(), headers)) as reply:
        return str(json.load(reply)["choices"][0]["text"])


def main() -> None:
    question, text = sys.stdin.read(), ""
    while True:
        text += complete(question + text, stop="=")
        sum_written = text.rpartition("\n")[2]  # the last line, such as 2+8
        if not re.fullmatch(r"\d+(\+\d+)+", sum_written):
            break
        text += f"={sum(map(int, sum_written.split('+')))}"
    print(text)


if __name__ == "__main__":
    main()
