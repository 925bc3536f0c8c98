"""PyTorch training of multi-task rankers: `python -m training prepare|schema|train`."""
