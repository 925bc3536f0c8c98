"""The forms that /score reads and writes, and how a request chooses among them."""
