"""Load on a running service: Locust users whose requests are drawn from what is loaded. Imports contract alone."""
