"""One reader per source; each ends in a prepared data set: schema, dictionaries, Parquet."""
