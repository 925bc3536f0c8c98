"""How the arms fare: health, circuit breakers, guardrails, shadows compared."""
