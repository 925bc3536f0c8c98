"""The stages of `prepare`: raw chunks → codes on disk → keys, bounds, vocabularies → parts of a prepared data set."""
