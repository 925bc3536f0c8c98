"""Raw files of all formats as partitions: what source `table` is made of."""
