"""What another policy would have earned, from a log that holds the probability of what was shown."""
