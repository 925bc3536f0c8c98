"""What training and serving must agree on: schema, dictionaries, rows, bundles, errors. No torch, no web framework."""
