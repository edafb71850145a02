"""OpenAI's API from the server's side: what a request asks for, and the forms of answers and errors.

`menon serve` speaks it to any client, and the environment `agent` to the programs that it trains. Neither the
model nor who writes the answers is known here: a `Voice` turns text into tokens and back."""
