"""A schema file drafted from raw tables."""
