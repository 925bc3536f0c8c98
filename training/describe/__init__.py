"""What a prepared data set holds, and what is wrong with it: `python -m training describe`."""
