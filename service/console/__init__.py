"""The page at /console: what a person sees of experiments, and where a person changes them."""
