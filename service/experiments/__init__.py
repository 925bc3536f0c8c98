"""Which user meets which model, and why."""
