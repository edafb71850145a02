"""A model for clients of OpenAI's API (`menon serve`), on the built-in sampler.

`asked.py` reads the body of a request, `writer.py` writes all requests in one decoding batch, `speech.py`
turns tokens into text as they come, `replies.py` has the forms of answers, `sessions.py` records what an
agent asked, and `app.py` is the web application.
"""
