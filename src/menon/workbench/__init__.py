"""The workbench: run folders in a local web page (`menon workbench`), read-only and offline.

`app.py` makes the web application of the views in `api/`, each a file with its `routes(runs)`; `static/`
holds the page: plain ES modules, one per view, that ask these routes and never interpret text as HTML.
"""
