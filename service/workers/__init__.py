"""Several worker processes behind one port: `python -m service --workers N`.

The parent accepts connections and passes each to the worker that has the fewest; it never reads from one.
"""
