"""How a configuration comes into force, and what it changes."""
