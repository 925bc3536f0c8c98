"""What an experiment can find, and the weights of its next phase."""
