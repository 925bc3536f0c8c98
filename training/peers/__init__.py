"""Other libraries' PLE and MMoE on the same prepared data: `python -m training.peers --help`."""
