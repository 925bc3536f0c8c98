"""Other servers around the same graph and the same rows: `python -m loadtest.peers --help`.

`registry`, `environments` and `serving` are ours; `<name>_server.py` and `scorer.py` run inside a peer's environment,
where nothing of the project but this folder can be imported.
"""
